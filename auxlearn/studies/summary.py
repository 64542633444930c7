"""`summarise`: from runs to one row for each arm and label fraction: mean, paired difference, cost."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import attrs

from auxlearn.errors import Problem, SpecError, escape, nearest
from auxlearn.studies.cells import Cell
from auxlearn.studies.statistics import Difference, Estimate, estimate, holm, paired, smallest_p

__all__ = ["Cost", "Row", "Summary", "summarise"]

Mode = Literal["max", "min"]
_Key = tuple[float | None, str]
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
        seeds: Of the runs that are done and have a score.
        asked: How many runs there should be.
        estimate: The mean over them; None if none is done.
        difference: The paired difference from the baseline, over the pairs that were scored on the same split; None if
            there is none, and for the baseline itself.
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
        SpecError: If no run is done, or none of them has such a score.
    """
    done = [cell for cell in cells if cell.state == "done"]
    metric = metric or _default_metric(done, baseline)
    scored = _scored(done, metric)
    keys = list(dict.fromkeys((cell.key.fraction, cell.key.arm) for cell in cells))
    runs: dict[_Key, dict[int, Cell]] = {key: {} for key in keys}
    for cell in scored:
        runs[cell.key.fraction, cell.key.arm][cell.key.seed] = cell
    found = {
        key: _difference(runs[key], runs.get((key[0], baseline), {}), metric) for key in keys if key[1] != baseline
    }
    tested = {key: difference for key, difference in found.items() if difference is not None}
    corrected = dict(zip(tested, holm(list(tested.values())), strict=True))
    rows = tuple(
        Row(
            arm=arm,
            fraction=fraction,
            seeds=tuple(sorted(runs[fraction, arm])),
            asked=sum((cell.key.fraction, cell.key.arm) == (fraction, arm) for cell in cells),
            estimate=_estimate(runs[fraction, arm], metric),
            difference=corrected.get((fraction, arm)),
            cost=_cost(runs[fraction, arm], runs.get((fraction, baseline), {})),
        )
        for fraction, arm in sorted(keys, key=lambda key: (key[0] or 0, keys.index(key)))
    )
    lacking = [cell for cell in done if cell not in scored]
    told = (*_protocol(scored), *_missing(cells, lacking, metric), *_power(list(corrected.values())), *notes)
    better = mode or _mode(scored, metric)
    return Summary(metric=metric, mode=better, baseline=baseline, rows=rows, comparisons=len(corrected), notes=told)


def _default_metric(done: Sequence[Cell], baseline: str) -> str:
    """Return what runs of the baseline select by, else what they score first; if none is done, those of others."""
    own = [cell for cell in done if cell.key.arm == baseline]
    for cells in (own, done):
        names = [str(cell.selected["metric"]) for cell in cells if cell.selected.get("metric")]
        names += [name for cell in cells for name in cell.scores]
        if names:
            return names[0]
    raise SpecError(Problem(what="no run is done that has scores"))


def _scored(done: Sequence[Cell], metric: str) -> list[Cell]:
    """Return the runs that have a number for the metric."""
    found = [cell for cell in done if metric in cell.scores]
    if not found:
        known = list(dict.fromkeys(name for cell in done for name in cell.scores))
        what = f'no run that is done has a score "{escape(metric)}"'
        allowed = ", ".join(known) or "none: no run scores anything"
        raise SpecError(Problem(where="/metric", what=what, allowed=allowed, meant=nearest(metric, known)))
    return found


def _mode(scored: Sequence[Cell], metric: str) -> Mode:
    """Return `min` where a run says so of the metric, or of the vector that it is an entry of."""
    parts = metric.split("/")
    names = ["/".join(parts[:length]) for length in range(len(parts), 0, -1)]
    said = [next((cell.modes[name] for name in names if name in cell.modes), None) for cell in scored]
    return "min" if "min" in said or metric.endswith("/loss") else "max"


def _estimate(runs: Mapping[int, Cell], metric: str) -> Estimate | None:
    return estimate([cell.scores[metric] for cell in runs.values()]) if runs else None


def _difference(runs: Mapping[int, Cell], baseline: Mapping[int, Cell], metric: str) -> Difference | None:
    """Return the difference over the pairs that were scored on the same split."""
    seeds = [seed for seed in runs.keys() & baseline.keys() if runs[seed].scored_on == baseline[seed].scored_on]
    own, base = ({seed: one[seed].scores[metric] for seed in seeds} for one in (runs, baseline))
    return paired(own, base)


def _cost(runs: Mapping[int, Cell], baseline: Mapping[int, Cell]) -> Cost:
    def ratio(read: Callable[[Cell], float | None]) -> float | None:
        pairs = [(read(runs[seed]), read(baseline[seed])) for seed in sorted(runs.keys() & baseline.keys())]
        ratios = [a / b for a, b in pairs if a and b]
        return statistics.median(ratios) if ratios else None

    return Cost(
        step=ratio(lambda cell: cell.seconds_per_step),
        time=ratio(lambda cell: cell.seconds),
        memory=ratio(lambda cell: cell.peak_memory),
    )


def _protocol(scored: Sequence[Cell]) -> list[str]:
    """Return on what weights were selected, and on what they were scored."""
    told = []
    names = sorted({str(cell.selected["metric"]) for cell in scored if cell.selected.get("metric")})
    if names:
        told.append(f"The weights of each run were selected on `val`, by {', '.join(f'`{name}`' for name in names)}.")
    if any(not cell.selected.get("metric") for cell in scored):
        told.append("Runs without a `val` split to select by were scored with their last weights.")
    on_val = [cell for cell in scored if cell.scored_on == "val"]
    if not on_val:
        told.append("All numbers are scores on `test`, taken once at the end of each run.")
    elif len(on_val) == len(scored):
        told.append(
            "No run was scored on `test`: all numbers are scores on `val`, on which weights were selected too, so they "
            "are too good; differences suffer less."
        )
    else:
        told.append(
            f"Without scores on `test`: {_counted(on_val)}. Theirs are on `val`, and no difference is formed between "
            "scores on the one and on the other."
        )
    return told


def _counted(cells: Sequence[Cell]) -> str:
    """Return how many runs of which arms they are."""
    counts = Counter(cell.key.arm for cell in cells)
    return ", ".join(f"{count} run{'s' * (count > 1)} of `{arm}`" for arm, count in counts.items())


def _missing(cells: Sequence[Cell], lacking: Sequence[Cell], metric: str) -> list[str]:
    words = {"failed": "failed", "interrupted": "interrupted", "missing": "not run"}
    counts = {word: sum(cell.state == state for cell in cells) for state, word in words.items()}
    gone = [f"{count} {word}" for word, count in counts.items() if count]
    told = [f"Of {len(cells)} runs {', '.join(gone)}; the numbers are of the others."] if gone else []
    if lacking:
        told.append(f"Done, but left out, as they have no number for `{metric}`: {_counted(lacking)}.")
    return told


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
    which = "corrected p-value" if number > 1 else "p-value"
    return [
        f"{text}: however large the differences, no {which} can be {_LIMIT:g} or less. With {needed} seeds it could."
    ]
