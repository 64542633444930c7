"""`TaskLosses`: the losses of a step by task, since papers weigh tasks, of which each may have several views."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from auxlearn.learning import LossKey, StepContext

__all__ = ["TaskLosses", "weighted_sum"]


class TaskLosses:
    r"""Which losses of a step belong to which task, and the weight $w_k$ that the spec gives each.

    The loss of task $t$ is $\sum_{k \in t} w_k L_k$, so its gradient is row $t$ of $S J$, where $S$ `[T, K]` has the
    weights, and J the gradients of the losses as rows.

    Args:
        losses: Of a step, in the order of the Gramian.
        step: Has the weights.
        tasks: The tasks in the order of all results, those that are off in this step too; default: those of the losses.

    Attributes:
        tasks: Names of the tasks.
        keys: The losses.
        present: For each task whether it has a loss in this step.
        primary: For each task whether it is one.

    Examples:
        >>> import torch
        >>> from auxlearn.learning import LossKey, StepContext
        >>> from auxlearn_balancing import TaskLosses
        >>> keys = [LossKey("kind", "primary", v) for v in ("clean", "puzzle/0")] + [LossKey("puzzle", "pretext", "")]
        >>> losses = {key: torch.tensor(1.0) for key in keys}
        >>> tasks = TaskLosses(losses, StepContext(weights=dict(zip(keys, (0.5, 0.5, 0.3)))))
        >>> tasks.gram(torch.eye(3))
        tensor([[0.5000, 0.0000],
                [0.0000, 0.0900]])
    """

    def __init__(self, losses: Mapping[LossKey, Tensor], step: StepContext, tasks: Sequence[str] | None = None) -> None:
        self.keys = tuple(losses)
        self.tasks = tuple(dict.fromkeys(key.task for key in losses)) if tasks is None else tuple(tasks)
        unknown = [key.task for key in losses if key.task not in self.tasks]
        if unknown:
            raise ValueError(f"Losses should be of the tasks {list(self.tasks)}, found {unknown}.")
        self._weights = [float(step.weights[key]) for key in losses]
        self._values = torch.stack([loss.detach() for loss in losses.values()])
        self._values = self._values.to(torch.promote_types(self._values.dtype, torch.float32))
        given = {key.task: key.role for key in losses}
        self.present = tuple(name in given for name in self.tasks)
        self.primary = tuple(given.get(name) == "primary" for name in self.tasks)

    def weights(self) -> Tensor:
        """Return S: the weight of each loss in the row of its task, [T, K]."""
        return self._rows(self._weights)

    def shares(self) -> Tensor:
        """Return the share of each loss in the weight of its task: [T, K].

        A view with a loss of exactly 0, as without a row that has a label, has no share. Rows add up to 1, or are 0
        where there is no other view.
        """
        parts = self.weights() * (self._values != 0)
        return parts / parts.sum(1, keepdim=True).clamp(min=torch.finfo(parts.dtype).tiny)

    def means(self) -> Tensor:
        """Return the mean loss of each task over its views by their shares, 0 where it has none: [T]."""
        return self.shares() @ self._values

    def gram(self, gram: Tensor, *, weighted: bool = True) -> Tensor:
        """Return the inner products of the gradients of the tasks' losses, from those of all: [T, T].

        Args:
            gram: The inner products of the gradients of all losses, [K, K].
            weighted: Take the losses by their weights; else by these over the whole weight of their task, so that a
                task of any weight has the gradient that it has with weight 1.
        """
        weights = self.weights().to(gram.dtype)
        if not weighted:
            weights = weights / weights.sum(1, keepdim=True).clamp(min=torch.finfo(weights.dtype).tiny)
        return weights @ gram @ weights.T

    def mask(self, chosen: Sequence[bool]) -> Tensor:
        """Return a choice of tasks as booleans on the device of the losses: [T]."""
        return torch.tensor(chosen).to(self._values.device, non_blocking=True)

    def scaled(self, factors: Tensor) -> dict[LossKey, Tensor]:
        """Return the weight of each loss times the factor of its task.

        Args:
            factors: One for each task, [T].
        """
        each = factors.unbind()
        place = {name: number for number, name in enumerate(self.tasks)}
        parts = zip(self.keys, self._weights, strict=True)
        return {key: each[place[key.task]] * weight for key, weight in parts}

    def _rows(self, each: Sequence[float]) -> Tensor:
        rows = [
            [value if key.task == name else 0.0 for key, value in zip(self.keys, each, strict=True)]
            for name in self.tasks
        ]
        return torch.tensor(rows, dtype=self._values.dtype).to(self._values.device, non_blocking=True)


def weighted_sum(losses: Mapping[LossKey, Tensor], weights: Mapping[LossKey, Tensor | float]) -> Tensor:
    """Return the sum of the losses by their weights.

    Examples:
        >>> import torch
        >>> from auxlearn.learning import LossKey
        >>> from auxlearn_balancing import weighted_sum
        >>> key = LossKey("puzzle", "pretext", "puzzle/0")
        >>> weighted_sum({key: torch.tensor(2.0)}, {key: 0.25})
        tensor(0.5000)
    """
    return torch.stack([loss * weights[key] for key, loss in losses.items()]).sum()
