"""`DynamicWeightAverage`: weights by how fast the loss of each task fell in the last two epochs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from auxlearn.learning import Balanced, Balancer, LossKey, StepContext
from auxlearn_balancing.tasks import TaskLosses, weighted_sum

__all__ = ["DynamicWeightAverage"]


class _History(NamedTuple):
    """What is known of the losses: the mean so far and its steps in this epoch, and the means of the two before."""

    running: Tensor
    steps: Tensor
    latest: Tensor
    older: Tensor


class DynamicWeightAverage(Balancer):
    r"""Tasks whose loss falls slower than that of the others get a larger weight, anew in each epoch.

    Dynamic Weight Average of "End-to-End Multi-Task Learning with Attention" (Liu, Johns, Davison,
    [arXiv 1803.10704](https://arxiv.org/abs/1803.10704), equation 7). With $L_t(e)$ the mean loss of task $t$ over the
    steps of epoch $e$, and K tasks,

    $$ \lambda_t(e) = \frac{K \exp(r_t(e - 1) / T)}{\sum_i \exp(r_i(e - 1) / T)}, \qquad
       r_t(e - 1) = \frac{L_t(e - 1)}{L_t(e - 2)}, $$

    and $r_t = 1$ in the first two epochs, so all $\lambda_t = 1$. The weights of the spec multiply these: the total is
    $\sum_t \lambda_t \sum_v w_{tv} L_{tv}$, and the $L_t$ whose fall is measured are means over views, unweighted, so a
    ramp of a weight does not look like learning.

    What the paper leaves open: a task that was off throughout one of the two epochs has $r_t = 1$; steps in which it
    was off, or had no row with a label (a loss of exactly 0), do not count, and neither do such views of it. A batch
    that touches two epochs counts for the one that it begins in. Losses should be positive, as in the paper.

    Args:
        tasks: Names of the tasks.
        temperature: The paper's T.

    Examples:
        >>> import torch
        >>> from auxlearn.learning import LossKey, StepContext
        >>> from auxlearn_balancing import DynamicWeightAverage
        >>> keys = [LossKey("kind", "primary", "clean"), LossKey("puzzle", "pretext", "puzzle")]
        >>> balancer = DynamicWeightAverage(["kind", "puzzle"], temperature=1.0)
        >>> for epoch, losses in enumerate(((2.0, 2.0), (2.0, 1.0))):
        ...     balancer.after_step(dict(zip(keys, map(torch.tensor, losses))), StepContext(epoch=epoch))
        >>> step = StepContext(epoch=2, weights=dict.fromkeys(keys, 1.0))
        >>> balanced = balancer.combine(dict.fromkeys(keys, torch.ones(())), None, step)
        >>> [round(weight.item(), 3) for weight in balanced.weights.values()]
        [1.245, 0.755]
    """

    epoch: Tensor
    running: Tensor
    steps: Tensor
    latest: Tensor
    older: Tensor

    def __init__(self, tasks: Sequence[str], *, temperature: float = 2.0) -> None:
        super().__init__()
        if not temperature > 0:
            raise ValueError(f"Parameter `temperature` should be above 0, found {temperature}.")
        self.tasks, self.temperature = tuple(tasks), temperature
        self.register_buffer("epoch", torch.zeros((), dtype=torch.int64))
        self.register_buffer("steps", torch.zeros(len(self.tasks), dtype=torch.int64))
        for name in ("running", "latest", "older"):  # 0: not known
            self.register_buffer(name, torch.zeros(len(self.tasks)))

    def combine(self, losses: Mapping[LossKey, Tensor], gram: Tensor | None, step: StepContext) -> Balanced:
        """Return the sum of `losses` by the weights of this epoch."""
        history = self._history(step.epoch)
        known = (history.latest != 0) & (history.older != 0)
        rates = torch.where(known, history.latest / history.older.where(known, 1.0), 1.0)
        factors = len(self.tasks) * torch.softmax(rates / self.temperature, dim=0)
        weights = TaskLosses(losses, step, self.tasks).scaled(factors)
        return Balanced(total=weighted_sum(losses, weights), weights=weights)

    def after_step(self, losses: Mapping[LossKey, Tensor], step: StepContext) -> None:
        """Add the losses to the means of this epoch; one that has begun since moves the older ones on."""
        history = self._history(step.epoch)
        unweighted = StepContext(weights=dict.fromkeys(losses, 1.0))
        means = TaskLosses(losses, unweighted, self.tasks).means().to(self.running.dtype)
        steps = history.steps + (means != 0)
        moved = history.running + (means - history.running) / steps.clamp(min=1)
        self.running.copy_(torch.where(means != 0, moved, history.running))
        self.steps.copy_(steps)
        self.latest.copy_(history.latest)
        self.older.copy_(history.older)
        self.epoch.fill_(int(step.epoch))

    def _history(self, epoch: float) -> _History:
        """Return the history as it is in `epoch`, which may be the one after that of the last step."""
        new = self.epoch < int(epoch)
        return _History(
            running=torch.where(new, 0.0, self.running),
            steps=torch.where(new, 0, self.steps),
            latest=torch.where(new, self.running, self.latest),
            older=torch.where(new, self.latest, self.older),
        )
