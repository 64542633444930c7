"""`gender`: a binary classification, scored also by group."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torchmetrics import MetricCollection

from auxlearn.data import Batch
from auxlearn.learning import BuildContext, Features, PrimaryTask, StepContext, TaskResult
from auxlearn_faces.genders import choose_gender, choose_groups
from auxlearn_faces.params import GenderParams
from auxlearn_faces.scores import GroupAccuracy
from auxlearn_supervised.classification import Classification
from auxlearn_supervised.targets import class_weights

__all__ = ["Gender"]


class Gender(PrimaryTask):
    """A classification whose accuracy is also given for each group, e.g. by `race`.

    Its classes are those of the data, in the data's order and under the data's names: what they stand for, a person's
    gender or how somebody annotated a picture, is the data's to say.

    Args:
        classification: What is learned.
        groups: The classes of each target that makes groups.
    """

    def __init__(self, classification: Classification, groups: Mapping[str, Sequence[str]]) -> None:
        super().__init__()
        self.classification = classification
        self.groups = {target: tuple(names) for target, names in groups.items()}
        self.targets = classification.targets

    @classmethod
    def build(cls, params: GenderParams, context: BuildContext) -> Gender:
        """Return the task that `params` asks for; SpecError if the data has no such targets."""
        classes = {name: info.names for name, info in context.targets.items() if info.kind == "class"}
        target = choose_gender(params.target, classes)
        names = classes[target]
        classification = Classification(
            context.features,
            target=target,
            names=names,
            weights=class_weights(params.class_weights, names, context.class_counts.get(target, (1,) * len(names))),
            label_smoothing=params.label_smoothing,
            dropout=params.dropout,
            hidden=params.hidden,
        )
        return cls(classification, choose_groups(params.groups, classes))

    def count(self, batch: Batch) -> Tensor | int:
        """Return the (weights of the) rows that have a label."""
        return self.classification.count(batch)

    def loss(self, features: Features, batch: Batch, step: StepContext) -> TaskResult:
        """Return the sum of the cross entropies; `output` has the `logits` [N, 2]."""
        return self.classification.loss(features, batch, step)

    def predict(self, features: Features) -> Mapping[str, Tensor]:
        """Return `probabilities` [N, 2]."""
        return self.classification.predict(features)

    def metrics(self) -> MetricCollection:
        """Return the scores of a classification; with groups also each one's accuracy, and that of the worst."""
        scores = self.classification.metrics()
        if self.groups:
            scores.add_metrics({"groups": GroupAccuracy(self.groups)})
        return scores

    def update(self, metrics: MetricCollection, features: Features, batch: Batch) -> None:
        """Add the rows of a batch that have a label; by group those that also have one of that."""
        self.classification.update(metrics, features, batch)
        if self.groups:
            target = self.targets[0]
            rows = batch.has(target)
            right = self.classification.predict(features)["probabilities"].argmax(1) == batch.targets[target]
            groups = {name: torch.where(batch.has(name), batch.targets[name], -1)[rows] for name in self.groups}
            metrics["groups"].update(right[rows], groups)

    def linear(self) -> nn.Linear | None:
        """Return the head, if it is linear and there is one modality."""
        return self.classification.linear()

    def describe(self) -> Mapping[str, Any]:
        """Return the target, the classes in the order of the probabilities, and the targets that make groups."""
        return {**self.classification.describe(), "groups": list(self.groups)}
