"""`Selection`: a view on a data source with other splits, made of rows of the splits it has."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Mapping, Sequence
from functools import cached_property, partial
from itertools import chain
from typing import Any, Self

import numpy as np
from torch.utils.data import ConcatDataset, Dataset

from auxlearn.data.loader import UNLABELLED
from auxlearn.data.source import DataSource, InputShape, Region
from auxlearn.data.splits import Rows
from auxlearn.data.told import told_fingerprint, told_rows

__all__ = ["TRAINED", "Part", "Selection"]

TRAINED = ("train", UNLABELLED)
"""The splits of a view whose rows are read as they are trained on."""

Part = tuple[str, Rows]
"""Some rows of a split of the source below, ascending."""


class Selection(DataSource):
    """A data source whose splits are rows of another's.

    Args:
        base: The source that has the rows.
        parts: For each split of the view, what it is made of.
    """

    def __init__(self, base: DataSource, parts: Mapping[str, Sequence[Part]]) -> None:
        self.base, self.parts = base, {split: tuple(made) for split, made in parts.items()}
        self.targets, self.splits = base.targets, tuple(parts)
        self._datasets: dict[str, Dataset[Any]] = {}

    @cached_property
    def inputs(self) -> Mapping[str, InputShape]:  # type: ignore[override]
        """The form of each modality, with the statistics of the rows that are `train` here."""
        return self.base.measured(self.parts["train"]) if "train" in self.parts else self.base.inputs

    def dataset(self, split: str) -> Dataset[Any]:
        """Return the rows of `split`: where they are all rows of one split of the base, its own data set."""
        if split not in self._datasets:
            read = partial(self.base.dataset_for, training=split in TRAINED)
            made = [_picked(read(origin), rows) for origin, rows in self.parts[split]]
            self._datasets[split] = made[0] if len(made) == 1 else ConcatDataset(made)
        return self._datasets[split]

    def labels(self, split: str, target: str) -> Sequence[Any] | None:
        """Return every row's label for a class target, or None if the base does not tell."""
        return self._gathered(split, lambda origin: told_rows(self.base, "labels", origin, target))

    def groups(self, split: str) -> Sequence[str | None] | None:
        """Return every row's group, or None if there are none."""
        return self._gathered(split, lambda origin: told_rows(self.base, "groups", origin))

    def duplicates(self) -> Sequence[Sequence[tuple[str, int]]]:
        """Return the sets of rows that hold the same input, of those that were selected."""
        found = [[self._place(*row) for row in same] for same in self.base.duplicates()]
        return [kept for same in found if len(kept := [row for row in same if row is not None]) > 1]

    def files(self, split: str) -> Sequence[str | None] | None:
        """Return the file of each row, or None if rows are no files."""
        return self._gathered(split, lambda origin: told_rows(self.base, "files", origin))

    def on(self, base: DataSource) -> Self:
        """Return the same view on another source of the same rows."""
        view = copy.copy(self)
        view.base, view._datasets = base, {}
        return view

    def name(self, split: str, index: int) -> str:
        """Return what the base calls the row."""
        return self.base.name(*self.origin(split, index))

    def region(self, split: str, index: int) -> Region | None:
        """Return what the base knows about the object of the row."""
        return self.base.region(*self.origin(split, index))

    def shape(self, split: str, index: int) -> tuple[int, int] | None:
        """Return what the base says about the row."""
        return self.base.shape(*self.origin(split, index))

    def origin(self, split: str, index: int) -> tuple[str, int]:
        """Return the split and index in the base of a row of the view."""
        rest = index
        for origin, rows in self.parts[split]:
            if rest < len(rows):
                return origin, int(rows[rest])
            rest -= len(rows)
        raise ValueError(f"Parameter `index` should be a row of `{split}`, found {index}.")

    def fingerprint(self) -> str:
        """Return a hash of the base's and of the selected rows."""
        return self.fingerprint_of(*self.parts)

    def fingerprint_of(self, *splits: str) -> str:
        """Return a hash of the base's and of the rows of `splits`."""
        digest = hashlib.blake2b(told_fingerprint(self.base).encode(), digest_size=16)
        for split in splits:
            for origin, rows in self.parts[split]:
                digest.update(f"\x1f{split}\x1f{origin}\x1f{len(rows)}\x1f".encode() + rows.astype("<i8").tobytes())
        return digest.hexdigest()

    def check(self) -> None:
        """Check the base."""
        self.base.check()

    def _gathered(self, split: str, read: Any) -> list[Any] | None:
        given = [(read(origin), rows) for origin, rows in self.parts[split]]
        if any(values is None for values, _ in given):
            return None
        return list(chain.from_iterable([values[row] for row in rows.tolist()] for values, rows in given))

    def _place(self, origin: str, index: int) -> tuple[str, int] | None:
        """Return where a row of the base stands in the view, or None."""
        for split, made in self.parts.items():
            before = 0
            for part, rows in made:
                at = int(np.searchsorted(rows, index))
                if part == origin and at < len(rows) and rows[at] == index:
                    return split, before + at
                before += len(rows)
        return None


def _picked(dataset: Dataset[Any], rows: Rows) -> Dataset[Any]:
    if len(rows) == len(dataset):  # type: ignore[arg-type]
        return dataset
    return _PickedWhole(dataset, rows) if hasattr(dataset, "__getitems__") else _Picked(dataset, rows)


class _Picked(Dataset[Any]):
    """Some rows of a data set. Torch's `Subset` would claim to read whole batches even where the set does not."""

    def __init__(self, dataset: Any, rows: Rows) -> None:
        self.dataset, self.rows = dataset, rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Any:
        return self.dataset[int(self.rows[index])]


class _PickedWhole(_Picked):
    """Some rows of a data set that reads whole batches."""

    def __getitems__(self, indices: Sequence[int]) -> Any:
        return self.dataset.__getitems__(self.rows[np.asarray(indices)].tolist())
