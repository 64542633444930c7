"""`Feed`: the rows of a run, by step and by split, for one process."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from auxlearn.data import Batch, Prepared
from auxlearn.errors import Problem, SpecError, nearest
from auxlearn.evaluation import Bank
from auxlearn.spec.models import Epoch, Knn

__all__ = ["Feed"]


class Feed:
    """Rows of prepared data for this process.

    Args:
        data: The data.
        batch_size: Labelled rows of one optimizer step, over all processes.
        by: What an epoch is; default: one pass over the labelled rows.
        rank: Index of this process.
        world: Number of processes.
        pin: Put batches into page-locked memory.
    """

    def __init__(
        self,
        data: Prepared,
        *,
        batch_size: int,
        by: Epoch | None = None,
        rank: int = 0,
        world: int = 1,
        pin: bool = False,
    ) -> None:
        self.data, self.batch_size, self.by = data, batch_size, by or Epoch()
        self.rank, self.world, self.pin = rank, world, pin
        self._span = self._measured()
        self._drawn: dict[tuple[str, int | None], tuple[int, ...]] = {}

    def _measured(self) -> tuple[int, int]:
        """Return an epoch's length as rows, and as the rows of a step: whole numbers, so that nothing is rounded."""
        labelled = (self.rows, self.batch_size)
        unlabelled = (self.data.unlabelled_rows, self.data.unlabelled_size(self.batch_size))
        if self.by.by == "steps":
            return self.by.steps or 1, 1
        longer = unlabelled[0] * labelled[1] > labelled[0] * unlabelled[1]
        return unlabelled if self.by.by == "all" and longer else labelled

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits that exist."""
        return self.data.source.splits

    @property
    def rows(self) -> int:
        """Labelled rows to train on."""
        return self.data.rows("train")

    @property
    def steps_per_epoch(self) -> float:
        """The steps of an epoch, with fraction."""
        rows, per_step = self._span
        return rows / per_step

    def epoch(self, step: int) -> float:
        """Return the epochs that are done after `step` steps, with fraction."""
        rows, per_step = self._span
        return step * per_step / rows

    def epochs_done(self, step: int) -> int:
        """Return the whole epochs that are done after `step` steps."""
        rows, per_step = self._span
        return step * per_step // rows

    def steps(self, epochs: int) -> int:
        """Return the steps that `epochs` epochs take, the last of which may begin a further one."""
        rows, per_step = self._span
        return -(-epochs * rows // per_step)

    def describe(self, total: int) -> str:
        """Return in one line what a step, an epoch and a training of `total` steps are."""
        other = self.data.unlabelled_size(self.batch_size)
        step = f"{self.batch_size} labelled" + (f" and {other} unlabelled" if other else "")
        over = f"one pass over the {self.rows} labelled rows"
        if self.by.by == "all" and self._span != (self.rows, self.batch_size):
            over = f"one pass over the {self._span[0]} unlabelled rows"
        if self.by.by == "steps":
            over = "as the spec says"
        return f"a step: {step} rows; an epoch: {self.steps_per_epoch:g} steps, {over}; in all {total} steps"

    def train(self, start: int) -> Iterable[Batch]:
        """Return the endless training batches from step `start` on."""
        return self.data.train_loader(self.batch_size, start=start, rank=self.rank, world=self.world, pin=self.pin)

    def evaluation(self, split: str, batch_size: int | None) -> Iterator[Batch]:
        """Return every row of `split` that is this process's, once."""
        rows = batch_size or -(-self.batch_size // self.world)
        return iter(self.data.eval_loader(split, rows, rank=self.rank, world=self.world, pin=self.pin))

    def banks(self, settings: Mapping[str, Knn]) -> dict[str, Bank]:
        """Return what nearest neighbours have to remember for each target.

        Raises:
            SpecError: If the data has no such class target.
        """
        known = {name: len(info.names) for name, info in self.data.source.targets.items() if info.kind == "class"}
        unknown = [name for name in settings if name not in known]
        if unknown:
            what, allowed = "the data has no such class target", ", ".join(known) or "none"
            raise SpecError(
                [
                    Problem(where=f"/evaluate/knn/{name}", what=what, allowed=allowed, meant=nearest(name, known))
                    for name in unknown
                ]
            )
        return {
            name: Bank(keys=keys, classes=known[name], rows=self._draw(name, keys.rows))
            for name, keys in settings.items()
        }

    def _draw(self, target: str, rows: int | None) -> tuple[int, ...]:
        """Return the rows of a bank; drawn once, as the data may have to be read for its labels."""
        if (target, rows) not in self._drawn:
            self._drawn[target, rows] = self.data.draw(target, rows)
        return self._drawn[target, rows]

    def remembered(self, banks: Mapping[str, Bank], batch_size: int | None) -> Iterator[Batch]:
        """Return the training rows of the banks that are this process's, as for evaluation."""
        rows = sorted(set().union(*(bank.rows for bank in banks.values())))
        size = batch_size or -(-self.batch_size // self.world)
        return iter(self.data.eval_loader("train", size, rows=rows, rank=self.rank, world=self.world, pin=self.pin))

    def named(self, batch: Batch) -> str:
        """Return the names of some rows of a training batch, for a message."""
        shown = list(range(min(4, len(batch))))
        if batch.labelled is not None:  # some of either stream
            shown = [*range(min(2, batch.labelled)), *range(batch.labelled, min(batch.labelled + 2, len(batch)))]
        names = [self.data.name(batch, position) for position in shown]
        return "rows " + ", ".join(names) + (", ..." if len(batch) > len(shown) else "")
