"""Checked JSON to attrs classes and back, without any coercion besides that of equal numbers (1.0 is 1)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from auxlearn.registry.forms import Array, Form, OneOf, Record, Scalar, Table, json_types, record_of

__all__ = ["structure", "unstructure"]

_JSON_TYPES: dict[type, str] = {
    bool: "boolean",
    int: "number",
    float: "number",
    str: "string",
    list: "array",
    dict: "object",
}


def structure(form: Form | type, value: Any) -> Any:
    """Return `value`, which fits the schema of `form`, as an object of `form`.

    Args:
        form: A form, or a params class.
        value: JSON; keys of an object that are no fields of a params class are left alone.
    """
    if isinstance(form, type):
        form = record_of(form)
    if isinstance(form, OneOf):
        kind = _json_type(value)
        form = next(member for member in form.members if kind in json_types(member))
    if isinstance(form, Record):
        given = {field.name: structure(field.form, value[field.name]) for field in form.fields if field.name in value}
        return form.type(**given)
    if isinstance(form, Array):
        return tuple(structure(form.item, item) for item in value)
    if isinstance(form, Table):
        return {key: structure(form.item, item) for key, item in value.items()}
    if isinstance(form, Scalar) and form.type in (int, float):
        return form.type(value)
    return value


def unstructure(value: Any) -> Any:
    """Return `value` as JSON, with every field of every params class.

    >>> from auxlearn.spec.models import Ramp
    >>> unstructure({"weight": Ramp(until=2.0), "sizes": (1, 2)})
    {'weight': {'start': 0.0, 'end': 1.0, 'begin': 0.0, 'until': 2.0}, 'sizes': [1, 2]}
    """
    if attrs.has(type(value)):
        return {field.name: unstructure(getattr(value, field.name)) for field in attrs.fields(type(value))}
    if isinstance(value, Mapping):
        return {key: unstructure(item) for key, item in value.items()}
    if isinstance(value, tuple):
        return [unstructure(item) for item in value]
    return value


def _json_type(value: Any) -> str:
    kinds: dict[type, str] = {
        bool: "boolean",
        int: "number",
        float: "number",
        str: "string",
        list: "array",
        dict: "object",
    }
    return kinds.get(type(value), "null")
