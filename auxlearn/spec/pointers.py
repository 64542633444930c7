"""JSON Pointers (RFC 6901), values for messages, and problems in the order of the document."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from auxlearn.errors import Problem, escape

__all__ = ["Path", "differences", "in_document_order", "parse", "show"]

# The keys and indices that lead to a place in a document.
Path = tuple[str | int, ...]


def parse(text: str) -> tuple[str, ...]:
    """Return the steps of a JSON Pointer; the slash before the first may be missing."""
    text = text if text.startswith("/") or not text else f"/{text}"
    return tuple(step.replace("~1", "/").replace("~0", "~") for step in text.split("/")[1:])


def differences(before: Any, now: Any, pointer: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Yield the JSON Pointer of each difference between two JSON values, with both; a key that lacks counts as null.

    >>> list(differences({"a/b": 1, "c": [2]}, {"a/b": 1, "c": [3], "d": {}}, "/x"))
    [('/x/c', [2], [3]), ('/x/d', None, {})]
    """
    if isinstance(before, Mapping) and isinstance(now, Mapping):
        for name in [*before, *(n for n in now if n not in before)]:
            key = name.replace("~", "~0").replace("/", "~1")
            yield from differences(before.get(name), now.get(name), f"{pointer}/{key}")
    elif before != now:
        yield pointer, before, now


def show(value: Any) -> str:
    r"""Return `value` as JSON for a message: cut, and nothing in it can steer a terminal.

    >>> show("a\tb")
    '"a\\tb"'
    """
    if isinstance(value, Mapping | list) and len(value) > 20:
        return f"an object of {len(value)} keys" if isinstance(value, Mapping) else f"a list of {len(value)} values"
    if isinstance(value, str):
        value = value[:200]
    return escape(json.dumps(value, ensure_ascii=False, default=repr))


def in_document_order(problems: Iterable[tuple[Path, Problem]], document: Any) -> list[Problem]:
    """Return the problems in the order in which their places stand in `document`, each only once.

    A problem about something missing stands where the object stands that lacks it.
    """
    orders: dict[int, dict[str, int]] = {}

    def position(item: tuple[Path, Problem]) -> list[int]:
        here, steps = document, []
        for step in item[0]:
            if isinstance(here, Mapping) and step in here:
                steps.append(_order(here, orders)[str(step)])
            elif isinstance(here, list) and isinstance(step, int) and step < len(here):
                steps.append(step)
            else:
                break
            here = here[step]
        return steps

    return list(dict.fromkeys(problem for _, problem in sorted(problems, key=position)))


def _order(here: Mapping[str, Any], orders: dict[int, dict[str, int]]) -> dict[str, int]:
    if id(here) not in orders:
        orders[id(here)] = {key: index for index, key in enumerate(here)}
    return orders[id(here)]
