"""JSON Pointers (RFC 6901), values for messages, and problems in the order of the document."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from auxlearn.errors import Problem, escape

__all__ = ["Path", "in_document_order", "parse", "pointer", "show"]

# The keys and indices that lead to a place in a document.
Path = tuple[str | int, ...]


def pointer(path: Sequence[str | int]) -> str:
    """Return the JSON Pointer of `path`.

    >>> pointer(("a/b", 0, "~"))
    '/a~1b/0/~0'
    """
    return "".join("/" + escape(str(step)).replace("~", "~0").replace("/", "~1") for step in path)


def parse(text: str) -> tuple[str, ...]:
    """Return the steps of a JSON Pointer that begins with `/`."""
    return tuple(step.replace("~1", "/").replace("~0", "~") for step in text.split("/")[1:])


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
    found = list(problems)
    places = {place: index for index, place in enumerate(_places(document, ()))} if found else {}

    def position(item: tuple[Path, Problem]) -> int:
        path = item[0]
        while path not in places:
            path = path[:-1]
        return places[path]

    return list(dict.fromkeys(problem for _, problem in sorted(found, key=position)))


def _places(value: Any, path: Path) -> Iterator[Path]:
    yield path
    children: Iterable[tuple[str | int, Any]] = ()
    if isinstance(value, Mapping):
        children = value.items()
    elif isinstance(value, list):
        children = enumerate(value)
    for step, child in children:
        yield from _places(child, (*path, step))
