"""JSON Schema (2020-12) of the engine's keys and of every provider's params.

A union needs no `oneOf`: its members differ in their JSON type, and a keyword of JSON Schema looks only at
values of its own type, so the keywords of all members can stand side by side. An error is then always about
the member that the author meant.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from auxlearn.registry import Option, Provider
from auxlearn.registry.forms import Array, Field, Form, Null, OneOf, Record, Scalar, Table, json_types, record_of
from auxlearn.spec.structure import unstructure

__all__ = ["params_schema", "schema_of", "section_schema"]

Schema = dict[str, Any]

_TYPES = {bool: "boolean", int: "integer", float: "number", str: "string"}
_BOUNDS = {"ge": "minimum", "gt": "exclusiveMinimum", "le": "maximum", "lt": "exclusiveMaximum"}


def params_schema(params: type) -> Schema:
    """Return the schema of a params class as an object of its own.

    >>> from auxlearn.spec.models import Monitor
    >>> params_schema(Monitor)["required"]
    ['metric']
    """
    return schema_of(record_of(params))


def section_schema(
    keys: type, provider: Provider | None, type_schema: Schema, inside: Mapping[str, Schema] | None = None
) -> Schema:
    """Return the schema of a section that chooses a component.

    Args:
        keys: The class of the engine's keys of the section.
        provider: The component that was chosen, or None if it is not known: then other keys may be there.
        type_schema: The schema of the key `type`.
        inside: The schemas of the components that may stand inside of it, by key.
    """
    fields = [*record_of(keys).fields, *(record_of(provider.params).fields if provider else ())]
    schema = _object(fields)
    schema["properties"] = {"type": type_schema, **schema["properties"], **(inside or {})}
    return schema if provider else {**schema, "additionalProperties": True}


def schema_of(form: Form, option: Option | None = None) -> Schema:
    """Return the schema of a form, with the bounds and choices of the option it belongs to."""
    if isinstance(form, Scalar):
        return _scalar(form, option)
    if isinstance(form, Record):
        return _object(form.fields)
    if isinstance(form, OneOf):
        return _one_of(form, option)
    if isinstance(form, Array):
        return {"type": "array", "items": schema_of(form.item, option), **_lengths(form, option)}
    if isinstance(form, Table):
        return {"type": "object", "additionalProperties": schema_of(form.item, option)}
    return {"type": "null"} if isinstance(form, Null) else {"enum": list(form.values)}


def _scalar(form: Scalar, option: Option | None) -> Schema:
    schema: Schema = {"type": _TYPES[form.type]}
    if option is None:
        return schema
    if option.choices is not None:
        return {"enum": list(option.choices)}
    if form.type in (int, float):
        bounds = {word: getattr(option, name) for name, word in _BOUNDS.items()}
        schema |= {word: bound for word, bound in bounds.items() if bound is not None}
    if form.type is str and option.pattern is not None:
        schema["pattern"] = f"^(?:{option.pattern})$"
    return schema


def _lengths(form: Array, option: Option | None) -> Schema:
    if form.length is not None:
        return {"minItems": form.length, "maxItems": form.length}
    lengths = {"minItems": option.min_items, "maxItems": option.max_items} if option else {}
    return {word: bound for word, bound in lengths.items() if bound is not None}


def _object(fields: tuple[Field, ...] | list[Field]) -> Schema:
    return {
        "type": "object",
        "properties": {field.name: _property(field) for field in fields},
        "required": [field.name for field in fields if field.required],
        "additionalProperties": False,
    }


def _property(field: Field) -> Schema:
    schema = {"description": field.option.help, **schema_of(field.form, field.option)}
    if field.default is not attrs.NOTHING:
        schema["default"] = unstructure(field.default)
    return schema


def _one_of(form: OneOf, option: Option | None) -> Schema:
    merged: Schema = {"type": []}
    for member in form.members:
        schema = schema_of(member, option)
        values = schema.pop("enum", None)
        if values is None:
            merged["type"].append(schema.pop("type"))
            merged |= schema
        else:
            types = sorted(json_types(member))
            merged["type"] += types
            merged |= {"if": {"type": types}, "then": {"enum": values}}
    if merged["type"][1:] == ["null"] and "then" in merged:
        return {"enum": [*merged["then"]["enum"], None]}
    return merged
