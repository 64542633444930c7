"""What a component costs: no waiting for the device, no breaks of the graph, as much work in every step."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from auxlearn.learning import PretextTask
from auxlearn.registry import Kind
from auxlearn.testing.asking import train
from auxlearn.testing.checking import Fault, NotApplicable, check
from auxlearn.testing.fake_device import FakeDevice
from auxlearn.testing.state import scramble
from auxlearn.testing.subject import Bench, Subject
from auxlearn.testing.working import advance, draws_at, given_to, work

__all__ = ["no_graph_break", "no_host_read", "no_loop_over_rows", "work_bounded"]

_MODULES: tuple[Kind, ...] = ("pretext_task", "primary_task", "backbone", "augmentation", "balancer")
_GROWTH = 1.25
_STEPS = 12


@check(
    *_MODULES,
    fix="choose by `torch.where` and masks instead of `if`, `.item()`, `.tolist()` and boolean indexing; make tensors "
    "on the device of those that come in, and register constants as buffers",
    asks="limits",
)
def no_host_read(subject: Subject) -> None:
    """It reads nothing back from the device and mixes no devices: each read makes the GPU wait for the host."""
    bench = subject.bench()
    fake = FakeDevice()
    fake.take(bench)
    with fake.problems():
        work(subject, bench, fake.moved(given_to(subject)), fake.draws(draws_at()))


@check(
    "backbone", fix="avoid data-dependent control flow, or take the claim `compiles` back from the trial", asks="limits"
)
def no_graph_break(subject: Subject) -> None:
    """Where the author claims it, `torch.compile` traces the backbone as one graph: breaks cost speed."""
    if not subject.trial.compiles:
        raise NotApplicable("the author does not claim it")
    bench = subject.bench().eval()
    torch.compiler.reset()
    compiled = torch.compile(bench.component, fullgraph=True, backend="eager")
    try:
        compiled(given_to(subject))  # type: ignore[no-untyped-call]
    except torch._dynamo.exc.TorchDynamoException as error:
        raise Fault(f"the graph breaks: {str(error).partition(chr(10))[0]}") from error
    finally:
        torch.compiler.reset()


@check(*_MODULES, fix="do not go through all that was kept in each step")
def work_bounded(subject: Subject) -> None:
    """It does as much work in a late step as in an early one: runs take a million of them."""
    bench = subject.bench()
    train(subject, bench, range(1))
    early = _operations(subject, bench, 1)
    train(subject, bench, range(2, _STEPS))
    late = _operations(subject, bench, _STEPS)
    if late > _GROWTH * early + 2:
        raise Fault(f"{early} operations in step 1, {late} in step {_STEPS}")


@check(*_MODULES, fix="work on all rows at once", level="recommended")
def no_loop_over_rows(subject: Subject) -> None:
    """The number of operations does not grow with the rows: a loop in Python makes the GPU wait."""
    if subject.kind == "balancer":
        raise NotApplicable("sees no rows")
    bench, few = subject.bench(), subject.trial.rows
    train(subject, bench, range(1))
    counts = [_operations(subject, bench, 1, rows=rows) for rows in (few, 3 * few)]
    if counts[1] > _GROWTH * counts[0] + 2:
        raise Fault(f"{counts[0]} operations for {few} rows, {counts[1]} for {3 * few}")


class _Counter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the operations that torch is asked for."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += 1
        return func(*args, **(kwargs or {}))


def _operations(subject: Subject, bench: Bench, step: int, rows: int | None = None) -> int:
    """Return the number of operations of one step."""
    given = given_to(subject, rows=rows, seed=step)
    scramble(step)
    with _counted() as counter:
        done = work(subject, bench.train(), given, draws_at(step))
        if isinstance(bench.component, PretextTask):
            advance(bench, done, draws_at(step))
    return counter.count


@contextmanager
def _counted() -> Iterator[_Counter]:
    with _Counter() as counter:
        yield counter
