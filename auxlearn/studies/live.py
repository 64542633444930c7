"""What a person sees while a study runs: a live table in a terminal, a line for each run elsewhere, or nothing."""

from __future__ import annotations

import contextlib
import statistics
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from auxlearn.errors import AuxlearnError, escape
from auxlearn.studies.cells import Cell, CellKey, read_json
from auxlearn.studies.executors import Executor

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["Progress", "showing"]

Show = Callable[[CellKey], None]


@attrs.frozen(kw_only=True, eq=False)
class Progress:
    """How far a study is.

    Attributes:
        cells: Every run as it is known; filled as runs end.
        metric: What is compared, where that is known before.
        executor: Who knows what is running.
    """

    cells: Mapping[CellKey, Cell]
    metric: str | None
    executor: Executor

    def score(self, cell: Cell) -> float | None:
        """Return the score of a run, if it has one."""
        name = self.metric or cell.selected.get("metric")
        return cell.scores.get(str(name))

    def counts(self) -> str:
        """Return in words how many runs are in which state."""
        states = [cell.state for cell in self.cells.values()]
        parts = [f"{states.count('done')} of {len(states)} runs done"]
        parts += [f"{states.count('failed')} failed"] if "failed" in states else []
        return ", ".join(parts)


@contextlib.contextmanager
def showing(progress: Progress, *, quiet: bool) -> Iterator[Show]:
    """Show `progress`; the value is called with each run that is over."""
    if quiet:
        yield lambda _key: None
    elif sys.stderr.isatty():
        with _table(progress):
            yield lambda _key: None
    else:
        print(progress.counts(), file=sys.stderr, flush=True)
        yield lambda key: _line(progress, key)


def _line(progress: Progress, key: CellKey) -> None:
    cell = progress.cells[key]
    score = progress.score(cell)
    shown = f", {score:.4f}" if score is not None else f": {escape(cell.reason, 300)}" if cell.reason else ""
    print(f"{key}: {cell.state}{shown}  ({progress.counts()})", file=sys.stderr, flush=True)


@contextlib.contextmanager
def _table(progress: Progress) -> Iterator[None]:
    from rich.console import Console
    from rich.live import Live

    console = Console(stderr=True)
    with Live(get_renderable=lambda: _rendered(progress), console=console, refresh_per_second=2, transient=True):
        yield


def _rendered(progress: Progress) -> Table:
    from rich.table import Table

    fractions = list(dict.fromkeys(key.fraction for key in progress.cells))
    heads = ["all runs" if fraction is None else f"{100 * fraction:g} % of the labels" for fraction in fractions]
    table = Table("arm", *heads, title=progress.counts(), title_justify="left")
    steps = {task.key: _step(Path(task.folder)) for task in progress.executor.running()}
    for arm in dict.fromkeys(key.arm for key in progress.cells):
        table.add_row(arm, *(_cell(progress, arm, fraction, steps) for fraction in fractions))
    return table


def _cell(progress: Progress, arm: str, fraction: float | None, steps: Mapping[CellKey, str]) -> str:
    """Return what is known about an arm at a fraction: mean so far, runs done, and how far others are."""
    mine = {key: cell for key, cell in progress.cells.items() if (key.arm, key.fraction) == (arm, fraction)}
    scores = [score for cell in mine.values() if (score := progress.score(cell)) is not None]
    parts = [f"{statistics.fmean(scores):.4f}"] if scores else []
    parts.append(f"{sum(cell.state == 'done' for cell in mine.values())}/{len(mine)}")
    failed = sum(cell.state == "failed" for cell in mine.values())
    parts += [f"[red]{failed} failed[/]"] if failed else []
    parts += [f"[dim]{steps[key]}[/]" for key in mine if steps.get(key)]
    return "  ".join(parts)


def _step(folder: Path) -> str:
    """Return how far a run is, as its `status.json` says."""
    try:
        status = read_json(folder / "status.json", {})
    except AuxlearnError:  # it is being replaced
        return ""
    part = folder / str(status.get("stage", ""))
    told = status if "of" in status else read_json(part / "status.json", {})
    return f"{told['step'] / told['of']:.0%}" if told.get("of") and told.get("state") == "training" else ""
