"""The sections of a spec: which class holds the engine's keys of each, and what kind of component it chooses."""

from __future__ import annotations

import attrs

from auxlearn.registry import Kind
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
    """

    name: str
    help: str
    kind: Kind
    keys: type
    default: str | None = None
    table: bool = False


COMPONENTS: tuple[Section, ...] = (
    Section(name="data", help="Where the samples come from.", kind="data_source", keys=DataKeys),
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
