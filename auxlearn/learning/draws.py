"""`Draws`: randomness that is derived from names, never stored.

A draw is a pure function of (seed, name, step, micro-batch) and of what was drawn before under the same name.
So adding a task leaves the draws of the others alone, resuming needs no generator state, and as everything is
drawn for the joint batch of all processes, of which each takes its rows, one process equals many. Unlabelled rows
have draws of their own, so they leave those of the labelled rows alone too.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from auxlearn.seeds import derive_seed

__all__ = ["Draws", "isolated_rng"]


@contextmanager
def isolated_rng(device: torch.device | None = None) -> Iterator[None]:
    """Leave torch's global generators, of the CPU and of `device`, as they were before the block."""
    devices = [device] if device is not None and device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        yield


class Draws:
    """Random numbers for one name in one step.

    Args:
        seed: Seed of the run.
        name: Whose draws these are, e.g. the instance name of a task.
        step: Optimizer step.
        micro: Micro-batch within the step.
        rank: Index of this process.
        world: Number of processes; each has as many rows as the others.
        device: Where the tensors are needed.
        parts: Where rows of several streams stand one after the other, how many there are of each in this process.

    Examples:
        >>> from auxlearn.learning import Draws
        >>> both = Draws(seed=0, name="puzzle", step=7).permutations(4, 9)
        >>> second = Draws(seed=0, name="puzzle", step=7, rank=1, world=2).permutations(2, 9)
        >>> bool((both[2:] == second).all())
        True
    """

    def __init__(
        self,
        *,
        seed: int,
        name: str,
        step: int,
        micro: int = 0,
        rank: int = 0,
        world: int = 1,
        device: torch.device | str = "cpu",
        parts: Sequence[int] = (),
    ) -> None:
        self.seed, self.name, self.step, self.micro = seed, name, step, micro
        self.rank, self.world, self.device = rank, world, torch.device(device)
        self.parts = tuple(parts)
        self._generators: dict[int, torch.Generator] = {}

    def child(self, name: str) -> Draws:
        """Return the draws of another name in the same step: `self` is not affected by their use."""
        return Draws(
            seed=self.seed,
            name=f"{self.name}/{name}",
            step=self.step,
            micro=self.micro,
            rank=self.rank,
            world=self.world,
            device=self.device,
            parts=self.parts,
        )

    def uniform(self, rows: int, *shape: int, low: float = 0.0, high: float = 1.0) -> Tensor:
        """Return floats in [low, high): [rows, *shape]."""
        return self._own(rows, lambda n, g: torch.empty(n, *shape).uniform_(low, high, generator=g))

    def normal(self, rows: int, *shape: int) -> Tensor:
        """Return standard normal floats: [rows, *shape]."""
        return self._own(rows, lambda n, g: torch.randn(n, *shape, generator=g))

    def integers(self, rows: int, *shape: int, low: int = 0, high: int) -> Tensor:
        """Return int64 in low ... high-1: [rows, *shape]."""
        return self._own(rows, lambda n, g: torch.randint(low, high, (n, *shape), generator=g))

    def permutations(self, rows: int, n: int) -> Tensor:
        """Return a uniform permutation of 0 ... n-1 for each row: int64 [rows, n]."""
        return self._own(rows, lambda m, g: torch.rand(m, n, generator=g).argsort(1))

    def choose(self, rows: int, count: int) -> Tensor:
        """Return `count` of the row numbers 0 ... rows-1, ascending: int64 [count].

        The rows are divided into as many blocks of equal size as possible with equally many chosen from each.
        So every process has the same number, and the same rows are chosen for any number of processes.
        """
        blocks = _greatest_divisor(rows, count)
        order = self._host(lambda g: torch.rand(self.world * rows, generator=g))
        mine = order[self.rank * rows : (self.rank + 1) * rows].view(blocks, -1)
        within = mine.argsort(1)[:, : count // blocks].sort(1).values
        chosen = (within + torch.arange(blocks).unsqueeze(1) * (rows // blocks)).flatten()
        return chosen.to(self.device, non_blocking=True)

    def number(self, low: float = 0.0, high: float = 1.0) -> float:
        """Return one number in [low, high) on the host, the same in every process."""
        return float(self._host(lambda g: torch.rand((), generator=g, dtype=torch.float64))) * (high - low) + low

    def on_device(self, rows: int, draw: Callable[[int], Tensor]) -> Tensor:
        """Return this process's rows of what `draw` draws from torch's global generators, for many numbers a row.

        Every call draws the same numbers, as `seeded` seeds anew; for others ask a `child`.

        Args:
            rows: Rows of this process.
            draw: Called with a number of rows of all processes; returns a tensor with so many rows, on the device.
        """
        with self.seeded(joint=True):
            return self._of_parts(rows, lambda _, joint: draw(joint))

    @contextmanager
    def seeded(self, *, joint: bool = False) -> Iterator[None]:
        """Seed torch's global generators for code that draws from them (dropout, kornia), and restore them after.

        Args:
            joint: Seed all processes alike, for code that draws for the joint batch; else each gets its own.
        """
        with isolated_rng(self.device):
            self.seed_globally(joint=joint)
            yield

    def seed_globally(self, *, joint: bool = False) -> None:
        """Seed torch's global generators without restoring them: for the engine, inside `isolated_rng`."""
        rank = 0 if joint else self.rank
        seed = derive_seed(self.seed, self.name, self.step, self.micro, "global", rank)
        torch.default_generator.manual_seed(seed)
        if self.device.type == "cuda":
            torch.cuda.manual_seed(seed)

    def _host(self, draw: Callable[[torch.Generator], Tensor], part: int = 0) -> Tensor:
        if part not in self._generators:
            which = ("part", part) if part else ()
            seed = derive_seed(self.seed, self.name, self.step, self.micro, *which)
            self._generators[part] = torch.Generator().manual_seed(seed)
        return draw(self._generators[part])

    def _own(self, rows: int, draw: Callable[[int, torch.Generator], Tensor]) -> Tensor:
        own = self._of_parts(rows, lambda part, joint: self._host(lambda generator: draw(joint, generator), part))
        return own.to(self.device, non_blocking=True)

    def _of_parts(self, rows: int, draw: Callable[[int, int], Tensor]) -> Tensor:
        """Return this process's rows of what `draw` returns for each part and its rows in all processes."""
        whole = sum(self.parts)
        if not whole or not rows or rows % whole:
            return self._slice(draw(0, self.world * rows), rows)
        sizes = [rows // whole * part for part in self.parts]
        return torch.cat([self._slice(draw(i, self.world * n), n) for i, n in enumerate(sizes) if n])

    def _slice(self, joint: Tensor, rows: int) -> Tensor:
        return joint if self.world == 1 else joint[self.rank * rows : (self.rank + 1) * rows]


def _greatest_divisor(rows: int, count: int) -> int:
    """Return the greatest common divisor, after the check that `count` rows can be chosen."""
    if not 1 <= count <= rows:
        raise ValueError(f"`count` should be between 1 and the {rows} rows, found {count}.")
    return math.gcd(rows, count)
