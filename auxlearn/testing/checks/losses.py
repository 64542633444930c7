"""What a task says its loss is: a scalar, a sum, over as many terms as it counts."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from auxlearn.data import Batch
from auxlearn.learning import Features, StepContext, TaskResult
from auxlearn.registry import Kind
from auxlearn.testing.asking import few, require_finite, value_of
from auxlearn.testing.checking import Fault, NotApplicable, check
from auxlearn.testing.subject import Bench, Subject
from auxlearn.testing.tensors import mapped, tensors_of
from auxlearn.testing.working import draws_at, given_to, work

__all__ = ["count_agrees_with_rows", "loss_is_a_scalar", "loss_is_a_sum", "result_is_detached"]

_TASKS: tuple[Kind, ...] = ("pretext_task", "primary_task")
_MORE = 4  # times the rows


@check(*_TASKS, fix="return `TaskResult(loss=...)` with a scalar that was computed from the features", asks="result")
def loss_is_a_scalar(subject: Subject) -> None:
    """`loss` returns a TaskResult with a finite scalar that has a graph: it is what is minimised."""
    result = work(subject, subject.bench(), given_to(subject), draws_at()).result
    if not isinstance(result, TaskResult):
        raise Fault(f"`loss` returned {type(result).__name__}, expected TaskResult")
    if not isinstance(result.loss, Tensor):
        raise Fault(f"`loss.loss` is {type(result.loss).__name__}, expected a tensor")
    if result.loss.ndim or not result.loss.is_floating_point():
        raise Fault(
            f"`loss.loss` has shape {tuple(result.loss.shape)} and {result.loss.dtype}, expected a float scalar"
        )
    if not result.loss.requires_grad:
        raise Fault("`loss.loss` has no graph, so nothing learns from it")
    require_finite(result.loss, " (the loss)")


@check(*_TASKS, fix="detach what is only to be looked at or stored: `tensor.detach()`")
def result_is_detached(subject: Subject) -> None:
    """Metrics are finite scalars, and what is carried has rows, both without a graph: they outlive the step."""
    batch = given_to(subject)
    result = work(subject, subject.bench(), batch, draws_at()).result
    for name, value in result.metrics.items():
        if not isinstance(value, Tensor) or value.ndim:
            raise Fault(f"metric {name} is {_form(value)}, expected a scalar tensor")
    for name, value in result.carry.items():
        if not isinstance(value, Tensor) or not value.ndim or len(value) % len(batch):
            raise Fault(f"`carry` has {name} of {_form(value)}, expected {len(batch)} rows first")
    held = tensors_of({"metrics": result.metrics, "carry": result.carry})
    graphs = [name for name, tensor in held.items() if tensor.requires_grad]
    if graphs:
        raise Fault(f"holds on to the graph: {few(graphs)}")
    require_finite(result.metrics, " (metrics)")


def _form(value: object) -> str:
    return f"shape {tuple(value.shape)}" if isinstance(value, Tensor) else f"type {type(value).__name__}"


@check(
    *_TASKS,
    fix="add the terms up (`reduction='sum'`) and let `count` say how many there are; the engine divides",
)
def loss_is_a_sum(subject: Subject) -> None:
    """The loss is a sum over the rows, not their mean: the engine divides by the count of all processes."""
    bench, rows = subject.bench().eval(), subject.trial.rows
    batch = given_to(subject)
    single = work(subject, bench, batch, draws_at())
    twice = _twice(subject, bench, batch, single)
    more = work(subject, bench, given_to(subject, rows=_MORE * rows, seed=1), draws_at(1))
    loss = value_of(single.result.loss)
    if abs(loss) < 1e-9:
        raise NotApplicable("its loss is zero here")
    doubled, grown = value_of(twice.loss) / loss, value_of(more.result.loss) / loss
    # A loss that compares rows with one another need not double with the same rows twice, or not grow with others;
    # a mean does neither.
    if not (1.8 <= doubled <= 2.2 or grown >= 0.55 * _MORE):
        raise Fault(f"with the same rows twice the loss is {doubled:.2f} times as large, expected 2")


def _twice(subject: Subject, bench: Bench, batch: Batch, done: Any) -> TaskResult:
    """Return the loss of the same rows twice."""

    def both(tensor: Tensor) -> Tensor:
        return torch.cat([tensor, tensor]) if tensor.ndim and len(tensor) == len(batch) else tensor

    task, step = bench.component, StepContext(draws=draws_at())
    if subject.kind == "primary_task":
        result: TaskResult = task.loss(_each(done.features, both), mapped(batch, both), step)
    else:
        views = tuple(mapped(view, both) for view in done.views)
        result = task.loss(tuple(_each(one, both) for one in done.features), views, step)
    return result


def _each(features: Features, change: Any) -> Features:
    return Features({name: part.map(change) for name, part in features.items()})


@check(*_TASKS, fix="let `count` return how many terms `loss` adds up: for most tasks the rows")
def count_agrees_with_rows(subject: Subject) -> None:
    """`count` is a number that grows with the rows: the mean of all processes and micro-batches is exact by it."""
    bench, rows = subject.bench().eval(), subject.trial.rows
    counts = [work(subject, bench, given_to(subject, rows=times * rows), draws_at()).count for times in (1, _MORE)]
    for count in counts:
        if isinstance(count, Tensor) and (count.ndim or count.requires_grad):
            raise Fault(f"`count` is a tensor of shape {tuple(count.shape)}, expected a scalar without a graph")
        if not isinstance(count, Tensor | int | float) or float(count) <= 0:
            raise Fault(f"`count` is {count!r}, expected a number above 0")
    ratio = float(counts[1]) / float(counts[0])
    if not 0.7 * _MORE <= ratio <= 1.4 * _MORE:
        raise Fault(f"counts {float(counts[0]):g} for {rows} rows and {float(counts[1]):g} for {_MORE * rows}")
