"""Metrics that torchmetrics has in another meaning, exact over batches and processes."""

from __future__ import annotations

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.functional.classification import binary_average_precision
from torchmetrics.utilities import dim_zero_cat

__all__ = ["BalancedAccuracy", "ClassScores", "Concordance", "LabelScores", "MeanAveragePrecision"]

_ROUNDING = 1e-14  # relative, of sums in float64


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


class ClassScores(Metric):
    """Recall, precision and F1 of each class: `class_recall`, `class_precision`, `class_f1`, [classes] each.

    With $t$ rows of the class that were found, of $r$ rows that are of it and $p$ that were said to be, they are $t/r$,
    $t/p$ and $2t/(r+p)$. What is a ratio of nothing to nothing, such as the recall of a class without a row, is NaN;
    torchmetrics and scikit-learn make it 0.

    Args:
        classes: Number of classes.

    Examples:
        >>> import torch
        >>> from auxlearn_supervised.scores import ClassScores
        >>> score = ClassScores(3)
        >>> score.update(torch.tensor([0, 0, 0, 1]), torch.tensor([0, 0, 1, 1]))
        >>> score.compute()["class_recall"]
        tensor([1.0000, 0.5000,    nan])
    """

    is_differentiable = False
    higher_is_better = True
    full_state_update = False
    right: Tensor
    said: Tensor
    rows: Tensor

    def __init__(self, classes: int) -> None:
        super().__init__()
        for name in ("right", "said", "rows"):
            self.add_state(name, torch.zeros(classes, dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, found: Tensor, labels: Tensor) -> None:
        """Add predicted classes and labels: int64 [N] each."""
        classes = len(self.rows)
        self.rows += torch.bincount(labels, minlength=classes)
        self.said += torch.bincount(found, minlength=classes)
        self.right += torch.bincount(labels[found == labels], minlength=classes)

    def compute(self) -> dict[str, Tensor]:
        """Return the scores."""
        return {
            "class_recall": self.right / self.rows,
            "class_precision": self.right / self.said,
            "class_f1": 2 * self.right / (self.rows + self.said),
        }


class Concordance(Metric):
    r"""Lin's concordance correlation coefficient: 2 cov(x, y) / (var x + var y + (mean x - mean y)²).

    From "A Concordance Correlation Coefficient to Evaluate Reproducibility" (Biometrics 45, 1989), with variances over
    all rows divided by their number. It keeps the sums of what it needs, in float64, so it is that of all rows,
    whatever batches and processes they come in. A constant prediction has score 0; torchmetrics makes it NaN, and
    divides by the number of rows less one.

    Args:
        components: In how many numbers a row is scored, each for itself.

    Examples:
        >>> import torch
        >>> from auxlearn_supervised.scores import Concordance
        >>> score = Concordance()
        >>> score.update(torch.tensor([0.0, 1.0, 2.0]), torch.tensor([1.0, 2.0, 3.0]))
        >>> round(float(score.compute()), 4)
        0.5714
    """

    is_differentiable = False
    higher_is_better = True
    full_state_update = False
    sums: Tensor

    def __init__(self, components: int = 1) -> None:
        super().__init__()
        # rows, x, y, x², y², xy
        self.add_state("sums", torch.zeros(6, components, dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, found: Tensor, wanted: Tensor) -> None:
        """Add numbers: [N, components] each, or [N] for one."""
        x, y = (numbers.double().view(-1, self.sums.shape[1]) for numbers in (found, wanted))
        self.sums += torch.stack([torch.ones_like(x), x, y, x * x, y * y, x * y]).sum(1)

    def compute(self) -> Tensor:
        """Return the score of each component, [components], or [] for one; NaN without rows, or if all numbers agree.

        All agree where what is left of the variances and of the difference of means is no more than rounding.
        """
        mean_x, mean_y, xx, yy, xy = (self.sums[1:] / self.sums[0]).unbind()
        covariance = xy - mean_x * mean_y
        spread = (xx - mean_x.square()) + (yy - mean_y.square()) + (mean_x - mean_y).square()
        score = torch.where(spread > _ROUNDING * (xx + yy), 2 * covariance / spread, torch.nan)
        return score.float().squeeze()


class LabelScores(Metric):
    r"""Accuracy, weighted accuracy and F1 of each of several labels that do not exclude each other, and their means.

    Of a label that $P$ rows have and $N$ rows have not, of which $TP$ and $TN$ are told rightly, the weighted accuracy
    is $(TP \cdot N / P + TN) / 2N$, in other words the mean of the recalls of both answers. It is how emotions are
    scored on CMU-MOSEI: Tong et al., "Combating Human Trafficking with Multimodal Deep Neural Networks" (ACL 2017,
    https://aclanthology.org/P17-1142), section 5; taken up by Zadeh et al., "Multimodal Language Analysis in the Wild:
    CMU-MOSEI Dataset and Interpretable Dynamic Fusion Graph" (ACL 2018, https://aclanthology.org/P18-1208).

    The scores are `accuracy` and `weighted_accuracy`, the means over the labels; `weighted_f1`, the mean of the F1 of
    each label by its $P$; and `label_accuracy`, `label_weighted_accuracy`, `label_f1`, [labels] each. What is a ratio
    of nothing to nothing, such as the weighted accuracy of a label that no row has, is NaN and left out of the means.

    Args:
        labels: Number of labels.

    Examples:
        >>> import torch
        >>> from auxlearn_supervised.scores import LabelScores
        >>> score = LabelScores(1)
        >>> score.update(torch.tensor([[1], [0], [0], [0]]), torch.tensor([[1], [1], [0], [0]]))
        >>> score.compute()["accuracy"], score.compute()["weighted_accuracy"]
        (tensor(0.7500), tensor(0.7500))
    """

    is_differentiable = False
    higher_is_better = True
    full_state_update = False
    both: Tensor
    said: Tensor
    given: Tensor
    rows: Tensor

    def __init__(self, labels: int) -> None:
        super().__init__()
        for name in ("both", "said", "given"):
            self.add_state(name, torch.zeros(labels, dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("rows", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, found: Tensor, wanted: Tensor) -> None:
        """Add what was said and what is so: 0 or 1, int64 [N, labels] each."""
        self.both += (found * wanted).sum(0)
        self.said += found.sum(0)
        self.given += wanted.sum(0)
        self.rows += len(wanted)

    def compute(self) -> dict[str, Tensor]:
        """Return the scores."""
        without = self.rows - self.given
        rightly_without = without - (self.said - self.both)
        accuracy = (self.both + rightly_without) / self.rows
        weighted = (self.both / self.given + rightly_without / without) / 2
        f1 = 2 * self.both / (self.said + self.given)
        return {
            "accuracy": accuracy.mean(),
            "weighted_accuracy": weighted.nanmean(),
            "weighted_f1": (f1.nan_to_num() * self.given).sum() / self.given.sum(),
            "label_accuracy": accuracy,
            "label_weighted_accuracy": weighted,
            "label_f1": f1,
        }


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
