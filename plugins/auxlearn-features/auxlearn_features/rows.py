"""The rows of one split as torch data sets: read whole where nothing is drawn, one by one where copies are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from auxlearn.data import TargetInfo
from auxlearn_features.survey import Array

__all__ = ["DrawnRows", "FeatureTarget", "FixedRows", "Vectors"]


@attrs.frozen(eq=False)
class FeatureTarget:
    """One target of all rows.

    Attributes:
        info: What it is.
        values: Rows first: class indices, 0 and 1 for each of several labels, or numbers.
        present: Which rows have it: bool [rows]; None: all of them.
    """

    info: TargetInfo
    values: Array
    present: Array | None = None

    def has(self, rows: Any) -> Array:
        """Return which of `rows` have it."""
        return np.ones(np.shape(rows), dtype=bool) if self.present is None else np.asarray(self.present[rows])


class Vectors:
    """The vectors of one modality: float32 of rows and copies.

    It travels to loader workers: what is mapped from a `.npy` file goes as the path of the file.

    Args:
        values: Floats [rows, copies, width].
        counts: How many copies each row has.
        copies: How many an item shows.
        place: The `.npy` file that `values` are the whole of, if they are mapped from one.
    """

    def __init__(self, values: Array, counts: Array, copies: int, place: Path | None = None) -> None:
        self.values, self.counts, self.copies, self.place = values, counts, copies, place

    def first(self, rows: Array) -> tuple[Tensor, Tensor]:
        """Return the first copies [N, width] or [N, copies, width] of `rows`, and which of them have any, bool [N]."""
        there = self.counts[rows] > 0
        chosen = np.arange(self.copies) % np.maximum(self.counts[rows], 1)[:, None]
        found = np.asarray(self.values[rows[:, None], chosen], dtype=np.float32)
        found[~there] = 0
        return torch.from_numpy(found if self.copies > 1 else found[:, 0]), torch.from_numpy(there)

    def drawn(self, row: int) -> Tensor | None:
        """Return copies of `row` in an order drawn by torch's global generator; None if it has none."""
        count = int(self.counts[row])
        if not count:
            return None
        chosen = torch.randperm(count).numpy()[np.arange(self.copies) % count]
        found = np.asarray(self.values[row, chosen], dtype=np.float32)
        return torch.from_numpy(found if self.copies > 1 else found[0])

    def __getstate__(self) -> dict[str, Any]:
        # A view of a mapped file does not know which part of it it is: it goes as numbers.
        return {**self.__dict__, "values": np.asarray(self.values) if self.place is None else None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        if self.place is not None:
            values = np.load(self.place, mmap_mode="r", allow_pickle=False)
            self.values = values if values.ndim == 3 else values[:, None]


class _Rows(Dataset[Any]):
    def __init__(self, vectors: Mapping[str, Vectors], targets: Mapping[str, FeatureTarget], rows: Array) -> None:
        self.vectors, self.targets, self.rows = vectors, targets, rows

    def __len__(self) -> int:
        return len(self.rows)

    def labels(self, row: int) -> dict[str, Any]:
        """Return the targets that a row has."""
        return {name: torch.as_tensor(one.values[row]) for name, one in self.targets.items() if one.has(row)}


class DrawnRows(_Rows):
    """Rows that show copies drawn from torch's global generator, which the loader seeds for each row."""

    def __getitem__(self, index: int) -> dict[str, Any]:
        row = int(self.rows[index])
        found = {name: one.drawn(row) for name, one in self.vectors.items()}
        return {name: value for name, value in found.items() if value is not None} | self.labels(row)


class FixedRows(_Rows):
    """Rows that show their first copies."""

    def __getitem__(self, index: int) -> dict[str, Any]:
        row = self.rows[[index]]
        found = {name: one.first(row) for name, one in self.vectors.items()}
        return {name: value[0] for name, (value, there) in found.items() if there[0]} | self.labels(int(row[0]))

    def __getitems__(self, indices: Sequence[int]) -> dict[str, Any]:
        rows = self.rows[np.asarray(indices)]
        read = {name: one.first(rows) for name, one in self.vectors.items()}
        return {
            **{name: value for name, (value, _) in read.items()},
            **{name: torch.from_numpy(np.asarray(one.values[rows])) for name, one in self.targets.items()},
            "present": {
                **{f"inputs/{name}": there for name, (_, there) in read.items()},
                **{f"targets/{name}": torch.from_numpy(one.has(rows)) for name, one in self.targets.items()},
            },
        }
