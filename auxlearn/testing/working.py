"""How components of each kind are put to work: what they get, and all that they are asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import attrs
import torch
from torch import Tensor

from auxlearn.data import Batch, DataSource
from auxlearn.learning import (
    Augmentation,
    Backbone,
    Balanced,
    Balancer,
    Draws,
    Features,
    LossKey,
    Motion,
    PretextTask,
    PrimaryTask,
    StepContext,
    TaskResult,
    View,
)
from auxlearn.learning.features import in_dtype_of
from auxlearn.registry import Kind
from auxlearn.testing.subject import BALANCED, Bench, Subject

__all__ = [
    "CLASSES",
    "Augmented",
    "Judged",
    "Weighed",
    "Worked",
    "advance",
    "draws_at",
    "given_to",
    "losses_of",
    "work",
]

_STEPS = 100  # of the training that a component believes to be in

CLASSES: Mapping[Kind, type] = {
    "backbone": Backbone,
    "primary_task": PrimaryTask,
    "pretext_task": PretextTask,
    "data_source": DataSource,
    "augmentation": Augmentation,
    "balancer": Balancer,
}


@attrs.frozen(eq=False)
class Worked:
    """What a pretext task gave: its views, their features, how many terms it counted, and its result."""

    views: tuple[View, ...]
    features: tuple[Features, ...]
    count: Any
    result: TaskResult


@attrs.frozen(eq=False)
class Judged:
    """What a primary task gave: how many terms it counted, its result, and its predictions."""

    features: Features
    count: Any
    result: TaskResult
    predicted: Mapping[str, Tensor]


@attrs.frozen(eq=False)
class Augmented:
    """What an augmentation gave, in training and in evaluation."""

    inputs: Mapping[str, Tensor]
    motion: Motion
    evaluated: Mapping[str, Tensor]


@attrs.frozen(eq=False)
class Weighed:
    """What a balancer gave: the total, the weight of each loss, and that of its gradient on what tasks share."""

    total: Tensor
    weights: Mapping[str, Tensor]
    shared: Mapping[str, Tensor] | None = None


def draws_at(step: int = 0, **changes: Any) -> Draws:
    """Return the draws of a step."""
    return Draws(**{"seed": 0, "name": "views", "step": step, **changes})


def given_to(subject: Subject, *, rows: int | None = None, seed: int = 0) -> Any:
    """Return what components of this kind are given: a batch, the inputs of a batch, or losses."""
    if subject.kind == "balancer":
        return losses_of(seed)
    batch = subject.batch(rows, seed=seed)
    return batch if subject.kind in ("pretext_task", "primary_task") else dict(batch.inputs)


def losses_of(seed: int = 0) -> dict[LossKey, Tensor]:
    """Return the losses of a primary task on two views and of a pretext task, each a leaf that takes a gradient."""
    primary, pretext = BALANCED
    views = ("clean", f"{pretext}/0")
    keys = (*(LossKey(primary, "primary", view) for view in views), LossKey(pretext, "pretext", views[1]))
    values = torch.rand(len(keys), generator=torch.Generator().manual_seed(seed)) * 3 + 0.1
    return {key: value.clone().requires_grad_() for key, value in zip(keys, values, strict=True)}


def work(subject: Subject, bench: Bench, given: Any, draws: Draws) -> Any:
    """Let the component do all that a step of training asks of it."""
    return _WORK[subject.kind](bench, given, draws)


def advance(bench: Bench, done: Worked, draws: Draws) -> None:
    """Tell a pretext task that the step is done."""
    task: Any = bench.component
    task.after_step({name: tensor.detach() for name, tensor in done.result.carry.items()}, _step(draws))


def _pretext(bench: Bench, batch: Batch, draws: Draws) -> Worked:
    task: Any = bench.component
    views = task.views(batch, draws)
    features = tuple(_features(bench, view.inputs) for view in views)
    count = task.count(views)
    return Worked(views, features, count, task.loss(features, views, _step(draws)))


def _primary(bench: Bench, batch: Batch, draws: Draws) -> Judged:
    task: Any = bench.component
    features = _features(bench, batch.inputs)
    return Judged(features, task.count(batch), task.loss(features, batch, _step(draws)), task.predict(features))


def _backbone(bench: Bench, inputs: Mapping[str, Tensor], _: Draws) -> Any:
    return bench.component(in_dtype_of(bench.component, inputs))


def _augmentation(bench: Bench, inputs: Mapping[str, Tensor], draws: Draws) -> Augmented:
    component: Any = bench.component
    changed, motion = component(inputs, draws)
    return Augmented(changed, motion, component.evaluate(inputs))


def _balancer(bench: Bench, losses: Mapping[LossKey, Tensor], draws: Draws) -> Weighed:
    weights = {key: 1.0 / (number + 1) for number, key in enumerate(losses)}
    gram = _gram(list(losses.values())) if getattr(bench.component, "needs", "") == "gradients" else None
    step = attrs.evolve(_step(draws), weights=weights)
    balanced: Balanced = bench.component.combine(losses, gram, step)
    shared = None if balanced.shared is None else _named(balanced.shared)
    return Weighed(balanced.total, _named(balanced.weights), shared)


def _gram(losses: Sequence[Tensor]) -> Tensor:
    """Return inner products of gradients, some of which are in conflict, in the form of `losses`."""
    gradients = torch.randn(len(losses), 2 * len(losses), generator=torch.Generator().manual_seed(0))
    gradients[1:] -= gradients[0] / 2
    return (gradients @ gradients.T).to(losses[0])


def _named(weights: Mapping[LossKey, Tensor | float]) -> dict[str, Tensor]:
    return {str(key): torch.as_tensor(weight) for key, weight in weights.items()}


def _features(bench: Bench, inputs: Mapping[str, Tensor]) -> Features:
    features: Features = bench.backbone(in_dtype_of(bench.backbone, inputs))
    return features


def _step(draws: Draws) -> StepContext:
    progress = min(1.0, draws.step / _STEPS)
    return StepContext(step=draws.step, epoch=10 * progress, progress=progress, draws=draws.child("loss"))


_WORK: Mapping[Kind, Callable[[Bench, Any, Draws], Any]] = {
    "pretext_task": _pretext,
    "primary_task": _primary,
    "backbone": _backbone,
    "augmentation": _augmentation,
    "balancer": _balancer,
}
