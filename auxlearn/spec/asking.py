"""Calls to the functions of a provider that need no torch: what fails in one is told as its plugin's fault."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Literal

from auxlearn.errors import PluginError, Problem, escape, place_of, pointer
from auxlearn.registry import CheckContext, DataFacts
from auxlearn.spec.assembly import Selected
from auxlearn.spec.pointers import Path, parse

__all__ = ["ask", "own_problems"]

_CELLS = "an int or None"
_FORMS = {
    "describe": "DataFacts or None",
    "check": "Problems (an iterable)",
    "asks_cells": _CELLS,
    "moves_within": _CELLS,
}


def ask(item: Selected, function: Literal["describe", "check", "asks_cells", "moves_within"], *more: Any) -> Any:
    """Return what a function of the provider says of the component's params; None if the provider does not have it.

    Raises:
        PluginError: If it fails, or returns something else than it should; it names the plugin.
    """
    provider = item.found.provider
    call = getattr(provider, function)
    if call is None:
        return None
    try:
        found = call(item.params, *more)
        found = list(found) if function == "check" and _iterable(found) else found
    except (Exception, SystemExit) as error:  # a plugin's function may do anything
        raise _refused(
            item, function, f"failed: {type(error).__name__}: {escape(error, 300)}{place_of(error)}"
        ) from error
    wrong = _wrong(function, found)
    if wrong is not None:
        raise _refused(item, function, wrong)
    return found


def own_problems(item: Selected, context: CheckContext) -> Iterator[tuple[Path, Problem]]:
    """Yield what a component finds wrong with its own params, each with the place in the document."""
    try:
        problems = ask(item, "check", context) or []
    except PluginError as error:
        yield item.path, error.problems[0]
        return
    for problem in problems:
        yield (*item.path, *parse(problem.where)), problem


def _refused(item: Selected, function: str, what: str) -> PluginError:
    found = item.found
    who = f'`{function}` of "{found.provider.name}" ({found.distribution} {found.version})'
    return PluginError(Problem(where=pointer(*item.path), what=f"{who} {what}", exit_code=3))


def _wrong(function: str, found: Any) -> str | None:
    """Return what is wrong with the form of what a function returned."""
    if function == "check":
        return _wrong_problems(found) if isinstance(found, list) else _returned(function, found)
    if found is None:
        return None
    if function == "describe":
        return None if isinstance(found, DataFacts) else _returned(function, found)
    counted = isinstance(found, int) and not isinstance(found, bool)
    return None if counted else _returned(function, found)


def _returned(function: str, found: Any) -> str:
    shown = "None" if found is None else escape(f"{type(found).__name__} {found!r}")
    return f"should return {_FORMS[function]}, it returned {shown}"


def _iterable(found: Any) -> bool:
    return isinstance(found, Iterable) and not isinstance(found, str | bytes)


def _wrong_problems(problems: list[Any]) -> str | None:
    for one in problems:
        if not isinstance(one, Problem):
            return f"should give Problem objects, it gave {escape(f'{type(one).__name__} {one!r}')}"
        if not isinstance(one.where, str):
            return f"should say where as a JSON Pointer, as /grid, it gave {escape(repr(one.where))}"
    return None
