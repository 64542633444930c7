"""The schema of a whole spec: of its frame for the validator, and with every component for editors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from auxlearn.registry import Found, Registry
from auxlearn.registry.registry import BUILTIN
from auxlearn.spec.models import InitFrom
from auxlearn.spec.schema import params_schema, section_schema
from auxlearn.spec.sections import COMPONENTS, PLAIN, SPEC_VERSION, TASK_NAME, Section
from auxlearn.spec.stages import STAGES

__all__ = ["frame_schema", "place_of", "spec_schema"]

Schema = dict[str, Any]

_RUN_NAME = "^(?:[A-Za-z0-9][A-Za-z0-9._-]{0,99})$"


def frame_schema() -> Schema:
    """Return the schema of everything in a spec but its components, of which it says only that they are objects."""
    return _frame({section.name: {"type": "object"} for section in COMPONENTS})


def spec_schema(registry: Registry) -> Schema:
    """Return the schema of a spec with all that is installed, for editors.

    Each component's options are an `if`/`then` by its `type`, so that an editor completes those of the type
    that was chosen, and its messages speak of them only.
    """
    frame = _frame({section.name: _component(section, registry) for section in COMPONENTS})
    presets = [name for found in registry.of_kind("preset") for name in _names(found, registry.of_kind("preset"))]
    frame["properties"]["preset"]["enum"] = presets
    # What a preset or every stage gives, the rest of a spec need not.
    frame["anyOf"] = [{"required": ["preset"]}, {"required": ["stages"]}, {"required": frame["required"][1:]}]
    frame["required"] = frame["required"][:1]
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "auxlearn spec", **frame}


def _frame(components: dict[str, Schema]) -> Schema:
    return {
        "type": "object",
        "properties": {
            "$schema": {"type": "string", "description": "Where an editor finds this schema."},
            "preset": {"type": "string", "description": "A part of a spec by name; the rest is laid over it."},
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
            "stages": STAGES,
            **{section.name: place_of(section, components[section.name]) for section in COMPONENTS},
            **{name: params_schema(keys) for name, keys in PLAIN.items()},
            "init_from": {**params_schema(InitFrom), "type": ["object", "null"], "default": None},
            "plugins": {
                "type": "object",
                "additionalProperties": {"type": "string"},
                "description": "Distributions that the spec needs; resolved specs name them with their versions.",
            },
        },
        "required": ["auxlearn", *(s.name for s in COMPONENTS if s.default is None and not s.table)],
        "additionalProperties": False,
    }


def place_of(section: Section, component: Schema) -> Schema:
    """Return the schema of what stands under the name of a section: `component`, or several of them by name."""
    if not section.table:
        return {**component, "description": section.help}
    names = {"pattern": f"^(?:{TASK_NAME})$"}
    return {"type": "object", "description": section.help, "propertyNames": names, "additionalProperties": component}


def _component(section: Section, registry: Registry) -> Schema:
    offers = section.registry(registry).of_kind(section.kind)
    inside = {inner.name: _optional(inner, registry) for inner in section.inside}
    types = {found.full_name: _names(found, offers) for found in offers}
    schema: Schema = {
        "type": "object",
        "properties": {"type": {"enum": [n for names in types.values() for n in names]}, **inside},
    }
    if section.default is None:
        schema["required"] = ["type"]
    schema["allOf"] = []
    for found in offers:
        names = types[found.full_name]
        condition: Schema = {"type": "object", "properties": {"type": {"enum": names}}}
        if section.default not in names:
            condition["required"] = ["type"]
        chosen = section_schema(section.keys, found.provider, {"enum": names}, {key: {} for key in inside})
        schema["allOf"].append({"if": condition, "then": {**chosen, "description": found.provider.summary}})
    return schema if offers else {"type": "object", "required": ["type"]}


def _optional(section: Section, registry: Registry) -> Schema:
    """Return the schema of a component that may be left out, or be no more than its name."""
    schema = _component(section, registry)
    short = {"if": {"type": "string"}, "then": schema["properties"]["type"]}
    more = {"type": ["object", "string", "null"], "default": None, "description": section.help}
    return {**schema, **more, "allOf": [*schema["allOf"], short]}


def _names(found: Found, offers: Sequence[Found]) -> list[str]:
    """Return what a spec may write to mean `found`."""
    name = found.provider.name
    rivals = [other for other in offers if other.provider.name == name and other is not found]
    clear = found.distribution == BUILTIN or not rivals
    return [*([name] if clear else []), found.full_name]
