"""Labels as columns of text, in the form that manifests of images have, and how to read them back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import attrs
import numpy as np

from auxlearn.data.problems import problem
from auxlearn.data.source import TargetInfo
from auxlearn.errors import DataError, Problem, escape

__all__ = ["Columns", "columns_of"]

_SEPARATORS = ("|", ";", ",", "/", "+")


@attrs.frozen(kw_only=True)
class Columns:
    """The columns of a manifest.

    Attributes:
        cells: The text of every row by column; empty where a row lacks the label.
        targets: For each target, the settings that read it back.
    """

    cells: Mapping[str, Sequence[str]]
    targets: Mapping[str, Mapping[str, Any]]


def columns_of(infos: Mapping[str, TargetInfo], rows: Sequence[Mapping[str, Any]]) -> Columns:
    """Return the labels of `rows` as columns.

    A class is its name; several labels are their names with a separator between them, or the separator alone for none
    of them; a number is the shortest text that is the same number in float32, and one that is not finite is none;
    several numbers have a column each, called like their components. Columns with the same name and content, such as
    `yaw` and a part of `pose`, are one.

    Args:
        infos: What is known about each target.
        rows: The labels of each row by target, None or left out where it lacks one.

    Raises:
        DataError: If a target cannot be written, with all reasons.

    Examples:
        >>> from auxlearn.data import TargetInfo
        >>> from auxlearn.data.columns import columns_of
        >>> mood = TargetInfo(kind="class", names=("sad", "happy"))
        >>> made = columns_of({"mood": mood}, [{"mood": 1}, {}])
        >>> made.cells, made.targets
        ({'mood': ['happy', '']}, {'mood': {'classes': ['sad', 'happy']}})
    """
    problems = [wrong for name, info in infos.items() for wrong in _problems(name, info)]
    if problems:
        raise DataError(problems)
    cells: dict[str, list[str]] = {}
    targets: dict[str, dict[str, Any]] = {}
    # Numbers of several components last: the names of their columns give way.
    for name in sorted(infos, key=lambda name: infos[name].shape != () and infos[name].kind == "continuous"):
        values = [row.get(name) for row in rows]
        write = {"class": _classes, "multilabel": _labels, "continuous": _numbers}[infos[name].kind]
        targets[name] = write(name, infos[name], values, cells)
    return Columns(cells=cells, targets={name: targets[name] for name in infos})


def _problems(name: str, info: TargetInfo) -> list[Problem]:
    found = []
    if info.kind == "continuous" and len(info.shape) > 1:
        allowed = "one number, or a vector of them"
        found.append(problem(f"target {escape(name)}", f"has shape {info.shape}, which is no row", allowed=allowed))
    if info.kind != "continuous":
        for one in info.names:
            if not one or one != one.strip():
                what = f'has a class "{escape(one)}", which is empty or has spaces round it'
                found.append(problem(f"target {escape(name)}", what, fix="rename it"))
    if info.kind == "multilabel" and _separator(info) is None:
        found.append(problem(f"target {escape(name)}", f"has each of {' '.join(_SEPARATORS)} in a name"))
    return found


def _separator(info: TargetInfo) -> str | None:
    return next((mark for mark in _SEPARATORS if not any(mark in name for name in info.names)), None)


def _classes(name: str, info: TargetInfo, values: Sequence[Any], cells: dict[str, list[str]]) -> dict[str, Any]:
    cells[name] = ["" if value is None else info.names[int(value)] for value in values]
    return {"classes": list(info.names)}


def _labels(name: str, info: TargetInfo, values: Sequence[Any], cells: dict[str, list[str]]) -> dict[str, Any]:
    mark = _separator(info) or ""

    def text(flags: Any) -> str:
        named = [one for one, flag in zip(info.names, np.asarray(flags), strict=True) if flag > 0]
        return mark.join(named) or mark

    cells[name] = ["" if value is None else text(value) for value in values]
    return {"kind": "multilabel", "classes": list(info.names), "separator": mark}


def _numbers(name: str, info: TargetInfo, values: Sequence[Any], cells: dict[str, list[str]]) -> dict[str, Any]:
    settings: dict[str, Any] = {"kind": "continuous"}
    values = [None if value is None or not np.isfinite(np.asarray(value)).all() else value for value in values]
    if info.unit is not None:
        settings["unit"] = info.unit
    if info.shape == ():
        cells[name] = ["" if value is None else _text(value) for value in values]
        return settings
    components = info.names or [f"{name}_{number}" for number in range(info.shape[0])]
    settings["columns"] = []
    for place, component in enumerate(components):
        column = ["" if value is None else _text(np.asarray(value)[place]) for value in values]
        settings["columns"].append(_put(cells, component, name, column))
    return settings


def _put(cells: dict[str, list[str]], wanted: str, target: str, column: list[str]) -> str:
    """Put `column` in, unless it is there already; return its name."""
    while cells.get(wanted, column) != column:
        wanted = f"{target}_{wanted}"
    cells[wanted] = column
    return wanted


def _text(number: Any) -> str:
    return str(np.float32(number))
