"""The folder of a study: what is there, what is left to do, and nobody else in it."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import attrs
from filelock import FileLock, Timeout

from auxlearn.errors import CheckpointError, EnvironmentProblem, Problem, SpecError
from auxlearn.registry import Registry
from auxlearn.spec.models import Spec
from auxlearn.studies.cells import Cell, CellKey, read_cell, read_json
from auxlearn.studies.loading import Study
from auxlearn.studies.work import Task

__all__ = ["StudyFolder"]

_FILE = "study.json"


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
        """Raise a SpecError if there is something else."""
        if self.path.exists() and any(self.path.iterdir()) and not (self.path / _FILE).is_file():
            what = "the folder is not empty, and not that of a study"
            raise SpecError(Problem(where=str(self.path), what=what, fix="another --out"))

    def threads(self, jobs: int) -> int | None:
        """Return the threads with which the study was begun, since bits depend on them; else a fair share."""
        recorded: int | None = read_json(self.path / _FILE, {}).get("threads")
        if recorded is not None or jobs == 1:
            return recorded
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        return max(1, cores // jobs)

    def write(self, study: Study, threads: int | None) -> None:
        """Write what is begun."""
        content = {"threads": threads, "baseline": study.baseline, "study": study.given}
        temporary = self.path / f".{_FILE}.new"
        temporary.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n", encoding="utf-8")
        temporary.replace(self.path / _FILE)

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Make the folder, and keep others out.

        Raises:
            EnvironmentProblem: If another process works here.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            with FileLock(self.path / ".lock", timeout=0):
                yield
        except Timeout:
            raise EnvironmentProblem(
                Problem(where=str(self.path), what="another process works here", exit_code=8)
            ) from None
        except OSError as error:
            what = f"cannot be written: {error.strerror or error}"
            raise EnvironmentProblem(Problem(where=str(self.path), what=what, exit_code=8)) from error

    def tasks(
        self,
        study: Study,
        registry: Registry,
        found: Mapping[CellKey, Cell],
        *,
        threads: int | None,
        plugins: Sequence[ModuleType],
        block: Sequence[str],
    ) -> list[Task]:
        """Return the runs that are not done.

        Raises:
            CheckpointError: If a run that is there is not the one that the study asks for; it names each difference.
        """
        tasks, problems = [], []
        for key in study.cells:
            recorded = read_json(self.cell(key) / "resolved.json", {})
            if found[key].state == "done" and not recorded:
                what = "is done, and has no resolved.json that says as what"
                problems.append(Problem(where=str(self.cell(key)), what=what, exit_code=6))
            spec = study.spec(key, registry)
            problems += self._differences(key, recorded, spec) if recorded else []
            if found[key].state != "done":
                tasks.append(
                    Task(
                        key=key,
                        spec=spec.given,
                        root=spec.root,
                        folder=str(self.cell(key)),
                        plugins=[plugin.__name__ for plugin in plugins],
                        block=list(block),
                        threads=threads,
                    )
                )
        if problems:
            raise CheckpointError(problems)
        return tasks

    def _differences(self, key: CellKey, recorded: Mapping[str, Any], spec: Spec) -> list[Problem]:
        if recorded == spec.resolved:
            return []
        from auxlearn.training.resuming import changes

        folder = self.cell(key)
        fix = f"another --out for another study, or remove {folder}"
        return [attrs.evolve(p, where=f"{folder} {p.where}", fix=fix) for p in changes(recorded, spec.resolved)]
