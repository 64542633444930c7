"""`a.b=c`: single values of a spec from the command line, set before anything is checked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from auxlearn.errors import Problem, escape
from auxlearn.spec.pointers import parse, pointer, show
from auxlearn.spec.reading import parse_value

__all__ = ["apply_overrides"]


def apply_overrides(document: dict[str, Any], overrides: Sequence[str]) -> list[Problem]:
    """Change `document` by each of the overrides in turn, and return what is wrong with them.

    The left side is a dotted path, or a JSON Pointer where a key itself has a dot. The right side is JSON if it
    can be read as JSON, else a string. Objects on the way are made where they are missing; whether the path is
    one that a spec can have is checked with the rest of the spec.

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
        problem = _set(document, steps, _value(right))
        if problem:
            problems.append(problem)
    return problems


def _value(text: str) -> Any:
    try:
        return parse_value(text)
    except ValueError:
        return text


def _set(document: dict[str, Any], steps: Sequence[str], value: Any) -> Problem | None:
    here = document
    for depth, step in enumerate(steps[:-1], 1):
        if here.get(step) is None:
            here[step] = {}
        if not isinstance(here[step], dict):
            what = f"is {show(here[step])}, so {escape('.'.join(steps))} cannot be set in it"
            return Problem(where=pointer(steps[:depth]), what=what, fix="set the whole value")
        here = here[step]
    here[steps[-1]] = value
    return None
