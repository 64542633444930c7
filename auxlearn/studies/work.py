"""`work`: one run of a study, wherever it is executed: begun, gone on with, or left as it is."""

from __future__ import annotations

import contextlib
import functools
import importlib
import os
import sys
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
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
        threads: Of torch on a CPU.
        overrides: What differs in the spec of a run that was begun, and cannot change its result.
        allow_inexact: Go on with such a run although bits may differ.
        plugins: Names of modules with hooks, besides the installed plugins.
        block: Names of plugins to leave out.
    """

    key: CellKey
    spec: Mapping[str, Any]
    root: str
    folder: str
    threads: int
    overrides: Sequence[str] = ()
    allow_inexact: bool = False
    plugins: Sequence[str] = ()
    block: Sequence[str] = ()


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
        if "torch" not in sys.modules:  # which reads it when it is imported, as others do
            os.environ["OMP_NUM_THREADS"] = str(task.threads)
        from auxlearn import api

        registry = _registry(tuple(task.plugins), tuple(task.block))
        _wait_for(Path(task.folder))
        with _threads(task):
            if read_json(Path(task.folder) / "status.json", {}).get("state") == "done":
                pass  # another process has done it since the study looked
            elif (Path(task.folder) / "manifest.json").is_file():
                api.resume(task.folder, task.overrides, allow_inexact=task.allow_inexact, registry=registry)
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


@contextlib.contextmanager
def _threads(task: Task) -> Iterator[None]:
    """Take the number of threads with which the run was begun, since bits depend on it."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(read_json(Path(task.folder) / "manifest.json", {}).get("threads", task.threads))
    try:
        yield
    finally:
        torch.set_num_threads(before)


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
