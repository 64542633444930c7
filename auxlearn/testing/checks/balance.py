"""What a balancer makes of losses: one total, whose gradient has the weights that it reports."""

from __future__ import annotations

import torch
from torch import Tensor

from auxlearn.learning import LossKey
from auxlearn.testing.asking import backward, few, require_finite
from auxlearn.testing.checking import Fault, NotApplicable, check
from auxlearn.testing.subject import Bench, Subject
from auxlearn.testing.working import Weighed, draws_at, given_to, losses_of, work

__all__ = [
    "balances_one_loss",
    "finite_on_zero_losses",
    "needs_are_declared",
    "shared_is_told",
    "total_is_a_scalar",
    "weights_are_told",
]


def _combined(subject: Subject, losses: dict[LossKey, Tensor], bench: Bench | None = None) -> Weighed:
    done: Weighed = work(subject, bench or subject.bench(), losses, draws_at())
    return done


@check(
    "balancer",
    fix="return `Balanced(total=..., weights=...)` with a scalar that was computed from the losses",
    asks="form",
)
def total_is_a_scalar(subject: Subject) -> None:
    """The total is a finite scalar that depends on every loss: it is what is minimised."""
    losses = given_to(subject)
    done = _combined(subject, losses)
    if not isinstance(done.total, Tensor) or done.total.ndim or not done.total.requires_grad:
        raise Fault(f"the total is {done.total!r:.60}, expected a scalar tensor with a graph")
    require_finite(done.total, " (the total)")
    backward(done.total)
    lacking = [str(key) for key, loss in losses.items() if loss.grad is None]
    if lacking:
        raise Fault(f"the total does not depend on {few(lacking)}")


@check("balancer", fix="report for each loss the derivative of the total by it")
def weights_are_told(subject: Subject) -> None:
    """The weights it reports are those that the losses have in the total: curves are read by them."""
    losses = given_to(subject)
    done = _combined(subject, losses)
    wanted, found = sorted(map(str, losses)), sorted(done.weights)
    if wanted != found:
        raise Fault(f"reports weights of {few(found)}, expected {few(wanted)}")
    backward(done.total)
    for key, loss in losses.items():
        told, real = float(done.weights[str(key)]), float(loss.grad) if loss.grad is not None else 0.0
        if abs(told - real) > 1e-3 * max(1.0, abs(real)):
            raise Fault(f"{key} has weight {real:.4g} in the total, reported is {told:.4g}")


@check("balancer", fix="let `shared` have a factor for the gradient of each loss that was given, and for no other")
def shared_is_told(subject: Subject) -> None:
    """Where parameters that tasks share follow other weights, these are finite, and there is one for each loss."""
    losses = given_to(subject)
    done = _combined(subject, losses)
    if done.shared is None:
        raise NotApplicable("it weighs all parameters alike")
    if subject.provider.needs != "gradients":
        raise Fault(f'weighs shared parameters apart, for which it needs "gradients", not "{subject.provider.needs}"')
    wanted, found = sorted(map(str, losses)), sorted(done.shared)
    if wanted != found:
        raise Fault(f"has weights of the gradients of {few(found)}, expected {few(wanted)}")
    require_finite(done.shared, " (weights of gradients)")


@check("balancer", fix="make no assumption about the number of losses", asks="limits")
def balances_one_loss(subject: Subject) -> None:
    """One loss alone works: tasks start late and end early."""
    losses = dict(list(given_to(subject).items())[:1])
    require_finite(_combined(subject, losses))


@check("balancer", fix="bound what is divided by, or what a logarithm is taken of, from below", asks="limits")
def finite_on_zero_losses(subject: Subject) -> None:
    """Losses of zero have a finite total and finite gradients: a batch without labels has such a loss."""
    losses = {key: torch.zeros_like(loss).requires_grad_() for key, loss in losses_of().items()}
    done = _combined(subject, losses)
    require_finite(done)
    backward(done.total)
    require_finite({str(key): loss.grad for key, loss in losses.items() if loss.grad is not None}, " (gradients)")


@check("balancer", fix="set `needs` alike in the provider and in the class")
def needs_are_declared(subject: Subject) -> None:
    """Provider and class agree on what must be known before the weights are."""
    component = subject.bench().component
    found = getattr(component, "needs", None)
    if found != subject.provider.needs:
        raise Fault(f"the class says needs={found!r}, the provider {subject.provider.needs!r}")
