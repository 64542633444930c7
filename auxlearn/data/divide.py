"""`divide`: the splits, folds and fraction that a spec asks for, on any data source."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import attrs
import numpy as np

from auxlearn.data.loader import eval_loader
from auxlearn.data.problems import problem
from auxlearn.data.selection import Part, Selection
from auxlearn.data.source import DataSource
from auxlearn.data.splits import Rows, codes, fold, group_fold, group_share, stratified_share
from auxlearn.data.told import told_rows
from auxlearn.errors import DataError, Problem, SpecError, nearest
from auxlearn.seeds import derive_seed
from auxlearn.spec.models import DataKeys, Folds, Split

__all__ = ["Division", "Labels", "class_labels", "class_targets", "divide", "read_labels", "target_of"]

Labels = Mapping[str, Mapping[str, Sequence[Any]]]
"""Every row's class by split and target, None for a row without."""


def class_labels(source: DataSource, split: str) -> dict[str, Sequence[Any]]:
    """Return every row's label of each class target, None for a row without; by reading the rows if need be."""
    given = read_labels(source, split, class_targets(source))
    return {name: [_plain(value) for value in values] for name, values in given.items()}


def read_labels(source: DataSource, split: str, names: Sequence[str]) -> dict[str, Sequence[Any]]:
    """Return every row's label of each of the targets, as the source tells it, or by reading the rows if need be."""
    given = {name: told_rows(source, "labels", split, name) for name in names}
    unknown = [name for name, values in given.items() if values is None]
    read: dict[str, list[Any]] = {name: [] for name in unknown}
    for batch in eval_loader(source, split, 256) if unknown else ():
        for name in unknown:
            pairs = zip(batch.targets[name].tolist(), batch.has(name).tolist(), strict=True)
            read[name] += [label if there else None for label, there in pairs]
    return {name: read[name] if values is None else values for name, values in given.items()}


def _plain(label: Any) -> Any:
    """Return an integer of any library as an `int`; what is no integer stays, to be complained about."""
    return int(label) if hasattr(label, "__index__") and not isinstance(label, bool) else label


def class_targets(source: DataSource) -> list[str]:
    """Return the names of the class targets of `source`, in its order."""
    return [name for name, info in source.targets.items() if info.kind == "class"]


def target_of(source: DataSource, asked: str | None, pointer: str) -> str | None:
    """Return the class target to divide or balance by: the one that the spec names at `pointer`, or the first.

    Raises:
        SpecError: If it names one that the data does not have, or that is no class.
    """
    known = class_targets(source)
    if asked is None or asked in known:
        return asked or next(iter(known), None)
    what = f'the data has no class target "{asked}"'
    raise SpecError(Problem(where=pointer, what=what, allowed=", ".join(known) or None, meant=nearest(asked, known)))


@attrs.frozen(eq=False)
class Division:
    """What became of a data source.

    Attributes:
        view: The splits that the spec asks for.
        whole: The same before `fraction` drew from `train`.
        rest: What `fraction` left out of `train`, as parts of the splits of the source; empty without a fraction.
    """

    view: Selection
    whole: Selection
    rest: tuple[Part, ...]

    @property
    def drawn(self) -> tuple[str, ...] | None:
        """The names of the rows that `fraction` drew; None without a fraction."""
        if not self.rest:
            return None
        return tuple(self.view.name("train", i) for i in range(len(self.view.dataset("train"))))  # type: ignore[arg-type]


def divide(source: DataSource, labels: Labels, keys: DataKeys, seed: int) -> Division:
    """Return the view on `source` that `keys` ask for, and what a fraction left out.

    First `split` takes `test` and `val` out of `train`, where the data has none; then `folds` divides what is left
    of `train` and `val` anew (and `split` makes no `val`); at last `fraction` draws from `train`.

    Args:
        source: The data as it is.
        labels: Every row's class, of the splits of `source`.
        keys: The engine's keys of `data`.
        seed: Seed of the run, for the fraction.
    """
    table = _Table(source, labels)
    for name, share in _wanted(source, keys):
        table.take(name, share, keys.split or Split())
    if keys.folds is not None:
        table.fold(keys.folds)
    whole = table.selection()
    if keys.fraction == 1.0:
        return Division(whole, whole, ())
    rest = table.keep(keys.fraction, seed if keys.fraction_seed is None else keys.fraction_seed)
    return Division(table.selection(), whole, tuple(rest))


def _wanted(source: DataSource, keys: DataKeys) -> list[tuple[str, float]]:
    """Return the splits to make, each as its share of what is left of `train`.

    `test` comes first, so that it stays the same whatever is taken for `val`.
    """
    split = keys.split
    if split is None:
        return []
    if split.val + split.test >= 1:
        what = f"val {split.val:g} and test {split.test:g} leave nothing to train on"
        raise SpecError(Problem(where="/data/split", what=what, allowed="together less than 1"))
    test = split.test if "test" not in source.splits else 0.0
    val = split.val if "val" not in source.splits and keys.folds is None else 0.0
    return [(name, share) for name, share in (("test", test), ("val", val / (1 - test))) if share > 0]


@attrs.define(init=False)
class _Table:
    """The splits while they are being divided: each as parts of the splits of the source."""

    source: DataSource
    labels: Labels
    parts: dict[str, list[Part]]

    def __init__(self, source: DataSource, labels: Labels) -> None:
        self.source, self.labels = source, labels
        sizes = {split: len(source.dataset(split)) for split in source.splits}  # type: ignore[arg-type]
        self.parts = {split: [(split, np.arange(size))] for split, size in sizes.items()}

    def size(self, split: str) -> int:
        """Return the number of rows of `split`."""
        return sum(len(rows) for _, rows in self.parts[split])

    def selection(self) -> Selection:
        """Return the view on the source."""
        return Selection(self.source, self.parts)

    def take(self, name: str, share: float, split: Split) -> None:
        """Move `share` of `train` to the new split `name`."""
        seed = derive_seed(split.seed, name)
        if split.by == "group":
            chosen = group_share(self._groups("train", "/data/split/by", 2), share, seed)
        else:
            chosen = stratified_share(self._strata("train", split.by, split.target, "/data/split/target"), share, seed)
        self.parts[name] = self._pick("train", chosen)
        self._keep_train(np.setdiff1d(np.arange(self.size("train")), chosen))

    def fold(self, folds: Folds) -> None:
        """Divide the rows of `train` and `val` anew: one fold becomes `val`, the others `train`."""
        if folds.index >= folds.count:
            allowed = f"0 to {folds.count - 1}"
            raise SpecError(Problem(where="/data/folds/index", what=f"there is no fold {folds.index}", allowed=allowed))
        self.parts["train"] = self.parts["train"] + self.parts.get("val", [])
        if folds.by == "group":
            chosen = group_fold(
                self._groups("train", "/data/folds/by", folds.count), folds.count, folds.index, folds.seed
            )
        else:
            strata = self._strata("train", folds.by, folds.target, "/data/folds/target")
            chosen = fold(strata, folds.count, folds.index, folds.seed)
        self.parts["val"] = self._pick("train", chosen)
        self._keep_train(np.setdiff1d(np.arange(self.size("train")), chosen))

    def keep(self, fraction: float, seed: int) -> list[Part]:
        """Keep a stratified `fraction` of `train`, and return the others."""
        strata = self._strata("train", "stratum", None, "")
        chosen = stratified_share(strata, fraction, derive_seed(seed, "fraction"))
        rest = self._pick("train", np.setdiff1d(np.arange(self.size("train")), chosen))
        self._keep_train(chosen)
        return rest

    def _keep_train(self, rows: Rows) -> None:
        self.parts["train"] = self._pick("train", rows)

    def _pick(self, split: str, rows: Rows) -> list[Part]:
        """Return the parts of the source that the given rows of `split` are."""
        picked, before = [], 0
        for origin, own in self.parts[split]:
            inside = rows[(rows >= before) & (rows < before + len(own))] - before
            picked.append((origin, own[inside]))
            before += len(own)
        return [part for part in picked if len(part[1])] or picked[:1]

    def _strata(self, split: str, by: str, target: str | None, pointer: str) -> Rows:
        name = target_of(self.source, target, pointer)
        if by == "random" or name is None:
            return np.zeros(self.size(split), dtype=np.int64)
        given = [self.labels[origin][name][row] for origin, rows in self.parts[split] for row in rows.tolist()]
        return codes(given)

    def _groups(self, split: str, pointer: str, least: int) -> Rows:
        given = self.selection().groups(split)
        if given is None:
            raise DataError(problem(pointer, "the data has no groups", allowed="stratum, random"))
        numbers = codes(given, apart=True)
        found = len(np.unique(numbers))
        if found < least:
            raise DataError(problem(pointer, f"{found} groups cannot be divided into {least} parts"))
        return numbers
