"""`Failure`: what went wrong with the reading of rows, in a form that can leave a loader worker."""

from __future__ import annotations

from collections.abc import Sequence

import attrs
from torch.utils.data import get_worker_info

from auxlearn.calls import Elsewhere, Wrong, environment_problem
from auxlearn.errors import (
    AuxlearnError,
    Call,
    DataError,
    EnvironmentProblem,
    PluginError,
    Problem,
    SpecError,
    escape,
)

__all__ = ["Failure"]

_KINDS = (DataError, PluginError, EnvironmentProblem, SpecError)


@attrs.frozen
class Failure:
    """What went wrong in a worker; an exception raised there would arrive as a text with a traceback in it.

    Attributes:
        problems: What is wrong with each row.
        kind: Which `AuxlearnError` it is.
        call: Who failed.
        cause: What the data set raised, where that was not meant for the person who runs auxlearn.
    """

    problems: tuple[Problem, ...]
    kind: type[AuxlearnError] = DataError
    call: Call | None = None
    cause: BaseException | None = None

    def error(self) -> AuxlearnError:
        """Return the error to raise in the main process."""
        error = self.kind(self.problems)
        error.call, error.__cause__ = self.call, self.cause
        return error

    @classmethod
    def of(cls, where: str, error: BaseException, call: Call) -> Failure:
        """Return what it means that a data set raised `error` for a row called `where`."""
        if isinstance(error, AuxlearnError):
            return cls(error.problems, next((kind for kind in _KINDS if isinstance(error, kind)), DataError), call)
        if isinstance(error, Wrong):
            return cls((Problem(where=where, what=f"{call} {error}", exit_code=3),), PluginError, call)
        cause = error if get_worker_info() is None else Elsewhere.of(error)
        machine = environment_problem(error, str(call))
        if machine is not None:
            return cls(machine.problems, EnvironmentProblem, call, cause)
        kind = DataError if isinstance(error, OSError) else PluginError  # the one is the storage, the other the code
        what = f"{call} failed with {type(error).__name__}: {escape(error, 300)}"
        return cls((Problem(where=where, what=what, exit_code=kind.exit_code),), kind, call, cause)

    @classmethod
    def joint(cls, failures: Sequence[Failure]) -> Failure:
        """Return several as one: a plugin that fails is told as such, whatever else is wrong."""
        first = next((one for one in failures if one.kind is not DataError), failures[0])
        return attrs.evolve(first, problems=tuple(p for one in failures for p in one.problems))
