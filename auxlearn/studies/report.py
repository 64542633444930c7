"""The summary as a table, for a terminal and in Markdown; the cells and the summary as files."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs

from auxlearn.files import write_atomically, write_json
from auxlearn.studies.cells import Cell
from auxlearn.studies.statistics import LEVEL, MOST_EXACT, Estimate
from auxlearn.studies.summary import Row, Summary

__all__ = ["HEADER", "explanation", "markdown", "remove_report", "rows_of", "write_report", "write_results"]

HEADER = (
    *("arm", "labels", "seeds", "mean", "interval", "difference", "interval", "p", "p (Holm)"),
    *("step time", "time", "memory"),
)
_PLAIN = ("arm", "fraction", "seed", "state", "scored_on", "selected_step", "selected_value")
_COSTS = ("seconds_per_step", "seconds", "memory", "device_memory")


def rows_of(summary: Summary) -> list[tuple[str, ...]]:
    """Return the cells of the table, a row for each arm and label fraction."""
    return [_row(row, summary) for row in summary.rows]


def _row(row: Row, summary: Summary) -> tuple[str, ...]:
    change, cost = row.difference, row.cost
    return (
        row.arm,
        "" if row.fraction is None else f"{100 * row.fraction:g} %",
        str(len(row.seeds)) if len(row.seeds) == row.asked else f"{len(row.seeds)} of {row.asked}",
        _mean(row.estimate),
        _interval(row.estimate),
        _mean(change, signed=True) + _verdict(row, summary),
        _interval(change, signed=True),
        "" if change is None else f"{change.p:.2g}",
        "" if change is None else f"{change.p_holm:.2g}",
        *("" if ratio is None else f"{ratio:.2f}x" for ratio in (cost.step, cost.time, cost.memory)),
    )


def _mean(found: Estimate | None, *, signed: bool = False) -> str:
    if found is None:
        return ""
    mean = f"{found.mean:+.4f}" if signed else f"{found.mean:.4f}"
    return mean if found.error is None else f"{mean} ± {found.error:.4f}"


def _interval(found: Estimate | None, *, signed: bool = False) -> str:
    if found is None or found.low is None:
        return ""
    return f"{found.low:+.4f} to {found.high:+.4f}" if signed else f"{found.low:.4f} to {found.high:.4f}"


def _verdict(row: Row, summary: Summary) -> str:
    """Return what the interval says: nothing where it holds 0."""
    if row.difference is None or row.difference.sign == 0:
        return ""
    return " better" if (row.difference.sign > 0) == (summary.mode == "max") else " worse"


def explanation(summary: Summary) -> list[str]:
    """Return how the table is to be read, and what a reader must know to believe it."""
    direction = "more" if summary.mode == "max" else "less"
    level = f"{100 * LEVEL:g} %"
    lines = [
        f"`{summary.metric}`, of which {direction} is better: mean over seeds ± standard error, with the {level} "
        "interval of Student's t.",
        f"Differences are from `{summary.baseline}`, paired by seed: mean ± standard error, {level} interval of the "
        f"paired t, two-sided p-value of the {_test(summary)}, and that corrected for "
        f"{_number(summary.comparisons)} by Holm's method. `better` and `worse` stand where the interval leaves out 0.",
        "Step time, time of the whole training and peak memory are multiples of the baseline's.",
    ]
    return [*lines, *summary.notes]


def _test(summary: Summary) -> str:
    """Return what the test is: beyond some pairs not all choices of signs are looked at."""
    test = "permutation test of signs"
    if all(row.difference is None or row.difference.count <= MOST_EXACT for row in summary.rows):
        return f"exact {test}"
    return f"{test} (exact up to {MOST_EXACT} pairs; of more, {2**MOST_EXACT} choices of signs were drawn at random)"


def _number(comparisons: int) -> str:
    return "1 comparison" if comparisons == 1 else f"{comparisons} comparisons"


def markdown(summary: Summary, title: str, failures: Sequence[Cell] = (), pictures: Sequence[str] = ()) -> str:
    """Return the report as Markdown.

    Args:
        summary: What the runs say.
        title: The heading.
        failures: The runs that failed.
        pictures: Names of picture files beside it.
    """
    table = ["| " + " | ".join(cells) + " |" for cells in (HEADER, ("---",) * len(HEADER), *rows_of(summary))]
    parts = [f"# {title}", "\n".join(table), "\n".join(f"- {line}" for line in explanation(summary))]
    parts += [f"![]({name})" for name in pictures]
    if failures:
        lines = [f"- {cell.key}: {' '.join(str(cell.reason).split())}" for cell in failures]
        parts += ["## Runs that failed", "\n".join(lines)]
    return "\n\n".join(parts) + "\n"


def write_results(folder: Path, cells: Sequence[Cell]) -> None:
    """Write `results.json` and `results.csv`: one entry, and one line, for each run."""
    write_json(folder / "results.json", [_entry(cell) for cell in cells])
    metrics = list(dict.fromkeys(name for cell in cells for name in cell.scores))
    lines = io.StringIO()
    writer = csv.writer(lines, lineterminator="\n")
    writer.writerow([*_PLAIN, *metrics, *_COSTS, "reason"])
    for cell in cells:
        key, chosen = cell.key, cell.selected
        plain = (key.arm, key.fraction, key.seed, cell.state, cell.scored_on, chosen.get("step"), chosen.get("value"))
        costs = (getattr(cell, name) for name in _COSTS)
        writer.writerow([*plain, *(cell.scores.get(name) for name in metrics), *costs, cell.reason])
    write_atomically(folder / "results.csv", lines.getvalue().encode())


def write_report(folder: Path, summary: Summary, title: str, cells: Sequence[Cell] = ()) -> None:
    """Write `summary.json`, the table with all digits, `report.md`, and the pictures in `figures/`.

    Args:
        folder: Where to.
        summary: What the runs say.
        title: The heading of the report.
        cells: The runs, of which those that failed are listed.
    """
    from auxlearn.studies.plots import draw

    write_json(folder / "summary.json", attrs.asdict(summary))
    pictures = [f"figures/{name}" for name in draw(summary, folder / "figures")]
    failures = [cell for cell in cells if cell.state == "failed"]
    write_atomically(folder / "report.md", markdown(summary, title, failures, pictures).encode())


def remove_report(folder: Path) -> None:
    """Remove what `write_report` has written."""
    from auxlearn.studies.plots import remove_pictures

    for name in ("summary.json", "report.md"):
        (folder / name).unlink(missing_ok=True)
    remove_pictures(folder / "figures")


def _entry(cell: Cell) -> dict[str, Any]:
    facts = attrs.asdict(cell)
    key: Mapping[str, Any] = facts.pop("key")
    facts.pop("fingerprints")
    facts.pop("modes")
    return {**key, **facts}
