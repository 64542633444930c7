"""JSON against a schema: every mistake as a `Problem` that says where, what, what is allowed and what was meant."""

from __future__ import annotations

import functools
import itertools
import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from auxlearn.errors import Problem, escape, nearest, pointer
from auxlearn.spec.pointers import Path, show

if TYPE_CHECKING:
    from jsonschema.exceptions import ValidationError
    from jsonschema.protocols import Validator

__all__ = ["describe", "problems_of", "validator_for"]

# More than anybody reads; it bounds the time that a hostile file can take.
_MOST = 1000
_NAMES = {
    "integer": "an integer",
    "number": "a number",
    "string": "a string",
    "boolean": "true or false",
    "array": "a list",
    "object": "an object",
    "null": "null",
}
_BOUNDS = {
    "minimum": "at least",
    "exclusiveMinimum": "above",
    "maximum": "at most",
    "exclusiveMaximum": "below",
}


def validator_for(schema: Mapping[str, Any]) -> Validator:
    """Return a validator of `schema` that fetches nothing, whatever a `$ref` says."""
    from referencing import Registry

    validator: Validator = _validator_class()(schema, registry=Registry())
    return validator


def problems_of(validator: Validator, value: Any, path: Path = ()) -> Iterator[tuple[Path, Problem]]:
    """Yield what is wrong with `value`, which stands at `path` of the document."""
    for error in itertools.islice(validator.iter_errors(value), _MOST):
        place = (*path, *error.absolute_path)
        yield place, _problem(error, place, validator.schema)


@functools.cache
def _validator_class() -> type[Validator]:
    from jsonschema import Draft202012Validator
    from jsonschema.validators import extend

    keywords = {
        "required": _required,
        "additionalProperties": _additional,
        "pattern": _pattern,
        "propertyNames": _names,
    }
    return extend(Draft202012Validator, keywords)  # type: ignore[no-any-return, no-untyped-call]


def _required(_: Validator, required: list[str], instance: Any, schema: Mapping[str, Any]) -> Iterator[ValidationError]:
    """Report each missing key on its own, with the key as message."""
    from jsonschema.exceptions import ValidationError

    for key in required if isinstance(instance, dict) else ():
        if key not in instance:
            yield ValidationError(key, instance=schema.get("properties", {}).get(key, {}))


def _additional(validator: Any, allowed: Any, instance: Any, schema: Mapping[str, Any]) -> Iterator[ValidationError]:
    """Report each unknown key on its own, at its own place."""
    from jsonschema.exceptions import ValidationError

    if not isinstance(instance, dict) or allowed is True:
        return
    for key in instance.keys() - schema.get("properties", {}).keys():
        if allowed is False:
            yield ValidationError(key, path=(key,), instance=schema)
        else:
            yield from validator.descend(instance[key], allowed, path=key)


def _pattern(_: Validator, pattern: str, instance: Any, __: Mapping[str, Any]) -> Iterator[ValidationError]:
    """Match as a whole: `$` of Python, unlike that of JSON Schema, lets a final newline pass."""
    from jsonschema.exceptions import ValidationError

    if isinstance(instance, str) and not re.fullmatch(pattern, instance):
        yield ValidationError(pattern, instance=instance)


def _names(_: Validator, names: Mapping[str, str], instance: Any, __: Mapping[str, Any]) -> Iterator[ValidationError]:
    """Report a bad key at its own place."""
    from jsonschema.exceptions import ValidationError

    for key in instance if isinstance(instance, dict) else ():
        if not re.fullmatch(names["pattern"], key):
            yield ValidationError(key, path=(key,), instance=names["pattern"])


def _problem(error: Any, place: Path, root: Any) -> Problem:
    keyword, where = error.validator, pointer(*place)
    if keyword == "additionalProperties" and error.validator_value is False:
        return _unknown_key(error.message, list(error.instance.get("properties", {})), where)
    if keyword == "required":
        return Problem(where=where, what=f'lacks the key "{error.message}"', allowed=describe(error.instance) or None)
    if keyword == "propertyNames":
        what = f'"{escape(error.message)}" is no name'
        return Problem(where=where, what=what, allowed="lower case letters, digits and underscores, a letter first")
    schema = _stated(error, root)
    known = [word for word in schema.get("enum", schema.get("then", {}).get("enum", ())) if isinstance(word, str)]
    meant = nearest(error.instance, known) if isinstance(error.instance, str) else None
    return Problem(where=where, what=f"found {show(error.instance)}", allowed=describe(schema), meant=meant)


def _stated(error: Any, root: Any) -> Any:
    """Return the schema of the place: of all members of a union, where only one of them was looked at."""
    steps = list(error.absolute_schema_path)[:-1]
    if not steps or steps[-1] != "then":
        return error.schema
    for step in steps[:-1]:
        root = root[step]
    return root


def _unknown_key(key: str, known: list[str], where: str) -> Problem:
    allowed = ", ".join(known) or "no keys"
    return Problem(where=where, what=f'unknown key "{escape(key)}"', allowed=allowed, meant=nearest(key, known))


def describe(schema: Mapping[str, Any]) -> str:
    """Return in words what a schema allows.

    >>> describe({"type": ["integer", "null"], "minimum": 2})
    'an integer, at least 2, or null'
    """
    if "const" in schema:
        return show(schema["const"])
    if "enum" in schema:
        return ", ".join(show(value) for value in schema["enum"])
    types = schema.get("type", [])
    types = [types] if isinstance(types, str) else types
    return " or ".join(filter(None, (_describe_type(name, schema) for name in types))).replace(" or null", ", or null")


def _describe_type(name: str, schema: Mapping[str, Any]) -> str:
    values = schema.get("then", {}).get("enum")
    if values is not None and name in schema["if"]["type"]:
        return ", ".join(show(value) for value in values) if name == schema["if"]["type"][0] else ""
    if name in ("integer", "number"):
        bounds = [f"{word} {show(schema[key])}" for key, word in _BOUNDS.items() if key in schema]
        return ", ".join([_NAMES[name], *bounds])
    if name == "string" and "pattern" in schema:
        return f"a string that matches {schema['pattern']}"
    if name == "array":
        return _describe_array(schema)
    if name == "object" and schema.get("properties"):
        return "an object with " + ", ".join(schema["properties"])
    return _NAMES[name]


def _describe_array(schema: Mapping[str, Any]) -> str:
    lengths = [
        f"{word} {schema[key]}" for key, word in (("minItems", "at least"), ("maxItems", "at most")) if key in schema
    ]
    exact = schema.get("minItems") == schema.get("maxItems")
    counted = f" of {schema['minItems'] if exact else ' and '.join(lengths)}" if lengths else ""
    return f"a list{counted}, each {describe(schema.get('items', {})) or 'of any kind'}"
