"""`Pool`: several runs at once, each in a process of its own that stays for the next one."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Collection, Iterator, Sequence
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

import attrs

from auxlearn.studies.executors import Executor
from auxlearn.studies.stopping import Stopped, stopping
from auxlearn.studies.work import Outcome, Task, work
from auxlearn.training.signals import catch_signals

__all__ = ["Pool"]

_SPAWN = multiprocessing.get_context("spawn")  # a forked process hangs if threads of torch were running
_ENVIRONMENT = 8
_MOMENT = 0.2  # seconds until the next look at whether a signal came


@attrs.define(eq=False, kw_only=True)
class _Worker:
    process: multiprocessing.process.BaseProcess
    connection: Connection
    task: Task | None = None


class Pool(Executor):
    """Processes of this machine.

    A process imports everything once, for all runs that it does. One that dies takes no other run along, and is
    replaced. Processes stop, with everything saved, when the one that started them dies.

    Args:
        jobs: How many at once.
        log: The file to which they write what they have to say.
    """

    def __init__(self, jobs: int, log: Path) -> None:
        self._jobs, self._log = jobs, log
        self._workers: list[_Worker] = []

    def running(self) -> Collection[Task]:
        """Return the tasks at hand."""
        return [worker.task for worker in list(self._workers) if worker.task is not None]

    def outcomes(self, tasks: Sequence[Task]) -> Iterator[tuple[Task, Outcome]]:
        """Yield each task with its outcome when it is over."""
        waiting, told = deque(tasks), False
        with catch_signals() as request:
            try:
                while waiting or self._workers:
                    if request.signal is not None and not told:
                        told = True
                        waiting.clear()
                        self._signal(request.signal)
                    self._give(waiting)
                    yield from self._over(stopped=told)
            finally:
                self._end()
            if request.signal is not None:
                raise Stopped(request.signal)

    def _give(self, waiting: deque[Task]) -> None:
        """Give work to whoever has none, and send home those for whom there is none."""
        while waiting and len(self._workers) < self._jobs:
            self._workers.append(self._begin(waiting.popleft()))
        for worker in self._workers:
            if worker.task is None and worker.process.is_alive():
                worker.task = waiting.popleft() if waiting else None
                _send(worker)
        for worker in [worker for worker in self._workers if worker.task is None]:
            self._leave(worker)

    def _leave(self, worker: _Worker) -> None:
        worker.process.join()
        worker.connection.close()
        self._workers.remove(worker)

    def _signal(self, number: int) -> None:
        for worker in self._workers:
            if worker.process.pid is not None and worker.process.is_alive():
                os.kill(worker.process.pid, number)

    def _begin(self, task: Task) -> _Worker:
        ours, theirs = _SPAWN.Pipe()
        process = _SPAWN.Process(target=_serve, args=(theirs, str(self._log)), daemon=False)
        process.start()
        theirs.close()
        worker = _Worker(process=process, connection=ours, task=task)
        _send(worker)
        return worker

    def _over(self, *, stopped: bool) -> Iterator[tuple[Task, Outcome]]:
        """Yield the tasks that are over, after a moment in which one may become so."""
        ends: dict[Any, _Worker] = {}
        for worker in self._workers:
            ends |= {worker.connection: worker, worker.process.sentinel: worker}
        for worker in {id(ends[end]): ends[end] for end in wait(list(ends), _MOMENT)}.values():
            task, outcome = worker.task, _received(worker)
            worker.task = None
            if outcome is None:
                self._leave(worker)
                outcome = Outcome(state="interrupted") if stopped else _died(worker.process.exitcode)
            if task is not None:
                yield task, outcome

    def _end(self) -> None:
        """Let nothing stay behind, however it ended."""
        for worker in self._workers:
            worker.process.kill()
            worker.process.join()
            worker.connection.close()
        self._workers.clear()


def _send(worker: _Worker) -> None:
    with contextlib.suppress(OSError):  # it has died, which the wait for its end will tell
        worker.connection.send(worker.task)


def _received(worker: _Worker) -> Outcome | None:
    try:
        return worker.connection.recv() if worker.connection.poll() else None
    except (EOFError, OSError):
        return None


def _died(code: int | None) -> Outcome:
    how = f"was killed by signal {-code}, perhaps for lack of memory" if code and code < 0 else f"ended with {code}"
    return Outcome(state="failed", reason=f"the process of the run {how}", code=_ENVIRONMENT)


def _serve(connection: Connection, log: str) -> None:
    """Do one task after the other, in a process of the pool."""
    if hasattr(os, "setpgid"):
        os.setpgid(0, 0)  # a Ctrl-C reaches the first process only, which tells the others once
    with open(log, "ab", buffering=0) as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    threading.Thread(target=_stop_with_parent, daemon=True).start()
    from auxlearn.training.memory import keep_freed_memory

    keep_freed_memory()
    with stopping():
        try:
            while (task := connection.recv()) is not None:
                connection.send(work(task))
        except (EOFError, OSError, Stopped):
            return


def _stop_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os.kill(os.getpid(), signal.SIGTERM)
