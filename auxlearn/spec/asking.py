"""Calls to the functions of a provider that need no torch: what fails in one is told as its plugin's fault."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Literal

from auxlearn.errors import PluginError, Problem, escape, pointer
from auxlearn.registry import CheckContext
from auxlearn.spec.assembly import Selected
from auxlearn.spec.pointers import Path, parse

__all__ = ["ask", "own_problems"]


def ask(item: Selected, function: Literal["describe", "check", "asks_cells", "moves_within"], *more: Any) -> Any:
    """Return what a function of the provider says of the component's params; None if the provider does not have it.

    Raises:
        PluginError: If it fails; it names the plugin.
    """
    provider = item.found.provider
    call = getattr(provider, function)
    if call is None:
        return None
    try:
        found = call(item.params, *more)
        return _problems(found) if function == "check" else found
    except (Exception, SystemExit) as error:  # a plugin's function may do anything
        what = f'`{function}` of "{provider.name}" ({item.found.distribution} {item.found.version}) failed'
        what += f": {type(error).__name__}: {escape(error, 300)}"
        raise PluginError(Problem(where=pointer(*item.path), what=what, exit_code=3)) from error


def own_problems(item: Selected, context: CheckContext) -> Iterator[tuple[Path, Problem]]:
    """Yield what a component finds wrong with its own params, each with the place in the document."""
    try:
        problems = ask(item, "check", context) or []
    except PluginError as error:
        yield item.path, error.problems[0]
        return
    for problem in problems:
        yield (*item.path, *parse(problem.where)), problem


def _problems(found: Iterable[Any]) -> list[Problem]:
    problems = list(found)
    for one in problems:
        if not isinstance(one, Problem):
            raise TypeError(f"it should give Problem objects, it gave {one!r:.80}")
        parse(one.where)
    return problems
