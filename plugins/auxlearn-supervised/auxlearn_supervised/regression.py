"""`Regression`: one or several numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchmetrics import MeanAbsoluteError, MeanSquaredError, MetricCollection

from auxlearn.data import Batch, TargetInfo
from auxlearn.learning import BuildContext, Features, FeatureShape, PrimaryTask, StepContext, TaskResult
from auxlearn_supervised import RegressionParams
from auxlearn_supervised.heads import Fusion, last_layer, make_head, only_layer, read_head
from auxlearn_supervised.scores import Concordance
from auxlearn_supervised.targets import choose_target

__all__ = ["Regression"]


class Regression(PrimaryTask):
    """The error of a linear head: absolute, squared, or smooth L1 ("Fast R-CNN", arXiv 1504.08083, equation 3).

    It is summed over the rows that have the target; the mean that is trained is over rows times components. With
    `smooth_l1`, errors below `beta` count as error² / (2 beta), larger ones as |error| - beta / 2.

    Args:
        features: The form of the backbone's features.
        target: Name of the continuous target.
        info: What is known about it.
        loss: Which error.
        beta: Where `smooth_l1` changes, in the unit of the target.
        initial: The head's bias before training.
        concordance: Also score the concordance correlation coefficient.
        dropout: Dropout on the pooled feature.
        hidden: Width of a hidden layer of the head; None for a linear head.
        fusion: Which modalities the head reads, and how they become one. Default: all, concatenated.
    """

    def __init__(
        self,
        features: Mapping[str, FeatureShape],
        *,
        target: str,
        info: TargetInfo,
        loss: Literal["l1", "l2", "smooth_l1"] = "smooth_l1",
        beta: float = 1.0,
        initial: float = 0.0,
        concordance: bool = False,
        dropout: float = 0.0,
        hidden: int | None = None,
        fusion: Fusion | None = None,
    ) -> None:
        super().__init__()
        self.targets = (target,)
        self.info, self.kind, self.beta = info, loss, beta
        self.concordance, self.dropout = concordance, dropout
        self.components = math.prod(info.shape)
        self.fusion = fusion or Fusion()
        self.head = make_head(features, self.components, hidden, self.fusion)
        nn.init.constant_(last_layer(self.head).bias, initial)
        self._modalities = len(features)

    @classmethod
    def build(cls, params: RegressionParams, context: BuildContext) -> Regression:
        """Return the task that `params` asks for; SpecError if the data has no such target."""
        fitting = [name for name, info in context.targets.items() if info.kind == "continuous"]
        target = choose_target(params.target, fitting, list(context.targets), "continuous target")
        return cls(
            context.features,
            target=target,
            info=context.targets[target],
            loss=params.loss,
            beta=params.beta,
            initial=params.initial,
            concordance=params.concordance,
            dropout=params.dropout,
            hidden=params.hidden,
            fusion=Fusion(params.modalities, params.fusion),
        )

    def count(self, batch: Batch) -> Tensor | int:
        """Return the rows that have the target times its components."""
        given = batch.present.get(f"targets/{self.targets[0]}")
        return (len(batch) if given is None else given.sum()) * self.components

    def loss(self, features: Features, batch: Batch, step: StepContext) -> TaskResult:
        """Return the sum of the errors; `output` has the `value`, shaped like the target."""
        found = self._read(features)
        wanted = batch.targets[self.targets[0]].to(found.dtype)
        given = batch.present.get(f"targets/{self.targets[0]}")
        if given is not None:
            # What is found is then also what is wanted: no error, and no gradient, whatever stands in the target.
            given = given.view(-1, *(1 for _ in self.info.shape))
            wanted = torch.where(given, wanted, found.detach())
        return TaskResult(loss=self._error(found, wanted), output={"value": found.detach()})

    def predict(self, features: Features) -> Mapping[str, Tensor]:
        """Return the `value`, shaped like the target: [N, *shape]."""
        return {"value": self._read(features)}

    def metrics(self) -> MetricCollection:
        """Return mean absolute error, root mean squared error and, if asked for, the concordance of each component."""
        scores = MetricCollection(
            {"mae": MeanAbsoluteError(), "rmse": MeanSquaredError(squared=False)}, compute_groups=False
        )
        if self.concordance:
            scores.add_metrics({"ccc": Concordance(self.components)})
        return scores

    def update(self, metrics: MetricCollection, features: Features, batch: Batch) -> None:
        """Add the rows of a batch that have the target."""
        rows = batch.has(self.targets[0])
        if not rows.any():
            return
        shape = (-1,) if self.components == 1 else (-1, self.components)
        found = self._read(features)[rows].view(shape)
        wanted = batch.targets[self.targets[0]][rows].to(found.dtype).view(shape)
        metrics.update(found, wanted)

    def linear(self) -> nn.Linear | None:
        """Return the head, if it is linear and the backbone gives one modality."""
        return only_layer(self.head, self._modalities)

    def describe(self) -> Mapping[str, Any]:
        """Return the target, the names of its components and its unit."""
        return {"target": self.targets[0], "components": list(self.info.names), "unit": self.info.unit}

    def _read(self, features: Features) -> Tensor:
        return read_head(self.head, features, self.dropout, self.fusion).view(-1, *self.info.shape)

    def _error(self, found: Tensor, wanted: Tensor) -> Tensor:
        if self.kind == "l1":
            return F.l1_loss(found, wanted, reduction="sum")
        if self.kind == "l2":
            return F.mse_loss(found, wanted, reduction="sum")
        return F.smooth_l1_loss(found, wanted, reduction="sum", beta=self.beta)
