"""`Feed`: the rows of a run, by step and by split, for one process."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from auxlearn.data import Batch, Prepared

__all__ = ["Feed"]


class Feed:
    """Rows of prepared data for this process.

    Args:
        data: The data.
        batch_size: Rows of one optimizer step, over all processes.
        rank: Index of this process.
        world: Number of processes.
        pin: Put batches into page-locked memory.
    """

    def __init__(self, data: Prepared, *, batch_size: int, rank: int = 0, world: int = 1, pin: bool = False) -> None:
        self.data, self.batch_size = data, batch_size
        self.rank, self.world, self.pin = rank, world, pin

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits that exist."""
        return self.data.source.splits

    @property
    def rows(self) -> int:
        """Rows of the training split."""
        return self.data.rows("train")

    def epoch(self, step: int) -> float:
        """Return the epochs that are done after `step` steps, with fraction."""
        return step * self.batch_size / self.rows

    def epochs_done(self, step: int) -> int:
        """Return the whole epochs that are done after `step` steps."""
        return step * self.batch_size // self.rows

    def steps(self, epochs: int) -> int:
        """Return the steps that `epochs` epochs take, the last of which may begin a further one."""
        return -(-epochs * self.rows // self.batch_size)

    def train(self, start: int) -> Iterable[Batch]:
        """Return the endless training batches from step `start` on."""
        return self.data.train_loader(self.batch_size, start=start, rank=self.rank, world=self.world, pin=self.pin)

    def evaluation(self, split: str, batch_size: int | None) -> Iterator[Batch]:
        """Return every row of `split` that is this process's, once."""
        rows = batch_size or -(-self.batch_size // self.world)
        return iter(self.data.eval_loader(split, rows, rank=self.rank, world=self.world, pin=self.pin))

    def named(self, batch: Batch) -> str:
        """Return the names of some rows of a training batch, for a message."""
        names = [self.data.source.name("train", index) for index in batch.ids[:4].tolist()]
        return "rows " + ", ".join(names) + (", ..." if len(batch) > 4 else "")
