"""`Guard`: no NaN enters weights, buffers or checkpoints, and the message says which task brought it."""

from __future__ import annotations

import attrs
import torch
from torch import Tensor

from auxlearn.learning.context import Gather, LossKey
from auxlearn.learning.learner import Learner, Scales
from auxlearn.learning.plan import Group, Plan, Run
from auxlearn.learning.statistics import batch_norms

__all__ = ["Guard", "Trial", "find_culprits"]


class Guard:
    """Keeps a copy of BatchNorm's statistics from before the step, to put back if the step is not finite.

    One sample that is not finite poisons the running statistics in the forward pass, before any loss is seen.

    Args:
        learner: Whose BatchNorm layers.
    """

    def __init__(self, learner: Learner) -> None:
        self._buffers: list[Tensor] = [b for norm in batch_norms(learner).values() for b in norm.buffers()]
        self._kept = [torch.empty_like(buffer) for buffer in self._buffers]

    def remember(self) -> None:
        """Keep the statistics as they are."""
        if self._buffers:
            torch._foreach_copy_(self._kept, self._buffers)

    def restore(self) -> None:
        """Put the kept statistics back."""
        if self._buffers:
            torch._foreach_copy_(self._buffers, self._kept)


@attrs.frozen(eq=False, kw_only=True)
class Trial:
    """A step that is not finite, with all that is needed to compute it again."""

    learner: Learner
    plans: tuple[Plan, ...]
    scales: Scales
    gather: Gather


def find_culprits(trial: Trial) -> dict[LossKey, str]:
    """Return which losses are not finite, or have a gradient that is not: the loss and what is wrong with it.

    Every loss is computed once more on its own. Its randomness is derived, so it comes out as it did in the step.
    """
    learner = trial.learner
    parameters = [p for p in learner.parameters() if p.requires_grad]
    found: dict[LossKey, str] = {}
    for plan in trial.plans:
        by_name = {part.name: part for part in plan.passes}
        for ask in plan.asks:
            runs = tuple(Run((by_name[name],)) for name in dict.fromkeys(ask.passes))
            group = Group(runs=runs, asks=(ask,))
            out = learner(group, trial.scales, plan.weights, plan.moment, trial.gather)
            if not bool(out["loss/0"].isfinite()):
                found[ask.key] = f"loss is {out['loss/0'].item()}"
                continue
            gradients = torch.autograd.grad(out["total"], parameters, allow_unused=True)
            if not all(bool(g.isfinite().all()) for g in gradients if g is not None):
                found[ask.key] = f"loss is {out['loss/0'].item():g}, its gradient is not finite"
    return found
