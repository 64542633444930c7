"""Pretext task `puzzling`: which tile stands where in an image whose tiles were shuffled.

Offered to auxlearn through `auxlearn_pretext_tasks`, and an arrangement of it through `auxlearn_presets`. The pieces
are of use without it, too: `RandomTileShuffle` in a kornia pipeline, `shuffle_tiles` anywhere. Importing this module
loads no torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from auxlearn_puzzling.provider import PuzzlingParams as PuzzlingParams
from auxlearn_puzzling.provider import auxlearn_presets as auxlearn_presets
from auxlearn_puzzling.provider import auxlearn_pretext_tasks as auxlearn_pretext_tasks

if TYPE_CHECKING:
    from auxlearn_puzzling.augmentation import RandomTileShuffle as RandomTileShuffle
    from auxlearn_puzzling.task import Puzzling as Puzzling
    from auxlearn_puzzling.tiles import invert_order as invert_order
    from auxlearn_puzzling.tiles import puzzle as puzzle
    from auxlearn_puzzling.tiles import shuffle_tiles as shuffle_tiles
    from auxlearn_puzzling.tiles import unshuffle_tiles as unshuffle_tiles

# Where each public name with torch behind it lives. There is no `__dir__` beside it on purpose: pluggy reads every
# name that `dir` lists, which would import torch as soon as the plugin is registered.
_HOMES = {
    "Puzzling": "auxlearn_puzzling.task",
    "RandomTileShuffle": "auxlearn_puzzling.augmentation",
    "invert_order": "auxlearn_puzzling.tiles",
    "puzzle": "auxlearn_puzzling.tiles",
    "shuffle_tiles": "auxlearn_puzzling.tiles",
    "unshuffle_tiles": "auxlearn_puzzling.tiles",
}

__all__ = [
    "Puzzling",
    "PuzzlingParams",
    "RandomTileShuffle",
    "auxlearn_presets",
    "auxlearn_pretext_tasks",
    "invert_order",
    "puzzle",
    "shuffle_tiles",
    "unshuffle_tiles",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
