"""The table of a summary, as wide as a terminal allows."""

from __future__ import annotations

import shutil
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from auxlearn.studies.summary import Summary

__all__ = ["tell"]

# What a narrow terminal goes without, in this order: memory, interval of the mean, time of the whole training, both p.
_FIRST_TO_GO = (11, 4, 10, 7, 8)
_LINE = 100
_GAP = "  "


def tell(summary: Summary) -> None:
    """Print the table, as wide as the terminal allows, and how to read it."""
    import textwrap

    from auxlearn.studies.report import HEADER, explanation, rows_of

    lines = [HEADER, *rows_of(summary)]
    widths = {i: max(len(line[i]) for line in lines) for i in range(len(HEADER)) if any(line[i] for line in lines[1:])}
    gone = _narrow(widths)
    for line in lines:
        print(_GAP.join(line[i].ljust(width) for i, width in widths.items()).rstrip())
    print()
    notes = [f"Too wide for this terminal: {', '.join(HEADER[i] for i in gone)}. `--json` has all."] if gone else []
    for note in [*explanation(summary), *notes]:
        print(textwrap.fill(note, min(_LINE, _room()), initial_indent="- ", subsequent_indent=_GAP))


def _narrow(widths: dict[int, int]) -> list[int]:
    """Take columns out of `widths` until a line fits the terminal, if that is where it goes; return those."""
    gone: list[int] = []
    for column in _FIRST_TO_GO:
        if sum(widths.values()) + len(_GAP) * (len(widths) - 1) <= _room():
            break
        if widths.pop(column, None):
            gone.append(column)
    return gone


def _room() -> int:
    """Return how many columns a line may have."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else sys.maxsize
