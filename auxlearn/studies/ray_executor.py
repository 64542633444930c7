"""`RayExecutor`: the runs of a study on the machines of a Ray cluster, or on this one."""

from __future__ import annotations

import importlib
import os
from collections.abc import Collection, Iterator, Sequence
from typing import Any

from auxlearn.errors import EnvironmentProblem, Problem
from auxlearn.studies.executors import Executor
from auxlearn.studies.stopping import Stopped
from auxlearn.studies.work import Outcome, Task, work
from auxlearn.training.signals import catch_signals

__all__ = ["RayExecutor"]

_MOMENT = 0.2  # seconds until the next look at whether a signal came
_OTHERS = 7


class RayExecutor(Executor):
    """Ray (https://docs.ray.io), the extra `[ray]`.

    The folder of the study must be one that all machines see under the same name, and auxlearn and the plugins must be
    installed on each. A run takes one GPU where the cluster has some.

    Args:
        jobs: How many at once where Ray is started here; a cluster takes as many as it has room for.
        address: Of a cluster, or `"auto"`; None starts Ray on this machine, and ends it afterwards.

    Raises:
        EnvironmentProblem: If Ray is not installed, or cannot be reached.
    """

    def __init__(self, jobs: int, address: str | None = None) -> None:
        # Read when Ray is imported: no reports to its makers; and where nothing else is said, this very environment.
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        if address is None:
            os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
        try:
            ray: Any = importlib.import_module("ray")
        except ModuleNotFoundError:
            what = "the executor needs the package ray, which is not installed"
            raise EnvironmentProblem(Problem(what=what, fix='pip install "auxlearn[ray]"', exit_code=8)) from None
        self._ray, self._jobs, self._address = ray, jobs, address
        self._tasks: dict[Any, Task] = {}

    def running(self) -> Collection[Task]:
        """Return the tasks that are not over; which of them have begun only Ray knows."""
        return list(self._tasks.values())

    def outcomes(self, tasks: Sequence[Task]) -> Iterator[tuple[Task, Outcome]]:
        """Yield each task with its outcome when it is over."""
        own = not self._ray.is_initialized()
        if own:
            self._start(tasks)
        try:
            self._tasks = {self._submit(task): task for task in tasks}
            with catch_signals() as request:
                told = False
                while self._tasks:
                    if request.signal is not None and not told:
                        told = True
                        for reference in self._tasks:
                            self._ray.cancel(reference)
                    over, _ = self._ray.wait(list(self._tasks), num_returns=1, timeout=_MOMENT)
                    for reference in over:
                        yield self._tasks.pop(reference), self._outcome(reference)
                if request.signal is not None:
                    raise Stopped(request.signal)
        finally:
            self._tasks = {}
            if own:
                self._ray.shutdown()

    def _start(self, tasks: Sequence[Task]) -> None:
        threads = max((task.threads for task in tasks), default=1)
        here = {"num_cpus": self._jobs * threads} if self._address is None else {"address": self._address}
        try:
            self._ray.init(include_dashboard=False, log_to_driver=False, logging_level="ERROR", **here)
        except (ConnectionError, RuntimeError, ValueError) as error:
            what = f"Ray cannot be reached: {error}"
            raise EnvironmentProblem(Problem(what=what, exit_code=8)) from error

    def _submit(self, task: Task) -> Any:
        gpus = task.spec.get("train", {}).get("accelerator", "auto") in ("auto", "cuda")
        has = gpus and self._ray.cluster_resources().get("GPU", 0) >= 1
        # Where no machine has so many cores, the run gets them in turns instead of waiting for ever.
        most = max((node["Resources"].get("CPU", 0) for node in self._ray.nodes() if node["Alive"]), default=0)
        cores = max(1, min(task.threads, int(most)))
        remote = self._ray.remote(num_cpus=cores, num_gpus=int(has), max_retries=0)
        return remote(work).remote(task)

    def _outcome(self, reference: Any) -> Outcome:
        try:
            outcome: Outcome = self._ray.get(reference)
        except self._ray.exceptions.TaskCancelledError:
            return Outcome(state="interrupted")
        except self._ray.exceptions.RayError as error:
            return Outcome(state="failed", reason=f"{type(error).__name__}: {error}".splitlines()[0], code=_OTHERS)
        return outcome
