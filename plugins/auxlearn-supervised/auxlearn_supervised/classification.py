"""`Classification`: one of several classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchmetrics import MetricCollection
from torchmetrics.classification import MulticlassAccuracy, MulticlassConfusionMatrix, MulticlassF1Score

from auxlearn.data import Batch
from auxlearn.errors import Problem, SpecError
from auxlearn.learning import BuildContext, Features, FeatureShape, PrimaryTask, StepContext, TaskResult
from auxlearn_supervised import ClassificationParams
from auxlearn_supervised.heads import Fusion, at_least_float32, make_head, only_layer, read_head
from auxlearn_supervised.scores import BalancedAccuracy, ClassScores
from auxlearn_supervised.targets import choose_target, class_weights

__all__ = ["Classification"]

_SCORES = ("accuracy", "balanced_accuracy", "confusion_matrix", "macro_f1", "weighted_f1")
_LEFT_OUT = -100  # the label that `F.cross_entropy` takes for none


class Classification(PrimaryTask):
    r"""Cross entropy of a linear head: $-\sum_i w_{y_i} \log p_i(y_i)$ over the rows that have a label.

    The mean that is trained is over $\sum_i w_{y_i}$, as in `torch.nn.functional.cross_entropy`, over all processes
    and micro-batches. Label smoothing is torch's, too ("Rethinking the Inception Architecture", arXiv 1512.00567,
    section 7): it spreads over all classes, the right one included.

    Args:
        features: The form of the backbone's features.
        target: Name of the class target.
        names: The classes, in the order of the head's outputs.
        index: For each class of the data, its place in `names`, or None to leave its rows out. Default: the data's
            classes are `names`.
        weights: Weight of each of `names`. Default: 1.
        label_smoothing: Part of each label that is spread over all classes.
        dropout: Dropout on the pooled feature.
        hidden: Width of a hidden layer of the head; None for a linear head.
        fusion: Which modalities the head reads, and how they become one. Default: all, concatenated.

    Examples:
        >>> import torch
        >>> from auxlearn.data import Batch
        >>> from auxlearn.learning import Feature, Features, FeatureShape, StepContext
        >>> from auxlearn_supervised.classification import Classification
        >>> task = Classification({"image": FeatureShape(pooled=8)}, target="kind", names=("cat", "dog"))
        >>> batch = Batch(inputs={}, targets={"kind": torch.tensor([0, 1, 1])}, ids=torch.arange(3))
        >>> result = task.loss(Features({"image": Feature(pooled=torch.zeros(3, 8))}), batch, StepContext())
        >>> result.loss.ndim, task.count(batch)
        (0, 3)
    """

    def __init__(
        self,
        features: Mapping[str, FeatureShape],
        *,
        target: str,
        names: Sequence[str],
        index: Sequence[int | None] | None = None,
        weights: Sequence[float] | None = None,
        label_smoothing: float = 0.0,
        dropout: float = 0.0,
        hidden: int | None = None,
        fusion: Fusion | None = None,
    ) -> None:
        super().__init__()
        self.targets = (target,)
        self.names = tuple(names)
        self.label_smoothing, self.dropout = label_smoothing, dropout
        self.fusion = fusion or Fusion()
        self.head = make_head(features, len(self.names), hidden, self.fusion)
        self._modalities = len(features)
        # Derived from settings and data, so no part of the state. The last place is for rows without a label.
        places = None if index is None else [*(_LEFT_OUT if place is None else place for place in index), _LEFT_OUT]
        self._absent = _LEFT_OUT if places is None else len(places) - 1
        self.register_buffer("_index", None if places is None else torch.tensor(places), persistent=False)
        self.register_buffer("_weights", None if weights is None else torch.tensor(list(weights)), persistent=False)
        self._index: Tensor | None
        self._weights: Tensor | None

    @classmethod
    def build(cls, params: ClassificationParams, context: BuildContext) -> Classification:
        """Return the task that `params` asks for; SpecError if the data has no such target or classes."""
        fitting = [name for name, info in context.targets.items() if info.kind == "class"]
        target = choose_target(params.target, fitting, list(context.targets), "class target")
        names = context.targets[target].names
        if len(names) < 2:
            raise SpecError(Problem(where="/target", what=f'"{target}" has {len(names)} classes', allowed="2 or more"))
        counts = context.class_counts.get(target, (1,) * len(names))
        return cls(
            context.features,
            target=target,
            names=names,
            weights=class_weights(params.class_weights, names, counts),
            label_smoothing=params.label_smoothing,
            dropout=params.dropout,
            hidden=params.hidden,
            fusion=Fusion(params.modalities, params.fusion),
        )

    def count(self, batch: Batch) -> Tensor | int:
        """Return the sum of the weights of the rows that have a label."""
        if self._weights is not None:
            labels = self._labels(batch)
            weights = at_least_float32(self._weights)[labels.clamp_min(0)]
            return (weights * (labels != _LEFT_OUT)).sum()
        if self._index is None and f"targets/{self.targets[0]}" not in batch.present:
            return len(batch)
        return (self._labels(batch) != _LEFT_OUT).sum()

    def loss(self, features: Features, batch: Batch, step: StepContext) -> TaskResult:
        """Return the weighted sum of the cross entropies; `output` has the `logits` [N, classes]."""
        logits = read_head(self.head, features, self.dropout, self.fusion)
        loss = F.cross_entropy(
            logits,
            self._labels(batch),
            weight=None if self._weights is None else self._weights.to(logits.dtype),
            ignore_index=_LEFT_OUT,
            reduction="sum",
            label_smoothing=self.label_smoothing,
        )
        return TaskResult(loss=loss, output={"logits": logits.detach()})

    def predict(self, features: Features) -> Mapping[str, Tensor]:
        """Return `probabilities` [N, classes]."""
        return {"probabilities": read_head(self.head, features, self.dropout, self.fusion).softmax(1)}

    def metrics(self) -> MetricCollection:
        """Return accuracy, balanced accuracy (mean recall), macro and weighted F1, the confusion matrix (rows: labels).

        Also recall, precision and F1 of each class.
        """
        classes = len(self.names)
        return MetricCollection(
            {
                "accuracy": MulticlassAccuracy(classes, average="micro", validate_args=False),
                "balanced_accuracy": BalancedAccuracy(classes),
                "confusion_matrix": MulticlassConfusionMatrix(classes, validate_args=False),
                "macro_f1": MulticlassF1Score(classes, average="macro", validate_args=False),
                "weighted_f1": MulticlassF1Score(classes, average="weighted", validate_args=False),
                "each": ClassScores(classes),
            },
            compute_groups=False,
        )

    def update(self, metrics: MetricCollection, features: Features, batch: Batch) -> None:
        """Add the rows of a batch that have a label; `metrics` may hold the scores of a larger task, too."""
        labels = self._labels(batch)
        rows = labels != _LEFT_OUT
        found = read_head(self.head, features, self.dropout, self.fusion).argmax(1)[rows]
        metrics["each"].update(found, labels[rows])
        if rows.any():  # torchmetrics' own refuse an empty batch
            for name in _SCORES:
                metrics[name].update(found, labels[rows])

    def linear(self) -> nn.Linear | None:
        """Return the head, if it is linear and the backbone gives one modality."""
        return only_layer(self.head, self._modalities)

    def describe(self) -> Mapping[str, Any]:
        """Return the target, and the classes in the order of the probabilities."""
        return {"target": self.targets[0], "classes": list(self.names)}

    def _labels(self, batch: Batch) -> Tensor:
        """Return the place in `names` of each row's label: int64 [N], `_LEFT_OUT` for rows without."""
        labels = batch.targets[self.targets[0]]
        given = batch.present.get(f"targets/{self.targets[0]}")
        if given is not None:
            labels = torch.where(given, labels, self._absent)
        return labels if self._index is None else self._index[labels]
