"""Targets of a manifest: from cells to class names and numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from auxlearn_tables.names import class_order
from auxlearn_tables.params import TableParams, TargetParams

__all__ = ["Target", "targets_of"]


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
            return str(values[0])
        if self.params.kind == "multilabel":
            return self._names(values[0])
        numbers = tuple(_number(value) for value in values)
        return numbers if self.params.columns else numbers[0]

    def classes(self, values: Sequence[Any]) -> tuple[str, ...]:
        """Return the class names in the order of their indices, given every row's value."""
        if self.params.kind == "continuous":
            return ()
        return class_order({name for value in values for name in self._classes_in(value)}, self.params.classes)

    def other(self, value: Any, classes: Sequence[str]) -> bool:
        """Return whether `value` is a class, or has one, that is not to be used."""
        return any(name not in classes for name in self._classes_in(value))

    def _classes_in(self, value: Any) -> tuple[str, ...]:
        if value is None or self.params.kind == "continuous":
            return ()
        return (value,) if isinstance(value, str) else value

    def _names(self, cell: Any) -> tuple[str, ...]:
        parts = cell.split(self.params.separator) if isinstance(cell, str) else cell
        return tuple(str(part).strip() for part in parts if str(part).strip())


def targets_of(params: TableParams) -> list[Target]:
    """Return the targets that `params` name, in their order."""
    given = params.targets
    named = given if isinstance(given, Mapping) else {name: TargetParams() for name in given}
    return [Target(name, target) for name, target in named.items()]


def _number(cell: Any) -> Any:
    """Return the number in `cell`, or the cell itself, to be complained about."""
    try:
        return float(cell)
    except (TypeError, ValueError):
        return cell
