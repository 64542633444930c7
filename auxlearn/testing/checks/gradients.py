"""Where the gradient goes."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from auxlearn.learning import Features
from auxlearn.testing.asking import backward, few, is_finite, objective, require_finite
from auxlearn.testing.checking import Fault, NotApplicable, check
from auxlearn.testing.subject import Bench, Subject
from auxlearn.testing.working import draws_at, given_to, work

__all__ = [
    "finite_where_features_are_zero",
    "gradient_reaches_every_parameter",
    "gradient_reaches_the_backbone",
    "gradients_finite",
]

_STEPS = 3


@check(
    *("pretext_task", "primary_task"),
    fix="read `features`, and do not detach them (`.detach()`, `torch.no_grad()`, `.data`)",
)
def gradient_reaches_the_backbone(subject: Subject) -> None:
    """The gradient of the loss reaches the backbone: without it the task teaches nothing."""
    bench = _stepped(subject)
    own = bench.own_parameters()
    others = [parameter for name, parameter in bench.named_parameters() if name not in own]
    if not any(parameter.grad is not None and bool(parameter.grad.any()) for parameter in others):
        raise Fault("no parameter of the backbone gets a gradient")


@check(
    *("pretext_task", "primary_task", "backbone", "balancer"),
    fix="use every layer that is made, freeze the others (`requires_grad_(False)`), or do not make them",
)
def gradient_reaches_every_parameter(subject: Subject) -> None:
    """Every own parameter gets a gradient: one without is decayed, and makes several processes wait for it."""
    bench = _stepped(subject)
    own = bench.own_parameters()
    if not own:
        raise NotApplicable("has no parameters")
    lacking = [name.removeprefix("component.") for name, parameter in own.items() if parameter.grad is None]
    if lacking:
        raise Fault(f"no gradient reaches {few(lacking)}")


@check(
    *("pretext_task", "primary_task", "backbone", "balancer"),
    fix="look for a root, a norm or a logarithm at zero; `torch.where` does not hide them from the gradient",
)
def gradients_finite(subject: Subject) -> None:
    """Gradients are finite: one that is not ends the run."""
    _require_finite_gradients(_stepped(subject))


@check(
    *("pretext_task", "primary_task"),
    fix="add an epsilon inside of the root or the norm (`F.normalize`, `clamp(min=eps)`)",
)
def finite_where_features_are_zero(subject: Subject) -> None:
    """Loss and gradient are finite where the features are zero, as those of a dead or an untrained network are."""
    bench = subject.bench()
    bench.backbone = _Zeros(bench.backbone)
    done = work(subject, bench, given_to(subject), draws_at())
    require_finite(done.result.loss, " for features of zero (the loss)")
    backward(done.result.loss)
    _require_finite_gradients(bench)


class _Zeros(nn.Module):
    """Features of zero in the form of a backbone's, with a path for the gradient."""

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self.backbone, self.offset = backbone, nn.Parameter(torch.zeros(()))

    def forward(self, inputs: object) -> Features:
        features: Features = self.backbone(inputs)
        return Features({name: part.map(self._zero) for name, part in features.items()})

    def _zero(self, tensor: Tensor) -> Tensor:
        return torch.zeros_like(tensor) + self.offset.to(tensor.dtype)


def _stepped(subject: Subject) -> Bench:
    """Return a component with the gradients of a few batches."""
    bench = subject.bench().train()
    if subject.kind == "backbone" and not bench.own_parameters():
        raise NotApplicable("has no parameters")
    for step in range(_STEPS):
        backward(objective(work(subject, bench, given_to(subject, seed=step), draws_at(step))))
    return bench


def _require_finite_gradients(bench: Bench) -> None:
    grads = {name: parameter.grad for name, parameter in bench.named_parameters() if parameter.grad is not None}
    wrong = [name.removeprefix("component.") for name, grad in grads.items() if not is_finite(grad)]
    if wrong:
        raise Fault(f"the gradient is not finite: {few(wrong)}")
