"""The augmentation levels against the same recipe in kornia's own pipeline, and against a plain copy."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import kornia.augmentation as K
from torch import Tensor

from auxlearn.learning import Draws
from auxlearn_kornia import Level, StrongParams, WeakParams
from auxlearn_kornia.provider import LevelParams
from benchmarks.paired import Line, compare, take_turns, timed
from benchmarks.steps import faces

__all__ = ["run"]


def run(rounds: int) -> list[Line]:
    """Measure `weak` and `strong` on 32 uint8 images, 96 px and 224 px, of which floats in [0, 1] are made."""
    return [line for size in (96, 224) for line in _run(size, rounds)]


def _run(size: int, rounds: int) -> list[Line]:
    images = faces(size=size).image
    floats = images.float()
    weak, strong = f"weak, {size} px", f"strong, {size} px"
    theirs = {weak: "kornia, recipe of weak", strong: "kornia, recipe of strong"}
    timings = take_turns(
        {
            weak: timed(_ours(WeakParams(), images), times=3),
            strong: timed(_ours(StrongParams(), images), times=3),
            theirs[weak]: timed(_kornia(WeakParams(), images), times=3),
            theirs[strong]: timed(_kornia(StrongParams(), images), times=3),
            "clone of float32": timed(floats.clone, times=20),
        },
        rounds,
    )
    return [
        compare(timings, level, against) for level in (weak, strong) for against in (theirs[level], "clone of float32")
    ]


def _ours(params: LevelParams, images: Tensor) -> Callable[[], object]:
    level, steps = Level(params, size=images.shape[-1]), itertools.count()
    return lambda: level({"image": images}, Draws(seed=0, name="augment", step=next(steps)))


def _kornia(params: LevelParams, images: Tensor) -> Callable[[], object]:
    """Return the recipe of kornia's own parts; its noise has one magnitude, the mean of the level's."""
    changes: list[Any] = [K.RandomContrast((1 - params.contrast, 1 + params.contrast))]
    if params.brightness:
        changes.append(K.RandomBrightness((1 - params.brightness, 1 + params.brightness)))
    if params.noise:
        changes.append(K.RandomGaussianNoise(std=params.noise / 4, p=1.0))
    if params.blur:
        changes.append(K.RandomGaussianBlur((3, 3), (params.blur_sigma, params.blur_sigma), p=params.blur))
    zoom = (1 / params.crop_max, 1 / params.crop_min)
    changes.append(K.RandomAffine(params.rotation, scale=zoom, p=1.0))
    if params.cutout:
        changes.append(K.RandomErasing((params.cutout**2, params.cutout**2), (1.0, 1.0), p=1.0))
    pipeline = K.AugmentationSequential(*changes, data_keys=["input"])
    return lambda: pipeline(images.float().div_(255.0))
