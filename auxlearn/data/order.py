"""`Order`: which rows each step takes, as a pure function of a few numbers.

Position and shuffling are never stored. The rows stand in one endless line: epoch after epoch, each a permutation
that depends on (seed, stream, epoch) only. Step `k` of the joint batch takes the positions
`[k * batch_size, (k + 1) * batch_size)` of that line, across the borders of epochs, so every batch is full, every
row comes once an epoch, and going on at any step needs nothing but the number of the step. Process `r` of `w`
takes the `r`-th of `w` equal parts of the joint batch, so one process sees what many see together.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any

import numpy as np
from torch.utils.data import Sampler

from auxlearn.seeds import derive_seed

__all__ = ["Order", "Orders", "Row"]

Row = tuple[int, int]
"""(epoch, index): the row to read, and the epoch for what reading it draws."""


class Order(Sampler[list[Row]]):
    """The endless sequence of batches of one process; a batch sampler for a torch `DataLoader`.

    Args:
        length: Rows of the data set.
        batch_size: Rows of the joint batch of all processes.
        seed: Seed of the run.
        stream: What the rows are drawn for; other streams have other permutations.
        rank: Index of this process.
        world: Number of processes.
        start: The step to begin with.
        labels: The class of each row, -1 for none, to draw rows so that every class is equally frequent:
            with replacement, `length` rows an epoch. Rows without a label keep their share, so that tasks
            without labels still see them. None draws every row once an epoch.

    Raises:
        ValueError: If there are no rows, or the batch does not divide among the processes.

    Examples:
        >>> from auxlearn.data import Order
        >>> order = Order(5, 2, seed=0)
        >>> sorted(index for step in range(5) for _, index in order.at(step))  # 5 steps of 2 are two epochs
        [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]
    """

    def __init__(
        self,
        length: int,
        batch_size: int,
        *,
        seed: int,
        stream: str = "train",
        rank: int = 0,
        world: int = 1,
        start: int = 0,
        labels: Sequence[int] | None = None,
    ) -> None:
        if length < 1:
            raise ValueError(f"Parameter `length` should be at least 1, found {length}.")
        if batch_size < 1 or batch_size % world:
            raise ValueError(
                f"Parameter `batch_size` should be a multiple of the {world} processes, found {batch_size}."
            )
        if not 0 <= rank < world:
            raise ValueError(f"Parameter `rank` should be in 0 ... {world - 1}, found {rank}.")
        if labels is not None and len(labels) != length:
            raise ValueError(f"Parameter `labels` should have {length} entries, found {len(labels)}.")
        self.length, self.batch_size, self.seed, self.stream = length, batch_size, seed, stream
        self.rank, self.world, self.start = rank, world, start
        self._cumulated = None if labels is None else _balance(np.asarray(labels))
        self._epochs: dict[int, np.ndarray[Any, Any]] = {}

    def __iter__(self) -> Iterator[list[Row]]:
        step = self.start
        while True:
            yield self.at(step)
            step += 1

    def at(self, step: int) -> list[Row]:
        """Return the rows of this process in `step`."""
        own = self.batch_size // self.world
        first = step * self.batch_size + self.rank * own
        rows: list[Row] = []
        while len(rows) < own:
            epoch, offset = divmod(first + len(rows), self.length)
            part = self.epoch(epoch)[offset : offset + own - len(rows)]
            rows += [(epoch, index) for index in part.tolist()]
        return rows

    def epoch(self, epoch: int) -> np.ndarray[Any, Any]:
        """Return the row numbers of a whole epoch, in order: int64 [length]."""
        if epoch not in self._epochs:
            generator = np.random.Generator(np.random.PCG64(derive_seed(self.seed, self.stream, "order", epoch)))
            drawn = self._draw(generator)
            # A batch may touch two epochs (or more, if it is larger than the data): keep what is in use.
            self._epochs = {known: rows for known, rows in self._epochs.items() if known == epoch - 1} | {epoch: drawn}
        return self._epochs[epoch]

    def _draw(self, generator: np.random.Generator) -> np.ndarray[Any, Any]:
        if self._cumulated is None:
            return generator.permutation(self.length)
        chosen = np.searchsorted(self._cumulated, generator.random(self.length), side="right")
        return np.minimum(chosen, self.length - 1)  # the sum of the shares may round to just below 1


class Orders(Sampler[list[Row]]):
    """Several orders as one: each batch has the rows of the first, then those of the second, and so on.

    Each stands at the same step, and has its own length and its own epochs.

    Args:
        orders: What to join.

    Examples:
        >>> from auxlearn.data import Order
        >>> from auxlearn.data.order import Orders
        >>> both = Orders([Order(4, 1, seed=0), Order(9, 2, seed=0, stream="unlabelled")])
        >>> len(next(iter(both)))
        3
    """

    def __init__(self, orders: Sequence[Order]) -> None:
        self.orders = tuple(orders)

    def __iter__(self) -> Iterator[list[Row]]:
        for parts in zip(*self.orders, strict=True):
            yield list(chain.from_iterable(parts))


def _balance(labels: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return the cumulated probabilities of the rows: labelled rows share theirs equally among the classes."""
    known = labels >= 0
    counts = np.bincount(labels[known])
    share = np.full(len(labels), 1.0)
    share[known] = known.sum() / max(np.count_nonzero(counts), 1) / counts[labels[known]]
    cumulated: np.ndarray[Any, Any] = np.cumsum(share / len(labels))
    return cumulated
