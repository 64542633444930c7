"""`Guard`: no NaN enters weights, buffers or checkpoints, and the message says which task brought it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import attrs
import torch
from torch import Tensor, nn

from auxlearn.learning.context import LossKey
from auxlearn.learning.learner import Learner
from auxlearn.learning.plan import Ask, Group, Plan, Run, Scales
from auxlearn.learning.statistics import batch_norms
from auxlearn.training.devices import FabricGather

__all__ = ["Guard", "Trial", "apart", "clipped_together", "find_culprits", "gradient_norm", "slopes"]


def gradient_norm(gradients: Sequence[Tensor]) -> Tensor:
    """Return the global norm of `gradients`; not finite if any element is not. Zero for none.

    It is `torch.nn.utils.get_total_norm` with one kernel launch for all tensors on a CPU too.
    """
    if not gradients:
        return torch.zeros(())
    norm: Tensor = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(list(gradients))))
    return norm


class Guard:
    """Keeps a copy of BatchNorm's statistics from before the step, to put back if the step is not finite.

    One sample that is not finite poisons the running statistics in the forward pass, before any loss is seen.

    Args:
        learner: Whose BatchNorm layers.
    """

    def __init__(self, learner: Learner) -> None:
        # By type, because a list of mixed types is copied one by one.
        by_type: dict[torch.dtype, list[Tensor]] = {}
        for norm in batch_norms(learner).values():
            for buffer in norm.buffers():
                by_type.setdefault(buffer.dtype, []).append(buffer)
        self._pairs = [([torch.empty_like(b) for b in buffers], buffers) for buffers in by_type.values()]

    def remember(self) -> None:
        """Keep the statistics as they are."""
        for kept, buffers in self._pairs:
            torch._foreach_copy_(kept, buffers)

    def restore(self) -> None:
        """Put the kept statistics back."""
        for kept, buffers in self._pairs:
            torch._foreach_copy_(buffers, kept)


@attrs.frozen(eq=False)
class Trial:
    """A step that went wrong, with all that is needed to compute it again."""

    learner: Learner
    plans: tuple[Plan, ...]
    scales: Scales
    gather: FabricGather


def find_culprits(trial: Trial) -> dict[LossKey, str]:
    """Return which losses are not finite, or have a gradient that is not: the loss and what is wrong with it.

    Every loss is computed once more on its own. Its randomness is derived, so it comes out as it did in the step.
    All processes do the same work, whatever they find, because a loss may talk to the others, and they agree.
    """
    parameters = [p for p in trial.learner.parameters() if p.requires_grad]
    found: dict[LossKey, str] = {}
    for ask, found_loss in apart(trial):
        norm = gradient_norm([g.detach() for g in slopes(found_loss, parameters)])
        loss, slope = trial.gather(torch.stack([found_loss, norm.to(found_loss)]).unsqueeze(0)).sum(0).tolist()
        if not math.isfinite(loss):
            found[ask.key] = f"loss is {loss}"
        elif not math.isfinite(slope):
            found[ask.key] = f"loss is {loss:g}, its gradient is not finite"
    return found


def slopes(loss: Tensor, parameters: Sequence[nn.Parameter]) -> list[Tensor]:
    """Return the gradients of `loss` on those of `parameters` that it reaches; none if it has no graph."""
    if not loss.requires_grad or not parameters:
        return []
    return [g for g in torch.autograd.grad(loss, parameters, allow_unused=True) if g is not None]


def apart(trial: Trial) -> Iterator[tuple[Ask, Tensor]]:
    """Yield each loss of the step, computed once more on its own."""
    for plan in trial.plans:
        by_name = {part.name: part for part in plan.passes}
        for ask in plan.asks:
            runs = tuple(Run((by_name[name],)) for name in dict.fromkeys(ask.passes))
            group = Group(runs=runs, asks=(ask,))
            yield ask, trial.learner(plan.work(group, trial.scales, trial.gather, apart=True))["loss/0"]


def clipped_together(learner: Learner) -> list[list[nn.Parameter]]:
    """Return the trained parameters in the parts whose gradients share a norm.

    Those of the probes are apart, so that nothing else learns less because of them; and so are those of the balancer,
    whose gradients are of losses or norms and have nothing to do with the size of the network's.
    """
    part_of = {id(p): 1 for name in learner.probes for p in learner.primary[name].parameters()}
    part_of |= {id(p): 2 for p in learner.balancer.parameters()}
    parts: tuple[list[nn.Parameter], ...] = ([], [], [])
    for parameter in learner.parameters():
        if parameter.requires_grad:
            parts[part_of.get(id(parameter), 0)].append(parameter)
    return [part for part in parts if part]
