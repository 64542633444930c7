"""What a data source tells about its rows, in the form that its interface asks for."""

from __future__ import annotations

from collections.abc import Sequence, Sized
from typing import Any

from auxlearn.data.source import DataSource
from auxlearn.errors import PluginError, Problem, escape

__all__ = ["told_fingerprint", "told_rows"]


def told_fingerprint(source: DataSource) -> str:
    """Return the fingerprint of `source`.

    Raises:
        PluginError: If it is no text.
    """
    found: Any = source.fingerprint()
    if not isinstance(found, str):
        raise _wrong(source, "fingerprint", f"should return a str, it returned {_shown(found)}")
    return found


def told_rows(source: DataSource, method: str, split: str, *more: Any) -> Sequence[Any] | None:
    """Return what `labels`, `groups` or `files` says of every row of `split`, or None if it does not say.

    Raises:
        PluginError: If it says something else.
    """
    found: Any = getattr(source, method)(split, *more)
    if found is None:
        return None
    rows = len(source.dataset(split))  # type: ignore[arg-type]
    if isinstance(found, str) or not isinstance(found, Sized) or not hasattr(found, "__getitem__"):
        raise _wrong(source, method, f"should return a sequence or None, it returned {_shown(found)}")
    if len(found) != rows:
        what = f"should return {rows} entries, one for each row of {split}, it returned {len(found)}"
        raise _wrong(source, method, what)
    return found  # type: ignore[return-value]


def _wrong(source: DataSource, method: str, what: str) -> PluginError:
    who = f"{type(source).__module__}.{type(source).__qualname__}"
    return PluginError(Problem(what=f"data source {who}: `{method}` {what}", exit_code=3))


def _shown(found: object) -> str:
    return "None" if found is None else escape(f"{type(found).__name__} {found!r}")
