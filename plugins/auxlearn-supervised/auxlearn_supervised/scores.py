"""Metrics that torchmetrics has in another meaning."""

from __future__ import annotations

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.functional.classification import binary_average_precision
from torchmetrics.utilities import dim_zero_cat

__all__ = ["BalancedAccuracy", "MeanAveragePrecision"]


class BalancedAccuracy(Metric):
    """The mean of the recalls of those classes that occur among the labels.

    torchmetrics' macro recall counts a class without a single label as recall 0 as soon as it is predicted once. This
    is scikit-learn's `balanced_accuracy_score`; without any label it is NaN.

    Args:
        classes: Number of classes.

    Examples:
        >>> import torch
        >>> from auxlearn_supervised.scores import BalancedAccuracy
        >>> score = BalancedAccuracy(3)
        >>> score.update(torch.tensor([0, 0, 2, 1]), torch.tensor([0, 0, 1, 1]))
        >>> score.compute()
        tensor(0.7500)
    """

    is_differentiable = False
    higher_is_better = True
    full_state_update = False
    right: Tensor
    rows: Tensor

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.add_state("right", torch.zeros(classes, dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("rows", torch.zeros(classes, dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, found: Tensor, labels: Tensor) -> None:
        """Add predicted classes and labels: int64 [N] each."""
        self.rows += torch.bincount(labels, minlength=len(self.rows))
        self.right += torch.bincount(labels[found == labels], minlength=len(self.rows))

    def compute(self) -> Tensor:
        """Return the score."""
        return (self.right / self.rows).nanmean()


class MeanAveragePrecision(Metric):
    """The mean over the labels of the area under their precision-recall curves; labels without a positive row left out.

    It keeps all probabilities, so the value is exact.

    Args:
        labels: Number of labels.
    """

    is_differentiable = False
    higher_is_better = True
    full_state_update = False
    found: list[Tensor]
    wanted: list[Tensor]

    def __init__(self, labels: int) -> None:
        super().__init__()
        self.labels = labels
        self.add_state("found", [], dist_reduce_fx="cat")
        self.add_state("wanted", [], dist_reduce_fx="cat")

    def update(self, probabilities: Tensor, wanted: Tensor) -> None:
        """Add probabilities and labels of 0 and 1: [N, labels] each."""
        self.found.append(probabilities)
        self.wanted.append(wanted.to(torch.int8))

    def compute(self) -> Tensor:
        """Return the score; NaN if no label has a positive row."""
        found, wanted = dim_zero_cat(self.found), dim_zero_cat(self.wanted).long()
        each = [
            binary_average_precision(found[:, label], wanted[:, label], validate_args=False)
            for label in range(self.labels)
            if wanted[:, label].any()
        ]
        return torch.stack(each).mean() if each else found.new_tensor(torch.nan)
