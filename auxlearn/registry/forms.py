"""The types that a setting may have, parsed once into a small tree.

Schema, validation, structuring and the reference docs all read this tree, so that a declaration with `option`
means the same to each of them. Members of a union differ in their JSON type (`float | Ramp`, `int | None`);
that makes the choice among them certain, and every error message can name the one that was meant.
"""

from __future__ import annotations

import functools
import re
import types
import typing
from collections.abc import Mapping
from typing import Any, Literal, Union

import attrs

from auxlearn.registry.options import Option

__all__ = [
    "Array",
    "Enum",
    "Field",
    "Form",
    "Null",
    "OneOf",
    "Record",
    "Scalar",
    "Table",
    "form_of",
    "json_types",
    "record_of",
]

_SCALARS = {bool: "boolean", int: "number", float: "number", str: "string"}
_NAME = re.compile(r"[a-z][a-z0-9_]*")
_NESTED_REPEAT = re.compile(r"[+*}]\)[+*{]")
_ALLOWED = "bool, int, float, str, Literal, X | None, tuple[X, ...], tuple[X, X], Mapping[str, X] and nested params"


@attrs.frozen
class Null:
    """JSON's null, Python's None."""


@attrs.frozen
class Scalar:
    """A bool, int, float or str."""

    type: type


@attrs.frozen
class Enum:
    """One of the values of a `Literal`."""

    values: tuple[Any, ...]


@attrs.frozen
class Array:
    """A JSON array, a tuple in Python; of `length` members, or of any number of them."""

    item: Form
    length: int | None = None


@attrs.frozen
class Table:
    """A JSON object with keys of the author's choice, a dict in Python."""

    item: Form


@attrs.frozen
class OneOf:
    """A union of forms that differ in their JSON type."""

    members: tuple[Form, ...]


@attrs.frozen
class Field:
    """One setting of a params class: `default` is `attrs.NOTHING` where it is required."""

    name: str
    form: Form
    option: Option
    default: Any

    @property
    def required(self) -> bool:
        """Whether a spec has to give it."""
        return self.default is attrs.NOTHING


@attrs.frozen
class Record:
    """A JSON object with known keys, an instance of the params class `type` in Python."""

    type: type
    fields: tuple[Field, ...]


Form = Null | Scalar | Enum | Array | Table | OneOf | Record

_PLAIN: Mapping[Any, Form] = {type(None): Null(), None: Null(), **{scalar: Scalar(scalar) for scalar in _SCALARS}}


def form_of(annotation: Any) -> Form:
    """Return the form of a resolved annotation; ValueError if a setting cannot have this type."""
    if annotation in _PLAIN:
        return _PLAIN[annotation]
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is Literal:
        return _enum(arguments)
    if origin in (Union, types.UnionType):
        return _one_of(tuple(form_of(member) for member in arguments))
    if origin is tuple and len({*arguments} - {...}) == 1:
        return Array(form_of(arguments[0]), None if ... in arguments else len(arguments))
    if isinstance(origin, type) and issubclass(origin, Mapping) and arguments[0] is str:
        return Table(form_of(arguments[1]))
    if isinstance(annotation, type) and attrs.has(annotation):
        return record_of(annotation)
    raise ValueError(f"type should be made of {_ALLOWED}, found `{annotation}`")


@functools.cache
def record_of(cls: type) -> Record:
    """Return the form of a params class; ValueError where the class is not one.

    >>> from auxlearn.registry import NoParams
    >>> record_of(NoParams).fields
    ()
    """
    if not (isinstance(cls, type) and attrs.has(cls)):
        raise ValueError(f"params should be a frozen attrs class, found `{cls!r}`")
    if not _frozen(cls):
        raise ValueError(f"params class `{cls.__qualname__}` should be frozen: decorate it with `@attrs.frozen`")
    try:
        annotations = typing.get_type_hints(cls)
    except NameError as error:
        raise ValueError(f"types of `{cls.__qualname__}` should be importable at run time: {error}") from error
    return Record(cls, tuple(_field(cls, field, annotations[field.name]) for field in attrs.fields(cls)))


def json_types(form: Form) -> frozenset[str]:
    """Return the JSON types that values of `form` can have."""
    if isinstance(form, Enum):
        return frozenset(_json_type(value) for value in form.values)
    if isinstance(form, OneOf):
        return frozenset().union(*(json_types(member) for member in form.members))
    if isinstance(form, Scalar):
        return frozenset([_SCALARS[form.type]])
    return frozenset([{Null: "null", Array: "array", Table: "object", Record: "object"}[type(form)]])


def _json_type(value: Any) -> str:
    return "null" if value is None else _SCALARS[type(value)]


def _enum(values: tuple[Any, ...]) -> Enum:
    if not all(value is None or type(value) in _SCALARS for value in values):
        raise ValueError(f"values of a Literal should be JSON values, found {values}")
    return Enum(values)


def _one_of(members: tuple[Form, ...]) -> OneOf:
    seen: set[str] = set()
    for member in members:
        twice = sorted(seen & json_types(member))
        if twice:
            raise ValueError(f"members of a union should differ in their JSON type, found two of type {twice[0]}")
        seen |= json_types(member)
    return OneOf(members)


def _field(cls: type, field: attrs.Attribute[Any], annotation: Any) -> Field:
    where = f"field `{field.name}` of `{cls.__qualname__}`"
    if not _NAME.fullmatch(field.name) or field.alias != field.name:
        raise ValueError(f"{where} should be named like `tile_size`: lower case, digits, underscores")
    default: Any = field.default
    if isinstance(default, attrs.Factory):  # type: ignore[arg-type]
        if default.takes_self:
            raise ValueError(f"{where} should have a default that does not depend on other fields")
        default = default.factory()
    try:
        form, option = form_of(annotation), Option.of(field)
        _check_pattern(option.pattern)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from error
    return Field(field.name, form, option, default)


def _check_pattern(pattern: str | None) -> None:
    if pattern is None:
        return
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValueError(f"pattern `{pattern}` should be a regular expression: {error}") from error
    if _NESTED_REPEAT.search(pattern):
        raise ValueError(f"pattern `{pattern}` repeats a repetition, which can take exponential time")


def _frozen(cls: type) -> bool:
    blank: Any = object.__new__(cls)
    try:
        blank.anything = None
    except attrs.exceptions.FrozenInstanceError:
        return True
    except AttributeError:  # a class with slots that is not frozen
        return False
    return False
