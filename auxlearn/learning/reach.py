"""`Reach`: whether the losses send something back to what they should teach, found on the first use of each task."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor, nn

from auxlearn.learning.context import LossKey
from auxlearn.learning.features import Features

__all__ = ["Reach"]

_MOST_NAMES = 4


class Reach:
    """Looks once at the graph of each task's loss, and once at the gradients that it has left.

    Examples:
        >>> import torch
        >>> from auxlearn.learning import Feature, Features, LossKey
        >>> from auxlearn.learning.reach import Reach
        >>> reach, pooled = Reach(), torch.zeros(2, 3, requires_grad=True) * 2
        >>> head = torch.nn.Linear(3, 1)
        >>> key = LossKey("puzzle", "pretext", "clean")
        >>> reach.look(key, head(pooled.detach()).sum(), [Features({"image": Feature(pooled=pooled)})])
        >>> reach.told()
        ['pretext task puzzle: nothing reaches the backbone, its loss does not depend on the features it is given']
    """

    def __init__(self) -> None:
        self._looked: set[tuple[str, str]] = set()
        self._told: list[str] = []
        self._new: list[LossKey] = []

    def look(self, key: LossKey, loss: Tensor, features: Sequence[Features]) -> None:
        """Look at the graph of `loss`, which was asked about `features`, unless that of its task is known."""
        if key[:2] in self._looked or not torch.is_grad_enabled():
            return
        self._looked.add(key[:2])
        self._new.append(key)
        given = [t for one in features for part in one.values() for t in (part.pooled, *part.maps) if t.requires_grad]
        if given and not _depends(loss, given):
            why = "its loss does not depend on the features it is given"
            self._told.append(f"{key.role} task {key.task}: nothing reaches the backbone, {why}")

    def look_at_gradients(self, tasks: Mapping[str, nn.ModuleDict]) -> None:
        """Look, after the backward pass, at the parameters of the tasks, by role and name, whose losses are new."""
        for key in self._new:
            named = [(name, p) for name, p in tasks[key.role][key.task].named_parameters() if p.requires_grad]
            still = [name for name, p in named if p.grad is None]
            if still:
                shown = ", ".join(still[:_MOST_NAMES]) + (", ..." if len(still) > _MOST_NAMES else "")
                self._told.append(f"{key.role} task {key.task}: no gradient reaches {shown}; they do not learn")
        self._new.clear()

    def told(self) -> list[str]:
        """Return what there is to say, once."""
        told, self._told = self._told, []
        return told


def _depends(loss: Tensor, given: Iterable[Tensor]) -> bool:
    """Return whether the graph of `loss` leads to one of the tensors."""
    leaves = {id(tensor) for tensor in given if tensor.grad_fn is None}
    ends = {tensor.grad_fn for tensor in given if tensor.grad_fn is not None}
    pending, known = [loss.grad_fn], set()
    while pending:
        node = pending.pop()
        if node is None or node in known:
            continue
        if node in ends or id(getattr(node, "variable", None)) in leaves:
            return True
        known.add(node)
        pending += [one for one, _ in node.next_functions]
    return False
