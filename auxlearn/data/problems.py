"""`problem`: a mistake in the data, in the form that all errors have."""

from __future__ import annotations

from auxlearn.errors import Problem

__all__ = ["problem"]


def problem(
    where: str, what: str, *, allowed: str | None = None, meant: str | None = None, fix: str | None = None
) -> Problem:
    """Return the `Problem` of data: exit code 4."""
    return Problem(where=where, what=what, allowed=allowed, meant=meant, fix=fix, exit_code=4)
