"""Where the runs of a study are executed: here, in processes of this machine, or by Ray on many."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Sequence

from auxlearn.studies.stopping import Stopped, noting, stopping
from auxlearn.studies.work import Outcome, Task, work

__all__ = ["Executor", "Here"]


class Executor(ABC):
    """Executes tasks, in any order and number at a time."""

    @abstractmethod
    def outcomes(self, tasks: Sequence[Task]) -> Iterator[tuple[Task, Outcome]]:
        """Yield each task with its outcome when it is over.

        On SIGINT or SIGTERM the tasks at hand save what they have, and their outcomes are yielded; no other begins.

        Raises:
            Stopped: After that.
        """

    @abstractmethod
    def running(self) -> Collection[Task]:
        """Return the tasks at hand; asked by another thread."""


class Here(Executor):
    """One after the other in this process."""

    def __init__(self) -> None:
        self._task: Task | None = None

    def outcomes(self, tasks: Sequence[Task]) -> Iterator[tuple[Task, Outcome]]:
        """Yield each task with its outcome."""
        with noting() as noted:
            for task in tasks:
                self._task = task
                with stopping():
                    outcome = work(task)
                self._task = None
                yield task, outcome
                number = noted() or (outcome.code - 128 if outcome.state == "interrupted" else None)
                if number is not None:
                    raise Stopped(number)

    def running(self) -> Collection[Task]:
        """Return the task at hand."""
        return [] if self._task is None else [self._task]
