"""A step of the engine against the same step written by hand."""

from __future__ import annotations

from benchmarks.paired import Line, compare, take_turns, timed
from benchmarks.steps import ByHand, faces, make_trainer, require_same_loss

__all__ = ["run"]


def run(rounds: int) -> list[Line]:
    """Measure `Trainer.step` with EfficientNet-B0, a classification and puzzling, 32 images of 96 px."""
    require_same_loss()
    trainer, by_hand, batch = make_trainer(), ByHand(), faces()
    images, kinds = batch.image, batch.targets["kind"]
    timings = take_turns(
        {
            "engine, B0 96 px, batch 32": timed(lambda: trainer.step(batch)),
            "by hand": timed(lambda: by_hand.step(images, kinds)),
        },
        rounds,
    )
    return [compare(timings, "engine, B0 96 px, batch 32", "by hand", goal=1.02)]
