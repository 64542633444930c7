"""`Provider`: what a plugin offers under one name, told without importing torch."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Literal

import attrs

from auxlearn.errors import Problem, nearest

__all__ = ["KINDS", "CheckContext", "DataFacts", "Kind", "NoParams", "Provider"]

Kind = Literal[
    "backbone",
    "primary_task",
    "pretext_task",
    "data_source",
    "augmentation",
    "balancer",
    "optimizer",
    "schedule",
    "exporter",
    "preset",
]

_NAME = re.compile(r"[a-z][a-z0-9_-]*")

# How a pretext task's views stand to the primary tasks' one.
Arrangements = Literal["shared", "own", "clean"]

# The order in which `auxlearn plugins` lists them, with the hook that offers each.
KINDS: Mapping[Kind, str] = {
    "backbone": "auxlearn_backbones",
    "primary_task": "auxlearn_primary_tasks",
    "pretext_task": "auxlearn_pretext_tasks",
    "data_source": "auxlearn_data_sources",
    "augmentation": "auxlearn_augmentations",
    "balancer": "auxlearn_balancers",
    "optimizer": "auxlearn_optimizers",
    "schedule": "auxlearn_schedules",
    "exporter": "auxlearn_exporters",
    "preset": "auxlearn_presets",
}


@attrs.frozen
class NoParams:
    """The params of a component that has no settings."""


@attrs.frozen(kw_only=True)
class DataFacts:
    """What a data source knows about itself before anything is read: what `describe` returns.

    Attributes:
        inputs: Shape of each modality by name, e.g. `{"image": (3, 64, 64)}`.
        targets: Class names of each target by name; an empty tuple for a target that is not a class.
        splits: The splits that exist, e.g. `("train", "val", "test")`.
    """

    inputs: Mapping[str, tuple[int, ...]] = attrs.field(factory=dict)
    targets: Mapping[str, tuple[str, ...]] = attrs.field(factory=dict)
    splits: tuple[str, ...] = ()


@attrs.frozen(kw_only=True)
class CheckContext:
    """What a torch-free `check` may look at besides its own params.

    Attributes:
        data: What the data source says about itself, or None where it cannot say without reading.
        size: Side in pixels of the images that the tasks see, or None if it is not known yet.
        batch_size: Rows in one global batch.
        view: For a pretext task, how its views stand to the primary tasks' one; None for everything else.
        rows: For a pretext task, how many rows of a micro-batch it gets on one device, as far as is known.
        rows_together: The same on all devices, which is what `StepContext.gather` brings together.
    """

    data: DataFacts | None = None
    size: int | None = None
    batch_size: int = 1
    view: Arrangements | None = None
    rows: int | None = None
    rows_together: int | None = None

    def missing_input(self, name: str) -> Iterator[Problem]:
        """Yield what is wrong, at `/modality`, if the data is known to have no input `name`."""
        known = self.data.inputs if self.data is not None else {}
        if known and name not in known:
            what = f'the data has no input "{name}"'
            yield Problem(where="/modality", what=what, allowed=", ".join(known), meant=nearest(name, known))


def _is_name(_provider: Provider, _field: attrs.Attribute[str], name: object) -> None:
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        allowed = "lower case letters, digits, hyphens and underscores, a letter first"
        raise ValueError(f"The name of a provider should be of {allowed}, found {name!r:.80}.")


@attrs.frozen(kw_only=True)
class Provider:
    """One named thing that a plugin offers.

    `build` is a function whose body imports the module with the torch code, so that listing, validating and
    documenting plugins stays free of torch. It is called as `build(params, context)`, where `context` is

    - a `DataContext` for a data source,
    - nothing (None) for a preset, which returns the part of a spec that it stands for, without importing torch,
    - the parameter groups for an optimizer, and a `ScheduleContext` for a schedule,
    - an `ExportContext` for an exporter,
    - a `BuildContext` for everything else.

    Attributes:
        name: What a spec writes as `type`.
        summary: One line for `auxlearn plugins`.
        params: A frozen attrs class whose fields are declared with `option`.
        build: Makes the component.
        describe: Torch-free facts of a data source: `describe(params) -> DataFacts | None`.
        check: Finds what a schema cannot say: `check(params, context) -> Iterable[Problem]`, where each
            `Problem.where` is a pointer relative to the component, e.g. `/grid`.
        view: For a pretext task, the arrangement it has unless the spec says otherwise.
        moves_pixels: For a pretext task, its views put pixels in other places.
        spatial_answers: For a pretext task, what it asks about is tied to places in the image, so it
            cannot stand before a task that moves pixels on a shared view.
        asks_cells: For a pretext task whose answers are about the cells of a grid only, the cells along a side:
            `asks_cells(params)`; such a task may stand before one that moves pixels within these cells.
        moves_within: For a pretext task that moves pixels only within the cells of a grid, the cells along a side, or
            None if it moves them further: `moves_within(params)`.
        needs_geometry: For a primary task, its target changes with the geometry of the image.
        needs: For a balancer, what must be known before the weights are, as its class says.
        trial: The conditions under which `auxlearn plugins check` checks the component, and what its author claims: a
            function whose body imports and returns an `auxlearn.testing.Trial`. None for the usual ones.

    Examples:
        >>> from auxlearn.registry import Provider
        >>> def build(params, context):
        ...     from my_plugin.task import MyTask
        ...     return MyTask()
        >>> Provider(name="mine", summary="A task of mine.", build=build).name
        'mine'
    """

    name: str = attrs.field(validator=_is_name)
    summary: str
    build: Callable[[Any, Any], Any]
    params: type = NoParams
    describe: Callable[[Any], DataFacts | None] | None = None
    check: Callable[[Any, CheckContext], Iterable[Problem]] | None = None
    view: Arrangements = "own"
    moves_pixels: bool = False
    spatial_answers: bool = False
    asks_cells: Callable[[Any], int] | None = None
    moves_within: Callable[[Any], int | None] | None = None
    needs_geometry: bool = False
    needs: Literal["nothing", "losses", "gradients"] = "nothing"
    trial: Callable[[], Any] | None = None
