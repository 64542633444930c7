"""`summarise`: from runs to one row for each arm and label fraction: mean, paired difference, cost."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from typing import Literal

import attrs

from auxlearn.errors import Problem, SpecError, escape, nearest
from auxlearn.studies.cells import Cell
from auxlearn.studies.statistics import Difference, Estimate, estimate, holm, paired, smallest_p

__all__ = ["Cost", "Row", "Summary", "summarise"]

Mode = Literal["max", "min"]
_LIMIT = 0.05


@attrs.frozen(kw_only=True)
class Cost:
    """What runs of an arm cost, as multiples of what the baseline's of the same seeds cost: medians over seeds.

    Attributes:
        step: The time of a step.
        time: The time of all steps.
        memory: The most memory.
    """

    step: float | None
    time: float | None
    memory: float | None


@attrs.frozen(kw_only=True)
class Row:
    """An arm at a label fraction.

    Attributes:
        arm, fraction: Which.
        seeds: Of the runs that are done.
        asked: How many runs there should be.
        estimate: The mean over them; None if none is done.
        difference: The paired difference from the baseline; None for the baseline itself.
        cost: Relative to the baseline.
    """

    arm: str
    fraction: float | None
    seeds: tuple[int, ...]
    asked: int
    estimate: Estimate | None
    difference: Difference | None
    cost: Cost


@attrs.frozen(kw_only=True)
class Summary:
    """What runs say together.

    Attributes:
        metric: What was compared.
        mode: Whether more or less of it is better.
        baseline: With what.
        rows: A row for each label fraction and arm.
        comparisons: How many differences were tested, for which their p-values are corrected.
        notes: What a reader must know to believe it, one sentence each.
    """

    metric: str
    mode: Mode
    baseline: str
    rows: tuple[Row, ...]
    comparisons: int
    notes: tuple[str, ...]


def summarise(
    cells: Sequence[Cell],
    *,
    baseline: str,
    metric: str | None = None,
    mode: Mode | None = None,
    notes: Sequence[str] = (),
) -> Summary:
    """Return what the runs say.

    Args:
        cells: The runs, also those that are not done.
        baseline: The arm that the others are compared with.
        metric: What to compare; None for what the runs of the baseline select their weights by.
        mode: Whether more or less of it is better; None for what the metric itself says.
        notes: What else a reader must know.

    Raises:
        SpecError: If no run is done, or one of them has no such score.
    """
    done = [cell for cell in cells if cell.state == "done"]
    metric = metric or _default_metric(done, baseline)
    _require(done, metric)
    keys = list(dict.fromkeys((cell.key.fraction, cell.key.arm) for cell in cells))
    values: dict[tuple[float | None, str], dict[int, float]] = {key: {} for key in keys}
    for cell in done:
        values[cell.key.fraction, cell.key.arm][cell.key.seed] = cell.scores[metric]
    others = [key for key in keys if key[1] != baseline]
    found = {key: paired(values[key], values.get((key[0], baseline), {})) for key in others}
    tested = {key: difference for key, difference in found.items() if difference is not None}
    corrected = dict(zip(tested, holm(list(tested.values())), strict=True))
    rows = tuple(
        Row(
            arm=arm,
            fraction=fraction,
            seeds=tuple(sorted(values[fraction, arm])),
            asked=sum((cell.key.fraction, cell.key.arm) == (fraction, arm) for cell in cells),
            estimate=estimate([*values[fraction, arm].values()]) if values[fraction, arm] else None,
            difference=corrected.get((fraction, arm)),
            cost=_cost(done, fraction, arm, baseline),
        )
        for fraction, arm in sorted(keys, key=lambda key: (key[0] or 0, keys.index(key)))
    )
    told = (*_protocol(done), *_missing(cells), *_power(list(corrected.values())), *notes)
    better = mode or _mode(done, metric)
    return Summary(
        metric=metric, mode=better, baseline=baseline, rows=rows, comparisons=len(corrected), notes=tuple(told)
    )


def _default_metric(done: Sequence[Cell], baseline: str) -> str:
    for cell in sorted(done, key=lambda cell: cell.key.arm != baseline):
        metric = cell.selected.get("metric")
        if metric:
            return str(metric)
        if cell.scores:
            return next(iter(cell.scores))
    raise SpecError(Problem(what="no run is done that has scores"))


def _require(done: Sequence[Cell], metric: str) -> None:
    lacking = [cell for cell in done if metric not in cell.scores]
    if lacking:
        known = list(lacking[0].scores)
        what = f'{lacking[0].key}: there is no score "{escape(metric)}"'
        allowed = ", ".join(known) or "none: the run scores nothing"
        raise SpecError(Problem(where="/metric", what=what, allowed=allowed, meant=nearest(metric, known)))


def _mode(done: Sequence[Cell], metric: str) -> Mode:
    if any(cell.modes.get(metric) == "min" for cell in done) or metric.endswith("/loss"):
        return "min"
    return "max"


def _cost(done: Sequence[Cell], fraction: float | None, arm: str, baseline: str) -> Cost:
    own = {cell.key.seed: cell for cell in done if (cell.key.fraction, cell.key.arm) == (fraction, arm)}
    base = {cell.key.seed: cell for cell in done if (cell.key.fraction, cell.key.arm) == (fraction, baseline)}

    def ratio(read: Callable[[Cell], float | None]) -> float | None:
        pairs = [(read(own[seed]), read(base[seed])) for seed in sorted(own.keys() & base.keys())]
        ratios = [a / b for a, b in pairs if a and b]
        return statistics.median(ratios) if ratios else None

    return Cost(
        step=ratio(lambda cell: cell.seconds_per_step),
        time=ratio(lambda cell: cell.seconds),
        memory=ratio(lambda cell: cell.peak_memory),
    )


def _protocol(done: Sequence[Cell]) -> list[str]:
    """Return on what weights were selected, and on what they were scored."""
    told = []
    if any(cell.selected.get("metric") for cell in done):
        names = sorted({str(cell.selected["metric"]) for cell in done if cell.selected.get("metric")})
        told.append(f"The weights of each run were selected on `val`, by {', '.join(f'`{name}`' for name in names)}.")
    if any(not cell.selected.get("metric") for cell in done):
        told.append("Runs without a `val` split to select by were scored with their last weights.")
    if all(cell.scored_on == "test" for cell in done):
        told.append("All numbers are scores on `test`, taken once at the end of each run.")
    elif all(cell.scored_on == "val" for cell in done):
        told.append(
            "There is no `test` split: all numbers are scores on `val`, on which weights were selected too, so they "
            "are too good; differences suffer less."
        )
    else:
        told.append(
            "Some runs have no scores on `test`; theirs are on `val`, so not all are compared on the same rows."
        )
    return told


def _missing(cells: Sequence[Cell]) -> list[str]:
    words = {"failed": "failed", "interrupted": "interrupted", "missing": "not run"}
    counts = {word: sum(cell.state == state for cell in cells) for state, word in words.items()}
    gone = [f"{count} {word}" for word, count in counts.items() if count]
    return [f"Of {len(cells)} runs {', '.join(gone)}; the numbers are of the others."] if gone else []


def _power(differences: Sequence[Difference]) -> list[str]:
    """Return whether there are enough seeds for a p-value that counts."""
    if not differences:
        return []
    pairs, number = max(one.count for one in differences), len(differences)
    least = smallest_p(pairs)
    needed = next(n for n in range(2, 64) if 2.0 ** (1 - n) * number <= _LIMIT)
    corrected = f", and corrected for {number} comparisons {min(1.0, number * least):.2g}" if number > 1 else ""
    text = f"With {pairs} pair{'s' * (pairs != 1)} the smallest possible p-value is {least:.2g}{corrected}"
    if number * least <= _LIMIT:
        return [f"{text}."]
    return [f"{text}: however large the differences, no p-value can reach {_LIMIT:g}. {needed} seeds could."]
