"""`study`: all runs of a study that are not done, and what they say together."""

from __future__ import annotations

import contextlib
import functools
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

import attrs

from auxlearn.errors import Interrupted, Problem, SpecError, escape
from auxlearn.files import writing_in
from auxlearn.registry import discover
from auxlearn.studies.cells import Cell, CellKey, read_cell
from auxlearn.studies.executors import Executor, Here
from auxlearn.studies.folder import StudyFolder
from auxlearn.studies.live import Progress, showing
from auxlearn.studies.loading import Study, load_study
from auxlearn.studies.pairing import pairing_notes
from auxlearn.studies.pool import Pool
from auxlearn.studies.report import remove_report, write_report, write_results
from auxlearn.studies.statistics import require_extra
from auxlearn.studies.stopping import Stopped
from auxlearn.studies.summary import Summary, summarise
from auxlearn.studies.work import Outcome, Task

__all__ = ["StudyResult", "study"]


@attrs.frozen(eq=False, kw_only=True)
class StudyResult:
    """What a study came to.

    Attributes:
        path: Its folder.
        cells: Every run.
        summary: What they say together; None if no run is done.
        failed: How those runs went that failed now.
    """

    path: Path
    cells: Sequence[Cell]
    summary: Summary | None
    failed: Mapping[CellKey, Outcome]


def study(
    source: str | Path | Mapping[str, Any],
    overrides: Sequence[str] = (),
    *,
    out: str | Path | None = None,
    jobs: int = 1,
    threads: int | None = None,
    executor: Literal["local", "ray"] = "local",
    address: str | None = None,
    run: bool = True,
    allow_inexact: bool = False,
    plugins: Sequence[ModuleType] = (),
    block: Sequence[str] = (),
    quiet: bool = True,
) -> StudyResult:
    """Run every arm of a study with every label fraction and seed, and compare them, paired by seed.

    Runs that are done are not repeated, those that were interrupted go on, and those that failed are tried again; so
    the same call after an interruption, or after arms or seeds were added, does what is left.

    Args:
        source: A study file, or the same as a dict.
        overrides: Changes to it, each `"a.b=c"`, such as `"seeds=[0,1]"`.
        out: The folder of the study; default: `runs/<name>`.
        jobs: How many runs at once. One is run in this process; several are run in processes that import the main
            module again, so a script that asks for them needs `if __name__ == "__main__":`.
        threads: Of torch in each run on a CPU; default: as the study was begun, else those that torch has here; with
            several jobs, or Ray, the cores divided by `jobs`.
        executor: `"local"`, or `"ray"` for the machines of a Ray cluster.
        address: That of the cluster; None starts Ray on this machine.
        run: False runs nothing and compares what is there, and writes nothing while another process runs the study.
        allow_inexact: Go on with runs that were begun although threads, devices, versions or data differ.
        plugins: Modules with hooks, besides the installed plugins; other processes import them by name.
        block: Names of plugins to leave out.
        quiet: Show nothing on the way.

    Raises:
        AuxlearnError: With a message for the person who wrote the study. Of a run that fails it is in the result.
        ValueError: If an argument cannot be.
        Interrupted: After a signal, with everything saved and the results so far written.

    Examples:
        >>> import auxlearn
        >>> from auxlearn.testing import plugin as tiny
        >>> result = auxlearn.study(
        ...     {
        ...         "auxlearn_study": 1,
        ...         "name": "tiny-study",
        ...         "base": {
        ...             "auxlearn": 1,
        ...             "data": {"type": "tiny"},
        ...             "backbone": {"type": "tiny"},
        ...             "primary": {"kind": {"type": "tiny"}},
        ...             "train": {"epochs": 1, "batch_size": 16},
        ...         },
        ...         "arms": {"supervised": {}, "turned": {"pretext": {"turned": {"type": "tiny"}}}},
        ...         "seeds": [0, 1],
        ...     },
        ...     plugins=[tiny],
        ... )
        >>> result.summary.metric, [(row.arm, row.seeds) for row in result.summary.rows]
        ('kind/accuracy', [('supervised', (0, 1)), ('turned', (0, 1))])
    """
    _require_sensible(executor, address, jobs, threads)
    require_extra()
    registry = discover(plugins, block)
    read = load_study(source, overrides, registry)
    folder = StudyFolder(path=Path(out or Path("runs") / read.name).absolute())
    folder.require_own()
    if not run and not folder.begun:
        raise SpecError(Problem(where=str(folder.path), what="no run of the study is there yet", fix="run it first"))
    where = _executor(executor, jobs, address, folder)
    names = [plugin.__name__ for plugin in plugins]
    make = functools.partial(Task, plugins=names, block=list(block), allow_inexact=allow_inexact)
    stopped = None
    # What is there is read by one who keeps others out, so that it stays true.
    with folder.lock(needed=run) as alone:
        cells = folder.read(read)
        done = _Done(study=read, folder=folder, cells=cells)
        each = threads or folder.threads(jobs, here=isinstance(where, Here)) if run else 1
        tasks = folder.tasks(read, registry, cells, functools.partial(make, threads=each))
        if run:
            folder.write(read, each)
            stopped = done.run(tasks, where, quiet=quiet)
        summary = done.compare(write=alone, final=stopped is None)
    if stopped is not None:
        raise done.interrupted(stopped.signal)
    return StudyResult(path=folder.path, cells=[*cells.values()], summary=summary, failed=done.failed)


def _require_sensible(executor: str, address: str | None, jobs: int, threads: int | None) -> None:
    if executor not in ("local", "ray"):
        raise ValueError(f"`executor` should be 'local' or 'ray', found {executor!r}.")
    for name, value in (("jobs", jobs), ("threads", threads)):
        if value is not None and value < 1:
            raise ValueError(f"`{name}` should be at least 1, found {value}.")
    if address is not None and executor != "ray":
        what, fix = f"the address {escape(address)} is that of a Ray cluster, and runs are local", "--executor ray"
        raise SpecError(Problem(what=what, fix=fix))


def _executor(name: str, jobs: int, address: str | None, folder: StudyFolder) -> Executor:
    if name == "ray":
        from auxlearn.studies.ray_executor import RayExecutor

        return RayExecutor(jobs, address)
    return Here() if jobs == 1 else Pool(jobs, folder.path / "log.txt")


@attrs.frozen(eq=False, kw_only=True)
class _Done:
    """What is done of a study.

    Attributes:
        study: The study.
        folder: Its folder.
        cells: Every run as it is now.
        failed: How those runs went that failed now.
    """

    study: Study
    folder: StudyFolder
    cells: dict[CellKey, Cell]
    failed: dict[CellKey, Outcome] = attrs.field(factory=dict)

    def run(self, tasks: Sequence[Task], executor: Executor, *, quiet: bool) -> Stopped | None:
        """Do the tasks; return the signal that stopped it, if one did."""
        for key in (task.key for task in tasks):
            begun = self.cells[key].state != "missing"
            self.cells[key] = Cell(key=key, state="interrupted" if begun else "missing")
        progress = Progress(cells=self.cells, metric=self.study.keys.metric, executor=executor)
        try:
            with showing(progress, quiet=quiet) as show:
                for task, outcome in executor.outcomes(tasks):
                    self._take(task, outcome)
                    show(task.key)
        except Stopped as stopped:
            return stopped
        except KeyboardInterrupt:
            return Stopped(signal.SIGINT)
        return None

    def _take(self, task: Task, outcome: Outcome) -> None:
        if outcome.state == "failed":
            self.failed[task.key] = outcome
            self.cells[task.key] = Cell(key=task.key, state="failed", reason=outcome.reason)
            return
        cell = read_cell(Path(task.folder), task.key, self.study.keys.stage)
        tried = outcome.state == "interrupted" and cell.state == "failed"  # which was noted before this try
        self.cells[task.key] = Cell(key=task.key, state="interrupted") if tried else cell

    def interrupted(self, number: int) -> Interrupted:
        """Return what tells that a signal has stopped it."""
        count = sum(cell.state == "done" for cell in self.cells.values())
        told = f"{count} of {len(self.cells)} runs are done, the others saved; fix: the same command goes on"
        return Interrupted(number, f"stopped by signal {number}: {told}")

    def compare(self, *, write: bool, final: bool) -> Summary | None:
        """Return what all runs say together; write it, and what each came to, if `write`.

        Raises:
            SpecError: If no run has a score to compare, and this is `final`: else runs to come may have one.
        """
        cells, keys, folder = [*self.cells.values()], self.study.keys, self.folder.path
        if write:
            with writing_in(folder):
                write_results(folder, cells)
        summary = None
        if any(cell.state == "done" for cell in cells):
            with contextlib.nullcontext() if final else contextlib.suppress(SpecError):
                summary = summarise(
                    cells, baseline=self.study.baseline, metric=keys.metric, mode=keys.mode, notes=self._notes(cells)
                )
        if write:
            self._report(cells, summary)
        return summary

    def _report(self, cells: Sequence[Cell], summary: Summary | None) -> None:
        folder = self.folder.path
        with writing_in(folder):
            if summary is not None:
                write_report(folder, summary, f"Study {self.study.name}", cells)
                return
            remove_report(folder)  # of runs that the study no longer asks for

    def _notes(self, cells: Sequence[Cell]) -> list[str]:
        """Return where runs of one seed are no pairs in all respects."""
        resolved = {arm: spec.resolved for arm, spec in self.study.specs.items()}
        return pairing_notes(resolved, self.study.baseline, cells)
