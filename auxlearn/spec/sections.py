"""The sections of a spec: which class holds the engine's keys of each, and what kind of component it chooses."""

from __future__ import annotations

from typing import Any

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

__all__ = ["COMPONENTS", "PLAIN", "SPEC_VERSION", "TASK_NAME", "Section", "frame_schema"]

SPEC_VERSION = 1
TASK_NAME = "[a-z][a-z0-9_]*"
_RUN_NAME = "^(?:[A-Za-z0-9][A-Za-z0-9._-]{0,99})$"


@attrs.frozen(kw_only=True)
class Section:
    """A section that chooses a component, or a table of such sections.

    Attributes:
        name: Its key in the spec.
        kind: What it chooses.
        keys: The class of the engine's keys that stand beside the component's params.
        default: The component that it has without a `type`; None where one must be named.
        table: Whether it holds several by name.
    """

    name: str
    kind: Kind
    keys: type
    default: str | None = None
    table: bool = False


COMPONENTS: tuple[Section, ...] = (
    Section(name="data", kind="data_source", keys=DataKeys),
    Section(name="augment", kind="augmentation", keys=AugmentKeys, default="identity"),
    Section(name="backbone", kind="backbone", keys=BackboneKeys),
    Section(name="primary", kind="primary_task", keys=PrimaryKeys, table=True),
    Section(name="pretext", kind="pretext_task", keys=Arrangement, table=True),
    Section(name="balance", kind="balancer", keys=BalanceKeys, default="fixed"),
    Section(name="optimizer", kind="optimizer", keys=OptimizerKeys, default="adamw"),
    Section(name="schedule", kind="schedule", keys=ScheduleKeys, default="cosine"),
)

# Sections that hold the engine's keys only.
PLAIN: dict[str, type] = {
    "train": TrainKeys,
    "checkpoint": CheckpointKeys,
    "evaluate": EvaluateKeys,
    "log": LogKeys,
    "init_from": InitFrom,
}


def frame_schema() -> dict[str, Any]:
    """Return the schema of everything in a spec but its components, of which it says only that they are objects."""
    from auxlearn.spec.schema import params_schema

    one: dict[str, Any] = {"type": "object"}
    many = {"type": "object", "propertyNames": {"pattern": f"^(?:{TASK_NAME})$"}, "additionalProperties": one}
    return {
        "type": "object",
        "properties": {
            "$schema": {"type": "string", "description": "Where an editor finds this schema."},
            "auxlearn": {"const": SPEC_VERSION, "description": "Version of the format of the spec."},
            "name": {
                "type": "string",
                "pattern": _RUN_NAME,
                "description": "Name of the run and of its folder; the file's name if left out.",
            },
            "seed": {
                "type": "integer",
                "minimum": 0,
                "maximum": 2**63 - 1,
                "default": 0,
                "description": "Seed of everything that is drawn.",
            },
            **{section.name: many if section.table else one for section in COMPONENTS},
            **{name: params_schema(keys) for name, keys in PLAIN.items() if name != "init_from"},
            "init_from": {**params_schema(InitFrom), "type": ["object", "null"]},
            "plugins": {
                "type": "object",
                "additionalProperties": {"type": "string"},
                "description": "Distributions that the spec needs; written into resolved specs with their versions.",
            },
        },
        "required": ["auxlearn", *(s.name for s in COMPONENTS if s.default is None and not s.table)],
        "additionalProperties": False,
    }
