"""`counted`: how many rows are done, for commands that take long."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator

__all__ = ["counted"]


@contextlib.contextmanager
def counted(total: int, *, quiet: bool) -> Iterator[Callable[[int], None]]:
    """Show rows as a bar on a terminal, elsewhere a line for each tenth; the value is called with rows done since."""
    if quiet:
        yield lambda _done: None
    elif sys.stderr.isatty():
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (TextColumn("rows"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task("rows", total=total)
            yield lambda done: bar.advance(task, done)
    else:
        yield _Lines(total)


class _Lines:
    """Progress as plain lines."""

    def __init__(self, total: int) -> None:
        self.total, self.done = total, 0

    def __call__(self, done: int) -> None:
        """Say how far it is, if that is a tenth more than before."""
        before, self.done = self.done, self.done + done
        if self.done * 10 // max(1, self.total) > before * 10 // max(1, self.total):
            print(f"{self.done} of {self.total} rows", file=sys.stderr)
