"""`calling`: what becomes of what a component raises, and of what it does to the process and to what it was given.

Every method of a component is called inside a block of it, in training and afterwards. So each failure says whose it
is, whatever it was, and nobody downstream has to look at exceptions of strangers.
"""

from __future__ import annotations

# `signal.getsignal` makes an enum of what this one returns, which takes longer than all else here.
import _signal  # type: ignore[import-not-found]
import errno
import os
import signal
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any

import torch
from torch import Tensor

import auxlearn
from auxlearn.errors import (
    AuxlearnError,
    Call,
    DistributedError,
    EnvironmentProblem,
    Interrupted,
    PluginError,
    Problem,
    escape,
)

__all__ = [
    "Elsewhere",
    "Wrong",
    "author_traceback",
    "calling",
    "calling_any",
    "during",
    "environment_problem",
    "keeping_settings",
]

_LONGEST = 600
_MOST_ROWS = 8
_FULL = {errno.ENOSPC, errno.EDQUOT}
# How the allocator for the CPU says it, which has no exception of its own.
_NO_MEMORY = ("can't allocate memory", "not enough memory")

_handler: Callable[[int], Any] = _signal.getsignal
# Settings of the process that belong to the whole run: what reads each, and what puts it back.
_SETTINGS: dict[str, tuple[Callable[[], Any], Callable[[Any], Any]]] = {
    "the default dtype": (torch.get_default_dtype, torch.set_default_dtype),
    "the number of threads": (torch.get_num_threads, torch.set_num_threads),
    "the gradient mode": (torch.is_grad_enabled, torch._C._set_grad_enabled),
    "deterministic algorithms": (torch.get_deterministic_debug_mode, torch.set_deterministic_debug_mode),
    "the precision of matrix products": (
        torch._C._get_float32_matmul_precision,
        torch.set_float32_matmul_precision,
    ),
    "cuDNN's benchmark mode": (torch._C._get_cudnn_benchmark, torch._C._set_cudnn_benchmark),
    "cuDNN's deterministic mode": (torch._C._get_cudnn_deterministic, torch._C._set_cudnn_deterministic),
    "the handler of SIGINT": (partial(_handler, signal.SIGINT), partial(signal.signal, signal.SIGINT)),
    "the handler of SIGTERM": (partial(_handler, signal.SIGTERM), partial(signal.signal, signal.SIGTERM)),
}
# Frames of these lead from the engine to a component: its own begin after them.
_OURS = tuple(f"{Path(str(module.__file__)).parent}{os.sep}" for module in (auxlearn, torch))
_READ = tuple(read for read, _ in _SETTINGS.values())


class Wrong(Exception):  # noqa: N818 (what is wrong, for `calling`, which knows with whom)
    """A component did not do what its interface asks; the message goes on after the name of the method."""


class Elsewhere(Exception):  # noqa: N818 (an exception that was raised elsewhere)
    """An exception of another process, as the text of its traceback: it may be of a type that cannot travel."""

    @classmethod
    def of(cls, error: BaseException) -> Elsewhere:
        """Return what stands for `error`."""
        return cls(author_traceback(error) or f"{type(error).__name__}: {error}\n")


class calling:  # noqa: N801 (used as a function is)
    """A context in which the engine calls a method of a component, and looks at what it returned.

    What is raised inside comes out as an `AuxlearnError` with `call` set: one that the component raised on purpose as
    it is, `Wrong` and everything else as a `PluginError` of which it is the cause. Memory and disks that are full are
    problems of the machine. Settings of the process are put back, and changing them is an error, as is writing into
    tensors that others read too.

    Args:
        part: The section of the spec that the component belongs to.
        name: The name of a task.
        method: The method.
        kept: Tensors that the method may not change in place.

    Examples:
        >>> from auxlearn.calls import Wrong, calling
        >>> with calling("pretext", "puzzle", "count"):
        ...     raise Wrong("should return an int, it returned None")
        Traceback (most recent call last):
        auxlearn.errors.PluginError: pretext task puzzle: `count` should return an int, it returned None
    """

    __slots__ = ("call", "kept", "settings", "versions")

    def __init__(self, part: str, name: str, method: str, kept: Iterable[Tensor] = ()) -> None:
        self.call = (part, name, method)
        self.kept = [tensor for tensor in kept if not tensor.is_inference()]

    def __enter__(self) -> None:
        self.versions = [tensor._version for tensor in self.kept]
        self.settings = [read() for read in _READ]

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        changed = _put_back(self.settings)
        if error is None:
            if changed:
                error = Wrong(f"should leave {' and '.join(changed)} alone; fix: these belong to the whole run")
            elif self.versions != [tensor._version for tensor in self.kept]:
                error = Wrong("should not write into what it is given; fix: write into a copy (`tensor.clone()`)")
            else:
                return
        call = Call(*self.call)
        if isinstance(error, AuxlearnError):
            _place(error, call)
        elif isinstance(error, Wrong):
            raise _of(call, PluginError(Problem(what=f"{call} {error}", exit_code=3))) from None
        elif isinstance(error, Exception | SystemExit):
            raise _translated(error, call) from error


def _place(error: AuxlearnError, call: Call) -> None:
    """Say where an error was raised on purpose, unless that is known, or it is not about the component."""
    if error.call is None and not isinstance(error, DistributedError | Interrupted):
        error.add(Problem(what=f"raised by {call}", exit_code=error.exit_code))
        error.call = call


def _translated(error: BaseException, call: Call) -> AuxlearnError:
    problem = environment_problem(error, str(call))
    if problem is not None:
        return _of(call, problem)
    said = escape(error, _LONGEST)
    what = f"{call} failed with {type(error).__name__}" + (f": {said}" if said else "")
    return _of(call, PluginError(Problem(what=what, exit_code=3)))


def _of(call: Call, error: AuxlearnError) -> AuxlearnError:
    error.call = call
    return error


def environment_problem(error: BaseException, where: str) -> EnvironmentProblem | None:
    """Return the error to raise instead of `error`, if memory or a disk is full; it happened in `where`."""
    said = escape(str(error).partition("\n")[0], _LONGEST)
    if isinstance(error, OSError) and error.errno in _FULL:
        fix = "make room, or choose another place for what is written"
        return EnvironmentProblem(Problem(what=f"{where}: the disk is full ({said})", fix=fix, exit_code=8))
    missing = isinstance(error, RuntimeError) and any(words in str(error) for words in _NO_MEMORY)
    if missing or isinstance(error, MemoryError | torch.OutOfMemoryError):
        fix = "a smaller `train.batch_size`, or more parts of it (`train.accumulate`)"
        return EnvironmentProblem(Problem(what=f"{where}: out of memory ({said})", fix=fix, exit_code=8))
    return None


@contextmanager
def calling_any(sources: Mapping[str, object]) -> Iterator[None]:
    """Name the data source, and its method, that fails anywhere in the block.

    Preparing data calls so many methods of it, in so many places, that the traceback is asked which it was.

    Args:
        sources: The data sources, by name.
    """
    try:
        yield
    except AuxlearnError:
        raise
    except (Exception, SystemExit) as error:
        frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
        first = next((frame for frame in frames if not frame.f_code.co_filename.startswith(_OURS)), None)
        if first is None:
            raise
        package = str(first.f_globals.get("__name__", "")).partition(".")[0]
        owners = {type(source).__module__.partition(".")[0]: name for name, source in sources.items()}
        if package not in owners:
            raise
        raise _translated(error, Call("data", owners[package], first.f_code.co_name)) from error


def author_traceback(error: BaseException) -> str:
    """Return the traceback of `error` from the first frame on that is not the engine's; empty if there is none."""
    if isinstance(error, Elsewhere):
        return str(error)
    told = traceback.TracebackException.from_exception(error)
    frames = list(told.stack)
    own = next((number for number, frame in enumerate(frames) if not frame.filename.startswith(_OURS)), None)
    if own is None:
        return ""
    told.stack = traceback.StackSummary.from_list(frames[own:])
    return "".join(told.format())


@contextmanager
def during(what: str, ids: Tensor | None = None) -> Iterator[None]:
    """Say in what a component raises when it happened, and with which rows.

    Memory that is full is told as such in the engine's own code, too.

    Args:
        what: When, e.g. `"at step 12"`.
        ids: The numbers of the rows.
    """
    try:
        yield
    except AuxlearnError as error:
        if error.call is not None:
            error.add(Problem(what=what + _rows(ids), exit_code=error.exit_code))
        raise
    except Exception as error:
        problem = environment_problem(error, what)
        if problem is None:
            raise
        raise problem from error


def _rows(ids: Tensor | None) -> str:
    if ids is None:
        return ""
    shown = ", ".join(map(str, ids[:_MOST_ROWS].tolist()))
    return f", rows {shown}" + (", ..." if len(ids) > _MOST_ROWS else "")


@contextmanager
def keeping_settings() -> Iterator[None]:
    """Put the settings of the process back after the block, for components that change them when they are made."""
    before = [read() for read in _READ]
    try:
        yield
    finally:
        _put_back(before)


def _put_back(before: Sequence[Any]) -> list[str]:
    """Put the settings back, and return the names of those that had changed."""
    now = [read() for read in _READ]
    if now == before:
        return []
    changed = []
    for (name, (_, write)), old, new in zip(_SETTINGS.items(), before, now, strict=True):
        if old != new:
            write(old)
            changed.append(name)
    return changed
