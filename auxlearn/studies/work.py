"""`work`: one run of a study, wherever it is executed: begun, gone on with, or left as it is."""

from __future__ import annotations

import functools
import importlib
import os
import time
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import attrs

from auxlearn.errors import AuxlearnError, Interrupted, escape
from auxlearn.studies.cells import CellKey, read_json
from auxlearn.studies.stopping import Stopped

if TYPE_CHECKING:
    from auxlearn.registry import Registry

__all__ = ["Outcome", "Task", "work"]

_BUG = 70
_PATIENCE = 30.0  # seconds for another process to leave the folder


@attrs.frozen(kw_only=True)
class Task:
    """A run to be done, as it is sent to another process or machine.

    Attributes:
        key: Which run.
        spec: Its spec as JSON.
        root: The folder that relative paths in the spec refer to.
        folder: Its run folder.
        plugins: Names of modules with hooks, besides the installed plugins.
        block: Names of plugins to leave out.
        threads: Of torch on a CPU; None for as many as there are.
    """

    key: CellKey
    spec: Mapping[str, Any]
    root: str
    folder: str
    plugins: Sequence[str] = ()
    block: Sequence[str] = ()
    threads: int | None = None


@attrs.frozen(kw_only=True)
class Outcome:
    """How it went.

    Attributes:
        state: `done`, `failed` for a `reason`, or `interrupted` with everything saved.
        reason: What went wrong, in one line.
        code: The exit code that stands for it.
    """

    state: Literal["done", "failed", "interrupted"]
    reason: str | None = None
    code: int = 0


def work(task: Task) -> Outcome:
    """Do a run: from the start, or from where it was interrupted. Whatever goes wrong is an outcome."""
    try:
        if task.threads is not None:
            # Before torch is imported, for all that reads it then.
            os.environ["OMP_NUM_THREADS"] = str(task.threads)
        from auxlearn import api

        registry = _registry(tuple(task.plugins), tuple(task.block))
        _set_threads(task)
        _wait_for(Path(task.folder))
        if (Path(task.folder) / "manifest.json").is_file():
            api.resume(task.folder, registry=registry)
        else:
            _run(task, registry)
    except Interrupted as error:
        return Outcome(state="interrupted", code=error.code)
    except Stopped as stopped:
        return Outcome(state="interrupted", code=128 + stopped.signal)
    except AuxlearnError as error:
        return Outcome(state="failed", reason=escape("; ".join(str(error).splitlines()), 2000), code=error.exit_code)
    except Exception as error:  # a plugin may raise anything, and the other runs are not to blame
        traceback.print_exc()
        return Outcome(state="failed", reason=escape(f"{type(error).__name__}: {error}", 2000), code=_BUG)
    return Outcome(state="done")


@functools.cache
def _registry(plugins: tuple[str, ...], block: tuple[str, ...]) -> Registry:
    """Return what is installed, which is searched once in a process."""
    from auxlearn.registry import discover

    return discover([importlib.import_module(name) for name in plugins], block)


def _run(task: Task, registry: Registry) -> None:
    from auxlearn import api

    # What is there was begun and has no manifest: nothing that could go on.
    api.run(task.spec, root=task.root, out=task.folder, overwrite=True, registry=registry)


def _set_threads(task: Task) -> None:
    """Take the number of threads with which the run was begun, since bits depend on it."""
    import torch

    threads = read_json(Path(task.folder) / "manifest.json", {}).get("threads", task.threads)
    if threads is not None and threads != torch.get_num_threads():
        torch.set_num_threads(threads)


def _wait_for(folder: Path) -> None:
    """Wait for a process that was told to stop, and still saves what it has."""
    from filelock import FileLock, Timeout

    if not (folder / ".lock").exists():
        return
    begin = time.monotonic()
    while time.monotonic() - begin < _PATIENCE:
        try:
            with FileLock(folder / ".lock", timeout=0):
                return
        except Timeout:
            time.sleep(0.2)
