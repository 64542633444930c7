"""Targets of a manifest: from cells to class names and numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, Protocol

import attrs

from auxlearn.errors import DataError, Problem, escape
from auxlearn_tables.names import class_order
from auxlearn_tables.params import TargetParams

__all__ = ["HasTargets", "Target", "targets_of"]


class HasTargets(Protocol):
    """The settings of a data source that has targets as `table` has them."""

    @property
    def targets(self) -> tuple[str, ...] | Mapping[str, TargetParams]:
        """Columns that are class targets; or targets by name, each with its settings."""


@attrs.frozen
class Target:
    """One target and how its value is read from a row's cells."""

    name: str
    params: TargetParams

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns it is read from."""
        return self.params.columns or (self.name,)

    def read(self, cells: Mapping[str, Any]) -> Any:
        """Return the class name, the tuple of class names, or the number or numbers; None for a row without."""
        values = [cells[column] for column in self.columns]
        if any(value is None for value in values):
            return None
        if self.params.kind == "class":
            return self._name(values[0])
        if self.params.kind == "multilabel":
            return self._names(values[0]) if self.params.threshold is None else self._above(values)
        numbers = tuple(_number(value) for value in values)
        return numbers if len(numbers) > 1 or (self.params.columns and not _listed(numbers[0])) else numbers[0]

    def classes(self, values: Sequence[Any]) -> tuple[str, ...]:
        """Return the class names in the order of their indices, given every row's value."""
        if self.params.kind == "continuous":
            return ()
        if self.params.threshold is not None:
            return self.params.classes or self.columns
        return class_order({name for value in values for name in self._classes_in(value)}, self.params.classes)

    def other(self, value: Any, classes: Sequence[str]) -> bool:
        """Return whether `value` is a class, or has one, that is not to be used."""
        return any(name not in classes for name in self._classes_in(value))

    def _classes_in(self, value: Any) -> tuple[str, ...]:
        if value is None or self.params.kind == "continuous":
            return ()
        return (value,) if isinstance(value, str) else value

    def _name(self, cell: Any) -> str:
        """Return the class that a cell names, or whose index it holds; else what can be no class."""
        if not self.params.indices:
            return str(cell)
        with suppress(TypeError, ValueError):
            place = float(cell)
            if place.is_integer() and 0 <= place < len(self.params.classes):
                return self.params.classes[int(place)]
        return f"index {cell}"

    def _above(self, values: Sequence[Any]) -> Any:
        """Return the labels whose numbers are above the threshold; what is no number, to be complained about."""
        numbers = [_number(value) for value in values]
        given = numbers[0] if len(numbers) == 1 and _listed(numbers[0]) else tuple(numbers)
        wrong = next((number for number in given if not isinstance(number, float)), None)
        if wrong is not None:
            return str(wrong)
        names = self.classes(())
        if len(names) != len(given):
            what = f"{len(given)} numbers a row and {len(names)} names"
            fix = "name every label in `classes`"
            raise DataError(Problem(where=f"target {escape(self.name)}", what=what, fix=fix, exit_code=4))
        return tuple(name for name, number in zip(names, given, strict=True) if number > (self.params.threshold or 0))

    def _names(self, cell: Any) -> tuple[str, ...]:
        parts = cell.split(self.params.separator) if isinstance(cell, str) else cell
        return tuple(str(part).strip() for part in parts if str(part).strip())


def targets_of(params: HasTargets) -> list[Target]:
    """Return the targets that `params` name, in their order."""
    given = params.targets
    named = given if isinstance(given, Mapping) else {name: TargetParams() for name in given}
    return [Target(name, target) for name, target in named.items()]


def _listed(value: Any) -> bool:
    return isinstance(value, tuple)


def _number(cell: Any) -> Any:
    """Return the number in `cell`, or the numbers, or the cell itself, to be complained about."""
    if isinstance(cell, list | tuple):
        return tuple(_number(one) for one in cell)
    try:
        return float(cell)
    except (TypeError, ValueError):
        return cell
