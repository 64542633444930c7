"""Paired measurement: alternatives take turns in one process, and each round gives one ratio.

A machine that others use, or whose clock changes, slows the alternatives of a round alike, so the median of the
rounds' ratios says more than the ratio of two times measured one after the other. CPU time leaves out the waiting
for others; wall time is kept beside it.
"""

from __future__ import annotations

import gc
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence

import attrs

__all__ = ["Line", "Timing", "compare", "subtract", "take_turns", "timed"]


@attrs.frozen
class Timing:
    """Seconds that one call took."""

    cpu: float
    wall: float


@attrs.frozen(kw_only=True)
class Line:
    """One line of the table.

    Attributes:
        what: What was measured.
        against: What it is measured against.
        value: The median over the rounds.
        low, high: The quartiles over the rounds.
        goal: The value should be at most this; None for a number without a goal.
        unit: `"x"` for ratios of CPU time.
        wall: The median ratio of wall time, if it is a ratio.
        best: The ratio of the least CPU times of all rounds, if it is a ratio: what the least disturbed rounds say.
        note: The absolute numbers.
    """

    what: str
    against: str
    value: float
    low: float
    high: float
    goal: float | None = None
    unit: str = "x"
    wall: float | None = None
    best: float | None = None
    note: str = ""

    @property
    def verdict(self) -> str:
        """Whether the goal is met."""
        if self.goal is None:
            return "no goal"
        return "met" if self.value <= self.goal else "missed"


def timed(work: Callable[[], object], times: int = 1) -> Callable[[], Timing]:
    """Return a function that calls `work` so many times and says how long one call took."""

    def measure() -> Timing:
        wall, cpu = time.perf_counter(), time.process_time()
        for _ in range(times):
            work()
        return Timing(cpu=(time.process_time() - cpu) / times, wall=(time.perf_counter() - wall) / times)

    return measure


def take_turns(variants: Mapping[str, Callable[[], Timing]], rounds: int) -> dict[str, list[Timing]]:
    """Return the timings of each variant, one for each round, after a round that does not count.

    Every other round has the opposite order, so that no variant profits from its neighbour.
    """
    found: dict[str, list[Timing]] = {name: [] for name in variants}
    for number in range(-1, rounds):
        gc.collect()
        print(f"\r  round {max(number + 1, 0)} of {rounds} ", end="", file=sys.stderr, flush=True)
        for name in list(variants)[:: 1 if number % 2 else -1]:
            timing = variants[name]()
            if number >= 0:
                found[name].append(timing)
    print("\r" + " " * 30 + "\r", end="", file=sys.stderr)
    return found


def compare(
    timings: Mapping[str, Sequence[Timing]], what: str, against: str, *, goal: float | None = None, note: str = ""
) -> Line:
    """Return the line for the CPU time of `what` over that of `against`, round by round."""
    pairs = list(zip(timings[what], timings[against], strict=True))
    low, median, high = statistics.quantiles([a.cpu / b.cpu for a, b in pairs], n=4, method="inclusive")
    return Line(
        what=what,
        against=against,
        value=median,
        low=low,
        high=high,
        goal=goal,
        wall=statistics.median(a.wall / b.wall for a, b in pairs),
        best=min(a.cpu for a, _ in pairs) / min(b.cpu for _, b in pairs),
        note="; ".join(filter(None, [f"{_typical(timings[what])} : {_typical(timings[against])}", note])),
    )


def subtract(timings: Mapping[str, Sequence[Timing]], what: str, against: str) -> Line:
    """Return the line for the microseconds of CPU time that `what` takes beyond `against`, round by round."""
    pairs = list(zip(timings[what], timings[against], strict=True))
    low, median, high = statistics.quantiles([(a.cpu - b.cpu) * 1e6 for a, b in pairs], n=4, method="inclusive")
    note = f"{_typical(timings[what])} : {_typical(timings[against])}"
    return Line(what=what, against=against, value=median, low=low, high=high, unit="us more", note=note)


def _typical(timings: Sequence[Timing]) -> str:
    seconds = statistics.median(timing.cpu for timing in timings)
    return f"{seconds * 1e3:.3g} ms" if seconds >= 1e-3 else f"{seconds * 1e6:.3g} us"
