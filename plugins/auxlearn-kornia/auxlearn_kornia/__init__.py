"""Augmentations on the device: `none`, `weak`, `strong` (HMTL's levels) and `simclr`.

Offered to auxlearn through `auxlearn_augmentations`. Importing this module loads no torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from auxlearn_kornia.provider import LevelParams as LevelParams
from auxlearn_kornia.provider import NoneParams as NoneParams
from auxlearn_kornia.provider import SimCLRParams as SimCLRParams
from auxlearn_kornia.provider import StrongParams as StrongParams
from auxlearn_kornia.provider import WeakParams as WeakParams
from auxlearn_kornia.provider import auxlearn_augmentations as auxlearn_augmentations

if TYPE_CHECKING:
    from auxlearn_kornia.images import ImageAugmentation as ImageAugmentation
    from auxlearn_kornia.levels import Level as Level
    from auxlearn_kornia.simclr import SimCLR as SimCLR

# Where each public name with torch behind it lives. There is no `__dir__` beside it on purpose: pluggy reads every
# name that `dir` lists, which would import torch as soon as the plugin is registered.
_HOMES = {
    "ImageAugmentation": "auxlearn_kornia.images",
    "Level": "auxlearn_kornia.levels",
    "SimCLR": "auxlearn_kornia.simclr",
}

__all__ = [
    "ImageAugmentation",
    "Level",
    "LevelParams",
    "NoneParams",
    "SimCLR",
    "SimCLRParams",
    "StrongParams",
    "WeakParams",
    "auxlearn_augmentations",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
