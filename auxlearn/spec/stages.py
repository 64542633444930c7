"""`"stages"`: runs one after the other, each written as changes to the rest of the spec.

A stage expands to a plain spec, so whatever reads or trains one knows nothing of stages.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import attrs

from auxlearn.errors import Problem, escape, nearest, pointer
from auxlearn.spec.merge import merge
from auxlearn.spec.models import STAGE_NAME, TrainKeys
from auxlearn.spec.pointers import Path
from auxlearn.spec.validation import problems_of, validator_for

__all__ = ["STAGES", "Part", "check_devices", "check_sources", "expand_stages", "gather"]

STAGES: dict[str, Any] = {
    "type": "array",
    "minItems": 1,
    "description": "Runs one after the other; each is an object with a name and changes to the rest of the spec.",
    "items": {
        "type": "object",
        "properties": {
            "name": {
                "type": "string",
                "pattern": f"^(?:{STAGE_NAME})$",
                "description": "Name of the stage and of its folder in that of the run.",
            },
        },
        "required": ["name"],
    },
}

_KEY = "stages"
_WHOLE = ("$schema", "auxlearn", "preset", "plugins", _KEY)
# What lies in the folder of a run under these names is something else.
_TAKEN = ("checkpoints", "export", "figures", "csv", "tensorboard", "wandb", "mlflow")
_ALIKE = ("accelerator", "devices", "nodes", "strategy")
_LONGEST = 59

Placed = list[tuple[Path, Problem]]


@attrs.frozen(kw_only=True)
class Part:
    """One run that a spec asks for: a stage, or all of a spec without stages.

    Attributes:
        document: The plain spec of the run.
        base: What the stages change.
        patch: The changes of this one.
        number: Which stage it is.
        stage: Its name; None for a spec without stages.
    """

    document: dict[str, Any]
    base: Mapping[str, Any] = attrs.field(factory=dict)
    patch: Mapping[str, Any] = attrs.field(factory=dict)
    number: int = 0
    stage: str | None = None

    def name(self, whole: str) -> str:
        """Return the name of the run as a part of the run `whole`."""
        return whole if self.stage is None else f"{whole[:_LONGEST]}-{self.stage}"

    def wrote(self, path: Path) -> bool:
        """Return whether what stands at `path` of the document is from the stage."""
        return bool(path) and _depth(self.patch, path) == len(path)

    def place(self, path: Path) -> Path:
        """Return where the whole spec says what stands at `path` of the document, or where it could say it."""
        if self.stage is None or _depth(self.patch, path) < _depth(self.base, path):
            return path
        return (_KEY, self.number, *path)


def expand_stages(document: Mapping[str, Any], *, recorded: bool = False) -> tuple[list[Part], Placed]:
    """Return the runs that `document` asks for, and what is wrong with how it asks.

    Each stage is `merge`d into the rest of the document. Without an `init_from` of its own it begins with the backbone
    of the stage before.

    Args:
        document: The spec, without a preset.
        recorded: It is what a run has recorded, perhaps a stage of another spec, which may begin from one beside it.
    """
    if _KEY not in document:
        first, problems = Part(document=dict(document)), []
        if not recorded:
            problems = list(_stage_of_none(first, "this spec has no stages"))
        return [first], [(path, attrs.evolve(problem, where=pointer(*path))) for path, problem in problems]
    stages = document[_KEY]
    problems = list(problems_of(validator_for(STAGES), stages, (_KEY,)))
    base = {key: value for key, value in document.items() if key != _KEY}
    parts: list[Part] = []
    for number, patch in enumerate(stages if isinstance(stages, list) else ()):
        if isinstance(patch, Mapping):
            before = [str(part.stage) for part in parts]
            problems += [((_KEY, number, *path), problem) for path, problem in _misfits(patch, before)]
            parts.append(_part(base, patch, number, before))
    problems += _stage_of_none(parts[0], "the first stage has none before it") if parts else ()
    return parts, [(path, attrs.evolve(problem, where=pointer(*path))) for path, problem in problems]


def gather(parts: Sequence[Part], found: Sequence[Placed]) -> Placed:
    """Return the problems of all parts, each where the whole spec says what is wrong; once if it concerns all.

    Args:
        parts: The runs.
        found: The problems of each, with their paths in its document.
    """
    gathered: dict[tuple[Path, Problem], list[str]] = {}
    for part, problems in zip(parts, found, strict=True):
        for path, problem in problems:
            everywhere = all((path, problem) in other for other in found) and not any(p.wrote(path) for p in parts)
            place = path if everywhere else part.place(path)
            stages = gathered.setdefault((place, problem), [])
            if place == path and not everywhere and part.stage is not None:
                stages.append(f'"{escape(part.stage)}"')
    return [
        (place, attrs.evolve(problem, where=pointer(*place), what=problem.what + _in_stages(stages)))
        for (place, problem), stages in gathered.items()
    ]


def _in_stages(names: Sequence[str]) -> str:
    if not names:
        return ""
    several = f"s {', '.join(names[:-1])} and" if len(names) > 1 else ""
    return f" (in the stage{several} {names[-1]})"


def check_sources(parts: Sequence[Part], plain: Sequence[Mapping[str, Any]]) -> Placed:
    """Return where a stage begins with the best weights of one that does not keep them.

    Args:
        parts: The stages.
        plain: The engine's own sections of each, as far as they are valid.
    """
    thrown = {
        p.stage for p, one in zip(parts, plain, strict=True) if "checkpoint" in one and not one["checkpoint"].keep_best
    }
    problems: Placed = []
    for part, sections in zip(parts, plain, strict=True):
        source = sections.get("init_from")
        if part.stage is not None and source is not None and source.stage in thrown and source.which == "best":
            path = part.place(("init_from",))
            what = f'the best weights of the stage "{source.stage}" are not kept'
            fix = '"which": "last", or "keep_best": true in "checkpoint" of that stage'
            problems.append((path, Problem(where=pointer(*path), what=what, fix=fix)))
    return problems


def check_devices(parts: Sequence[Part], trains: Sequence[TrainKeys | None]) -> Placed:
    """Return where a stage asks for other devices than the first: processes are started once for all of them."""
    problems: Placed = []
    first = trains[0] if trains else None
    for part, train in zip(parts, trains, strict=True):
        for key in _ALIKE if first is not None and train is not None else ():
            if getattr(train, key) != getattr(first, key):
                path = part.place(("train", key))
                what = f'the stage "{part.stage}" has another `{key}` than the first'
                problems.append((path, Problem(where=pointer(*path), what=what, fix="give it once, for all stages")))
    return problems


def _part(base: Mapping[str, Any], patch: Mapping[str, Any], number: int, before: Sequence[str]) -> Part:
    changes = {key: value for key, value in patch.items() if key not in ("name", *_WHOLE)}
    if number:  # weights from elsewhere are for the first stage
        base = {key: value for key, value in base.items() if key != "init_from"}
        changes["init_from"] = _begin(changes.get("init_from", {}), before[-1])
    return Part(
        document={**merge(base, changes)},
        base=base,
        patch={**changes, **{key: value for key, value in patch.items() if key in _WHOLE}},
        number=number,
        stage=str(patch.get("name", number)),
    )


def _begin(given: Any, before: str) -> Any:
    """Return an `init_from` with the stage before filled in where it names no source."""
    if not isinstance(given, Mapping) or given.get("path") is not None or given.get("stage") is not None:
        return given
    return {**given, "stage": before}


def _misfits(patch: Mapping[str, Any], before: Sequence[str]) -> Iterator[tuple[Path, Problem]]:
    """Yield what is wrong with a stage as one of several."""
    name, begin = patch.get("name"), patch.get("init_from")
    if name in before:
        yield ("name",), Problem(what=f'an earlier stage is called "{escape(name)}" too', fix="rename one of them")
    if name in _TAKEN:
        yield ("name",), Problem(what=f'a folder of every run is called "{escape(name)}"', fix="another name")
    for key in _WHOLE:
        if key in patch:
            yield (key,), Problem(what=f'"{key}" concerns the whole spec', fix="move it out of the stage")
    source = begin.get("stage") if isinstance(begin, Mapping) else None
    if isinstance(source, str) and source not in before:
        what = f'there is no earlier stage "{escape(source)}"'
        allowed = ", ".join(map(escape, before)) or "none, as this is the first; `path` names another run"
        yield ("init_from", "stage"), Problem(what=what, allowed=allowed, meant=nearest(source, before))


def _stage_of_none(first: Part, why: str) -> Iterator[tuple[Path, Problem]]:
    """Yield where the first run of all begins from a stage, unless `_misfits` says so."""
    begin = first.document.get("init_from")
    if isinstance(begin, Mapping) and begin.get("stage") is not None and not first.wrote(("init_from", "stage")):
        yield ("init_from", "stage"), Problem(what=why, fix='"path" names another run')


def _depth(document: Any, path: Path) -> int:
    """Return how many steps of `path` stand in `document`: all of them where it replaces a whole list or value."""
    for depth, step in enumerate(path):
        if not isinstance(document, Mapping):
            return len(path)
        if step not in document:
            return depth
        document = document[step]
    return len(path)
