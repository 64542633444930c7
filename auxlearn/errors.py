"""What can go wrong, each kind with the exit code that the command line returns for it.

An `AuxlearnError` is a message for the person who runs auxlearn: it says what is wrong, where, what would be
right and how to get there, and it is printed without a traceback. A mistake in a program that calls auxlearn
is an ordinary `ValueError` or `TypeError`.
"""

from __future__ import annotations

import traceback
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import ClassVar

import attrs

__all__ = [
    "AuxlearnError",
    "Call",
    "CheckpointError",
    "DataError",
    "DistributedError",
    "DivergedError",
    "EnvironmentProblem",
    "ExportError",
    "Interrupted",
    "PluginError",
    "Problem",
    "SpecError",
    "error_of",
    "escape",
    "nearest",
    "place_of",
    "pointer",
]

_LONGEST = 80
_LONGEST_PROBLEM = 4000
_MOST_PROBLEMS = 20
# Packages whose frames lead from the engine to a plugin.
_CALLERS = {"auxlearn", "pluggy", "importlib", "contextlib", "torch", "hypothesis"}


def escape(text: object, longest: int = _LONGEST) -> str:
    r"""Return `text` fit for a terminal: control characters escaped, cut after `longest` characters.

    >>> escape("a\x1b[31mb")
    'a\\x1b[31mb'
    """
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in str(text))
    return shown if len(shown) <= longest else shown[: longest - 3] + "..."


def pointer(*steps: object) -> str:
    """Return the JSON Pointer (RFC 6901) of these steps, fit for a terminal.

    >>> pointer("inputs", "a/b", 0, "~")
    '/inputs/a~1b/0/~0'
    """
    return "".join("/" + escape(step).replace("~", "~0").replace("/", "~1") for step in steps)


def nearest(word: str, known: Iterable[str]) -> str | None:
    """Return the one of `known` that `word` was most likely meant to be, or None if none is near.

    >>> nearest("puzling", ["puzzling", "inpainting"])
    'puzzling'
    """
    import difflib

    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return close[0] if close else None


def place_of(error: BaseException) -> str:
    """Return where a plugin's code raised, as " (package/module.py, line 7)"; empty if no code of a plugin did.

    That is the last frame in the package that the engine called, not one of the libraries that this called in turn.

    Args:
        error: What was raised.
    """
    if isinstance(error, SyntaxError) and error.filename and error.lineno and Path(error.filename).is_file():
        return _place(error.filename, error.lineno)
    frames = []
    for frame, line in traceback.walk_tb(error.__traceback__):
        package = str(frame.f_globals.get("__name__", "")).partition(".")[0]
        if package not in _CALLERS and not frame.f_code.co_filename.startswith("<"):
            frames.append((package, frame.f_code.co_filename, line))
    own = [(file, line) for package, file, line in frames if package == frames[0][0]]
    return _place(*own[-1]) if own else ""


def _place(file: str, line: int) -> str:
    return f" ({escape('/'.join(Path(file).parts[-2:]))}, line {line})"


@attrs.frozen(kw_only=True)
class Problem:
    """One mistake: where it is, what it is, and how to put it right.

    Attributes:
        what: What is wrong, with the value that was found.
        where: A JSON Pointer into the spec, or a path.
        allowed: What would be right.
        meant: The nearest known name, if the mistake looks like a misspelling.
        fix: What to do about it, where that is more than using `allowed`.
        exit_code: The kind of the mistake (2 spec, 3 plugin, 4 data).
    """

    what: str
    where: str = ""
    allowed: str | None = None
    meant: str | None = None
    fix: str | None = None
    exit_code: int = 2

    def __str__(self) -> str:
        parts = [f"{self.where}: {self.what}" if self.where else self.what]
        parts += [f"allowed: {self.allowed}"] if self.allowed else []
        parts += [f'did you mean "{self.meant}"?'] if self.meant else []
        parts += [f"fix: {self.fix}"] if self.fix else []
        return escape("; ".join(parts), _LONGEST_PROBLEM)


_PARTS = {
    "data": "data source",
    "augment": "augmentation",
    "primary": "primary task",
    "pretext": "pretext task",
    "balance": "balancer",
    "extract": "network",
}


@attrs.frozen
class Call:
    """A method of a component, called by the engine.

    Attributes:
        part: The section of the spec that the component belongs to, e.g. `"pretext"` or `"backbone"`.
        name: The name of a task; empty for components that a run has one of.
        method: The method.

    Examples:
        >>> from auxlearn.errors import Call
        >>> str(Call("pretext", "puzzle", "loss"))
        'pretext task puzzle: `loss`'
    """

    part: str
    name: str
    method: str

    @property
    def section(self) -> str:
        """What the manifest of a run calls the component: `"pretext.puzzle"`."""
        return f"{self.part}.{self.name}" if self.name else self.part

    @property
    def component(self) -> str:
        """What a person calls it: `"pretext task puzzle"`."""
        word = _PARTS.get(self.part, self.part)
        return f"{word} {self.name}" if self.name else word

    def __str__(self) -> str:
        return f"{self.component}: `{self.method}`"


class AuxlearnError(Exception):
    """The base of every error that is meant for the person who runs auxlearn.

    Args:
        problems: A message, a `Problem`, or several of them in the order in which they should be read.

    Attributes:
        problems: What it says.
        call: The method of a component in which it happened, if it was in one.
    """

    exit_code: ClassVar[int] = 70

    def __init__(self, problems: str | Problem | Sequence[Problem]) -> None:
        if isinstance(problems, str):
            problems = Problem(what=problems)
        self.problems: tuple[Problem, ...] = (problems,) if isinstance(problems, Problem) else tuple(problems)
        self.call: Call | None = None
        super().__init__(self.problems)

    def add(self, *problems: Problem) -> None:
        """Say more, after what is said already."""
        self.problems += problems

    def __str__(self) -> str:
        lines = [str(problem) for problem in self.problems[:_MOST_PROBLEMS]]
        if len(self.problems) > _MOST_PROBLEMS:
            lines.append(f"... and {len(self.problems) - _MOST_PROBLEMS} more")
        return "\n".join(lines)


class SpecError(AuxlearnError):
    """The spec, or the command line, asks for something that cannot be."""

    exit_code = 2


class PluginError(AuxlearnError):
    """A plugin that is needed is missing, broken, or broke its contract."""

    exit_code = 3


class DataError(AuxlearnError):
    """The data is not what the spec or the data source says it is."""

    exit_code = 4


class DivergedError(AuxlearnError):
    """A loss or a gradient stopped being finite."""

    exit_code = 5


class CheckpointError(AuxlearnError):
    """A checkpoint is missing, damaged, or belongs to another run."""

    exit_code = 6


class DistributedError(AuxlearnError):
    """Another process of the same run failed or cannot be reached."""

    exit_code = 7


class EnvironmentProblem(AuxlearnError):  # noqa: N818 (EnvironmentError is the name of a built-in)
    """The machine refuses: disk full, no permission, a run folder in use."""

    exit_code = 8


class ExportError(AuxlearnError):
    """The trained model cannot be written in the format that was asked for."""

    exit_code = 9


class Interrupted(AuxlearnError):  # noqa: N818 (a signal is no error)
    """A signal ended the run, after a checkpoint was saved.

    Args:
        signal: The number of the signal: 2 for SIGINT (exit code 130), 15 for SIGTERM (143).
        message: What was saved, and how to go on.
    """

    def __init__(self, signal: int, message: str) -> None:
        super().__init__(message)
        self.signal = signal

    @property
    def code(self) -> int:
        """The exit code by the shells' custom: 128 plus the number of the signal."""
        return 128 + self.signal


def error_of(problems: Sequence[Problem]) -> AuxlearnError:
    """Return the error that stands for `problems`: a mistake in the spec, if one is among them, decides its kind.

    >>> type(error_of([Problem(what="no such plugin", exit_code=3), Problem(what="no such key")])).__name__
    'SpecError'
    """
    kinds: dict[int, type[AuxlearnError]] = {2: SpecError, 3: PluginError, 4: DataError}
    return kinds[min(problem.exit_code for problem in problems)](problems)
