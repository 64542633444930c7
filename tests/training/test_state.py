"""A trainer that goes on from a checkpoint on disk takes the same steps, whatever its optimizer and schedule keep."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.optim import Optimizer, lr_scheduler
from torch.optim.lr_scheduler import LRScheduler

from auxlearn import Learner, Trainer
from auxlearn.registry import Provider, discover
from auxlearn.spec.structure import structure
from auxlearn.testing.fakes import TinyBackbone, TinyPretext, TinyPrimary, tiny_batch
from auxlearn.training.checkpoint import Checkpoints
from auxlearn.training.schedules import ScheduleContext, with_warmup
from auxlearn.training.state import pack, unpack

STEPS, WARMUP = 7, 2
STOPS = (1, 3)  # in the warm-up, and after it but before the milestones


def offered(kind: str) -> list[Any]:
    """Return the providers of a kind, those of installed plugins too."""
    found = [one for one in discover().found if one.kind == kind]
    return [pytest.param(one.provider, id=one.full_name) for one in found]


def build(provider: Provider, context: Any) -> Any:
    params = provider.trial().params if provider.trial else {}
    return provider.build(structure(provider.params, dict(params)), context)


def adamw(learner: Learner) -> Optimizer:
    return torch.optim.AdamW(learner.parameters(), lr=0.1)


def make(optimizer: Callable[[Learner], Optimizer], schedule: Callable[[Optimizer], LRScheduler] | None) -> Trainer:
    torch.manual_seed(0)
    learner = Learner(TinyBackbone(), primary={"kind": TinyPrimary()}, pretext={"flip": TinyPretext()})
    made = optimizer(learner)
    return Trainer(learner, made, scheduler=schedule(made) if schedule else None)


def go(trainer: Trainer, steps: int) -> list[list[float]]:
    """Take steps; return the learning rates of each."""
    rates = []
    for _ in range(steps):
        rates.append([float(group["lr"]) for group in trainer.raw_optimizer.param_groups])
        trainer.step(tiny_batch(seed=trainer.steps))
    return rates


def assert_goes_on(again: Callable[[], Trainer], folder: Path) -> None:
    """Check that a training goes on alike from a checkpoint."""
    whole = again()
    rates = go(whole, STEPS)
    for stop in STOPS:
        first, later = again(), again()
        go(first, stop)
        Checkpoints(folder).save(stop, pack(first, {}))
        unpack(later, Checkpoints(folder).load(stop))
        assert go(later, STEPS - stop) == rates[stop:]
        for name, tensor in later.learner.state_dict().items():
            assert torch.equal(tensor, whole.learner.state_dict()[name]), (stop, name)


@pytest.mark.parametrize("warmup", [0, WARMUP])
@pytest.mark.parametrize("provider", offered("schedule"))
def test_every_schedule_goes_on(provider: Provider, warmup: int, tmp_path: Path) -> None:
    def schedule(optimizer: Optimizer) -> LRScheduler:
        context = ScheduleContext(
            optimizer=optimizer, total_steps=STEPS - warmup, steps_per_epoch=2, skipped_steps=warmup
        )
        return with_warmup(optimizer, build(provider, context), warmup)

    assert_goes_on(lambda: make(adamw, schedule), tmp_path)


# A plugin may return any of them.
OF_TORCH: dict[str, Callable[[Optimizer], LRScheduler]] = {
    "milestones": lambda o: lr_scheduler.MultiStepLR(o, [4, 5, 5], 0.5),
    "restarts": lambda o: lr_scheduler.CosineAnnealingWarmRestarts(o, 3),
    "one cycle": lambda o: lr_scheduler.OneCycleLR(o, max_lr=0.2, total_steps=STEPS + 1),
    "cyclic": lambda o: lr_scheduler.CyclicLR(o, 0.1, 0.3, step_size_up=2, cycle_momentum=False),
    "chained": lambda o: lr_scheduler.ChainedScheduler(
        [lr_scheduler.MultiStepLR(o, [4], 0.5), lr_scheduler.ExponentialLR(o, 0.9)]
    ),
}


# torch puts no other before one that is chained.
@pytest.mark.parametrize(("name", "warmup"), [(n, w) for n in OF_TORCH for w in (0, WARMUP) if n != "chained" or not w])
def test_the_schedules_of_torch_go_on(name: str, warmup: int, tmp_path: Path) -> None:
    assert_goes_on(lambda: make(adamw, lambda o: with_warmup(o, OF_TORCH[name](o), warmup)), tmp_path)


@pytest.mark.parametrize("provider", offered("optimizer"))
def test_every_optimizer_goes_on(provider: Provider, tmp_path: Path) -> None:
    def optimizer(learner: Learner) -> Optimizer:
        made: Optimizer = build(provider, [{"params": list(learner.parameters()), "lr": 0.01, "weight_decay": 0.1}])
        return made

    assert_goes_on(lambda: make(optimizer, None), tmp_path)


def test_a_learning_rate_that_is_a_tensor_stays_one(tmp_path: Path) -> None:
    def optimizer(learner: Learner) -> Optimizer:
        return torch.optim.AdamW(learner.parameters(), lr=torch.tensor(0.1), fused=True)

    def schedule(made: Optimizer) -> LRScheduler:
        return lr_scheduler.ExponentialLR(made, 0.5)

    assert_goes_on(lambda: make(optimizer, schedule), tmp_path)
