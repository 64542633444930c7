"""`"preset": name`: a part of a spec that a plugin offers, over which the rest of the spec is laid."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from auxlearn.errors import AuxlearnError, PluginError, Problem, error_of, escape
from auxlearn.registry import Found, Registry
from auxlearn.spec.merge import merge
from auxlearn.spec.pointers import Path, show

__all__ = ["Expanded", "expand_preset", "preset_content"]

_KEY = "preset"
_WHOLE = ("$schema", "auxlearn", "name", "seed", "plugins", _KEY)  # what only a spec says


@attrs.frozen(kw_only=True)
class Expanded:
    """A spec without presets.

    Attributes:
        document: The plain spec.
        preset: Name of the preset that it had, if any.
        given: The spec as it was.
    """

    document: dict[str, Any]
    preset: str | None
    given: Mapping[str, Any]

    def traced(self, path: Path, problem: Problem) -> Problem:
        """Return the problem, with the preset named where it set what is wrong."""
        if self.preset is None or _inside(self.given, path) or not _inside(self.document, path):
            return problem
        return attrs.evolve(problem, what=f'{problem.what} (set by the preset "{self.preset}")')


def expand_preset(given: Mapping[str, Any], registry: Registry) -> Expanded:
    """Return `given` laid over the preset that it names: plain keys only.

    Raises:
        AuxlearnError: If there is no such preset, or its plugin is broken, or it is no part of a spec.
    """
    if _KEY not in given:
        return Expanded(document=dict(given), preset=None, given=given)
    name = given[_KEY]
    if not isinstance(name, str):
        raise error_of([Problem(where=f"/{_KEY}", what=f"is {show(name)}", allowed="the name of a preset")])
    try:
        found = registry.find("preset", name)
    except AuxlearnError as error:
        raise type(error)([attrs.evolve(p, where=f"/{_KEY}") for p in error.problems]) from None
    own = {key: value for key, value in given.items() if key != _KEY}
    document = merge(preset_content(found), own)
    return Expanded(document=document, preset=name, given=given)


def preset_content(found: Found) -> Mapping[str, Any]:
    """Return the part of a spec that the preset is.

    Raises:
        PluginError: If it fails, or is something else.
    """
    fault, content = None, None
    try:
        content = found.provider.build(None, None)
    except Exception as error:  # a plugin's function may do anything
        fault = f"failed: {type(error).__name__}: {escape(error, 300)}"
    else:
        if not isinstance(content, Mapping):
            fault = f"is {show(content)} instead of an object"
        elif wrong := [key for key in _WHOLE if key in content]:
            fault = f"has {', '.join(map(show, wrong))}, and a preset has sections and stages only"
    if fault is not None:
        what = f'the preset "{escape(found.provider.name)}" of {found.distribution} {found.version} {fault}'
        raise PluginError(Problem(where=f"/{_KEY}", what=what, exit_code=3))
    return content or {}


def _inside(document: Any, path: Path) -> bool:
    """Return whether there is something at `path`."""
    here = document
    for step in path:
        try:
            here = here[step]
        except (KeyError, IndexError, TypeError):
            return False
    return True
