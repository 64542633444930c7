"""What a component computes: finite numbers, in every precision, for small batches and odd sizes."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from auxlearn.registry import Kind
from auxlearn.testing.asking import few, objective, require_finite, require_images
from auxlearn.testing.checking import Fault, NotApplicable, check
from auxlearn.testing.subject import Refused, Subject
from auxlearn.testing.tensors import mapped, tensors_of
from auxlearn.testing.working import draws_at, given_to, work

__all__ = ["batch_of_one", "batch_of_two", "bf16_autocast", "float64", "oblong_images", "odd_image_sizes"]

_ODD = (33, 45)
_NEAR = 1e-3
_NEAR_IN_BF16 = 0.15  # of three digits, after a network and a sum over rows

_SMALL = (
    "make it work, set `least_rows` in the trial, or yield a Problem for `context.rows` from the provider's `check`"
)
_SIZES = "make it work, or yield a Problem for `context.size` from the provider's `check`"
_BATCHED: tuple[Kind, ...] = ("pretext_task", "primary_task", "backbone", "augmentation")


@check(*_BATCHED, fix=_SMALL, asks="limits")
def batch_of_one(subject: Subject) -> None:
    """A batch of one row works, or is refused in advance: the last batch of an evaluation may be one row."""
    # BatchNorm on a single vector has no variance, so a network is asked as in evaluation.
    _small_batch(subject, 1, training=subject.kind != "backbone")


@check(*_BATCHED, fix=_SMALL, asks="limits")
def batch_of_two(subject: Subject) -> None:
    """A batch of two rows works, or is refused in advance."""
    _small_batch(subject, 2, training=True)


def _small_batch(subject: Subject, rows: int, *, training: bool) -> None:
    if rows < subject.trial.least_rows:
        raise NotApplicable(f"declares that it needs {subject.trial.least_rows} rows")
    small = subject.changed(rows=rows)
    try:
        bench = small.bench().train(training)
    except Refused as refused:
        raise NotApplicable(f"refused in advance: {refused}") from None
    require_finite(work(small, bench, given_to(small), draws_at()))


@check(*_BATCHED, fix=_SIZES, asks="limits")
def odd_image_sizes(subject: Subject) -> None:
    """Images with an odd side work, or are refused in advance: data sets are not made of powers of two."""
    require_images(subject)
    _sizes(subject, [(side, side) for side in _ODD])


@check(*_BATCHED, fix=_SIZES, level="recommended", asks="limits")
def oblong_images(subject: Subject) -> None:
    """Images that are not square work, or are refused in advance."""
    require_images(subject)
    _sizes(subject, [(32, 48), (45, 33)])


def _sizes(subject: Subject, sizes: list[tuple[int, int]]) -> None:
    refusals = []
    for height, width in sizes:
        sized = subject.sized(height, width)
        try:
            bench = sized.bench()
        except Refused as refused:
            refusals.append(refused)
            continue
        try:
            require_finite(work(sized, bench, given_to(sized), draws_at()))
        except Fault as fault:
            raise Fault(f"{height} x {width} px: {fault}") from None
        except Exception as error:
            raise Fault(f"{height} x {width} px: raised {type(error).__name__}: {error}") from error
    if len(refusals) == len(sizes):
        raise NotApplicable(f"refused in advance: {refusals[0]}")


@check(
    *("pretext_task", "primary_task", "backbone", "augmentation", "balancer"),
    fix="take dtypes from the tensors that come in; compute the loss in "
    "`torch.promote_types(tensor.dtype, torch.float32)`",
    asks="limits",
)
def float64(subject: Subject) -> None:
    """In double precision it gives double precision, and the same numbers: gradients can be checked numerically."""
    bench = subject.bench().eval()
    single = work(subject, bench, given_to(subject), draws_at())
    given = given_to(subject)
    # Batches stay as they are, and the backbone takes their inputs in its own precision, as in training.
    given = _doubled(given) if subject.kind == "balancer" else given
    double = work(subject, bench.double(), given, draws_at())
    # Images are made before the network converts them, so an augmentation keeps their precision.
    dtype = None if subject.kind == "augmentation" else torch.float64
    _require_near(_outcome(double), _outcome(single), dtype, _NEAR)


@check(
    *("pretext_task", "primary_task", "backbone"),
    fix="compute the loss in `torch.promote_types(tensor.dtype, torch.float32)`",
    asks="limits",
)
def bf16_autocast(subject: Subject) -> None:
    """Under bfloat16 autocast the loss is a float32 near the exact one: a sum of bf16 terms loses its digits."""
    bench = subject.bench().eval()
    exact = work(subject, bench, given_to(subject), draws_at())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rough = work(subject, bench, given_to(subject), draws_at())
    dtype = None if subject.kind == "backbone" else torch.float32
    _require_near(_outcome(rough), _outcome(exact), dtype, _NEAR_IN_BF16)


def _outcome(done: Any) -> dict[str, Tensor]:
    """Return the scalar to minimise by the name `loss`, or every tensor of a backbone's features."""
    if hasattr(done, "result") or hasattr(done, "total"):
        return {"loss": objective(done)}
    return tensors_of(done)


def _require_near(
    found: dict[str, Tensor], exact: dict[str, Tensor], dtype: torch.dtype | None, tolerance: float
) -> None:
    require_finite(found)
    other = [f"{name} is {tensor.dtype}" for name, tensor in found.items() if dtype and tensor.dtype != dtype]
    if other:
        raise Fault(f"expected {dtype}: {few(other)}")
    for name, tensor in found.items():
        wanted, given = exact[name].double(), tensor.double()
        off = (given - wanted).norm() / wanted.norm().clamp(min=_NEAR)
        if off > tolerance:
            raise Fault(f"{name} is {off:.2g} times its size away from that in float32")


def _doubled(losses: Any) -> Any:
    return mapped(losses, lambda tensor: tensor.detach().double().requires_grad_())
