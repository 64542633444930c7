"""What a person sees while a run goes on: a live bar in a terminal, plain lines elsewhere, or nothing."""

from __future__ import annotations

import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from auxlearn.errors import escape
from auxlearn.files import telling_refusals

__all__ = ["Bar", "Lines", "Logged", "Reporter", "Silent", "make_reporter"]


class Reporter(ABC):
    """Tells a person how far a run is. Everything goes to stderr."""

    @abstractmethod
    def start(self, total: int, done: int) -> None:
        """Begin a training of `total` steps, `done` of which are done."""

    @abstractmethod
    def advance(self, step: int, epoch: float, rate: float, losses: Mapping[str, float] | None) -> None:
        """Say that `step` steps are done, at `rate` images per second; `losses` where they are known."""

    @abstractmethod
    def say(self, message: str) -> None:
        """Say something once."""

    @abstractmethod
    def stop(self) -> None:
        """End."""


def _shown(losses: Mapping[str, float]) -> str:
    return "  ".join(f"{escape(name)} {value:.3f}" for name, value in losses.items())


class Bar(Reporter):
    """A live bar with losses by task, images per second and the time left."""

    def __init__(self) -> None:
        self._console = Console(stderr=True, highlight=False)
        columns = (
            TextColumn("epoch {task.fields[epoch]:>6}"),
            BarColumn(bar_width=24),
            TextColumn("{task.completed}/{task.total} steps"),
            TextColumn("{task.fields[rate]} images/s"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[losses]}", markup=False),
        )
        self._progress = Progress(*columns, console=self._console, transient=True)
        self._task: TaskID | None = None

    def start(self, total: int, done: int) -> None:
        """Show the bar."""
        self._task = self._progress.add_task("", total=total, completed=done, epoch="0", rate="-", losses="")
        self._progress.start()

    def advance(self, step: int, epoch: float, rate: float, losses: Mapping[str, float] | None) -> None:
        """Move the bar."""
        if self._task is None:
            return
        self._progress.update(self._task, completed=step, epoch=f"{epoch:.1f}", rate=f"{rate:.0f}")
        if losses:
            self._progress.update(self._task, losses=_shown(losses))

    def say(self, message: str) -> None:
        """Print a line above the bar."""
        self._console.print(message, markup=False, soft_wrap=True)

    def stop(self) -> None:
        """Remove the bar."""
        self._progress.stop()
        self._task = None


class Lines(Reporter):
    """Plain lines, for logs: one at most every few seconds."""

    def __init__(self, seconds: float = 10.0) -> None:
        self._seconds, self._last, self._total = seconds, time.monotonic(), 0

    def start(self, total: int, done: int) -> None:
        """Say how long it will be."""
        self._total = total
        self.say(f"training: {total} steps" + (f", {done} done" if done else ""))

    def advance(self, step: int, epoch: float, rate: float, losses: Mapping[str, float] | None) -> None:
        """Print a line if it is time."""
        if not losses or time.monotonic() - self._last < self._seconds:
            return
        self._last = time.monotonic()
        self.say(f"step {step}/{self._total}  epoch {epoch:.1f}  {rate:.0f} images/s  {_shown(losses)}")

    def say(self, message: str) -> None:
        """Print a line."""
        print(message, file=sys.stderr, flush=True)

    def stop(self) -> None:
        """Do nothing."""


class Silent(Reporter):
    """Says nothing."""

    def start(self, total: int, done: int) -> None:
        """Do nothing."""

    def advance(self, step: int, epoch: float, rate: float, losses: Mapping[str, float] | None) -> None:
        """Do nothing."""

    def say(self, message: str) -> None:
        """Do nothing."""

    def stop(self) -> None:
        """Do nothing."""


class Logged(Reporter):
    """Passes everything on, and keeps in a file what is said.

    Args:
        inner: Whom to pass it on to.
        path: The file, to which lines are added.
    """

    def __init__(self, inner: Reporter, path: Path) -> None:
        self._inner, self._path = inner, path

    def start(self, total: int, done: int) -> None:
        """Pass it on, and note it."""
        self._note(f"training: {total} steps, {done} done")
        self._inner.start(total, done)

    def advance(self, step: int, epoch: float, rate: float, losses: Mapping[str, float] | None) -> None:
        """Pass it on."""
        self._inner.advance(step, epoch, rate, losses)

    def say(self, message: str) -> None:
        """Pass it on, and note it."""
        self._note(message)
        self._inner.say(message)

    def stop(self) -> None:
        """Pass it on."""
        self._inner.stop()

    def _note(self, message: str) -> None:
        with telling_refusals(self._path.parent), self._path.open("a", encoding="utf-8") as file:
            file.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')}  {message}\n")


def make_reporter(*, quiet: bool = False) -> Reporter:
    """Return a bar for a terminal, plain lines for a log, or nothing if `quiet`."""
    if quiet:
        return Silent()
    return Bar() if sys.stderr.isatty() else Lines()
