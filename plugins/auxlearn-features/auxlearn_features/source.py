"""`FeatureSource`: rows of feature vectors, one or several modalities each, as a data source."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from torch.utils.data import Dataset

from auxlearn.data import DataSource, InputShape
from auxlearn.errors import DataError, Problem
from auxlearn_features.rows import DrawnRows, FeatureTarget, FixedRows, Vectors
from auxlearn_features.survey import Array, Survey, statistics, survey

__all__ = ["FeatureSource", "FeatureTarget"]

_CUSTOM = ("train", "val", "test")


class FeatureSource(DataSource):
    """Feature vectors that lie in arrays, in memory or mapped from files.

    A row whose numbers are NaN throughout lacks the modality; its values then are the mean. With several copies of a
    row's vector, as offline augmentation makes them, an item of training shows `copies` of them, drawn without
    replacement and for each modality anew, and any other item the first ones. A row with fewer copies than that shows
    them again. Statistics are over all copies of the training rows that have the modality.

    Args:
        inputs: For each modality its vectors, floats [rows, width] or [rows, copies, width].
        split: The split of each row; None for a row that is not used.
        targets: What there is to learn.
        groups: What no split may divide, for each row; None for a row without, or for no groups at all.
        names: What to call each row.
        copies: How many copies an item shows; with more than 1 the inputs have shape (copies, width).
        mapped: The `.npy` files that vectors are the whole of, mapped into memory: loader workers open them too, where
            other vectors are sent to them.

    Raises:
        DataError: For all rows without any modality, or with numbers that are not finite.
        ValueError: If arrays differ in their number of rows, or are no vectors.

    Examples:
        >>> import numpy as np
        >>> from auxlearn_features import FeatureSource
        >>> sound = np.array([[1.0], [3.0], [np.nan]], dtype=np.float32)
        >>> text = np.array([[0.0, 1.0], [0.0, 2.0], [0.0, 6.0]], dtype=np.float32)
        >>> source = FeatureSource({"sound": sound, "text": text}, split=["train", "train", "val"])
        >>> source.inputs["text"].mean, source.inputs["text"].std
        ((0.0, 1.5), (0.0, 0.5))
        >>> sorted(source.dataset("val")[0])
        ['text']
    """

    def __init__(
        self,
        inputs: Mapping[str, Array],
        *,
        split: Sequence[str | None],
        targets: Mapping[str, FeatureTarget] | None = None,
        groups: Sequence[str | None] | None = None,
        names: Sequence[str] | None = None,
        copies: int = 1,
        mapped: Mapping[str, Path] | None = None,
    ) -> None:
        if not inputs:
            raise ValueError("Parameter `inputs` should have at least one modality, found none.")
        self._arrays = {name: _with_copies(name, array, len(split), copies) for name, array in inputs.items()}
        self._copies, self._target_values, self._mapped = copies, dict(targets or {}), dict(mapped or {})
        self.targets = {name: target.info for name, target in self._target_values.items()}
        self.splits = tuple(
            sorted(
                {s for s in split if s is not None},
                key=lambda s: (_CUSTOM.index(s) if s in _CUSTOM else len(_CUSTOM), s),
            )
        )
        of_row = np.array(split, dtype=object)
        self._rows = {name: np.flatnonzero(of_row == name) for name in self.splits}
        self._groups = None if groups is None or not any(group is not None for group in groups) else list(groups)
        self._names = None if names is None else list(names)
        self._surveys = {name: survey(array) for name, array in self._arrays.items()}
        used = np.array([one is not None for one in split], dtype=bool)
        problems = list(_problems(self._surveys, used, self._names or [f"row {row}" for row in range(len(split))]))
        if problems:
            raise DataError(problems)

    @cached_property
    def inputs(self) -> Mapping[str, InputShape]:  # type: ignore[override]
        """The form of each modality, with the statistics of the split `train`."""
        train = self._rows.get("train", ())
        return self.measured([("train", range(len(train)))] if len(train) else [])

    def measured(self, rows: Sequence[tuple[str, Iterable[int]]]) -> Mapping[str, InputShape]:
        """Return the form of each modality, with the statistics of these rows."""
        chosen = [self._rows[split][np.fromiter(indices, dtype=np.int64)] for split, indices in rows]
        every = np.sort(np.concatenate([*chosen, np.zeros(0, dtype=np.int64)]))  # in the order of the file
        shapes = {}
        for name, array in self._arrays.items():
            found = statistics(array, self._surveys[name].counts, every)
            shown = (self._copies,) if self._copies > 1 else ()
            shape = (*shown, array.shape[2])
            shapes[name] = InputShape(shape=shape, dtype="float32", kind="feature", mean=found.mean, std=found.std)
        return shapes

    def dataset(self, split: str) -> Dataset[Any]:
        """Return the rows of `split`; those of `train` show drawn copies."""
        return self.dataset_for(split, training=split == "train")

    def dataset_for(self, split: str, *, training: bool) -> Dataset[Any]:
        """Return the rows of `split` with drawn copies, or with the first ones."""
        draws = training and any(array.shape[1] > 1 for array in self._arrays.values())
        vectors = {
            name: Vectors(array, self._surveys[name].counts, self._copies, self._mapped.get(name))
            for name, array in self._arrays.items()
        }
        return (DrawnRows if draws else FixedRows)(vectors, self._target_values, self._rows[split])

    def labels(self, split: str, target: str) -> Sequence[Any] | None:
        """Return every row's class index, or 0 or 1 for each of several labels, None for a row without.

        It is None for a continuous target.
        """
        found, rows = self._target_values[target], self._rows[split]
        if found.info.kind == "continuous":
            return None
        pairs = zip(found.values[rows].tolist(), found.has(rows).tolist(), strict=True)
        return [label if there else None for label, there in pairs]

    def groups(self, split: str) -> Sequence[str | None] | None:
        """Return every row's group, or None if no row has one."""
        return None if self._groups is None else [self._groups[row] for row in self._rows[split].tolist()]

    def duplicates(self) -> Sequence[Sequence[tuple[str, int]]]:
        """Return the sets of rows whose vectors are the same, in all modalities and copies."""
        found: dict[bytes, list[tuple[str, int]]] = {}
        for split, rows in self._rows.items():
            for index, row in enumerate(rows.tolist()):
                found.setdefault(self._digest(row), []).append((split, index))
        return [places for places in found.values() if len(places) > 1]

    def name(self, split: str, index: int) -> str:
        """Return what a row is called."""
        row = int(self._rows[split][index])
        return f"{split}/{index}" if self._names is None else self._names[row]

    def resized(self, size: int | None) -> FeatureSource:
        """Return the same rows: they have no images."""
        return self

    def fingerprint(self) -> str:
        """Return a hash of all numbers, labels, splits and groups."""
        return self._fingerprint

    def _digest(self, row: int) -> bytes:
        return b"".join(found.digests[row] for found in self._surveys.values())

    @cached_property
    def _fingerprint(self) -> str:
        forms = [(name, array.shape, array.dtype.str) for name, array in self._arrays.items()]
        digest = hashlib.blake2b(repr((forms, self._copies, self._groups, self.targets)).encode(), digest_size=16)
        for split, rows in self._rows.items():
            digest.update(split.encode() + rows.astype("<i8").tobytes())
            for row in rows.tolist():
                digest.update(self._digest(row))
        for target in self._target_values.values():
            digest.update(np.ascontiguousarray(target.values).tobytes() + target.has(slice(None)).tobytes())
        return digest.hexdigest()


def _with_copies(name: str, array: Array, rows: int, copies: int) -> Array:
    """Return the vectors as [rows, copies, width]."""
    if array.ndim not in (2, 3) or array.dtype.kind not in "fiu" or 0 in array.shape[1:]:
        found = f"{array.dtype} {list(array.shape)}"
        raise ValueError(f"Input `{name}` should be numbers [rows, width] or [rows, copies, width], found {found}.")
    if len(array) != rows:
        raise ValueError(f"Input `{name}` should have {rows} rows, as there are splits, found {len(array)}.")
    values = array if array.ndim == 3 else array[:, None]
    if not 1 <= copies <= values.shape[1]:
        raise ValueError(f"Parameter `copies` should be 1 to the {values.shape[1]} of `{name}`, found {copies}.")
    return values


def _problems(surveys: Mapping[str, Survey], used: Array, names: Sequence[str]) -> Iterator[Problem]:
    """Yield what is wrong with rows that are used."""
    broken = {flaw.row for found in surveys.values() for flaw in found.flaws}
    for name, found in surveys.items():
        for flaw in (one for one in found.flaws if used[one.row]):
            allowed = "finite numbers, or NaN throughout for what is not there"
            yield Problem(where=names[flaw.row], what=f"`{name}` {flaw.what}", allowed=allowed, exit_code=4)
    nothing = np.stack([found.counts == 0 for found in surveys.values()]).all(0)
    for row in np.flatnonzero(nothing & used).tolist():
        if row not in broken:
            yield Problem(where=names[row], what="the row has no modality at all", fix="leave it out", exit_code=4)
