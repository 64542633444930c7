"""Valence and arousal beside an expression: `FerWithAffect`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor
from torchmetrics import MeanSquaredError, MetricCollection

from auxlearn.data import Batch
from auxlearn.learning import Features, FeatureShape, PrimaryTask, StepContext, TaskResult
from auxlearn_faces.choosing import Chosen
from auxlearn_faces.numbers import given_rows, read_numbers
from auxlearn_faces.params import AFFECT
from auxlearn_supervised.classification import Classification
from auxlearn_supervised.heads import make_head, read_head
from auxlearn_supervised.scores import Concordance

__all__ = ["FerWithAffect", "concordance"]

_UNCERTAIN = -2.0  # AffectNet's value for rows whose valence and arousal nobody could tell
_LEAST_SPREAD = 1e-8


class FerWithAffect(PrimaryTask):
    r"""Expression, and valence and arousal from a head of their own on the same feature.

    The loss is the mean cross entropy over the rows that have an expression, plus `weight` times that of valence and
    arousal over the rows that have both: $1 - \tfrac12(\mathrm{CCC}_v + \mathrm{CCC}_a)$ of the batch (Lin's
    concordance correlation coefficient, as "Deep Affect Prediction in-the-wild", arXiv 1804.10938, trains it), or the
    mean squared error. A row may have either label or both.

    The concordance is a property of a whole batch, so the second part is taken over the rows of all processes at once
    and reaches the total as a mean; it is exact for any division of a batch among processes. With micro-batches
    (`train.accumulate`) it is the mean of theirs, weighted by their rows with an expression; and if no row of a step
    has an expression, nothing is learned in it. A row where either number is -2, AffectNet's mark of an uncertain one,
    counts as a row without.

    Args:
        expression: The classification.
        features: The form of the backbone's features.
        chosen: Where valence and arousal stand in the data.
        kind: Which loss.
        weight: Its factor.
        dropout: Dropout on the pooled feature.
        hidden: Width of a hidden layer of the head; None for a linear head.
    """

    def __init__(
        self,
        expression: Classification,
        features: Mapping[str, FeatureShape],
        *,
        chosen: Chosen,
        kind: Literal["ccc", "mse"] = "ccc",
        weight: float = 1.0,
        dropout: float = 0.0,
        hidden: int | None = None,
    ) -> None:
        super().__init__()
        self.expression = expression
        self.affect = make_head(features, len(AFFECT), hidden)
        self.chosen, self.kind, self.weight, self.dropout = chosen, kind, weight, dropout
        self.targets = (*expression.targets, *chosen.targets)

    def count(self, batch: Batch) -> Tensor | int:
        """Return what the cross entropy counts: the (weights of the) rows with an expression."""
        return self.expression.count(batch)

    def loss(self, features: Features, batch: Batch, step: StepContext) -> TaskResult:
        """Return the sum of both parts; `output` has `logits` and `valence_arousal`, `metrics` the second part."""
        expression = self.expression.loss(features, batch, step)
        found = read_head(self.affect, features, self.dropout)
        wanted, given = self._wanted(batch, found)
        affect = self._affect_loss(found, wanted, given, step)
        # The engine divides the sums of all processes by the sum of their counts, which leaves `affect` as it is.
        return TaskResult(
            loss=expression.loss + self.weight * affect * self.count(batch),
            output={**expression.output, "valence_arousal": found.detach()},
            metrics={"affect_loss": affect.detach()},
        )

    def predict(self, features: Features) -> Mapping[str, Tensor]:
        """Return `probabilities` [N, classes], and `valence` and `arousal` [N]."""
        affect = read_head(self.affect, features, self.dropout).unbind(1)
        return {**self.expression.predict(features), **dict(zip(AFFECT, affect, strict=True))}

    def metrics(self) -> MetricCollection:
        """Return those of the expression, then the concordance and the root mean squared error of each dimension."""
        scores = self.expression.metrics()
        scores.add_metrics({f"{name}_ccc": Concordance() for name in AFFECT})
        scores.add_metrics({f"{name}_rmse": MeanSquaredError(squared=False) for name in AFFECT})
        return scores

    def update(self, metrics: MetricCollection, features: Features, batch: Batch) -> None:
        """Add the rows of a batch, to the scores of what each of them has a label for."""
        self.expression.update(metrics, features, batch)
        found = read_head(self.affect, features, self.dropout)
        wanted, given = self._wanted(batch, found)
        for name, one, right in zip(AFFECT, found[given].unbind(1), wanted[given].unbind(1), strict=True):
            metrics[f"{name}_ccc"].update(one, right)
            metrics[f"{name}_rmse"].update(one, right)

    def describe(self) -> Mapping[str, Any]:
        """Return what the classification says, and the targets of valence and arousal."""
        return {**self.expression.describe(), "valence_arousal": list(self.chosen.targets)}

    def _wanted(self, batch: Batch, found: Tensor) -> tuple[Tensor, Tensor]:
        """Return what should be found [N, 2], and which rows have it: bool [N]."""
        wanted = read_numbers(self.chosen, batch.targets).to(found.dtype)
        given = (wanted > _UNCERTAIN).all(1)  # also False for NaN
        present = given_rows(self.chosen, batch)
        given = given if present is None else given & present
        return torch.where(given[:, None], wanted, 0.0), given

    def _affect_loss(self, found: Tensor, wanted: Tensor, given: Tensor, step: StepContext) -> Tensor:
        """Return the loss of valence and arousal over the rows of all processes."""
        found, wanted = step.gather(found, grad=True), step.gather(wanted)
        mask = step.gather(given.to(found.dtype))
        if self.kind == "ccc":
            away = 1 - concordance(found, wanted, mask).mean()
            return torch.where(mask.sum() > 0, away, away * 0)
        error = (found - wanted).square().mean(1) * mask
        return error.sum() / mask.sum().clamp_min(1)


def concordance(found: Tensor, wanted: Tensor, mask: Tensor) -> Tensor:
    """Return Lin's concordance correlation coefficient of each column over the rows where `mask` [N] is 1: [columns].

    `auxlearn_supervised.scores.Concordance` is the same as a score. Of rows that are all the same it is 0.

    Args:
        found: [N, columns].
        wanted: [N, columns].
        mask: 1 for rows that count, else 0.
    """
    share = (mask / mask.sum().clamp_min(1))[:, None]
    mean_found, mean_wanted = (share * found).sum(0), (share * wanted).sum(0)
    off_found, off_wanted = found - mean_found, wanted - mean_wanted
    covariance = (share * off_found * off_wanted).sum(0)
    spread = (share * (off_found.square() + off_wanted.square())).sum(0) + (mean_found - mean_wanted).square()
    return 2 * covariance / (spread + _LEAST_SPREAD)
