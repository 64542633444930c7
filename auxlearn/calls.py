"""`calling`: what becomes of what a component raises, and of what it does to the process and to what it was given.

Every method of a component is called inside a block of it, in training and afterwards. So each failure says whose it
is, whatever it was, and nobody downstream has to look at exceptions of strangers.
"""

from __future__ import annotations

import errno
import os
import traceback
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

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
from auxlearn.settings import put_back, read_settings

__all__ = [
    "Elsewhere",
    "Wrong",
    "author_traceback",
    "calling",
    "calling_any",
    "during",
    "environment_problem",
]

_LONGEST = 600
_MOST_ROWS = 8
_FULL = {errno.ENOSPC, errno.EDQUOT}
# How the allocator for the CPU says it, which has no exception of its own.
_NO_MEMORY = ("can't allocate memory", "not enough memory")

# Frames of these lead from the engine to a component: its own begin after them.
_OURS = tuple(f"{Path(str(module.__file__)).parent}{os.sep}" for module in (auxlearn, torch))


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
    tensors that others read too. Most settings are of all threads: another thread should not change them meanwhile.

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
        self.settings = read_settings()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        changed = put_back(self.settings)
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
        elif not isinstance(error, KeyboardInterrupt):
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
    except (AuxlearnError, KeyboardInterrupt):
        raise
    except BaseException as error:
        call = _of_source(error, sources)
        if call is None:
            raise
        raise _translated(error, call) from error


def _of_source(error: BaseException, sources: Mapping[str, object]) -> Call | None:
    """Return the call of a data source in which `error` was raised, without a name if it may be of several."""
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    frames = [frame for frame in frames if not frame.f_code.co_filename.startswith(_OURS)]
    for frame in frames:
        first = frame.f_code.co_varnames[:1]  # of a method: the object, whatever it calls it
        for name, source in sources.items():
            if first and source is not None and frame.f_locals.get(first[0]) is source:
                return Call("data", name, frame.f_code.co_name)
    if not frames:
        return None
    package = str(frames[0].f_globals.get("__name__", "")).partition(".")[0]
    of_package = [name for name, source in sources.items() if type(source).__module__.partition(".")[0] == package]
    if not of_package:
        return None
    method = frames[0].f_code.co_name
    return Call("data", of_package[0], method) if len(of_package) == 1 else Call("a data source", "", method)


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
    try:
        shown = ", ".join(map(str, ids[:_MOST_ROWS].tolist()))
    except RuntimeError:  # a device that has failed gives nothing back
        return ""
    return f", rows {shown}" + (", ..." if len(ids) > _MOST_ROWS else "")
