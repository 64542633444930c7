"""Metrics about faces, exact over batches and processes: each is a function of sums."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torchmetrics import MeanMetric, Metric

__all__ = ["GroupAccuracy", "MeanError", "slug"]


class MeanError(MeanMetric):
    """The mean of errors, of which less is better; NaN without errors, or if one of them is.

    Examples:
        >>> import torch
        >>> from auxlearn_faces.scores import MeanError
        >>> error = MeanError()
        >>> error.update(torch.tensor([1.0, 2.0]))
        >>> error.update(torch.tensor([6.0]))
        >>> error.compute()
        tensor(3.)
    """

    higher_is_better = False  # type: ignore[assignment]

    def __init__(self) -> None:
        super().__init__(nan_strategy="disable")  # a prediction that is no number is no score


class GroupAccuracy(Metric):
    """The accuracy in each group, and in the worst: `{"accuracy/race=Black": ..., "worst_group_accuracy": ...}`.

    Groups are the classes of one or several targets. A group without rows is NaN, and not the worst.

    Args:
        groups: Names of the classes by target.

    Examples:
        >>> import torch
        >>> from auxlearn_faces.scores import GroupAccuracy
        >>> score = GroupAccuracy({"age": ("young", "old")})
        >>> score.update(torch.tensor([True, False, True]), {"age": torch.tensor([0, 0, 1])})
        >>> {name: float(value) for name, value in score.compute().items()}
        {'accuracy/age=young': 0.5, 'accuracy/age=old': 1.0, 'worst_group_accuracy': 0.5}
    """

    is_differentiable = False
    higher_is_better = True
    full_state_update = False
    right: Tensor
    rows: Tensor

    def __init__(self, groups: Mapping[str, Sequence[str]]) -> None:
        super().__init__()
        self.names = [f"accuracy/{slug(target)}={slug(name)}" for target, names in groups.items() for name in names]
        starts = [0]
        for names in groups.values():
            starts.append(starts[-1] + len(names))
        self.starts = dict(zip(groups, starts[:-1], strict=True))
        self.add_state("right", torch.zeros(len(self.names), dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("rows", torch.zeros(len(self.names), dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, right: Tensor, groups: Mapping[str, Tensor]) -> None:
        """Add rows: whether each is right [N], and its class in each target [N], -1 where it has none."""
        for target, classes in groups.items():
            there = classes >= 0
            places = classes[there] + self.starts[target]
            self.rows += torch.bincount(places, minlength=len(self.names))
            self.right += torch.bincount(places[right[there]], minlength=len(self.names))

    def compute(self) -> dict[str, Tensor]:
        """Return the accuracies."""
        each = self.right / self.rows
        found = dict(zip(self.names, each.unbind(), strict=True))
        worst = torch.where(self.rows > 0, each, torch.inf).min()
        return {**found, "worst_group_accuracy": torch.where(worst.isinf(), torch.nan, worst)}


def slug(name: str) -> str:
    """Return `name` without what cannot stand in the name of a metric.

    >>> slug("East Asian"), slug("10-19"), slug("more than 70/80")
    ('East_Asian', '10-19', 'more_than_70_80')
    """
    return re.sub(r"[^\w+-]+", "_", name).strip("_")
