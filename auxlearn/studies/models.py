"""The format of a study file: its keys, and its JSON Schema."""

from __future__ import annotations

import re
from typing import Any, Literal

import attrs

from auxlearn.registry import Registry, option
from auxlearn.spec.frame import spec_schema
from auxlearn.spec.models import STAGE_NAME
from auxlearn.spec.schema import params_schema

__all__ = ["ARM_NAME", "STUDY_VERSION", "StudyKeys", "study_frame", "study_schema"]

STUDY_VERSION = 1
ARM_NAME = re.compile("[A-Za-z0-9][A-Za-z0-9._+-]{0,59}")  # also the name of a folder

Schema = dict[str, Any]


@attrs.frozen(kw_only=True)
class StudyKeys:
    """The keys of a study that are plain values."""

    baseline: str | None = option(None, help="The arm that the others are compared with; null: the first.")
    seeds: tuple[int, ...] = option(
        (0, 1, 2, 3, 4), ge=0, min_items=1, help="Every arm runs once with each; runs of one seed are a pair."
    )
    fractions: tuple[float, ...] | None = option(
        None, gt=0, le=1, min_items=1, help="Values of `data.fraction`; null: as the specs say."
    )
    metric: str | None = option(
        None, help="What is compared, such as `emotion/accuracy`; null: what the baseline selects its weights by."
    )
    mode: Literal["max", "min"] | None = option(
        None, help="Whether more or less of the metric is better; null: as the metric itself says."
    )
    stage: str | None = option(
        None, pattern=STAGE_NAME, help="The stage whose scores count, for specs with stages; null: the last."
    )


def study_frame() -> Schema:
    """Return the schema of a study, of whose specs it says only that they are objects."""
    keys = params_schema(StudyKeys)
    return {
        "type": "object",
        "properties": {
            "$schema": {"type": "string", "description": "Where an editor finds this schema."},
            "auxlearn_study": {"const": STUDY_VERSION, "description": "Version of the format of the study."},
            "name": {
                "type": "string",
                "pattern": "^(?:[A-Za-z0-9][A-Za-z0-9._-]{0,99})$",
                "description": "Name of the study and of its folder; the file's name if left out.",
            },
            "base": {"type": ["string", "object"], "description": "The spec that the arms change, or its file."},
            "arms": {
                "type": "object",
                "minProperties": 1,
                "additionalProperties": _arm(),
                "description": "What is compared, by name: each is an object with its changes to the base.",
            },
            **keys["properties"],
        },
        "required": ["auxlearn_study", "arms"],
        "additionalProperties": False,
    }


def _arm() -> Schema:
    return {
        "type": "object",
        "properties": {
            "spec": {"type": ["string", "object"], "description": "The spec that is changed, instead of the base."},
            "grid": {
                "type": "object",
                "additionalProperties": {
                    "type": "array",
                    "items": {"type": ["number", "string", "boolean", "null"]},
                    "minItems": 1,
                },
                "description": "Values by path: the arm becomes several, one for each combination.",
            },
        },
        "description": "A section of a spec is merged into that of the base; a key such as `train.epochs` is a path.",
    }


def study_schema(registry: Registry) -> Schema:
    """Return the schema of a study with all that is installed, for editors."""
    frame = study_frame()
    spec = spec_schema(registry)
    spec.pop("$schema")
    either = {"if": {"type": "object"}, "then": {"$ref": "#/$defs/spec"}}
    frame["properties"]["base"] |= either
    frame["properties"]["arms"]["additionalProperties"]["properties"]["spec"] |= either
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "auxlearn study",
        **frame,
        "$defs": {"spec": spec},
    }
