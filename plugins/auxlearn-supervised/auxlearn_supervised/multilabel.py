"""`Multilabel`: any of several labels at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchmetrics import MetricCollection
from torchmetrics.classification import MultilabelF1Score

from auxlearn.data import Batch
from auxlearn.learning import BuildContext, Features, FeatureShape, PrimaryTask, StepContext, TaskResult
from auxlearn_supervised import MultilabelParams
from auxlearn_supervised.heads import Fusion, make_head, only_layer, read_head
from auxlearn_supervised.scores import LabelScores, MeanAveragePrecision
from auxlearn_supervised.targets import choose_target, positive_weights

__all__ = ["Multilabel"]


class Multilabel(PrimaryTask):
    r"""Binary cross entropy of a linear head, for labels that do not exclude each other.

    $-\sum_{i,c} \left[ w_c\, y_{ic} \log \sigma(z_{ic}) + (1 - y_{ic}) \log (1 - \sigma(z_{ic})) \right]$ over the rows
    that have labels; the mean that is trained is over rows times labels, as in
    `torch.nn.functional.binary_cross_entropy_with_logits`.

    Args:
        features: The form of the backbone's features.
        target: Name of the multi-label target.
        names: The labels, in the order of the target.
        pos_weights: The $w_c$. Default: 1.
        threshold: Probability from which a label is predicted.
        dropout: Dropout on the pooled feature.
        hidden: Width of a hidden layer of the head; None for a linear head.
        fusion: Which modalities the head reads, and how they become one. Default: all, concatenated.
    """

    def __init__(
        self,
        features: Mapping[str, FeatureShape],
        *,
        target: str,
        names: Sequence[str],
        pos_weights: Sequence[float] | None = None,
        threshold: float = 0.5,
        dropout: float = 0.0,
        hidden: int | None = None,
        fusion: Fusion | None = None,
    ) -> None:
        super().__init__()
        self.targets = (target,)
        self.names = tuple(names)
        self.threshold, self.dropout = threshold, dropout
        self.fusion = fusion or Fusion()
        self.head = make_head(features, len(self.names), hidden, self.fusion)
        self._modalities = len(features)
        # Derived from settings, so no part of the state.
        weights = None if pos_weights is None else torch.tensor(list(pos_weights))
        self.register_buffer("_pos_weights", weights, persistent=False)
        self._pos_weights: Tensor | None

    @classmethod
    def build(cls, params: MultilabelParams, context: BuildContext) -> Multilabel:
        """Return the task that `params` asks for; SpecError if the data has no such target or labels."""
        fitting = [name for name, info in context.targets.items() if info.kind == "multilabel"]
        target = choose_target(params.target, fitting, list(context.targets), "multi-label target")
        info = context.targets[target]
        names = info.names or tuple(str(number) for number in range(info.shape[0]))
        return cls(
            context.features,
            target=target,
            names=names,
            pos_weights=positive_weights(params.pos_weights, names, *_counted(context, target)),
            threshold=params.threshold,
            dropout=params.dropout,
            hidden=params.hidden,
            fusion=Fusion(params.modalities, params.fusion),
        )

    def count(self, batch: Batch) -> Tensor | int:
        """Return the rows that have labels times the number of labels."""
        given = batch.present.get(f"targets/{self.targets[0]}")
        return (len(batch) if given is None else given.sum()) * len(self.names)

    def loss(self, features: Features, batch: Batch, step: StepContext) -> TaskResult:
        """Return the sum of the cross entropies; `output` has the `logits` [N, labels]."""
        logits = read_head(self.head, features, self.dropout, self.fusion)
        wanted = batch.targets[self.targets[0]].to(logits.dtype)
        given = batch.present.get(f"targets/{self.targets[0]}")
        mask = None if given is None else given.unsqueeze(1)
        loss = F.binary_cross_entropy_with_logits(
            logits,
            wanted if mask is None else torch.where(mask, wanted, 0.0),
            weight=None if mask is None else mask.to(logits.dtype),
            pos_weight=None if self._pos_weights is None else self._pos_weights.to(logits.dtype),
            reduction="sum",
        )
        return TaskResult(loss=loss, output={"logits": logits.detach()})

    def predict(self, features: Features) -> Mapping[str, Tensor]:
        """Return `probabilities` [N, labels]."""
        return {"probabilities": read_head(self.head, features, self.dropout, self.fusion).sigmoid()}

    def metrics(self) -> MetricCollection:
        """Return mean average precision; at the threshold also macro, micro and weighted F1, and both accuracies.

        F1 and both accuracies also of each label.
        """
        labels = len(self.names)
        return MetricCollection(
            {
                "average_precision": MeanAveragePrecision(labels),
                "macro_f1": MultilabelF1Score(labels, average="macro", validate_args=False),
                "micro_f1": MultilabelF1Score(labels, average="micro", validate_args=False),
                "each": LabelScores(labels),
            },
            compute_groups=False,
        )

    def update(self, metrics: MetricCollection, features: Features, batch: Batch) -> None:
        """Add the rows of a batch that have labels."""
        rows = batch.has(self.targets[0])
        found = self.predict(features)["probabilities"][rows]
        wanted = batch.targets[self.targets[0]][rows].long()
        metrics["average_precision"].update(found, wanted)
        said = (found >= self.threshold).long()
        metrics["each"].update(said, wanted)
        if rows.any():  # torchmetrics' F1 refuses an empty batch
            for name in ("macro_f1", "micro_f1"):
                metrics[name].update(said, wanted)

    def linear(self) -> nn.Linear | None:
        """Return the head, if it is linear and the backbone gives one modality."""
        return only_layer(self.head, self._modalities)

    def describe(self) -> Mapping[str, Any]:
        """Return the target, the labels in the order of the probabilities, and the threshold."""
        return {"target": self.targets[0], "classes": list(self.names), "threshold": self.threshold}


def _counted(context: BuildContext, target: str) -> tuple[int, tuple[int, ...]]:
    """Return the training rows that have labels, and how many of them have each; nothing if that is not known."""
    counts = context.label_counts.get(target)
    return (0, ()) if counts is None else (counts.rows, counts.positives)
