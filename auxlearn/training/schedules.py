"""Learning-rate schedules: torch's, stepped once per optimizer step, with a linear warm-up before them."""

from __future__ import annotations

import math

import attrs
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LinearLR, LRScheduler, MultiStepLR, SequentialLR

__all__ = ["ScheduleContext", "cosine", "linear", "multistep", "with_warmup"]


@attrs.frozen(eq=False, kw_only=True)
class ScheduleContext:
    """What a schedule is built with besides its params.

    Attributes:
        optimizer: Whose learning rates it sets; each group's `lr` is its highest.
        total_steps: Optimizer steps that the schedule spans, the warm-up not counted.
        steps_per_epoch: Optimizer steps in one epoch.
        skipped_steps: Optimizer steps before it begins: the warm-up.
    """

    optimizer: Optimizer
    total_steps: int
    steps_per_epoch: float
    skipped_steps: int = 0


def cosine(context: ScheduleContext, *, final: float = 0.0) -> LRScheduler:
    """Return half a cosine from 1 down to `final` times the highest learning rate.

    torch's CosineAnnealingLR has one floor for all groups; here it is a part of each group's own learning rate.
    """

    def factor(step: int) -> float:
        done = min(1.0, step / max(1, context.total_steps))
        return final + (1 - final) * 0.5 * (1 + math.cos(math.pi * done))

    return LambdaLR(context.optimizer, factor)


def linear(context: ScheduleContext, *, final: float = 0.0) -> LRScheduler:
    """Return a straight line from 1 to `final` times the highest learning rate."""
    return LinearLR(context.optimizer, start_factor=1.0, end_factor=final, total_iters=max(1, context.total_steps))


def multistep(context: ScheduleContext, *, milestones: tuple[int, ...], gamma: float) -> LRScheduler:
    """Return a fall by `gamma` after each of `milestones`, in epochs of the whole training."""
    steps = [round(epoch * context.steps_per_epoch) - context.skipped_steps for epoch in milestones]
    return MultiStepLR(context.optimizer, [max(0, step) for step in steps], gamma)


def with_warmup(optimizer: Optimizer, main: LRScheduler, steps: int) -> LRScheduler:
    """Return `main` after `steps` steps in which the learning rate rises in a straight line."""
    if steps == 0:
        return main
    rise = LinearLR(optimizer, start_factor=1 / (steps + 1), end_factor=1.0, total_iters=steps)
    return SequentialLR(optimizer, [rise, main], milestones=[steps])
