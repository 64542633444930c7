"""What a component computes: finite numbers, in every precision, for small batches and odd sizes."""

from __future__ import annotations

import torch
from torch import Tensor

from auxlearn.testing.checking import Fault, NotApplicable, check
from auxlearn.testing.subject import Refused, Subject
from auxlearn.testing.tensors import tensors_of
from auxlearn.testing.working import draws_at, given_to, work

__all__ = ["batch_of_one", "batch_of_two"]


@check(
    *("pretext_task", "primary_task", "augmentation"),
    fix="make it work, set `least_rows` in the trial, or yield a Problem from the provider's `check`",
)
def batch_of_one(subject: Subject) -> None:
    """A batch of one row works, or is refused in advance: the last batch of an evaluation may be one row."""
    _small_batch(subject, 1)


@check(
    *("pretext_task", "primary_task", "backbone", "augmentation"),
    fix="make it work, set `least_rows` in the trial, or yield a Problem from the provider's `check`",
)
def batch_of_two(subject: Subject) -> None:
    """A batch of two rows works, or is refused in advance."""
    _small_batch(subject, 2)


def _small_batch(subject: Subject, rows: int) -> None:
    if rows < subject.trial.least_rows:
        raise NotApplicable(f"declares that it needs {subject.trial.least_rows} rows")
    small = subject.changed(rows=rows)
    try:
        bench = small.bench()
    except Refused:
        return
    finite(work(small, bench, given_to(small, rows=rows), draws_at()))


def finite(value: object) -> None:
    """Raise a fault that names the tensors inside of `value` that are not finite."""
    wrong = [name for name, tensor in tensors_of(value).items() if not _finite(tensor)]
    if wrong:
        raise Fault(f"not finite: {', '.join(wrong[:4])}")


def _finite(tensor: Tensor) -> bool:
    return not tensor.is_floating_point() or bool(torch.isfinite(tensor).all())
