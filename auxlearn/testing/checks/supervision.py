"""What a primary task does with labels: those that are missing do not count, predictions and scores are sound."""

from __future__ import annotations

import json
from typing import Any

import attrs
import torch
from torch import Tensor, nn

from auxlearn.data import Batch
from auxlearn.learning import Features, Motion, PrimaryTask
from auxlearn.testing.asking import backward, few, is_finite, require_finite, value_of
from auxlearn.testing.checking import Fault, NotApplicable, check
from auxlearn.testing.subject import Bench, Subject
from auxlearn.testing.tensors import tensors_of
from auxlearn.testing.working import draws_at, given_to, work

__all__ = [
    "batch_without_labels",
    "description_is_json",
    "geometry_is_declared",
    "linear_head_is_its_own",
    "predictions_row_by_row",
    "scores_are_sound",
    "targets_are_known",
    "unlabelled_rows_do_not_count",
]


def _task(bench: Bench) -> PrimaryTask:
    task: PrimaryTask = bench.component
    return task


def _labelled(task: PrimaryTask, batch: Batch, which: Tensor) -> Batch:
    return attrs.evolve(batch, present={f"targets/{name}": which for name in task.targets})


@check(
    "primary_task",
    fix="name in `targets` what `context.targets` has, and raise a SpecError if it has it not",
    asks="limits",
)
def targets_are_known(subject: Subject) -> None:
    """It learns from targets that the data has."""
    targets = _task(subject.bench()).targets
    unknown = [str(name) for name in targets if name not in subject.trial.targets]
    if not targets or not isinstance(targets, tuple) or unknown:
        raise Fault(f"`targets` is {targets!r}, expected a tuple of some of {', '.join(subject.trial.targets)}")


@check("primary_task", fix="multiply each term by `batch.has(target)`, and let `count` return its sum")
def unlabelled_rows_do_not_count(subject: Subject) -> None:
    """Rows without a label count as nothing, whatever stands in their place."""
    bench, batch = subject.bench().eval(), given_to(subject)
    task, has = _task(bench), torch.arange(len(batch)) % 2 == 0
    found = []
    for seed in (1, 2):
        other = given_to(subject, seed=seed).targets
        targets = {name: torch.where(_wide(has, t), t, other[name]) for name, t in batch.targets.items()}
        part = _labelled(task, attrs.evolve(batch, targets=targets), has)
        found.append(work(subject, bench, part, draws_at()))
    whole = work(subject, bench, batch, draws_at())
    if value_of(found[0].count) > 0.9 * value_of(whole.count):
        raise Fault(f"counts {value_of(found[0].count):g} terms where half of the rows have no label")
    first, second = (value_of(one.result.loss) for one in found)
    if abs(first - second) > 1e-5 * max(1.0, abs(first)):
        raise Fault("the loss depends on the labels of rows that have none")


def _wide(mask: Tensor, like: Tensor) -> Tensor:
    return mask.view(-1, *[1] * (like.ndim - 1))


@check("primary_task", fix="mask the terms and add them up; a mean over no rows is NaN", asks="limits")
def batch_without_labels(subject: Subject) -> None:
    """A batch without any label has a loss of zero and finite gradients: they are common with few labels."""
    bench, batch = subject.bench(), given_to(subject)
    none = torch.zeros(len(batch), dtype=torch.bool)
    done = work(subject, bench, _labelled(_task(bench), batch, none), draws_at())
    if value_of(done.result.loss) != 0 or value_of(done.count) != 0:
        raise Fault(
            f"the loss is {value_of(done.result.loss):g} over {value_of(done.count):g} terms, expected 0 over 0"
        )
    require_finite(done.result.metrics, " (metrics)")
    backward(done.result.loss)
    wrong = [name for name, p in bench.named_parameters() if p.grad is not None and not is_finite(p.grad)]
    if wrong:
        raise Fault(f"the gradient is not finite: {few(wrong)}")


@check("primary_task", fix="return a mapping of tensors, rows first, each computed from its own row")
def predictions_row_by_row(subject: Subject) -> None:
    """A prediction has a row for each input and depends on it alone: users predict in batches of any size."""
    bench, batch = subject.bench().eval(), given_to(subject)
    task, features = _task(bench), work(subject, bench, batch, draws_at()).features
    whole = task.predict(features)
    if not whole or any(not isinstance(t, Tensor) or not t.ndim or len(t) != len(batch) for t in whole.values()):
        raise Fault(f"`predict` returned {_forms(whole)}, expected {len(batch)} rows first")
    require_finite(dict(whole), " (predictions)")
    part = task.predict(features.take(slice(0, 2)))
    wrong = [name for name, t in part.items() if not torch.allclose(t.float(), whole[name][:2].float(), atol=1e-5)]
    if wrong:
        raise Fault(f"the first rows change with the others: {few(wrong)}")


def _forms(found: Any) -> str:
    return ", ".join(f"{name} {tuple(tensor.shape)}" for name, tensor in tensors_of(found).items()) or repr(found)[:60]


@check("primary_task", fix="return a new `MetricCollection` from `metrics`, and update it with labelled rows only")
def scores_are_sound(subject: Subject) -> None:
    """Scores are of labelled rows only, begin anew with each `metrics()`, and the first, the watched one, is finite."""
    bench, batch = subject.bench().eval(), given_to(subject)
    task, features = _task(bench), work(subject, bench, batch, draws_at()).features
    has = torch.arange(len(batch)) % 2 == 0
    partial = _score(task, features, _labelled(task, batch, has))
    again = _score(task, features.take(has), batch.take(has))
    if not partial:
        raise Fault("`metrics` has no metric")
    # Others may be undefined, as the recall of a class that no row has.
    first = next(iter(partial))
    if not is_finite(partial[first]):
        raise Fault(f"{first} is not finite")
    same = {name: torch.allclose(value, again[name], atol=1e-5, equal_nan=True) for name, value in partial.items()}
    wrong = [name for name, equal in same.items() if not equal]
    if wrong:
        raise Fault(f"unlabelled rows, or an earlier collection, change {few(wrong)}")


def _score(task: PrimaryTask, features: Features, batch: Batch) -> dict[str, Tensor]:
    metrics = task.metrics()
    with torch.no_grad():
        task.update(metrics, features, batch)
    return {name: torch.as_tensor(value).float() for name, value in metrics.compute().items()}


@check("primary_task", fix="return None, or the `nn.Linear` that the task itself uses on the pooled feature")
def linear_head_is_its_own(subject: Subject) -> None:
    """What `linear` returns is a layer of the task: it is exported as the head."""
    bench = subject.bench()
    head = _task(bench).linear()
    if head is None:
        raise NotApplicable("its head is no single layer")
    widths = {shape.pooled for shape in bench.features.values()}
    if not isinstance(head, nn.Linear) or all(part is not head for part in bench.modules()):
        raise Fault(f"`linear` returned {type(head).__name__}, expected an `nn.Linear` of the task")
    if head.in_features not in widths:
        raise Fault(f"`linear` reads {head.in_features} numbers, the pooled feature has {sorted(widths)}")


@check("primary_task", fix="return plain numbers, strings, lists and dicts from `describe`")
def description_is_json(subject: Subject) -> None:
    """What `describe` returns is JSON: it travels with the exported model."""
    found = _task(subject.bench()).describe()
    try:
        again = json.loads(json.dumps(found, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise Fault(f"`describe` returned what is no JSON: {error}") from error
    if not isinstance(again, dict):
        raise Fault(f"`describe` returned {type(found).__name__}, expected a mapping")


@check("primary_task", fix="set `needs_geometry` alike in provider and class, and move targets by the motion")
def geometry_is_declared(subject: Subject) -> None:
    """Provider and task agree on whether targets move with the image, and a motion of nothing moves none."""
    task, batch = _task(subject.bench()), given_to(subject)
    if task.needs_geometry != subject.provider.needs_geometry:
        raise Fault(
            f"the task says needs_geometry={task.needs_geometry}, the provider {subject.provider.needs_geometry}"
        )
    moved = task.move_targets(batch.targets, Motion.still(len(batch)))
    wrong = [name for name, t in moved.items() if not torch.allclose(t.float(), batch.targets[name].float(), atol=1e-3)]
    if wrong:
        raise Fault(f"a motion of nothing changes {few(wrong)}")
