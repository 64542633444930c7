"""What a pretext task on the shared view adds to supervised training."""

from __future__ import annotations

from benchmarks.paired import Line, compare, take_turns, timed
from benchmarks.steps import faces, make_trainer

__all__ = ["run"]


def run(rounds: int) -> list[Line]:
    """Measure a step with puzzling on the shared view against one without, both by the engine."""
    with_puzzle, plain, batch = make_trainer(), make_trainer(puzzling=False), faces()
    timings = take_turns(
        {
            "supervised and puzzling, shared view": timed(lambda: with_puzzle.step(batch)),
            "supervised": timed(lambda: plain.step(batch)),
        },
        rounds,
    )
    return [compare(timings, "supervised and puzzling, shared view", "supervised", goal=1.05)]
