"""The sections of a spec: which class holds the engine's keys of each, and what kind of component it chooses."""

from __future__ import annotations

from typing import Any

import attrs

from auxlearn.registry import Found, Kind, NoParams, Provider, Registry
from auxlearn.registry.registry import BUILTIN
from auxlearn.spec.models import (
    Arrangement,
    AugmentKeys,
    BackboneKeys,
    BalanceKeys,
    CheckpointKeys,
    DataKeys,
    EvaluateKeys,
    InitFrom,
    LogKeys,
    OptimizerKeys,
    PrimaryKeys,
    ScheduleKeys,
    TrainKeys,
    UnlabelledKeys,
)

__all__ = ["COMPONENTS", "PLAIN", "SPEC_VERSION", "TASK_NAME", "Section"]

SPEC_VERSION = 1
TASK_NAME = "[a-z][a-z0-9_]*"


@attrs.frozen(kw_only=True)
class Section:
    """A section that chooses a component, or a table of such sections.

    Attributes:
        name: Its key in the spec.
        help: One sentence for the schema.
        kind: What it chooses.
        keys: The class of the engine's keys that stand beside the component's params.
        default: The component that it has without a `type`; None where one must be named.
        table: Whether it holds several by name.
        inside: Further components that may stand in it under their names; null, which is the default, for none.
        own: What can be chosen here only, besides what is installed.
    """

    name: str
    help: str
    kind: Kind
    keys: type
    default: str | None = None
    table: bool = False
    inside: tuple[Section, ...] = ()
    own: tuple[Provider, ...] = ()

    def registry(self, registry: Registry) -> Registry:
        """Return what can be chosen here: what is installed, and the section's own."""
        if not self.own:
            return registry
        version = next((found.version for found in registry.found if found.distribution == BUILTIN), "")
        own = (
            Found(kind=self.kind, provider=one, distribution=BUILTIN, version=version, entry_point="", file="")
            for one in self.own
        )
        return attrs.evolve(registry, found=(*own, *registry.found))


def _rest(_params: NoParams, _context: Any) -> None:
    """Return nothing: whoever divides the data knows which rows the fraction leaves out."""


_UNLABELLED = Section(
    name="unlabelled",
    help="A second stream of training rows, of which no labels are read. A name alone is short for its `type`.",
    kind="data_source",
    keys=UnlabelledKeys,
    own=(Provider(name="rest", summary="The training rows that `data.fraction` leaves out.", build=_rest),),
)

COMPONENTS: tuple[Section, ...] = (
    Section(
        name="data",
        help="Where the samples come from.",
        kind="data_source",
        keys=DataKeys,
        inside=(_UNLABELLED,),
    ),
    Section(
        name="augment",
        help="How images are changed at random, on the device.",
        kind="augmentation",
        keys=AugmentKeys,
        default="identity",
    ),
    Section(name="backbone", help="The shared network.", kind="backbone", keys=BackboneKeys),
    Section(
        name="primary",
        help="The supervised tasks, by a name of your choice.",
        kind="primary_task",
        keys=PrimaryKeys,
        table=True,
    ),
    Section(
        name="pretext",
        help="The self-supervised tasks, by a name of your choice.",
        kind="pretext_task",
        keys=Arrangement,
        table=True,
    ),
    Section(name="balance", help="How the losses become one.", kind="balancer", keys=BalanceKeys, default="fixed"),
    Section(
        name="optimizer",
        help="The optimizer, and how parameters are grouped.",
        kind="optimizer",
        keys=OptimizerKeys,
        default="adamw",
    ),
    Section(
        name="schedule", help="The course of the learning rate.", kind="schedule", keys=ScheduleKeys, default="cosine"
    ),
)

# Sections that hold the engine's keys only.
PLAIN: dict[str, type] = {
    "train": TrainKeys,
    "checkpoint": CheckpointKeys,
    "evaluate": EvaluateKeys,
    "log": LogKeys,
    "init_from": InitFrom,
}
