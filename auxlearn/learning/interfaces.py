"""The interfaces that plugins implement. Each method is abstract or has one meaning that fits all."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal, Self

import attrs
import torch
from torch import Tensor, nn

from auxlearn.data import Batch
from auxlearn.learning.context import LossKey, StepContext
from auxlearn.learning.draws import Draws
from auxlearn.learning.features import Features, FeatureShape
from auxlearn.learning.motion import Motion
from auxlearn.learning.preprocess import Preprocess

__all__ = ["Augmentation", "Backbone", "Balanced", "Balancer", "PretextTask", "PrimaryTask", "TaskResult", "View"]


@attrs.frozen(eq=False, kw_only=True)
class View:
    """What a pretext task shows to the backbone, and what it will ask about it.

    Attributes:
        inputs: The tensors of each modality, rows first.
        answers: What the task made up to ask about, rows first, e.g. the permutation of the tiles.
        motion: What happened to the geometry; None if it is destroyed.
        rows: Rows of the batch that the view shows; filled in by the engine, None for all of them in order.
    """

    inputs: Mapping[str, Tensor]
    answers: Mapping[str, Tensor] = attrs.field(factory=dict)
    motion: Motion | None = None
    rows: Tensor | None = None


@attrs.frozen(eq=False, kw_only=True)
class TaskResult:
    """The outcome of one task on one view (or several views together).

    Attributes:
        loss: The **sum** over the terms that `count` counts: a scalar with a graph. The engine divides it by the
            count over all processes and micro-batches, so partial labels and uneven shares give exact gradients.
        output: What the task predicted, e.g. logits, for pictures and debugging.
        metrics: Detached scalars to log, each a mean over the view, e.g. `{"tile_accuracy": ...}`.
        carry: Detached tensors, rows first, that `after_step` gets, gathered over processes and micro-batches; the same
            names each time.
    """

    loss: Tensor
    output: Mapping[str, Tensor] = attrs.field(factory=dict)
    metrics: Mapping[str, Tensor] = attrs.field(factory=dict)
    carry: Mapping[str, Tensor] = attrs.field(factory=dict)


@attrs.frozen(eq=False, kw_only=True)
class Balanced:
    """One total of all losses, and the weight that each has in it.

    Attributes:
        total: A scalar with a graph to the losses, and to the balancer's own parameters.
        weights: The derivative of the total by each loss.
        shared: Of a balancer that needs gradients, the factor of each loss's gradient on the parameters that the tasks
            share, where it differs from `weights`, which then hold for the parameters of single tasks only.
    """

    total: Tensor
    weights: Mapping[LossKey, Tensor | float]
    shared: Mapping[LossKey, Tensor | float] | None = None


class Backbone(nn.Module, ABC):
    """A network that turns inputs in [0, 1] into features; it normalises images by its own mean and std.

    Attributes:
        shapes: The form of its features by modality.
        mean, std: Per-channel normalisation of images that `forward` applies, for the export's description.
    """

    shapes: Mapping[str, FeatureShape]
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None

    @abstractmethod
    def forward(self, inputs: Mapping[str, Tensor]) -> Features:
        """Return the features of `inputs`: each modality's tensor, rows first."""

    def layers(self) -> Sequence[Sequence[str]]:
        """Return the names of the parameters by layer, from input to output, for layer decay. Default: one layer."""
        return [[name for name, _ in self.named_parameters()]]


class Augmentation(nn.Module, ABC):
    """Changes to the training inputs that keep their meaning, made on the device, each row its own draw.

    Attributes:
        preprocess: What is done to a row without augmentation: for evaluation, and for users of the export.
    """

    preprocess: Preprocess

    @abstractmethod
    def forward(self, inputs: Mapping[str, Tensor], draws: Draws) -> tuple[Mapping[str, Tensor], Motion]:
        """Return augmented inputs (uint8 images in, [0, 1] out; features unchanged) and the motion of the images."""

    def evaluate(self, inputs: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Return the inputs as evaluation sees them: resized and cropped, [0, 1], no draws."""
        evaluated: Mapping[str, Tensor] = self.preprocess(inputs)
        return evaluated


class PretextTask(nn.Module, ABC):
    """A self-supervised task: it changes the inputs, and asks the features what it changed."""

    def views(self, batch: Batch, draws: Draws) -> tuple[View, ...]:
        """Return what the backbone shall see. Default: the batch as it is, geometry intact."""
        return (View(inputs=batch.inputs, motion=Motion.still(len(batch), batch.device)),)

    def count(self, views: tuple[View, ...]) -> Tensor | int:
        """Return how many terms `loss` sums over. Default: the rows of the first view."""
        return len(next(iter(views[0].inputs.values())))

    @abstractmethod
    def loss(self, features: tuple[Features, ...], views: tuple[View, ...], step: StepContext) -> TaskResult:
        """Return the loss on the features of each view, in the order of `views`."""

    def after_step(self, carry: Mapping[str, Tensor], step: StepContext) -> None:
        """Update queues and the like, once after each optimizer step that was not skipped. Default: nothing."""

    def picture(self, views: tuple[View, ...], result: TaskResult) -> Mapping[str, Tensor]:
        """Return images to look at, each [N, 3, H, W] in [0, 1], by name. Default: none."""
        return {}


class PrimaryTask(nn.Module, ABC):
    """A supervised task.

    Attributes:
        targets: The targets it learns from; a row without the first of them is left out.
        needs_geometry: Its targets change with the geometry, so a view with destroyed geometry cannot supervise it.
    """

    targets: tuple[str, ...]
    needs_geometry: bool = False

    def count(self, batch: Batch) -> Tensor | int:
        """Return how many terms `loss` sums over. Default: the rows that have the first target."""
        given = batch.present.get(f"targets/{self.targets[0]}")
        return len(batch) if given is None else given.sum()

    @abstractmethod
    def loss(self, features: Features, batch: Batch, step: StepContext) -> TaskResult:
        """Return the loss. Rows without a label (`batch.has`) count as zero by a mask, not by indexing."""

    @abstractmethod
    def predict(self, features: Features) -> Mapping[str, Tensor]:
        """Return what a user of the trained model gets, rows first, e.g. `{"probabilities": [N, C]}`."""

    @abstractmethod
    def metrics(self) -> Any:
        """Return a fresh `torchmetrics.MetricCollection`; its first metric is the default to monitor."""

    @abstractmethod
    def update(self, metrics: Any, features: Features, batch: Batch) -> None:
        """Add a batch to `metrics`."""

    def move_targets(self, targets: Mapping[str, Tensor], motion: Motion) -> Mapping[str, Tensor]:
        """Return the targets after the images moved. Default: unchanged."""
        return targets

    def linear(self) -> nn.Linear | None:
        """Return the head if it is one linear layer on the pooled feature, as plain timm models have. Default: None."""
        return None

    def describe(self) -> Mapping[str, Any]:
        """Return JSON for the export's description, e.g. `{"classes": [...]}`. Default: nothing."""
        return {}


class Balancer(nn.Module, ABC):
    """A way to make one total of many losses. Its state stays in float32 where the network is in less.

    Attributes:
        needs: What must be known before the weights are: `"nothing"`, the values of all `"losses"`, or the
            `"gradients"` of each task.
        compares: Where gradients are compared and combined: on all parameters that tasks may share, `"shared"`, or only
            on those that a `"primary"` loss reaches too, while what only pretext tasks share learns by `weights`.
    """

    needs: ClassVar[Literal["nothing", "losses", "gradients"]] = "nothing"
    compares: ClassVar[Literal["shared", "primary"]] = "shared"

    def _apply(self, fn: Any, recurse: bool = True) -> Self:
        """Change the tensors as `to` asks, but keep float32 at least: means and small steps vanish in less."""
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        for tensor in (*self.parameters(), *self.buffers()):
            if tensor.is_floating_point() and tensor.dtype.itemsize < torch.float32.itemsize:
                tensor.data = tensor.data.float()
        return self

    @abstractmethod
    def combine(self, losses: Mapping[LossKey, Tensor], gram: Tensor | None, step: StepContext) -> Balanced:
        """Return a differentiable total of `losses` (means), given `step.weights` from the spec.

        With `needs = "gradients"`, the losses are means over all processes, `gram` is the matrix of inner products of
        their gradients on the parameters that the tasks share, in the order of `losses`, unweighted, and the result
        says how to combine these gradients. A loss of this step may be missing in the next: tasks start late.
        """

    def after_step(self, losses: Mapping[LossKey, Tensor], step: StepContext) -> None:
        """Update the history of losses and the like, once after each step that was not skipped. Default: nothing.

        Args:
            losses: The means over all processes and micro-batches of those that were computed, unweighted; at least
                one.
            step: What a task may know of the step; it has no weights.
        """
