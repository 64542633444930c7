"""The hooks of a plugin: plain functions without arguments, each returning providers.

They take no arguments because pluggy cannot evolve a signature with defaults; what a plugin needs to know
grows in the fields of `Provider` and of the contexts instead, which have defaults.
"""

from __future__ import annotations

from collections.abc import Iterable

import pluggy

from auxlearn.registry.provider import Provider

__all__ = [
    "auxlearn_augmentations",
    "auxlearn_backbones",
    "auxlearn_balancers",
    "auxlearn_data_sources",
    "auxlearn_exporters",
    "auxlearn_optimizers",
    "auxlearn_presets",
    "auxlearn_pretext_tasks",
    "auxlearn_primary_tasks",
    "auxlearn_schedules",
    "hookimpl",
]

hookspec = pluggy.HookspecMarker("auxlearn")
hookimpl = pluggy.HookimplMarker("auxlearn")


@hookspec
def auxlearn_backbones() -> Iterable[Provider]:  # type: ignore[empty-body]
    """Offer backbones: networks that turn inputs into features. `build` returns a `learning.Backbone`."""


@hookspec
def auxlearn_primary_tasks() -> Iterable[Provider]:  # type: ignore[empty-body]
    """Offer supervised tasks. `build` returns a `learning.PrimaryTask`."""


@hookspec
def auxlearn_pretext_tasks() -> Iterable[Provider]:  # type: ignore[empty-body]
    """Offer self-supervised tasks. `build` returns a `learning.PretextTask`."""


@hookspec
def auxlearn_data_sources() -> Iterable[Provider]:  # type: ignore[empty-body]
    """Offer data. `build` returns a `data.DataSource`."""


@hookspec
def auxlearn_augmentations() -> Iterable[Provider]:  # type: ignore[empty-body]
    """Offer augmentations that run on the device. `build` returns a `learning.Augmentation`."""


@hookspec
def auxlearn_balancers() -> Iterable[Provider]:  # type: ignore[empty-body]
    """Offer ways to combine the losses into one. `build` returns a `learning.Balancer`."""


@hookspec
def auxlearn_optimizers() -> Iterable[Provider]:  # type: ignore[empty-body]
    """Offer optimizers. `build(params, groups)` returns a `torch.optim.Optimizer`."""


@hookspec
def auxlearn_schedules() -> Iterable[Provider]:  # type: ignore[empty-body]
    """Offer learning-rate schedules. `build(params, ScheduleContext)` returns a torch `LRScheduler`."""


@hookspec
def auxlearn_exporters() -> Iterable[Provider]:  # type: ignore[empty-body]
    """Offer export formats. `build(params, context)` returns a `results.Exporter`."""


@hookspec
def auxlearn_presets() -> Iterable[Provider]:  # type: ignore[empty-body]
    """Offer presets: parts of a spec under a name. `build` returns the JSON that `"preset": name` stands for."""
