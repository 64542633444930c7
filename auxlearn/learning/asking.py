"""The engine's calls to the methods of components: each names the component, and looks at what comes back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor

from auxlearn.calls import calling
from auxlearn.data import Batch
from auxlearn.learning import forms
from auxlearn.learning.context import LossKey, StepContext
from auxlearn.learning.draws import Draws
from auxlearn.learning.features import Features, in_dtype_of
from auxlearn.learning.interfaces import (
    Augmentation,
    Backbone,
    Balanced,
    Balancer,
    PretextTask,
    PrimaryTask,
    TaskResult,
    View,
)
from auxlearn.learning.motion import Motion
from auxlearn.learning.plan import Ask
from auxlearn.learning.statistics import SeparateNorms, Statistics, run_backbone

__all__ = [
    "ask_balancer",
    "ask_count",
    "ask_loss",
    "ask_picture",
    "ask_predict",
    "ask_views",
    "augmented",
    "evaluated",
    "featured",
    "prepared",
]


def augmented(
    augmentation: Augmentation, given: Mapping[str, Tensor], draws: Draws
) -> tuple[Mapping[str, Tensor], Motion]:
    """Return the clean view of training, and what happened to its geometry."""
    with calling("augment", "", "forward", given.values()):
        return forms.require_augmented(augmentation(given, draws), given)


def evaluated(augmentation: Augmentation, given: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """Return the rows as evaluation sees them."""
    with calling("augment", "", "evaluate", given.values()):
        return forms.require_inputs(augmentation.evaluate(given), given)


def ask_picture(name: str, task: PretextTask, views: tuple[View, ...], result: TaskResult) -> Mapping[str, Tensor]:
    """Return the images that the task draws of its `views`, and of what it made of them."""
    with calling("pretext", name, "picture"):
        return forms.require_pictures(task.picture(views, result))


def ask_predict(name: str, task: PrimaryTask, features: Features) -> Mapping[str, Tensor]:
    """Return what the task predicts from `features`."""
    if torch.compiler.is_compiling():  # an export shall hold the operations, and nothing of this
        return task.predict(features)
    with calling("primary", name, "predict"):
        rows = next(iter(features.values())).pooled.shape[0]
        return forms.require_rows(task.predict(features), rows)


def featured(
    backbone: Backbone,
    inputs: Mapping[str, Tensor],
    statistics: Statistics = "shared",
    separate: SeparateNorms | None = None,
) -> Features:
    """Return the features of `inputs`, which have the type in which the backbone computes."""
    if torch.compiler.is_compiling():
        return run_backbone(backbone, inputs, statistics, separate)
    with calling("backbone", "", "forward", inputs.values()):
        return forms.require_features(run_backbone(backbone, inputs, statistics, separate), backbone.shapes, inputs)


def prepared(backbone: Backbone, augmentation: Augmentation, given: Mapping[str, Tensor]) -> Features:
    """Return the features of rows as the data gives them, as evaluation sees them."""
    return featured(backbone, in_dtype_of(backbone, evaluated(augmentation, given)))


def ask_views(name: str, task: PretextTask, batch: Batch, draws: Draws, *, shared: bool = False) -> tuple[View, ...]:
    """Return the task's views of `batch`; the one view, if it is `shared`."""
    with calling("pretext", name, "views", _of_batch(batch)):
        views = forms.require_views(task.views(batch, draws), batch)
        if shared:
            forms.require_shared(views, batch)
        return views


def ask_count(task: PretextTask | PrimaryTask, ask: Ask) -> Tensor | int:
    """Return how many terms the loss of `ask` sums over."""
    with calling(ask.key.role, ask.key.task, "count"):
        return forms.require_count(task.count(ask.views if ask.batch is None else ask.batch))  # type: ignore[arg-type]


def ask_loss(
    task: PretextTask | PrimaryTask, ask: Ask, features: tuple[Features, ...], context: StepContext
) -> TaskResult:
    """Return what the task says to `ask`, about the features of each of its passes."""
    with calling(ask.key.role, ask.key.task, "loss", _seen(ask, features)):
        if ask.batch is not None:
            result = task.loss(features[0], ask.batch, context)  # type: ignore[arg-type]
        else:
            result = task.loss(features, ask.views, context)  # type: ignore[arg-type]
        return forms.require_result(result, features)


def ask_balancer(
    balancer: Balancer, losses: Mapping[LossKey, Tensor], gram: Tensor | None, context: StepContext
) -> Balanced:
    """Return what the balancer makes of `losses`."""
    with calling("balance", "", "combine", losses.values()):
        return forms.require_balanced(balancer.combine(losses, gram, context), losses)


def _seen(ask: Ask, features: Sequence[Features]) -> Iterator[Tensor]:
    """Yield the tensors that a loss is given."""
    for one in features:
        for part in one.values():
            yield part.pooled
            yield from part.maps
    for view in ask.views:
        yield from view.inputs.values()
        yield from view.answers.values()
    if ask.batch is not None:
        yield from _of_batch(ask.batch)


def _of_batch(batch: Batch) -> Iterator[Tensor]:
    yield from batch.inputs.values()
    yield from batch.targets.values()
    yield from batch.present.values()
