"""Loaders: batches of a data source in the order of training, or every row once for evaluation.

Whatever reading a row draws (from `random`, `numpy.random` or torch) is seeded by (seed, stream, epoch, index), and
the generators of the training process are left alone. So the batches do not depend on the number of workers.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import attrs
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Subset, get_worker_info

from auxlearn.calls import Wrong
from auxlearn.data.batch import Batch
from auxlearn.data.collate import Collate, Columns, join_streams, to_batch
from auxlearn.data.failure import Failure
from auxlearn.data.order import Order, Orders, Row
from auxlearn.data.source import DataSource
from auxlearn.data.workers import lost_worker, watch_workers
from auxlearn.errors import Call, DataError
from auxlearn.seeds import derive_seed
from auxlearn.settings import keeping_settings

__all__ = ["UNLABELLED", "Loader", "eval_loader", "train_loader"]

UNLABELLED = "unlabelled"
"""The one split of a source that is a second stream."""


class _Rows(Exception):  # noqa: N818 (a way out of a loop)
    """Rows that cannot be read: a failure is its argument."""


class Loader:
    """Batches of one split, as an iterable that can be gone through again.

    Args:
        source: Where the rows come from.
        split: The split to read.
        batches: The rows of each batch.
        seed: Seed of what reading a row draws.
        workers: Processes that read; 0 reads in this one.
        timeout: Seconds after which a worker that gives no batch is an error; 0 waits for ever.
        pin: Put batches into page-locked memory, from which copies to a GPU can overlap with work.
        labelled: With `unlabelled`, how many rows of a batch are of `split`; the others follow them.
        unlabelled: A source with the one split `"unlabelled"`, of which no targets are read.
    """

    def __init__(
        self,
        source: DataSource,
        split: str,
        batches: Iterable[list[Row]],
        *,
        seed: int = 0,
        workers: int = 0,
        timeout: float = 120.0,
        pin: bool = False,
        labelled: int | None = None,
        unlabelled: DataSource | None = None,
    ) -> None:
        self.batches, self.workers, self.timeout = batches, workers, timeout
        self.split, self.labelled = split, labelled
        self._reader: _Reader | _TwoReaders = _Reader(source, split, seed)
        if unlabelled is not None and labelled is not None:
            self._reader = _TwoReaders(self._reader, _Reader(unlabelled, UNLABELLED, seed), labelled)
        self._loader = DataLoader(
            self._reader,
            batch_sampler=batches,
            collate_fn=_as_it_is,
            num_workers=workers,
            timeout=timeout if workers else 0,
            pin_memory=pin,
            generator=torch.Generator(),  # otherwise every iteration would draw from torch's global one
        )

    def __iter__(self) -> Iterator[Batch]:
        for columns in self.columns():
            if isinstance(columns, Failure):
                raise columns.error()
            yield to_batch(columns, self.labelled)

    def columns(self) -> Iterator[Columns | Failure]:
        """Yield each batch as plain tensors, or what went wrong with it."""
        iterator = iter(self._loader)
        if self.workers:
            watch_workers()
        for done in itertools.count():
            try:
                columns = next(iterator)
            except StopIteration:
                return
            except (RuntimeError, DataError) as error:
                lost = error if isinstance(error, DataError) else lost_worker(error)
                if lost is None:
                    raise
                rows = next(itertools.islice(self.batches, done, None))
                names = ", ".join(self._reader.names(rows)[:3])
                told = DataError(attrs.evolve(lost.problems[0], where=f"{self.split}, rows {names} ..."))
                told.call = lost.call
                raise told from error
            yield columns


def train_loader(
    source: DataSource,
    order: Order,
    *,
    split: str = "train",
    workers: int = 0,
    timeout: float = 120.0,
    pin: bool = False,
    unlabelled: tuple[DataSource, Order] | None = None,
) -> Loader:
    """Return the endless batches of `split` in the order of training, from the step at which `order` starts.

    Args:
        source: Where the rows come from.
        order: Which rows each step takes.
        split: The split to read.
        workers: Processes that read; 0 reads in this one.
        timeout: Seconds after which a worker that gives no batch is an error; 0 waits for ever.
        pin: Put batches into page-locked memory.
        unlabelled: The second stream: a source with the one split `"unlabelled"`, and its order, which starts at the
            same step.
    """
    more: dict[str, Any] = {"seed": order.seed, "workers": workers, "timeout": timeout, "pin": pin}
    if unlabelled is None:
        return Loader(source, split, order, **more)
    other, its_order = unlabelled
    own = order.batch_size // order.world
    return Loader(source, split, Orders([order, its_order]), labelled=own, unlabelled=other, **more)


def eval_loader(
    source: DataSource,
    split: str,
    batch_size: int,
    *,
    rows: Sequence[int] | None = None,
    rank: int = 0,
    world: int = 1,
    workers: int = 0,
    timeout: float = 120.0,
    pin: bool = False,
) -> Loader:
    """Return the rows `rank, rank + world, ...` of `split`, each once: no row is repeated to fill a batch or a rank.

    Args:
        source: Where the rows come from.
        split: The split to read.
        batch_size: Rows of a batch of this process; the last may have fewer.
        rows: Those to read, instead of all.
        rank: Index of this process.
        world: Number of processes.
        workers: Processes that read; 0 reads in this one.
        timeout: Seconds after which a worker that gives no batch is an error; 0 waits for ever.
        pin: Put batches into page-locked memory.
    """
    every = range(len(source.dataset(split))) if rows is None else rows  # type: ignore[arg-type]
    own = every[rank::world]
    batches = [[(0, index) for index in own[i : i + batch_size]] for i in range(0, len(own), batch_size)]
    return Loader(source, split, batches, workers=workers, timeout=timeout, pin=pin)


def _as_it_is(columns: Any) -> Any:
    return columns


class _Reader(Dataset[Any]):
    """Reads whole batches: in a worker, or in the main process."""

    def __init__(self, source: DataSource, split: str, seed: int) -> None:
        self.dataset, self.split, self.seed = source.dataset(split), split, seed
        self.name, self.collate = source.name, Collate(source)
        self.component = ("data", UNLABELLED if split == UNLABELLED else "")

    def __getitems__(self, rows: Sequence[Row]) -> Columns | Failure:
        indices = [index for _, index in rows]
        names = self.names(rows)
        try:
            columns = self._read(rows, indices, names)
        except _Rows as rows_failed:
            failure: Failure = rows_failed.args[0]
            return failure
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            return Failure.of(f"{names[0]} ...", error, Call(*self.component, "__getitems__"))
        return columns | {"ids": torch.tensor(indices)}

    def names(self, rows: Sequence[Row]) -> Sequence[str]:
        """Return what the rows are called."""
        return _Names(self.name, self.split, [index for _, index in rows])

    @keeping_settings()
    def _read(self, rows: Sequence[Row], indices: list[int], names: Sequence[str]) -> Columns:
        whole = getattr(self.dataset, "__getitems__", None)
        if whole is None or isinstance(self.dataset, Subset):  # which has it even if what it is a part of has not

            def read_row(position: int) -> Any:
                epoch, index = rows[position]
                self._seed_globally("row", epoch, index)
                return self.dataset[index]

            with _generators_restored():
                return self.collate.items(self._each(names, read_row, "__getitem__"), names)
        read = whole(indices)
        if isinstance(read, Mapping):
            return self.collate.whole(read, names)
        if not isinstance(read, Sequence) or isinstance(read, str):
            raise Wrong(f"should return a mapping of columns or a list of mappings, it returned {_told(read)}")
        return self.collate.items(self._each(names, read.__getitem__, "__getitems__"), names)

    def _each(self, names: Sequence[str], read: Callable[[int], Any], method: str) -> list[Mapping[str, Any]]:
        """Return the items that `read` gives by position; the problems of all of them come together."""
        items: list[Mapping[str, Any]] = []
        failures: list[Failure] = []
        for position in range(len(names)):
            try:
                item = read(position)
                if not isinstance(item, Mapping):
                    raise Wrong(f"should return a mapping, it returned {_told(item)}")
                items.append(item)
            except KeyboardInterrupt:
                raise
            except BaseException as error:
                failures.append(Failure.of(names[position], error, Call(*self.component, method)))
        if failures:
            raise _Rows(Failure.joint(failures))
        return items

    def _seed_globally(self, *what: object) -> None:
        seed = derive_seed(self.seed, self.split, *what)
        torch.default_generator.manual_seed(seed)
        random.seed(seed)
        np.random.seed(seed & 0xFFFFFFFF)


def _told(value: object) -> str:
    return "None" if value is None else type(value).__name__


class _TwoReaders(Dataset[Any]):
    """Reads batches whose first rows are of one reader, and the others of another, without targets."""

    def __init__(self, first: _Reader, second: _Reader, labelled: int) -> None:
        self.first, self.second, self.labelled = first, second, labelled

    def __getitems__(self, rows: Sequence[Row]) -> Columns | Failure:
        known = self.first.__getitems__(rows[: self.labelled])
        other = self.second.__getitems__(rows[self.labelled :])
        if isinstance(known, Failure) and isinstance(other, Failure):
            return Failure.joint([known, other])
        if isinstance(known, Failure):
            return known
        return other if isinstance(other, Failure) else join_streams(known, other)

    def names(self, rows: Sequence[Row]) -> Sequence[str]:
        """Return what the rows are called."""
        return [*self.first.names(rows[: self.labelled]), *self.second.names(rows[self.labelled :])]


class _Names(Sequence[str]):
    """What the rows of a batch are called, found out only for those that a message names."""

    def __init__(self, name: Callable[[str, int], str], split: str, indices: Sequence[int]) -> None:
        self.name, self.split, self.indices = name, split, indices

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, position: Any) -> Any:
        if isinstance(position, slice):
            return [self.name(self.split, index) for index in self.indices[position]]
        return self.name(self.split, self.indices[position])


@contextmanager
def _generators_restored() -> Iterator[None]:
    """Leave the global generators of torch, numpy and Python as they were; a worker's own matter to nobody."""
    if get_worker_info() is not None:
        yield
        return
    states = torch.get_rng_state(), np.random.get_state(), random.getstate()
    try:
        yield
    finally:
        torch.set_rng_state(states[0])
        np.random.set_state(states[1])
        random.setstate(states[2])
