"""Pretext task `rotation`: by how many quarter turns was the image, or each of its tiles, rotated?

Offered to auxlearn through `auxlearn_pretext_tasks`. The pieces are of use without it, too:
`RandomQuarterTurn` in a kornia pipeline, `quarter_turn` anywhere. Importing this module loads no torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from auxlearn_rotation.provider import RotationParams as RotationParams
from auxlearn_rotation.provider import auxlearn_pretext_tasks as auxlearn_pretext_tasks

if TYPE_CHECKING:
    from auxlearn_rotation.augmentation import RandomQuarterTurn as RandomQuarterTurn
    from auxlearn_rotation.task import Rotation as Rotation
    from auxlearn_rotation.turns import quarter_turn as quarter_turn
    from auxlearn_rotation.turns import turn_motion as turn_motion

# Where each public name with torch behind it lives. There is no `__dir__` beside it on purpose: pluggy reads every
# name that `dir` lists, which would import torch as soon as the plugin is registered.
_HOMES = {
    "RandomQuarterTurn": "auxlearn_rotation.augmentation",
    "Rotation": "auxlearn_rotation.task",
    "quarter_turn": "auxlearn_rotation.turns",
    "turn_motion": "auxlearn_rotation.turns",
}

__all__ = [
    "RandomQuarterTurn",
    "Rotation",
    "RotationParams",
    "auxlearn_pretext_tasks",
    "quarter_turn",
    "turn_motion",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
