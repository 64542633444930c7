"""`a.b=c`: single values of a spec from the command line, set before anything is checked."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

from auxlearn.errors import Problem, escape, nearest, pointer
from auxlearn.spec.pointers import parse, show
from auxlearn.spec.reading import parse_value

__all__ = ["apply_overrides"]


def apply_overrides(
    document: dict[str, Any], overrides: Sequence[str], whole: Mapping[str, Any] | None = None
) -> list[Problem]:
    """Change `document` by each of the overrides in turn, and return what is wrong with them.

    The left side is a dotted path, or a JSON Pointer where a key itself has a dot. An entry of a list is called by its
    number, or by its name if it has one, as `stages.pretrain.train.epochs=5`. The right side is JSON if it
    can be read as JSON, else a string. Objects on the way are made where they are missing; whether the path is
    one that a spec can have is checked with the rest of the spec.

    Where `whole`, the document laid over its preset, has a list that the document has not, an override of an entry
    copies the list into the document first, since a list there replaces that of the preset.

    >>> document = {"train": {"epochs": 3}}
    >>> apply_overrides(document, ["train.epochs=5", "data.type=folder"])
    []
    >>> document
    {'train': {'epochs': 5}, 'data': {'type': 'folder'}}
    """
    problems = []
    for override in overrides:
        left, equals, right = override.partition("=")
        steps = parse(left) if left.startswith("/") else tuple(left.split("."))
        if not equals or not all(steps):
            problems.append(Problem(where=escape(override), what="is no override", allowed="path.to.key=value"))
            continue
        problem = _set(document, whole, steps, _value(right))
        if problem:
            problems.append(problem)
    return problems


def _value(text: str) -> Any:
    try:
        return parse_value(text)
    except ValueError:
        return text


def _set(document: dict[str, Any], whole: Any, steps: Sequence[str], value: Any) -> Problem | None:
    here: Any = document
    for depth, step in enumerate(steps):
        key = _key(here, step)
        if key is None:
            return _no_place(here, steps, depth)
        if depth == len(steps) - 1:
            here[key] = value
        elif isinstance(here, dict) and here.get(key) is None:
            below = whole.get(key) if isinstance(whole, Mapping) else None
            here[key] = copy.deepcopy(below) if isinstance(below, list) else {}
        here = here[key]
        whole = whole.get(key) if isinstance(whole, Mapping) else None
    return None


def _no_place(here: Any, steps: Sequence[str], depth: int) -> Problem:
    where = pointer(*steps[:depth])
    if isinstance(here, list):
        known = [
            str(item["name"]) if isinstance(item, dict) and "name" in item else str(i) for i, item in enumerate(here)
        ]
        what = f'there is no entry "{escape(steps[depth])}"'
        return Problem(where=where, what=what, allowed=escape(", ".join(known)), meant=nearest(steps[depth], known))
    what = f"is {show(here)}, so {escape('.'.join(steps))} cannot be set in it"
    return Problem(where=where, what=what, fix="set the whole value")


def _key(here: Any, step: str) -> str | int | None:
    """Return under which key `here` has what `step` calls; None if it has no such place."""
    if isinstance(here, dict):
        return step
    if not isinstance(here, list):
        return None
    named = [index for index, item in enumerate(here) if isinstance(item, dict) and item.get("name") == step]
    numbered = [index for index in range(len(here)) if str(index) == step]
    return next(iter(named + numbered), None)
