"""What many checks ask: for something finite, for a scalar to minimise, for a few steps of training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from auxlearn.learning import PretextTask
from auxlearn.testing.checking import Fault, NotApplicable
from auxlearn.testing.state import scramble
from auxlearn.testing.subject import Bench, Subject
from auxlearn.testing.tensors import tensors_of
from auxlearn.testing.working import Judged, Weighed, Worked, advance, draws_at, given_to, work

__all__ = ["backward", "few", "is_finite", "objective", "require_finite", "require_images", "train", "value_of"]

_SHOWN = 4


def few(names: Sequence[str]) -> str:
    """Return the first names, and how many more there are."""
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more} more" if more > 0 else "")


def is_finite(tensor: Tensor) -> bool:
    """Return whether a tensor has neither NaN nor infinity."""
    return not tensor.is_floating_point() or bool(torch.isfinite(tensor).all())


def value_of(value: Tensor | float) -> float:
    """Return a scalar, with or without a graph, as a number."""
    return float(value.detach() if isinstance(value, Tensor) else value)


def backward(scalar: Tensor) -> None:
    """Send the gradient of a scalar back."""
    scalar.backward()  # type: ignore[no-untyped-call]


def require_finite(value: Any, where: str = "") -> None:
    """Raise a fault that names the tensors inside of `value` that are not finite."""
    wrong = [name for name, tensor in tensors_of(value).items() if not is_finite(tensor)]
    if wrong:
        raise Fault(f"not finite{where}: {few(wrong)}")


def require_images(subject: Subject) -> None:
    """Raise that a check does not apply, if there are no images."""
    if subject.size is None:
        raise NotApplicable("works on no images")


def objective(done: Any) -> Tensor:
    """Return what a step minimises: the loss, the total of a balancer, a fixed mix of all that a backbone gave."""
    if isinstance(done, Worked | Judged):
        return done.result.loss
    if isinstance(done, Weighed):
        return done.total
    terms = [(tensor * _pattern(tensor)).mean() for tensor in tensors_of(dict(done)).values() if tensor.requires_grad]
    return torch.stack(terms).sum()


def _pattern(tensor: Tensor) -> Tensor:
    return torch.linspace(-1, 2, tensor.numel(), dtype=tensor.dtype).view_as(tensor)


def train(subject: Subject, bench: Bench, steps: range) -> None:
    """Let the component go through steps of training, without an optimizer: what it stores by itself changes."""
    bench.train()
    for step in steps:
        scramble(step)
        done = work(subject, bench, given_to(subject, seed=step), draws_at(step))
        if isinstance(bench.component, PretextTask):
            advance(bench, done, draws_at(step))
