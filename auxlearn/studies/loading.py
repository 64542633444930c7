"""`load_study`: from a file, bytes or a mapping to a `Study` in which the spec of every run is checked."""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path as FilePath
from typing import TYPE_CHECKING, Any

import attrs

from auxlearn.errors import Problem, SpecError, error_of, nearest, pointer
from auxlearn.registry import Registry
from auxlearn.spec.models import Spec
from auxlearn.spec.overrides import apply_overrides
from auxlearn.spec.pointers import Path, in_document_order
from auxlearn.spec.reading import Document, read
from auxlearn.spec.structure import structure, unstructure
from auxlearn.spec.validation import problems_of, validator_for
from auxlearn.studies.arms import Arm, Base, Placed, arms_of, misplaced
from auxlearn.studies.cells import CellKey
from auxlearn.studies.models import StudyKeys, study_frame

if TYPE_CHECKING:
    from jsonschema.protocols import Validator

__all__ = ["Study", "is_study", "load_study"]


@attrs.frozen(kw_only=True)
class Study:
    """A study, read and checked.

    Attributes:
        name: What it is called.
        keys: Its plain keys; `baseline` is filled in.
        arms: The arms by name, those of grids one by one.
        specs: A spec of each arm, with the first fraction and seed.
        given: Its JSON.
    """

    name: str
    keys: StudyKeys
    arms: Mapping[str, Arm]
    specs: Mapping[str, Spec]
    given: Mapping[str, Any]

    @property
    def baseline(self) -> str:
        """The arm that the others are compared with."""
        return self.keys.baseline or next(iter(self.arms))

    @property
    def cells(self) -> list[CellKey]:
        """Every run, so that the first seeds of all arms come first."""
        return [
            CellKey(arm=arm, fraction=fraction, seed=seed)
            for seed in self.keys.seeds
            for fraction in self.keys.fractions or (None,)
            for arm in self.arms
        ]

    @property
    def resolved(self) -> dict[str, Any]:
        """The study as JSON with the spec of each arm, in which every default is filled in."""
        arms = {name: spec.resolved for name, spec in self.specs.items()}
        return {"name": self.name, **unstructure(self.keys), "baseline": self.baseline, "arms": arms}

    def spec(self, cell: CellKey, registry: Registry) -> Spec:
        """Return the spec of a run."""
        return self.arms[cell.arm].spec(registry, cell.fraction, cell.seed)


def is_study(source: str | os.PathLike[str] | bytes | Mapping[str, Any]) -> bool:
    """Return whether a document is a study, and no spec.

    >>> is_study({"auxlearn_study": 1, "arms": {}})
    True
    """
    return "auxlearn_study" in read(source).value


def load_study(
    source: str | os.PathLike[str] | bytes | Mapping[str, Any], overrides: Sequence[str], registry: Registry
) -> Study:
    """Read and check a study and the specs of all its arms, without importing torch.

    Args:
        source: Path of a JSON file; or JSON as bytes; or a mapping, whose relative paths refer to the working folder.
        overrides: `a.b=c`, applied before anything is checked.
        registry: What is installed.

    Raises:
        SpecError: It is no study; every mistake is in `error.problems`, in the order of the document. The `where` of
            one in the file of a spec has the name of the file before the pointer.
        PluginError: A plugin that a spec needs is missing, broken, blocked, or offers an ambiguous name.

    Examples:
        >>> from auxlearn.errors import SpecError
        >>> from auxlearn.registry import discover
        >>> from auxlearn.studies.loading import load_study
        >>> try:
        ...     load_study({"auxlearn_study": 1, "arms": {"plain": {"trian.epochs": 3}}, "base": {}}, (), discover())
        ... except SpecError as error:
        ...     print(error.problems[0].where, error.problems[0].meant)
        /arms/plain/trian.epochs train
    """
    document = read(source)
    given = document.value
    wrong = apply_overrides(given, overrides)
    problems: list[Placed] = [*document.problems, *problems_of(_frame(), given)]
    _stop_if(wrong, problems, given)
    keys: StudyKeys = structure(StudyKeys, given)
    entries, found = _entries(document)
    problems += found
    for key, entry in given["arms"].items():
        problems += misplaced(key, entry, fractions=keys.fractions is not None)
    problems += _twice(keys)
    arms = {arm.name: arm for arm in entries}
    fractions, seed = keys.fractions or (None,), keys.seeds[0]
    for arm in arms.values():
        problems += [one for fraction in fractions for one in arm.problems(registry, fraction, seed)]
    problems += _baseline(keys, arms, [arm.name for arm in entries])
    problems += _one_folder(keys, arms)
    _stop_if((), problems, given)
    specs = {name: arm.spec(registry, fractions[0], seed) for name, arm in arms.items()}
    _stop_if((), [*_unfit(keys, arms, specs), *_deaf(keys, arms, specs, registry)], given)
    return Study(name=given.get("name", document.name), keys=keys, arms=arms, specs=specs, given=given)


def _stop_if(first: Sequence[Problem], problems: Sequence[Placed], given: Any) -> None:
    """Raise all problems, if there are any."""
    if first or problems:
        raise error_of([*first, *in_document_order(problems, given)])


def _entries(document: Document) -> tuple[list[Arm], list[Placed]]:
    """Return the arms, as far as what they change can be read, and what cannot."""
    given, arms, problems = document.value, [], []
    base: Base | None = None
    if "base" in given:
        base, found = _read_base(given["base"], document.root, ("base",))
        problems += found
    for key, entry in given["arms"].items():
        own = base
        if "spec" in entry:
            own, found = _read_base(entry["spec"], document.root, ("arms", key, "spec"))
            problems += found
        elif "base" not in given:
            what = 'lacks the key "spec", as the study has no "base"'
            problems.append((("arms", key), Problem(where=pointer("arms", key), what=what)))
        arms += arms_of(key, entry, own) if own is not None else []
    return arms, problems


def _read_base(given: str | Mapping[str, Any], root: str, path: Path) -> tuple[Base | None, list[Placed]]:
    if isinstance(given, Mapping):
        return Base(document=given, root=root, path=path), []
    try:
        found = read(FilePath(root) / given)
    except SpecError as error:
        return None, [(path, problem) for problem in error.problems]
    base = Base(document=found.value, root=found.root, path=path, file=given)
    return base, [base.placed(problem) for _, problem in found.problems]


def _twice(keys: StudyKeys) -> Iterator[Placed]:
    for name, values in (("seeds", keys.seeds), ("fractions", keys.fractions or ())):
        for index, value in enumerate(values):
            if value in values[:index]:
                path = (name, index)
                yield path, Problem(where=pointer(*path), what=f"{value} stands there twice", fix="keep one of them")


def _baseline(keys: StudyKeys, arms: Mapping[str, Arm], names: Sequence[str]) -> Iterator[Placed]:
    for name in dict.fromkeys(name for name in names if names.count(name) > 1):
        path = ("arms", arms[name].key)
        yield path, Problem(where=pointer(*path), what=f'two arms are called "{name}"', fix="rename one of them")
    if keys.baseline is not None and keys.baseline not in arms:
        what = f'there is no arm "{keys.baseline}"'
        meant = nearest(keys.baseline, arms)
        yield ("baseline",), Problem(where="/baseline", what=what, allowed=", ".join(arms), meant=meant)


def _one_folder(keys: StudyKeys, arms: Mapping[str, Arm]) -> Iterator[Placed]:
    """Yield what would share the folder of its runs with another, on some systems at least."""
    seen: dict[str, str] = {}
    for name, arm in arms.items():
        other = seen.setdefault(name.casefold().rstrip("."), name)  # case, and dots at the end, do not count there
        if other != name:
            path = ("arms", arm.key)
            what = f'the folder of "{name}" would be that of "{other}" on some systems'
            yield path, Problem(where=pointer(*path), what=what, fix="rename one of them")
    folders: dict[str, float] = {}
    for index, fraction in enumerate(keys.fractions or ()):
        first = folders.setdefault(CellKey(arm="", fraction=fraction, seed=0).path, fraction)
        if first != fraction:
            place = ("fractions", index)
            what = f"{fraction!r} is {first!r} in the six digits that the name of a folder has"
            yield place, Problem(where=pointer(*place), what=what, fix="keep one of them")


def _deaf(keys: StudyKeys, arms: Mapping[str, Arm], specs: Mapping[str, Spec], registry: Registry) -> Iterator[Placed]:
    """Yield where the stage that is scored has a label fraction of its own, whatever the study says."""
    for name, number, stage in [
        (name, i, str(one.stage)) for name, s in specs.items() for i, one in enumerate(s.stages)
    ]:
        if stage != (keys.stage or str(specs[name].stages[-1].stage)):
            continue
        for fraction in keys.fractions or ():
            own = arms[name].spec(registry, fraction, keys.seeds[0]).stages[number].data.keys.fraction
            if own != fraction:
                what = f'the stage "{stage}" has the fraction {own:g} of its own, and the study gives the fractions'
                where = pointer("stages", number, "data", "fraction")
                yield arms[name].place(Problem(where=where, what=what, fix="leave it out, or out of the study"))
                break


def _unfit(keys: StudyKeys, arms: Mapping[str, Arm], specs: Mapping[str, Spec]) -> Iterator[Placed]:
    """Yield what is right in a spec, but not in one of a study."""
    baseline = specs[keys.baseline or next(iter(arms))]
    metric = keys.metric or _selected_by(_scored(baseline, keys.stage))
    for name, spec in specs.items():
        stages = {str(stage.stage): stage for stage in spec.stages}
        if keys.stage is not None and keys.stage not in stages:
            what = f'the arm "{name}" has no stage "{keys.stage}"'
            yield ("stage",), Problem(where="/stage", what=what, allowed=", ".join(stages) or None)
            continue
        scored = _scored(spec, keys.stage)
        tasks = [*scored.primary, *(("knn",) if scored.evaluate.knn else ())]
        if metric is not None and metric.split("/")[0] not in tasks:
            what = f'the arm "{name}" has no task that is scored as "{metric}"'
            what += ", by which the baseline selects its weights" if keys.metric is None else ""
            allowed = ", ".join(f"{task}/..." for task in tasks) or "nothing: it has no primary task"
            yield ("metric",), Problem(where="/metric", what=what, allowed=allowed)
        if spec.train.devices * spec.train.nodes > 1:
            what = "a run of a study has one device"
            yield arms[name].place(Problem(where="/train/devices", what=what, fix="1, and several jobs"))


def _scored(spec: Spec, stage: str | None) -> Spec:
    """Return the stage whose scores count, if there are stages."""
    return next((one for one in spec.stages if one.stage == stage), spec)


def _selected_by(spec: Spec) -> str | None:
    """Return by what weights are selected; if that is the first metric of a task, which are not known yet, of which."""
    if spec.evaluate.monitor is not None:
        return spec.evaluate.monitor.metric
    tasks = [
        *sorted(spec.primary, key=lambda name: spec.primary[name].keys.probe),
        *(["knn"] * bool(spec.evaluate.knn)),
    ]
    return f"{tasks[0]}/..." if tasks else None


@functools.cache
def _frame() -> Validator:
    return validator_for(study_frame())
