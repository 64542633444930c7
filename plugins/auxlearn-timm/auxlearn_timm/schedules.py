"""timm's schedules as torch's, stepped once per optimizer step.

timm's schedules are pure functions of the step, so each becomes the factor of a torch `LambdaLR`: it is evaluated on
an optimizer of its own with a learning rate of 1, and the groups of the real one keep their own proportions.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import torch
from timm.scheduler.cosine_lr import CosineLRScheduler
from timm.scheduler.scheduler import Scheduler
from timm.scheduler.wsd_lr import WSDLRScheduler
from torch.optim import SGD, Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler

from auxlearn_timm import TimmCosineParams, TimmWsdParams

__all__ = ["cosine", "warmup_stable_decay"]


class _Context(Protocol):
    """What of auxlearn's `ScheduleContext` is used here."""

    @property
    def optimizer(self) -> Optimizer: ...

    @property
    def total_steps(self) -> int: ...


def cosine(params: TimmCosineParams, context: _Context) -> LRScheduler:
    """Return cosine cycles that together span the training ("SGDR", arXiv 1608.03983, equation 5).

    With `k_decay`, time within a cycle is taken to this power ("k-decay", arXiv 2004.05909). The noise is timm's: a
    normal factor, drawn again while it exceeds `noise_limit`, from a seed and the step alone.
    """
    total, mul = context.total_steps, params.cycle_mul
    units = params.cycles if mul == 1 else (mul**params.cycles - 1) / (mul - 1)
    noise = None if params.noise is None else [round(part * total) for part in params.noise]
    return _scheduled(
        context,
        lambda probe: CosineLRScheduler(
            probe,
            t_initial=total / units,  # type: ignore[arg-type]  # any positive number will do
            lr_min=params.final,
            cycle_mul=mul,
            cycle_decay=params.cycle_decay,
            cycle_limit=params.cycles,
            k_decay=params.k_decay,
            t_in_epochs=False,
            noise_range_t=noise,
            noise_std=params.noise_std,
            noise_pct=params.noise_limit,
            noise_seed=params.noise_seed,
        ),
    )


def warmup_stable_decay(params: TimmWsdParams, context: _Context) -> LRScheduler:
    """Return a constant learning rate that falls over the last part of the training (arXiv 2404.06395, 2405.18392)."""
    total = context.total_steps
    return _scheduled(
        context,
        lambda probe: WSDLRScheduler(
            probe,
            t_initial=total,
            decay_t=max(1, round(params.decay * total)),
            lr_min=params.final,
            decay_fn=params.shape,
            t_in_epochs=False,
        ),
    )


def _scheduled(context: _Context, make: Callable[[Any], Scheduler]) -> LRScheduler:
    """Return the torch schedule whose factor is what timm's schedule makes of a learning rate of 1."""
    probe = SGD([torch.zeros(1, device="cpu", requires_grad=True)], lr=1.0)
    schedule = make(probe)

    def factor(step: int) -> float:
        schedule.step_update(step)
        return float(probe.param_groups[0]["lr"])

    return LambdaLR(context.optimizer, factor)
