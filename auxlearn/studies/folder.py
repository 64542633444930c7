"""The folder of a study: what is there, what is left to do, and nobody else in it."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs
from filelock import FileLock, Timeout

from auxlearn.errors import CheckpointError, EnvironmentProblem, Problem, SpecError
from auxlearn.files import write_json, writing_in
from auxlearn.registry import Registry
from auxlearn.spec.models import Spec
from auxlearn.studies.cells import Cell, CellKey, read_cell, read_json
from auxlearn.studies.loading import Study
from auxlearn.studies.work import Task

__all__ = ["StudyFolder"]

_FILE = "study.json"
_BEFORE = re.compile(rf"\.lock|\.{re.escape(_FILE)}\.\d+")  # what there may be before that file


@attrs.frozen(kw_only=True, eq=False)
class StudyFolder:
    """The folder of one study.

    ```
    study.json      the study as it was last begun, and the threads of each run
    cells/<arm>/<fraction>/<seed>/     an ordinary run folder
    results.json, results.csv, summary.json, report.md, figures/
    log.txt         what other processes said
    ```

    Attributes:
        path: Where it is.
    """

    path: Path

    def cell(self, key: CellKey) -> Path:
        """Return the run folder of a cell."""
        return self.path / "cells" / key.path

    def read(self, study: Study) -> dict[CellKey, Cell]:
        """Return every run of `study` as it is now."""
        return {key: read_cell(self.cell(key), key, study.keys.stage) for key in study.cells}

    def require_own(self) -> None:
        """Raise a SpecError if there is something else, which would be written over."""
        where, what = self.path, "the folder is not empty, and not that of a study"
        if not self.path.exists():
            return
        if not self.path.is_dir():
            what = "is a file, where the folder of the study should be"
        elif self.begun:
            content = read_json(self.path / _FILE, {})
            if isinstance(content, dict) and "study" in content and "auxlearn_study" not in content:
                return
            where, what = self.path / _FILE, "is not from a study that was run here, which would write over it"
        elif all(_BEFORE.fullmatch(entry.name) for entry in self.path.iterdir()):
            return
        raise SpecError(Problem(where=str(where), what=what, fix="another --out"))

    @property
    def begun(self) -> bool:
        """Whether a study was begun here, if the folder is that of a study."""
        return (self.path / _FILE).is_file()

    def threads(self, jobs: int, *, here: bool) -> int:
        """Return the threads with which the study was begun, since bits depend on them; at its beginning a fair share.

        Args:
            jobs: Of the cores for each of so many runs at once;
            here: or those that torch has in this process, where the runs are in it.
        """
        recorded: int | None = read_json(self.path / _FILE, {}).get("threads")
        if recorded is not None:
            return recorded
        if here:
            import torch

            return torch.get_num_threads()
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        return max(1, cores // jobs)

    def write(self, study: Study, threads: int) -> None:
        """Write what is begun."""
        content = {"threads": threads, "baseline": study.baseline, "study": study.given}
        with writing_in(self.path):
            write_json(self.path / _FILE, content)

    @contextlib.contextmanager
    def lock(self, *, needed: bool = True) -> Iterator[bool]:
        """Make the folder, and keep others out; the value says whether that could be done.

        Args:
            needed: Raise where it cannot.

        Raises:
            EnvironmentProblem: If another process works here, or the folder cannot be written.
        """
        lock = FileLock(self.path / ".lock", timeout=0)
        try:
            with writing_in(self.path):
                self._acquire(lock)
        except EnvironmentProblem:
            if needed:
                raise
        try:
            yield lock.is_locked
        finally:
            lock.release()

    def _acquire(self, lock: FileLock) -> None:
        try:
            lock.acquire()
        except Timeout:
            what = "another process works here"
            raise EnvironmentProblem(Problem(where=str(self.path), what=what, exit_code=8)) from None

    def tasks(
        self, study: Study, registry: Registry, found: Mapping[CellKey, Cell], make: Callable[..., Task]
    ) -> list[Task]:
        """Return the runs that are not done.

        Args:
            study: What is asked for.
            registry: What is installed.
            found: What is there.
            make: A `Task`, given all that differs between them.

        Raises:
            CheckpointError: If a run that is there is not the one that the study asks for; it names each difference.
        """
        tasks, problems = [], []
        for key in study.cells:
            folder, spec = self.cell(key), study.spec(key, registry)
            recorded = read_json(folder / "resolved.json", {})
            if found[key].state == "done" and not recorded:
                what = "is done, and has no resolved.json that says as what"
                problems.append(Problem(where=str(folder), what=what, exit_code=6))
            wrong, overrides = _differences(folder, recorded, spec) if recorded else ([], [])
            problems += wrong
            if found[key].state != "done":
                tasks.append(make(key=key, spec=spec.given, root=spec.root, folder=str(folder), overrides=overrides))
        if problems:
            raise CheckpointError(problems)
        return tasks


def _differences(folder: Path, recorded: Mapping[str, Any], spec: Spec) -> tuple[list[Problem], list[str]]:
    """Return what differs that may not, and overrides for what may."""
    if recorded == spec.resolved:
        return [], []
    from auxlearn.training.resuming import changes, free_changes

    fix = f"another --out for another study, or remove {folder}"
    wrong = changes(recorded, spec.resolved)
    return (
        [attrs.evolve(p, where=f"{folder} {p.where}", fix=fix) for p in wrong],
        free_changes(recorded, spec.resolved),
    )
