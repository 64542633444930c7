"""Nearest neighbours: how well features tell classes apart, with nothing to train."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import attrs
import torch
import torch.nn.functional as F
from torch import Tensor
from torchmetrics import MetricCollection
from torchmetrics.classification import MulticlassAccuracy, MulticlassConfusionMatrix
from torchmetrics.utilities.distributed import gather_all_tensors

from auxlearn.calls import during
from auxlearn.data import Batch
from auxlearn.errors import DataError, Problem
from auxlearn.evaluation.processes import is_distributed
from auxlearn.learning import Augmentation, Backbone, Features
from auxlearn.learning.asking import prepared
from auxlearn.learning.modes import evaluating
from auxlearn.spec.models import Knn

__all__ = ["Bank", "Neighbours", "remember"]

_CELLS = 1 << 24  # similarities held at once


@attrs.frozen(kw_only=True)
class Bank:
    """What to remember for one class target.

    Attributes:
        keys: The settings.
        classes: Number of classes.
        rows: The training rows to look among.
    """

    keys: Knn
    classes: int
    rows: tuple[int, ...]


class Neighbours:
    r"""Classifies features by a weighted vote of those that are most similar among features with known classes.

    "Unsupervised Feature Learning via Non-Parametric Instance Discrimination" (InstDisc, arXiv 1805.01978, section
    3.4): with the cosine similarity $s_i$ to the feature $i$ of class $c_i$, and the $k$ most similar ones $N_k$, class
    $c$ gets $\sum_{i \in N_k} 1[c_i = c] \exp(s_i / T)$. Differently from there, features that are exactly as similar
    as the k-th share the places that are left, so the order of the bank does not matter.

    Args:
        target: The target whose classes are told apart.
        features: [M, D], each of length 1.
        labels: Their classes, int64 [M].
        classes: Number of classes.
        k: Neighbours that vote; all features if there are fewer.
        temperature: T.
        ids: [M], numbers of their rows, where the queries are rows among them: none is a neighbour of its own.

    Examples:
        >>> import torch
        >>> from auxlearn.evaluation.knn import Neighbours
        >>> known = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
        >>> near = Neighbours("kind", known, torch.tensor([0, 1, 1]), classes=2, k=2, temperature=1.0)
        >>> near.votes(torch.tensor([[0.6, 0.8]])).argmax(1)
        tensor([1])
    """

    def __init__(
        self,
        target: str,
        features: Tensor,
        labels: Tensor,
        *,
        classes: int,
        k: int,
        temperature: float,
        ids: Tensor | None = None,
    ) -> None:
        others = len(features) - (ids is not None)
        if others < 1:
            none = "no training row" if ids is None else "no other training row"
            raise DataError(Problem(where=f"/evaluate/knn/{target}", what=f'{none} has a label "{target}"'))
        self.target, self.features, self.classes, self.ids = target, features, classes, ids
        self.k, self.temperature = min(k, others), temperature
        self._members = F.one_hot(labels, classes).to(features.dtype)

    def votes(self, queries: Tensor, ids: Tensor | None = None) -> Tensor:
        """Return the votes of each class [N, classes], up to a factor for each row.

        Args:
            queries: Features [N, D] of length 1.
            ids: [N], numbers of their rows; needed where the neighbours have some.
        """
        rows = max(1, _CELLS // len(self.features))
        parts = torch.split(queries.to(self.features.dtype), rows)
        numbers = [None] * len(parts) if self.ids is None or ids is None else torch.split(ids, rows)
        return torch.cat(
            [self._weights(self._similar(*part)) @ self._members for part in zip(parts, numbers, strict=True)]
        )

    def _similar(self, queries: Tensor, ids: Tensor | None) -> Tensor:
        similar = queries @ self.features.T
        if ids is None or self.ids is None:
            return similar
        return similar.masked_fill(ids[:, None] == self.ids, -math.inf)

    def _weights(self, similar: Tensor) -> Tensor:
        last = similar.topk(self.k, dim=1).values[:, -1:]
        above, equal = similar > last, similar == last
        share = (self.k - above.sum(1, keepdim=True)) / equal.sum(1, keepdim=True)
        # Only the ratios within a row matter, and exp of the difference cannot overflow.
        weights = ((similar - similar.amax(1, keepdim=True)) / self.temperature).exp()
        return weights * (above + equal * share)

    def metrics(self) -> MetricCollection:
        """Return fresh metrics: accuracy, and the mean of the recalls of the classes that occur."""
        return MetricCollection(
            {
                "accuracy": MulticlassAccuracy(self.classes, average="micro", validate_args=False),
                "balanced_accuracy": _BalancedAccuracy(self.classes, validate_args=False),
            }
        )

    def update(self, metrics: Any, features: Features, batch: Batch) -> None:
        """Add a batch to `metrics`; rows without a label are left out."""
        known = batch.has(self.target)
        if known.any():
            found = self.votes(_normalised(features)[known], batch.ids[known]).argmax(1)
            metrics.update(found, batch.targets[self.target][known])


class _BalancedAccuracy(MulticlassConfusionMatrix):
    """The mean of the recalls of those classes that occur; torchmetrics' own counts absent ones that were predicted."""

    higher_is_better = True

    def compute(self) -> Tensor:
        """Return the score."""
        found: Tensor = self.confmat
        return (found.diag() / found.sum(1)).nanmean()


@torch.no_grad()
def remember(
    backbone: Backbone,
    augmentation: Augmentation,
    batches: Iterable[Batch],
    banks: Mapping[str, Bank],
    *,
    device: torch.device | str = "cpu",
    precision: Callable[[], AbstractContextManager[Any]] = nullcontext,
    among: bool = False,
) -> dict[str, Neighbours]:
    """Return the neighbours of each target among the features of `batches`.

    With several processes each gives its own rows, and all of them remember all rows, in the same order.

    Args:
        backbone: The network.
        augmentation: Whose `evaluate` prepares the rows.
        batches: Rows as the data gives them; `ids` are the numbers of the rows.
        banks: What to remember, by target.
        device: Where to compute.
        precision: Makes a context that sets the arithmetic.
        among: The rows that will be scored are among these: leave each of them out of its own neighbours.
    """
    width = sum(shape.pooled for shape in backbone.shapes.values())
    pooled = [torch.zeros(0, width, device=device)]
    ids = [torch.zeros(0, dtype=torch.int64, device=device)]
    labels = {target: [ids[0]] for target in banks}
    with evaluating(backbone):
        for batch in batches:
            rows = batch.to(device)
            with during("in the bank of nearest neighbours", batch.ids), precision():
                found = prepared(backbone, augmentation, rows.inputs)
            pooled.append(_normalised(found))
            ids.append(rows.ids)
            for target, known in labels.items():
                known.append(torch.where(rows.has(target), rows.targets[target], -1))
    numbers, order = _joint(ids).sort()
    features = _joint(pooled)[order]
    made = {}
    for target, bank in banks.items():
        classes = _joint(labels[target])[order]
        kept = (classes >= 0) & torch.isin(numbers, torch.tensor(bank.rows, device=numbers.device))
        made[target] = Neighbours(
            target,
            features[kept],
            classes[kept],
            classes=bank.classes,
            k=bank.keys.k,
            temperature=bank.keys.temperature,
            ids=numbers[kept] if among else None,
        )
    return made


def _normalised(features: Features) -> Tensor:
    """Return the pooled features of all modalities side by side, each row of length 1."""
    pooled = torch.cat([part.pooled for part in features.values()], dim=1)
    return F.normalize(pooled.to(torch.promote_types(pooled.dtype, torch.float32)), dim=1)


def _joint(parts: list[Tensor]) -> Tensor:
    """Return the rows of all parts and all processes, of which each may have another number."""
    own = torch.cat(parts)
    return torch.cat(gather_all_tensors(own.contiguous())) if is_distributed() else own
