"""What components are told when they are built, and in every step."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal, NamedTuple, Protocol

import attrs
from torch import Tensor, nn

from auxlearn.data import InputShape, LabelCounts, TargetInfo
from auxlearn.errors import Problem, SpecError, nearest
from auxlearn.learning.draws import Draws
from auxlearn.learning.features import Features, FeatureShape, MapShape

__all__ = ["BuildContext", "FrozenCopy", "Gather", "LossKey", "Shared", "StepContext", "identity_gather", "shared_by"]


class LossKey(NamedTuple):
    """Which loss: of which task, in which role, on which view (`"clean"`, `"shared"`, `"puzzle/0"`)."""

    task: str
    role: Literal["primary", "pretext"]
    view: str

    def __str__(self) -> str:
        return f"{self.task}@{self.view}"


class Gather(Protocol):
    """Concatenate a tensor's rows over all processes, in rank order; identity for one process."""

    def __call__(self, tensor: Tensor, *, grad: bool = False) -> Tensor:
        """Gather `tensor`; with `grad`, gradients flow back to the process that the rows came from."""


def identity_gather(tensor: Tensor, *, grad: bool = False) -> Tensor:
    """Return `tensor`: the `Gather` of a single process."""
    return tensor if grad else tensor.detach()


@attrs.frozen(kw_only=True)
class StepContext:
    """What a task may know about the step it is in.

    Attributes:
        step: Optimizer step, from 0.
        epoch: Epochs done, with fraction.
        progress: Part of the training done, in [0, 1].
        draws: Randomness under the task's own name.
        gather: Concatenates rows over all processes.
        weights: Factor of each loss in this step, for the balancer.
        scales: For the balancer, what made a mean of the sum of each loss: 0 where no term was counted, in any process
            or micro-batch. Not there where the losses are means over all of these.
    """

    step: int = 0
    epoch: float = 0.0
    progress: float = 0.0
    draws: Draws = attrs.field(factory=lambda: Draws(seed=0, name="step", step=0))
    gather: Gather = identity_gather
    weights: Mapping[LossKey, float] = attrs.field(factory=dict)
    scales: Mapping[LossKey, Tensor | float] = attrs.field(factory=dict)


class Shared:
    """A handle to a module that several tasks use and the learner owns, so that it is stored and optimised once.

    It is callable like the module, and it is no `nn.Module`, so a task that keeps it does not register it.

    Args:
        name: Under which it is stored and asked for.
        module: The module.
        arguments: What it was made with, which all who ask for it have to agree on.
    """

    def __init__(self, name: str, module: nn.Module, arguments: Mapping[str, Any]) -> None:
        self.name, self.module, self.arguments = name, module, dict(arguments)

    def __call__(self, *inputs: Any) -> Any:
        """Call the module."""
        return self.module(*inputs)


def shared_by(tasks: nn.Module) -> Iterator[Shared]:
    """Yield the handles that tasks keep; as the modules behind them are the learner's, `tasks` does not store them."""
    for module in tasks.modules():
        yield from (value for value in vars(module).values() if isinstance(value, Shared))


class FrozenCopy:
    """A handle to a copy of the backbone that gives features and does not learn from them.

    It is called like the backbone, in evaluation mode; gradients flow to its inputs only. It is no `nn.Module`, so a
    task that keeps it neither stores nor optimises the copy, which belongs to the trainer.
    """

    def __init__(self) -> None:
        self._module: nn.Module | None = None

    def bind(self, module: nn.Module) -> None:
        """Make this the handle of `module`."""
        self._module = module

    def __call__(self, inputs: Mapping[str, Tensor]) -> Features:
        """Return the features of `inputs`.

        Raises:
            ValueError: If no trainer with a moving average of the weights has bound the handle.
        """
        if self._module is None:
            raise ValueError("A frozen copy should be used in a `Trainer` with a moving average, found none.")
        features: Features = self._module(inputs)
        return features


@attrs.frozen(kw_only=True)
class BuildContext:
    """What a component is built with besides its own params.

    Attributes:
        inputs: The form of each modality: as the data source gives it for an augmentation, as augmentation leaves
            it for everything else.
        size: Side in pixels of the images that the backbone sees, or None without images.
        features: The form of the backbone's features; empty for what is built before the backbone.
        targets: What the data source offers to learn.
        class_counts: Training rows of each class, by class target.
        label_counts: Training rows with each label, by multi-label target.
        batch_size: Rows of one micro-batch on one device.
        tasks: For a balancer, the names of the tasks whose losses it will see, the primary ones first.
        restoring: Saved weights follow, so there is no need to fetch or read any to start from.
        ema: The trainer keeps a moving average of the weights.
        shared_modules: What `shared` has made so far.
        frozen_copies: The handles that `frozen_copy` has given out.
    """

    inputs: Mapping[str, InputShape]
    size: int | None = None
    features: Mapping[str, FeatureShape] = attrs.field(factory=dict)
    targets: Mapping[str, TargetInfo] = attrs.field(factory=dict)
    class_counts: Mapping[str, tuple[int, ...]] = attrs.field(factory=dict)
    label_counts: Mapping[str, LabelCounts] = attrs.field(factory=dict)
    batch_size: int = 1
    tasks: tuple[str, ...] = ()
    restoring: bool = False
    ema: bool = False
    shared_modules: dict[str, Shared] = attrs.field(factory=dict)
    frozen_copies: list[FrozenCopy] = attrs.field(factory=list)

    @property
    def feature(self) -> FeatureShape:
        """The form of the single modality's features; ValueError if there are several."""
        if len(self.features) != 1:
            raise ValueError(f"`feature` should be asked of one modality, found {sorted(self.features)}.")
        return next(iter(self.features.values()))

    def feature_of(self, modality: str) -> FeatureShape:
        """Return the form of a modality's features; SpecError at `/modality` if the backbone gives none."""
        if modality not in self.features:
            what, meant = f'the backbone gives no feature "{modality}"', nearest(modality, self.features)
            raise SpecError(Problem(where="/modality", what=what, allowed=", ".join(self.features), meant=meant))
        return self.features[modality]

    def map_of(self, modality: str, level: int) -> MapShape:
        """Return the form of a feature map, 0 the finest and -1 the coarsest; SpecError at `/level` without it."""
        maps = self.feature_of(modality).maps
        if not -len(maps) <= level < len(maps):
            what = f"the backbone gives {len(maps)} feature maps, found level {level}"
            allowed = f"{-len(maps)} to {len(maps) - 1}" if maps else None
            fix = None if maps else "choose a backbone with feature maps"
            raise SpecError(Problem(where="/level", what=what, allowed=allowed, fix=fix))
        return maps[level]

    def width_of(self, modality: str, level: int | None = None) -> int:
        """Return the width of the pooled feature, or of the feature map `level` once it is pooled."""
        return self.feature_of(modality).pooled if level is None else self.map_of(modality, level).channels

    def shared(self, name: str, factory: Callable[..., nn.Module], **arguments: Any) -> Shared:
        """Return the module `name` that all who ask for it share: made as `factory(**arguments)` on first use.

        Raises:
            ValueError: If it was asked for with other arguments before.
        """
        if name not in self.shared_modules:
            self.shared_modules[name] = Shared(name, factory(**arguments), arguments)
        found = self.shared_modules[name]
        if found.arguments != arguments:
            raise ValueError(f"Shared module `{name}` should be asked for with {found.arguments}, found {arguments}.")
        return found

    def frozen_copy(self, of: Literal["ema"]) -> FrozenCopy:
        """Return a handle to a copy of the backbone that does not learn: `"ema"`, the moving average of its weights.

        Raises:
            SpecError: If the run keeps no moving average.
        """
        if of != "ema":
            raise ValueError(f"Parameter `of` should be 'ema', found {of!r}.")
        if not self.ema:
            fix = 'set the decay of one, e.g. "train": {"ema": 0.999}'
            raise SpecError(Problem(what="needs a moving average of the weights", fix=fix))
        self.frozen_copies.append(FrozenCopy())
        return self.frozen_copies[-1]
