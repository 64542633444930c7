"""The tile shuffle against kornia's `RandomJigsaw` and against a plain copy."""

from __future__ import annotations

import torch
from kornia.augmentation import RandomJigsaw

from auxlearn_puzzling import RandomTileShuffle, shuffle_tiles
from benchmarks.paired import Line, compare, take_turns, timed

__all__ = ["run"]

ROWS = 32


def run(rounds: int) -> list[Line]:
    """Measure 32 images, 96 px in 3 x 3 tiles and 224 px in 4 x 4 tiles."""
    return [line for size, grid in ((96, 3), (224, 4)) for line in _run(size, grid, rounds)]


def _run(size: int, grid: int, rounds: int) -> list[Line]:
    images = torch.rand(ROWS, 3, size, size)
    bytes_ = (images * 255).to(torch.uint8)
    order = torch.rand(ROWS, grid**2).argsort(1)
    jigsaw, ours = RandomJigsaw(grid=(grid, grid), p=1.0), RandomTileShuffle(grid=grid, p=1.0)
    case = f"{size} px, {grid} x {grid}"
    drawn, augmentation = f"draw and shuffle tiles, {case}", f"RandomTileShuffle, {case}"
    floats, integers = f"shuffle tiles, float32, {case}", f"shuffle tiles, uint8, {case}"
    variants = {
        drawn: lambda: shuffle_tiles(images, torch.rand(ROWS, grid**2).argsort(1), grid),
        augmentation: lambda: ours(images),
        "kornia RandomJigsaw": lambda: jigsaw(images),
        floats: lambda: shuffle_tiles(images, order, grid),
        "clone": images.clone,
        integers: lambda: shuffle_tiles(bytes_, order, grid),
        "clone of uint8": bytes_.clone,
    }
    timings = take_turns({name: timed(work, times=20) for name, work in variants.items()}, rounds)
    return [
        compare(timings, drawn, "kornia RandomJigsaw", goal=1 / 5),
        compare(timings, augmentation, "kornia RandomJigsaw", note="with kornia's own work around it"),
        compare(timings, floats, "clone", goal=4),
        compare(timings, integers, "clone of uint8", goal=4),
    ]
