"""`prepare`: from a data source and the engine's keys of `data` to checked splits, their counts and their loaders."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import attrs
import numpy as np

from auxlearn.data.batch import Batch
from auxlearn.data.cache import Cached, cache_folder
from auxlearn.data.checks import (
    absent_classes,
    count_classes,
    count_labels,
    empty_splits,
    varying_inputs,
    wrong_labels,
)
from auxlearn.data.divide import class_labels, divide, read_labels, target_of
from auxlearn.data.loader import UNLABELLED, Loader, eval_loader, train_loader
from auxlearn.data.order import Order
from auxlearn.data.problems import problem
from auxlearn.data.selection import Selection
from auxlearn.data.source import DataSource, LabelCounts
from auxlearn.data.unlabelled import Unlabelled, joint_leaks, second_stream
from auxlearn.errors import DataError, Problem
from auxlearn.seeds import derive_seed
from auxlearn.spec.models import DataKeys, UnlabelledKeys

__all__ = ["Prepared", "prepare"]


@attrs.frozen(eq=False, kw_only=True)
class Prepared:
    """Data that is ready to train on.

    Attributes:
        source: The rows, in the splits that the spec asks for; a `DataSource` like the one it is made from.
        keys: The engine's keys of `data`.
        seed: Seed of the run.
        class_counts: Training rows of each class, by class target.
        drawn: What the training rows are called if `fraction` drew them, to be saved with the run; else None.
        fingerprint: Changes when the samples do, or when others are selected.
        fingerprints: The same of the rows of each split alone.
        notes: What is odd but no error, one sentence each.
        unlabelled: The second stream of training rows, if there is one.
        unlabelled_keys: The keys of that stream.
        label_counts: Training rows with each label, by multi-label target.
    """

    source: DataSource
    keys: DataKeys
    seed: int
    class_counts: Mapping[str, tuple[int, ...]]
    drawn: tuple[str, ...] | None
    fingerprint: str
    notes: tuple[str, ...] = ()
    unlabelled: Unlabelled | None = None
    unlabelled_keys: UnlabelledKeys | None = None
    label_counts: Mapping[str, LabelCounts] = attrs.field(factory=dict)
    fingerprints: Mapping[str, str] = attrs.field(factory=dict)

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits that there are."""
        return self.source.splits

    def rows(self, split: str) -> int:
        """Return the number of rows of `split`."""
        return len(self.source.dataset(split))  # type: ignore[arg-type]

    @property
    def unlabelled_rows(self) -> int:
        """The number of rows of the unlabelled stream; 0 without."""
        return len(self.unlabelled.dataset(UNLABELLED)) if self.unlabelled else 0  # type: ignore[arg-type]

    def unlabelled_size(self, batch_size: int) -> int:
        """Return how many unlabelled rows a step has besides `batch_size` labelled ones."""
        return self.unlabelled_keys.rows(batch_size) if self.unlabelled_keys else 0

    def name(self, batch: Batch, position: int) -> str:
        """Return what a row of a training batch is called."""
        index = int(batch.ids[position])
        if self.unlabelled is not None and batch.labelled is not None and position >= batch.labelled:
            return self.unlabelled.name(UNLABELLED, index)
        return self.source.name("train", index)

    def train_order(self, batch_size: int, *, rank: int = 0, world: int = 1, start: int = 0) -> Order:
        """Return which labelled rows each step takes.

        Args:
            batch_size: Labelled rows of the joint batch of all processes.
            rank: Index of this process.
            world: Number of processes.
            start: The step to begin with.
        """
        return Order(
            self.rows("train"), batch_size, seed=self.seed, rank=rank, world=world, start=start, labels=self._balanced()
        )

    def train_loader(
        self, batch_size: int, *, rank: int = 0, world: int = 1, start: int = 0, pin: bool = False
    ) -> Loader:
        """Return the endless training batches of this process, from step `start`.

        Args:
            batch_size: Labelled rows of the joint batch of all processes.
            rank: Index of this process.
            world: Number of processes.
            start: The step to begin with.
            pin: Put batches into page-locked memory, from which copies to a GPU can overlap with work.
        """
        order = self.train_order(batch_size, rank=rank, world=world, start=start)
        second = None
        if self.unlabelled is not None:
            rows, size = self.unlabelled_rows, self.unlabelled_size(batch_size)
            second = (
                self.unlabelled,
                Order(rows, size, seed=self.seed, stream=UNLABELLED, rank=rank, world=world, start=start),
            )
        return train_loader(
            self.source, order, workers=self._workers, timeout=self.keys.timeout, pin=pin, unlabelled=second
        )

    def draw(self, target: str, rows: int | None) -> tuple[int, ...]:
        """Return the numbers of training rows with a label `target`, drawn by the seed, ascending.

        Where the source does not say ahead which rows have a label, all of them are read.

        Args:
            target: The class target.
            rows: How many; None for all.
        """
        labels = class_labels(self.source, "train")[target]
        generator = np.random.Generator(np.random.PCG64(derive_seed(self.seed, "draw")))
        order = generator.permutation(self.rows("train")).tolist()
        known = [row for row in order if labels[row] is not None]
        return tuple(sorted(known[:rows]))

    def eval_loader(
        self,
        split: str,
        batch_size: int,
        *,
        rows: Sequence[int] | None = None,
        rank: int = 0,
        world: int = 1,
        pin: bool = False,
    ) -> Loader:
        """Return this process's rows of `split`, each once and in order: `rank, rank + world, ...`.

        Args:
            split: The split to read.
            batch_size: Rows of a batch of this process; the last may have fewer.
            rows: Those to read, instead of all.
            rank: Index of this process.
            world: Number of processes.
            pin: Put batches into page-locked memory.
        """
        return eval_loader(
            self.source,
            split,
            batch_size,
            rows=rows,
            rank=rank,
            world=world,
            workers=self._workers,
            timeout=self.keys.timeout,
            pin=pin,
        )

    @property
    def _workers(self) -> int:
        # Sending what is already in memory between processes costs ten times what reading it does.
        return 0 if self.keys.cache == "memmap" else self.keys.workers

    def _balanced(self) -> list[int] | None:
        if self.keys.sampling == "uniform":
            return None
        target = target_of(self.source, self.keys.sampling_target, "/data/sampling_target")
        if target is None:
            raise DataError(problem("/data/sampling", "the data has no class to balance by", allowed="uniform"))
        return [-1 if label is None else label for label in class_labels(self.source, "train")[target]]


def prepare(
    source: DataSource,
    keys: DataKeys,
    *,
    seed: int,
    batch_size: int | None = None,
    unlabelled: UnlabelledKeys | None = None,
    other: DataSource | None = None,
) -> Prepared:
    """Return the data that `keys` ask for, checked and, where asked for, decoded into a cache.

    Args:
        source: The data as its plugin reads it.
        keys: The engine's keys of `data`.
        seed: Seed of the run: of the order of the rows, and of the fraction unless that has its own.
        batch_size: Labelled rows of the joint batch of one step, to see whether there are enough; None to leave that
            open.
        unlabelled: The keys of the second stream; None for none.
        other: Where its rows come from; None for those that the fraction leaves out.

    Raises:
        DataError: With everything that is wrong with the data as far as it can be seen before training.
        SpecError: If `keys` ask for targets or folds that are not there.
    """
    if varying := varying_inputs(source):
        raise DataError(varying)
    labels = {split: class_labels(source, split) for split in source.splits}
    wrong = wrong_labels(source, labels)
    problems = [*_problems_of(source.check), *wrong, *(_problems_of(other.check) if other else ())]
    if wrong or "train" not in source.splits:
        raise DataError([*problems, *empty_splits(source, batch_size)])
    division = divide(source, labels, keys, seed)
    view = division.view
    stream = second_stream(division, other, unlabelled.split) if unlabelled else None
    counts = {split: _counts(view, split) for split in view.splits}
    absent, notes = absent_classes(view.targets, counts)
    leaking = joint_leaks(division, stream, other)
    problems += [*empty_splits(view, batch_size), *absent, *(() if keys.allow_leaks else leaking)]
    if stream is not None and unlabelled is not None:
        problems += _too_few(stream, 1 if batch_size is None else unlabelled.rows(batch_size))
    if problems:
        raise DataError(problems)
    read, second = _cached(view, stream, keys) if keys.cache == "memmap" else (view, stream)
    return Prepared(
        source=read,
        keys=keys,
        seed=seed,
        class_counts=counts["train"],
        drawn=division.drawn,
        **_fingerprints(view, stream),
        notes=(*notes, *(f"Accepted by `allow_leaks`: {leak}" for leak in leaking)),
        unlabelled=second,
        unlabelled_keys=unlabelled,
        label_counts=_label_counts(view),
    )


def _problems_of(check: Callable[[], object]) -> tuple[Problem, ...]:
    try:
        check()
    except DataError as error:
        return error.problems
    return ()


def _counts(view: DataSource, split: str) -> dict[str, tuple[int, ...]]:
    return {name: count_classes(view.targets[name], given) for name, given in class_labels(view, split).items()}


def _label_counts(view: DataSource) -> dict[str, LabelCounts]:
    names = [name for name, info in view.targets.items() if info.kind == "multilabel"]
    return {name: count_labels(view.targets[name], given) for name, given in read_labels(view, "train", names).items()}


def _too_few(stream: Unlabelled, needed: int) -> list[Problem]:
    """Return whether there are fewer unlabelled rows than a step takes."""
    rows = len(stream.dataset(UNLABELLED))  # type: ignore[arg-type]
    if rows >= needed:
        return []
    what = f"{rows} unlabelled rows cannot fill the {needed} of a step"
    return [problem("/data/unlabelled", what, fix="a smaller `ratio` or `train.batch_size`, or more rows")]


def _fingerprints(view: Selection, stream: Unlabelled | None) -> dict[str, Any]:
    each = {split: view.fingerprint_of(split) for split in view.splits}
    if stream is None:
        return {"fingerprint": view.fingerprint(), "fingerprints": each}
    both = f"{view.fingerprint()}\x1f{stream.fingerprint()}"
    return {"fingerprint": hashlib.blake2b(both.encode(), digest_size=16).hexdigest(), "fingerprints": each}


def _cached(view: Selection, stream: Unlabelled | None, keys: DataKeys) -> tuple[Selection, Unlabelled | None]:
    """Return the same views on caches of their bases, so that all fractions and folds share one; decoding them now."""
    folder = cache_folder(keys.cache_dir)
    base = Cached(view.base, folder, workers=keys.workers)
    read, problems = view.on(base), base.fill(view.parts)
    second = None
    if stream is not None:
        other = base if stream.base is view.base else Cached(stream.base, folder, workers=keys.workers)
        second = stream.on(other)
        problems += other.fill(stream.parts)
    if problems:
        raise DataError(problems)
    return read, second
