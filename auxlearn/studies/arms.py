"""From an arm of a study to its specs: changes laid over a base, and mistakes traced to where they stand."""

from __future__ import annotations

import copy
import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import attrs

from auxlearn.errors import AuxlearnError, Problem, escape, pointer
from auxlearn.registry import Registry
from auxlearn.spec import load_spec
from auxlearn.spec.merge import merge
from auxlearn.spec.models import Spec
from auxlearn.spec.overrides import apply_overrides
from auxlearn.spec.pointers import Path, parse, show
from auxlearn.spec.presets import expand_preset
from auxlearn.studies.models import ARM_NAME

__all__ = ["Arm", "Base", "arms_of", "misplaced"]

_OWN = ("spec", "grid")
_OF_THE_STUDY = {
    "seed": "the study gives the seeds",
    "name": "a run is called like its arm",
    "auxlearn": "the base says it",
    "$schema": "the study says it",
}
Placed = tuple[Path, Problem]


@attrs.frozen(kw_only=True)
class Base:
    """A spec that arms change.

    Attributes:
        document: Its JSON.
        root: The folder that relative paths in it refer to.
        path: Where the study has it: as a whole, or as the name of its file.
        file: That name; None if it stands there as a whole.
    """

    document: Mapping[str, Any]
    root: str
    path: Path
    file: str | None = None

    def placed(self, problem: Problem) -> Placed:
        """Return a problem of the spec with its place in the study or in the file."""
        if self.file is not None:
            return self.path, attrs.evolve(problem, where=f"{escape(self.file)} {problem.where}".rstrip())
        path = (*self.path, *parse(problem.where))
        return path, attrs.evolve(problem, where=pointer(*path))


@attrs.frozen(kw_only=True)
class Arm:
    """One arm: a spec for every label fraction and seed.

    Attributes:
        name: What it is called, and its folder.
        key: What the study calls it; with a grid, several arms have the same.
        base: What it changes.
        merged: The changes that are merged.
        paths: Those that are set, by their path.
        chosen: Which of them are from the grid.
    """

    name: str
    key: str
    base: Base
    merged: Mapping[str, Any]
    paths: Mapping[str, Any]
    chosen: Sequence[str] = ()

    def spec(self, registry: Registry, fraction: float | None, seed: int) -> Spec:
        """Return the checked spec of a run of the arm.

        Args:
            registry: What is installed.
            fraction: The label fraction; None to leave it as it is.
            seed: The seed.

        Raises:
            AuxlearnError: If something is wrong with it, at its places in the spec of the arm.
        """
        return load_spec(self._document(registry, fraction), registry=registry, seed=seed, root=self.base.root)

    def problems(self, registry: Registry, fraction: float | None, seed: int) -> list[Placed]:
        """Return what is wrong with such a run, each with its place in the study."""
        try:
            self.spec(registry, fraction, seed)
        except AuxlearnError as error:
            return [self.place(problem) for problem in error.problems]
        return []

    def _document(self, registry: Registry, fraction: float | None) -> dict[str, Any]:
        paths = {_steps(path): (path, value) for path, value in self.paths.items()}
        named = {key: self.merged[key] for key in ("preset",) if key in self.merged}
        if ("preset",) in paths:  # of a grid
            named = {"preset": paths.pop(("preset",))[1]}
        plain = expand_preset({**self.base.document, **named}, registry).document
        changes = {key: value for key, value in self.merged.items() if key != "preset"}
        # What several arms share must not become the same object, which a path of one would change for all.
        document, wrong = copy.deepcopy(merge(plain, changes)), []
        for steps, (path, value) in paths.items():
            if value is None and _is_section(document, steps):
                document = merge(document, _nested(steps, None))
            else:
                wrong += apply_overrides(document, [f"{path}={json.dumps(value)}"])
        if wrong:
            raise AuxlearnError(wrong)
        if fraction is not None:
            document = merge(document, {"data": {"fraction": fraction}})
        document["name"] = "".join(c if c.isalnum() or c in "._-" else "-" for c in self.name)[:100]
        return dict(document)

    def place(self, problem: Problem) -> Placed:
        """Return a problem of the arm's spec with its place in the study, or in the file of the base."""
        steps = parse(problem.where)
        for key in self.paths:
            path = _steps(key)
            if steps[: len(path)] == path or (steps and path[: len(steps)] == steps and not self._elsewhere(steps)):
                return self._at((*(("grid",) if key in self.chosen else ()), key, *steps[len(path) :]), problem)
        if steps and _depth(self.merged, steps) >= max(1, _depth(self.base.document, steps)):
            return self._at(steps, problem)
        return self.base.placed(problem)

    def _elsewhere(self, steps: tuple[str, ...]) -> bool:
        """Return whether what stands there is not only from the paths."""
        return any(_depth(document, steps) == len(steps) for document in (self.merged, self.base.document))

    def _at(self, steps: tuple[str, ...], problem: Problem) -> Placed:
        path: Path = ("arms", self.key, *steps)
        return path, attrs.evolve(problem, where=pointer(*path))


def arms_of(key: str, given: Mapping[str, Any], base: Base) -> list[Arm]:
    """Return the arms that one entry of a study asks for: several if it has a grid.

    Args:
        key: The name of the entry.
        given: The entry.
        base: What it changes.
    """
    grid: Mapping[str, Sequence[Any]] = given.get("grid", {})
    merged = {name: value for name, value in given.items() if name not in _OWN and not _is_path(name)}
    paths = {name: value for name, value in given.items() if _is_path(name)}
    lasts = [_steps(path)[-1] for path in grid]
    shorts = [_steps(p)[-1] if lasts.count(_steps(p)[-1]) == 1 else ".".join(_steps(p)) for p in grid]
    arms = []
    for values in itertools.product(*grid.values()):
        chosen = ",".join(f"{short}={_text(value)}" for short, value in zip(shorts, values, strict=True))
        arms.append(
            Arm(
                name=f"{key}-{chosen}" if chosen else key,
                key=key,
                base=base,
                merged=merged,
                paths=paths | dict(zip(grid, values, strict=True)),
                chosen=tuple(grid),
            )
        )
    return arms


def misplaced(key: str, given: Mapping[str, Any], *, fractions: bool) -> Iterator[Placed]:
    """Yield what an entry of a study may not say.

    Args:
        key: The name of the entry.
        given: The entry.
        fractions: Whether the study gives label fractions.
    """
    if not ARM_NAME.fullmatch(key):
        what = f'"{escape(key)}" is no name of an arm, which is that of a folder too'
        yield ("arms", key), Problem(where=pointer("arms", key), what=what, allowed="letters, digits, and . _ + -")
    grid = given.get("grid") if isinstance(given.get("grid"), Mapping) else {}
    for path in _leaves(given):
        reason = _OF_THE_STUDY.get(_dotted(path))
        if _dotted(path) == "data.fraction" and fractions:
            reason = "the study gives the fractions"
        if reason is not None:
            place = ("arms", key, *path)
            yield place, Problem(where=pointer(*place), what=f"an arm cannot set it: {reason}", fix="leave it out")
    for name, values in grid.items() if grid else ():
        unfit = [value for value in values if isinstance(value, str) and not ARM_NAME.fullmatch(value)]
        place = ("arms", key, "grid", name)
        if unfit and isinstance(values, list):
            what = f"{show(unfit[0])} cannot be part of the name of a folder"
            yield place, Problem(where=pointer(*place), what=what, fix="an arm of its own for each value")


def _leaves(given: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    """Yield the keys that lead to what an entry sets at its first two levels, under grids too."""
    for name, value in given.items():
        yield (name,)
        if isinstance(value, Mapping) and not _is_path(name):
            yield from ((name, inner) for inner in value)


def _dotted(path: tuple[str, ...]) -> str:
    """Return the place in a spec that keys of an entry lead to."""
    return ".".join(step for key in (path[1:] if path[0] == "grid" else path) for step in _steps(key))


def _is_path(name: str) -> bool:
    return "." in name or name.startswith("/")


def _steps(path: str) -> tuple[str, ...]:
    return parse(path) if path.startswith("/") else tuple(path.split("."))


def _nested(steps: Sequence[str], value: Any) -> Any:
    return {steps[0]: _nested(steps[1:], value)} if steps else value


def _is_section(document: Any, steps: Sequence[str]) -> bool:
    """Return whether an object stands there, and objects only on the way."""
    for step in steps:
        document = document.get(step) if isinstance(document, Mapping) else None
    return isinstance(document, Mapping)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _depth(document: Any, steps: Sequence[str]) -> int:
    """Return how many of the steps stand in `document`; all of them where it has a list on the way."""
    for depth, step in enumerate(steps):
        if not isinstance(document, Mapping):
            return len(steps)
        if step not in document:
            return depth
        document = document[step]
    return len(steps)
