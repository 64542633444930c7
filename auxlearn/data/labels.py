"""`column`: the labels of many rows as one array, held to what the target is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import attrs
import numpy as np

from auxlearn.data.problems import problem
from auxlearn.data.source import TargetInfo
from auxlearn.errors import Problem, escape, nearest

__all__ = ["Column", "column"]


@attrs.frozen(eq=False)
class Column:
    """The labels of one target.

    Attributes:
        values: Rows first; zeros where there is no label.
        present: Which rows have a label: bool [rows].
    """

    values: np.ndarray[Any, Any]
    present: np.ndarray[Any, Any]


def column(given: Sequence[Any], info: TargetInfo, target: str, where: Sequence[str]) -> tuple[list[Problem], Column]:
    """Return what is wrong with the labels `given`, and the column they make.

    Args:
        given: One label a row; None for a row without.
        info: What the target is.
        target: Its name, for messages.
        where: Where each row stands, for messages.
    """
    dtype = np.int64 if info.kind == "class" else np.float32
    made = Column(np.zeros((len(given), *info.shape), dtype=dtype), np.zeros(len(given), dtype=bool))
    read = _READERS[info.kind]
    indices = {name: index for index, name in enumerate(info.names)}
    problems = []
    for row, value in enumerate(given):
        if value is None:
            continue
        try:
            made.values[row] = read(value, info, indices)
            made.present[row] = True
        except _LabelError as wrong:
            what = f"`{target}` {wrong.what}"
            problems.append(problem(where[row], what, allowed=wrong.allowed, meant=wrong.meant))
    return problems, made


class _LabelError(Exception):
    """A label that the target cannot have."""

    def __init__(self, what: str, allowed: str | None = None, meant: str | None = None) -> None:
        super().__init__(what)
        self.what, self.allowed, self.meant = what, allowed, meant


def _index(value: Any, info: TargetInfo, indices: Mapping[str, int]) -> int:
    """Return the index of a class that is given by name or index."""
    if isinstance(value, str) and value in indices:
        return indices[value]
    if isinstance(value, int | np.integer) and not isinstance(value, bool) and 0 <= value < len(info.names):
        return int(value)
    shown = f'"{escape(value)}"' if isinstance(value, str) else escape(repr(value))
    allowed = escape(", ".join(info.names), 300)
    raise _LabelError(f"has no class {shown}", allowed, nearest(value, info.names) if isinstance(value, str) else None)


def _flags(value: Any, info: TargetInfo, indices: Mapping[str, int]) -> np.ndarray[Any, Any]:
    """Return 1 for each class that is named, else 0."""
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise _LabelError(f"is {escape(repr(value))}", "a list of class names")
    flags = np.zeros(len(info.names), dtype=np.float32)
    flags[[_index(name, info, indices) for name in value]] = 1
    return flags


def _numbers(value: Any, info: TargetInfo, indices: Mapping[str, int]) -> np.ndarray[Any, Any]:  # noqa: ARG001
    """Return the finite number or numbers."""
    try:
        numbers = np.asarray(value, dtype=np.float32)
    except (TypeError, ValueError):
        raise _LabelError(f"is {escape(repr(value))}", "numbers") from None
    if numbers.shape != info.shape:
        raise _LabelError(f"has shape {numbers.shape}", str(info.shape))
    if not np.isfinite(numbers).all():
        raise _LabelError(f"is {escape(repr(value))}", "finite numbers")
    return numbers


_READERS: Mapping[str, Callable[[Any, TargetInfo, Mapping[str, int]], Any]] = {
    "class": _index,
    "multilabel": _flags,
    "continuous": _numbers,
}
