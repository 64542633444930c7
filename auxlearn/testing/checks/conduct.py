"""How a component behaves towards what it is given and towards the process that it runs in."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from auxlearn.learning import Motion
from auxlearn.registry import Kind
from auxlearn.testing.asking import few
from auxlearn.testing.checking import Fault, check
from auxlearn.testing.state import global_settings, random_state, scramble
from auxlearn.testing.subject import Bench, Subject
from auxlearn.testing.tensors import copied, different, mapped, tensors_of
from auxlearn.testing.working import draws_at, given_to, work

__all__ = [
    "evaluation_changes_nothing",
    "global_settings_untouched",
    "input_untouched",
    "one_process_equals_two",
    "random_state_untouched",
    "same_draws_same_result",
]

_MODULES: tuple[Kind, ...] = ("pretext_task", "primary_task", "backbone", "augmentation", "balancer")


@check(
    *_MODULES,
    fix="take every random number from `draws`, and change what is kept between steps in `after_step` only",
)
def same_draws_same_result(subject: Subject) -> None:
    """The same draws give the same result, whatever was drawn elsewhere: a resumed run repeats the run."""
    bench = subject.bench().eval()
    first, again, other = (_result(subject, bench, seed) for seed in (1, 1, 2))
    changed = different(first, again)
    if changed:
        raise Fault(f"differs when it is asked again, in evaluation: {few(changed)}")
    changed = different(first, other)
    if changed:
        raise Fault(f"depends on the global generators: {few(changed)}")


def _result(subject: Subject, bench: Bench, seed: int) -> dict[str, Tensor]:
    scramble(seed)
    return copied(work(subject, bench, given_to(subject), draws_at()))


@check(
    "pretext_task",
    "augmentation",
    fix="draw as many numbers for every row, by `draws.<method>(rows, ...)`; keep draws that all rows share in "
    "`draws.number()`",
    asks="limits",
)
def one_process_equals_two(subject: Subject) -> None:
    """Two processes with half of the rows each make what one makes of all: results do not depend on the machine."""
    bench = subject.bench().eval()
    rows = 2 * max(subject.trial.least_rows, subject.trial.rows // 2)
    given = given_to(subject, rows=rows)
    whole = tensors_of(_made(bench, given, 0, 1))
    halves = [tensors_of(_made(bench, _half(given, rank), rank, 2)) for rank in range(2)]
    joint = {name: torch.cat([half[name] for half in halves]) for name in halves[0] if name in halves[1]}
    wrong = [name for name, tensor in whole.items() if name not in joint or not _close(tensor, joint[name])]
    if wrong:
        raise Fault(f"differs between one process and two: {few(wrong)}")


def _made(bench: Bench, given: object, rank: int, world: int) -> list[tuple[object, Motion | None]]:
    """Return what is shown to the backbone."""
    component, draws = bench.component, draws_at(rank=rank, world=world)
    if hasattr(component, "views"):
        return [((view.inputs, view.answers), view.motion) for view in component.views(given, draws)]
    return [component(given, draws)]


def _half(given: Any, rank: int) -> Any:
    return mapped(given, lambda tensor: tensor.chunk(2)[rank])


def _close(first: Tensor, second: Tensor) -> bool:
    if first.shape != second.shape:
        return False
    return torch.allclose(first.double(), second.double(), rtol=1e-4, atol=1e-5)


@check(
    *_MODULES,
    fix="write into a copy (`tensor.clone()`), or use the operation without the trailing underscore",
)
def input_untouched(subject: Subject) -> None:
    """The batch is left as it was: other tasks and the primary loss read the same tensors."""
    bench, given = subject.bench(), given_to(subject)
    before = copied(given)
    work(subject, bench, given, draws_at())
    changed = different(before, copied(given))
    if changed:
        raise Fault(f"changed in place: {few(changed)}")


@check(
    *_MODULES,
    fix="draw from `draws`; code that can draw only from the global generators belongs in `with draws.seeded():`",
)
def random_state_untouched(subject: Subject) -> None:
    """The global generators are left as they were: one task's draws must not change another's."""
    bench = subject.bench().eval()
    given = given_to(subject)
    before = random_state()
    work(subject, bench, given, draws_at())
    after = random_state()
    changed = [name for name, state in before.items() if after[name] != state]
    if changed:
        raise Fault(f"drew from the global generator of {few(changed)}")


@check(*_MODULES, "data_source", fix="leave the settings of the process to the person who runs it")
def global_settings_untouched(subject: Subject) -> None:
    """Default dtype, threads, determinism and signal handlers are left alone: they belong to the whole run."""
    before = global_settings()
    bench = subject.bench()
    if subject.kind != "data_source":
        work(subject, bench, given_to(subject), draws_at())
    after = global_settings()
    changed = [f"{name} from {value} to {after[name]}" for name, value in before.items() if after[name] != value]
    if changed:
        raise Fault(f"changed {few(changed)}")


@check(*_MODULES, fix="update statistics and queues only while `self.training` is true, or in `after_step`")
def evaluation_changes_nothing(subject: Subject) -> None:
    """Evaluation leaves weights and buffers alone: scoring a model must not change it."""
    bench = subject.bench().eval()
    before = copied(bench.state_dict())
    work(subject, bench, given_to(subject), draws_at())
    changed = different(before, copied(bench.state_dict()))
    if changed:
        raise Fault(f"changed in evaluation: {few([name.removeprefix('component.') for name in changed])}")
