"""`Collate`: items of a data set to one plain dict of tensors, which can leave a loader worker; and to a `Batch`.

The dict is flat: `inputs/<modality>`, `targets/<name>`, `present/inputs/<modality>`, `present/targets/<name>`
and `ids`, each with the rows first.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import attrs
import numpy as np
import torch
from torch import Tensor

from auxlearn.data.batch import Batch
from auxlearn.data.problems import problem
from auxlearn.data.source import DataSource, InputShape, TargetInfo
from auxlearn.errors import DataError, Problem, escape

__all__ = ["Collate", "Columns", "join_streams", "to_batch"]

Columns = dict[str, Tensor]


class _FormError(Exception):
    """A value that is not what its column holds."""

    def __init__(self, what: str, allowed: str) -> None:
        super().__init__(what)
        self.what, self.allowed = what, allowed


@attrs.frozen
class _Form:
    """What every row of one column has: its shape and the torch dtype it is stored in."""

    shape: tuple[int, ...]
    dtype: torch.dtype
    kind: str
    blank: Tensor  # what a row without it holds
    classes: tuple[str, ...] = ()

    @classmethod
    def of(cls, declared: InputShape | TargetInfo) -> _Form:
        if isinstance(declared, InputShape):
            dtype = getattr(torch, declared.dtype)
            blank = torch.tensor(declared.mean or 0, dtype=dtype).expand([abs(n) for n in declared.shape])
            return cls(declared.shape, dtype, "input", blank)
        dtype = torch.int64 if declared.kind == "class" else torch.float32
        classes = declared.names if declared.kind == "class" else ()
        return cls(declared.shape, dtype, declared.kind, torch.zeros(declared.shape, dtype=dtype), classes)

    def hold(self, value: Any, shape: tuple[int, ...]) -> Tensor:
        """Return `value` in the column's dtype, after the check that it is what was declared."""
        try:
            tensor = torch.from_numpy(_writeable(value)) if isinstance(value, np.ndarray) else torch.as_tensor(value)
        except (TypeError, ValueError, RuntimeError):
            raise _FormError(f"is {escape(repr(value))}", "a number, a tensor or an array") from None
        if not _fits(tensor.shape, shape):
            raise _FormError(f"has shape {tuple(tensor.shape)}", f"{shape}")
        if self.kind == "input" and tensor.dtype != self.dtype:
            raise _FormError(f"has dtype {tensor.dtype}", f"{self.dtype}")
        if self.kind == "class" and tensor.dtype.is_floating_point:
            raise _FormError(f"has dtype {tensor.dtype}", "the index of a class, an integer")
        if self.kind != "class" and tensor.dtype.is_floating_point and not _finite(tensor):
            raise _FormError("is not finite", "finite numbers")
        return tensor.to(self.dtype)

    def strange(self, column: Tensor) -> Iterator[tuple[int, _FormError]]:
        """Yield the rows of a column of classes that hold none of them, and what they hold."""
        last = len(self.classes) - 1
        if not self.classes or not column.numel() or (column.min() >= 0 and column.max() <= last):
            return
        allowed = escape(f"0 to {last} ({', '.join(self.classes)})", 120)
        for row, value in enumerate(column):
            wrong = value[(value < 0) | (value > last)]
            if wrong.numel():
                yield row, _FormError(f"is {int(wrong.flatten()[0])}", allowed)


class Collate:
    """Makes columns of items, and holds them to what the data source declares.

    A row without a target (or without one of several modalities) has False in `present`, and zeros there (or the mean
    of the modality, if it is known).

    Args:
        source: Whose items they are.
    """

    def __init__(self, source: DataSource) -> None:
        self.forms = {f"inputs/{name}": _Form.of(shape) for name, shape in source.inputs.items()}
        self.forms |= {f"targets/{name}": _Form.of(info) for name, info in source.targets.items()}

    def items(self, items: Sequence[Mapping[str, Any]], names: Sequence[str]) -> Columns:
        """Return the columns of `items`; `names` says what each is called in messages."""
        columns: Columns = {}
        problems: list[Problem] = []
        for key, form in self.forms.items():
            name = key.split("/", 1)[1]
            values = [item.get(name) for item in items]
            if any(value is None for value in values):
                columns[f"present/{key}"] = torch.tensor([value is not None for value in values])
            column = [form.blank] * len(items)
            for row, value in enumerate(values):
                try:
                    column[row] = form.blank if value is None else form.hold(value, form.shape)
                except _FormError as error:
                    problems.append(problem(names[row], f"`{name}` {error.what}", allowed=error.allowed))
            columns[key] = torch.stack(column)
            problems += self._strange(key, columns[key], names)
        if problems:
            raise DataError(problems)
        self._require_inputs(columns, names)
        return columns

    def whole(self, read: Mapping[str, Any], names: Sequence[str]) -> Columns:
        """Return the columns of what a data set's `__getitems__` returned: each modality and target, rows first."""
        columns: Columns = {}
        problems: list[Problem] = []
        for key, form in self.forms.items():
            name = key.split("/", 1)[1]
            shape = (len(names), *form.shape)
            try:
                column = form.hold(read[name], shape) if name in read else form.blank.expand(shape)
            except _FormError as error:
                raise DataError(problem(f"{names[0]} ...", f"`{name}` {error.what}", allowed=error.allowed)) from None
            mask = torch.as_tensor(read.get("present", {}).get(key, name in read)).expand(len(names))
            if not bool(mask.all()):
                columns[f"present/{key}"] = mask.clone()
                column = torch.where(mask.view(-1, *(1 for _ in form.shape)), column, form.blank)
            problems += self._strange(key, column, names)
            columns[key] = column
        if problems:
            raise DataError(problems)
        self._require_inputs(columns, names)
        return columns

    def _strange(self, key: str, column: Tensor, names: Sequence[str]) -> list[Problem]:
        name = key.split("/", 1)[1]
        found = self.forms[key].strange(column)
        return [problem(names[row], f"`{name}` {error.what}", allowed=error.allowed) for row, error in found]

    def _require_inputs(self, columns: Columns, names: Sequence[str]) -> None:
        masks = [columns.get(f"present/{key}") for key in self.forms if key.startswith("inputs/")]
        partial = [mask for mask in masks if mask is not None]
        if len(partial) < len(masks) or not partial:
            return
        nothing = (~torch.stack(partial).any(0)).nonzero().flatten().tolist()
        if nothing:
            raise DataError([problem(names[row], "the row has no input") for row in nothing])


def join_streams(first: Columns, second: Columns) -> Columns:
    """Return the columns of a batch whose rows are those of `first`, with their targets, and then those of `second`."""
    joined: Columns = {}
    for key in {**first, **{key: None for key in second if key.startswith("present/inputs/")}}:
        if key.startswith(("targets/", "present/targets/")):
            joined[key] = first[key]
        elif key.startswith("present/"):
            joined[key] = torch.cat([part.get(key, torch.ones_like(part["ids"]).bool()) for part in (first, second)])
        else:
            joined[key] = torch.cat([first[key], second[key]])
    return joined


def to_batch(columns: Mapping[str, Tensor], labelled: int | None = None) -> Batch:
    """Return the batch of columns that `Collate` made, with their `ids`; `labelled` as in `Batch`."""
    parts: dict[str, dict[str, Tensor]] = {"inputs": {}, "targets": {}, "present": {}}
    for key, column in columns.items():
        if key != "ids":
            part, name = key.split("/", 1)
            parts[part][name] = column
    return Batch(
        inputs=parts["inputs"],
        targets=parts["targets"],
        present=parts["present"],
        ids=columns["ids"],
        labelled=labelled,
    )


def _fits(found: Sequence[int], shape: tuple[int, ...]) -> bool:
    """Return whether an array of the shape `found` is one of `shape`, in which -1 stands for any length but none."""
    return len(found) == len(shape) and all(n == m or (m == -1 and n > 0) for n, m in zip(found, shape, strict=True))


def _finite(tensor: Tensor) -> bool:
    """Return whether all numbers are finite: their sum then is, too, unless it overflows; it is found much faster."""
    return bool(torch.isfinite(tensor.sum())) or bool(torch.isfinite(tensor).all())


def _writeable(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return the array, copied if it is read-only: torch has no read-only tensors, and warns."""
    return array if array.flags.writeable else array.copy()
