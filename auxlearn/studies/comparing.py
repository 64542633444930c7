"""`compare`: the statistics of a study for runs that are there."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import attrs

from auxlearn.errors import CheckpointError, Problem, SpecError, escape, nearest
from auxlearn.spec.models import LOADING
from auxlearn.studies.cells import Cell, CellKey, read_cell, read_json
from auxlearn.studies.pairing import pairing_notes
from auxlearn.studies.statistics import require_extra
from auxlearn.studies.summary import Summary, summarise

__all__ = ["compare"]

# What may differ between runs of one arm, since nothing that is compared depends on it.
_FREE = ("auxlearn", "name", "seed", "plugins", "log", "checkpoint")


@attrs.frozen(kw_only=True)
class _Run:
    path: Path
    resolved: Mapping[str, Any]

    @property
    def fraction(self) -> float:
        last: Mapping[str, Any] = (*self.resolved.get("stages", ()), self.resolved)[-2:][0]
        return float(last["data"]["fraction"])

    def same(self) -> str:
        """Return what runs of one arm have in common."""
        parts = [self.resolved, *self.resolved.get("stages", ())]
        return str([_common(part) for part in parts])


def compare(
    runs: Sequence[str | Path],
    *,
    baseline: str | Path | None = None,
    metric: str | None = None,
    mode: Literal["max", "min"] | None = None,
    stage: str | None = None,
) -> Summary:
    """Return what runs say together: those of one spec are an arm, and runs of one seed are a pair.

    Runs whose specs differ in nothing but the seed, `data.fraction` and what cannot change a result are one arm, which
    is called like the runs.

    Args:
        runs: Run folders.
        baseline: One of them, with whose arm the others are compared; default: the first.
        metric: What to compare; default: what the runs of the baseline select their weights by.
        mode: Whether more or less of it is better; default: what the metric itself says.
        stage: The stage whose scores count, for runs with stages; default: the last.

    Raises:
        CheckpointError: If one of the folders is that of no run, or of one that is not done.
        SpecError: If runs cannot be compared: they were scored on different rows, or two have the same spec and seed.

    Examples:
        >>> import auxlearn
        >>> from auxlearn.testing import plugin as tiny
        >>> spec = {
        ...     "auxlearn": 1,
        ...     "name": "plain",
        ...     "data": {"type": "tiny"},
        ...     "backbone": {"type": "tiny"},
        ...     "primary": {"kind": {"type": "tiny"}},
        ...     "train": {"epochs": 1, "batch_size": 16},
        ... }
        >>> other = {**spec, "name": "turned", "pretext": {"turned": {"type": "tiny"}}}
        >>> runs = [
        ...     auxlearn.run(one, seed=seed, out=f"compared/{one['name']}-{seed}", plugins=[tiny]).path
        ...     for one in (spec, other)
        ...     for seed in (0, 1)
        ... ]
        >>> [(row.arm, row.seeds) for row in auxlearn.compare(runs).rows]
        [('plain', (0, 1)), ('turned', (0, 1))]
    """
    require_extra(["scipy"])
    if not runs:
        raise ValueError("`runs` should name at least one run folder, found none.")
    found = {Path(path): _read(Path(path)) for path in runs}
    if stage is not None:
        _require_stage(list(found.values()), stage)
    arms = _arms(list(found.values()))
    names = {run.path: name for name, members in arms.items() for run in members}
    first = Path(runs[0] if baseline is None else baseline)
    if first not in names:
        what, allowed = f"the baseline {first} is none of the runs", ", ".join(str(path) for path in names)
        raise SpecError(Problem(what=what, allowed=allowed))
    cells = [
        read_cell(run.path, CellKey(arm=names[run.path], fraction=run.fraction, seed=run.resolved["seed"]), stage)
        for run in found.values()
    ]
    _require_done(dict(zip(found, cells, strict=True)))
    _require_same_rows(dict(zip(found, cells, strict=True)))
    notes = pairing_notes({arm: members[0].resolved for arm, members in arms.items()}, names[first], cells)
    return summarise(cells, baseline=names[first], metric=metric, mode=mode, notes=notes)


def _read(path: Path) -> _Run:
    resolved = read_json(path / "resolved.json", None)
    if resolved is None:
        what = "has no resolved.json; this is no run folder"
        raise CheckpointError(Problem(where=str(path), what=what, exit_code=6))
    return _Run(path=path, resolved=resolved)


def _require_stage(runs: Sequence[_Run], name: str) -> None:
    """Raise a SpecError where a run has no stage of that name."""
    problems = []
    for run in runs:
        stages = [str(stage["name"]) for stage in run.resolved.get("stages", ())]
        if name not in stages:
            what = f'has no stage "{escape(name)}"' if stages else "has no stages"
            allowed = ", ".join(stages) or None
            problems.append(Problem(where=str(run.path), what=what, allowed=allowed, meant=nearest(name, stages)))
    if problems:
        raise SpecError(problems)


def _common(part: Mapping[str, Any]) -> dict[str, Any]:
    kept = {key: value for key, value in part.items() if key not in (*_FREE, "stages")}
    if "data" in kept:
        data = kept["data"]
        kept["data"] = {key: value for key, value in data.items() if key not in (*LOADING, "fraction")}
    return kept


def _arms(runs: Sequence[_Run]) -> dict[str, list[_Run]]:
    """Return the runs of each arm by its name."""
    groups: dict[str, list[_Run]] = {}
    for run in runs:
        groups.setdefault(run.same(), []).append(run)
    # Two arms of a study may differ in nothing but their names.
    groups = {
        key: members
        for same, together in groups.items()
        for key, members in (_by_name(same, together) if _clash(together) else {same: together}).items()
    }
    named: dict[str, list[_Run]] = {}
    for members in groups.values():
        if clash := _clash(members):
            what = f"{clash[0].path} and {clash[1].path} have the same spec and seed"
            raise SpecError(Problem(what=what, fix="name one of them only"))
        name = str(members[0].resolved["name"])
        taken = sum(label == name or label.startswith(f"{name}#") for label in named)
        label = f"{name}#{taken + 1}" if taken else name
        named[label] = members
    return named


def _by_name(same: str, runs: Sequence[_Run]) -> dict[str, list[_Run]]:
    found: dict[str, list[_Run]] = {}
    for run in runs:
        found.setdefault(f"{run.resolved['name']}\x1f{same}", []).append(run)
    return found


def _clash(runs: Sequence[_Run]) -> tuple[_Run, _Run] | None:
    for one, other in itertools.combinations(runs, 2):
        if (one.fraction, one.resolved["seed"]) == (other.fraction, other.resolved["seed"]):
            return one, other
    return None


def _require_done(cells: Mapping[Path, Cell]) -> None:
    problems = [
        Problem(where=str(path), what="the run is not done", fix=f"auxlearn resume {path}", exit_code=6)
        for path, cell in cells.items()
        if cell.state != "done"
    ]
    if problems:
        raise CheckpointError(problems)


def _require_same_rows(cells: Mapping[Path, Cell]) -> None:
    """Raise a SpecError where runs were scored on other rows than the first."""
    scored = {path: cell.fingerprints.get(str(cell.scored_on)) for path, cell in cells.items()}
    first = next(iter(scored))
    problems = [
        Problem(where=str(path), what=f"was scored on other rows than {first}", fix="compare runs on the same data")
        for path, rows in scored.items()
        if rows is not None and scored[first] is not None and rows != scored[first]
    ]
    if problems:
        raise SpecError(problems)
