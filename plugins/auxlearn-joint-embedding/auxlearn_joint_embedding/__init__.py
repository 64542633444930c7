"""Pretext tasks that compare two augmented views of an image: `simclr` and `barlow_twins`.

Offered to auxlearn through `auxlearn_pretext_tasks`. The objectives are functions that are of use without it, too.
Importing this module loads no torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from auxlearn_joint_embedding.provider import BarlowTwinsParams as BarlowTwinsParams
from auxlearn_joint_embedding.provider import SimCLRParams as SimCLRParams
from auxlearn_joint_embedding.provider import auxlearn_pretext_tasks as auxlearn_pretext_tasks

if TYPE_CHECKING:
    from auxlearn_joint_embedding.barlow_twins import BarlowTwins as BarlowTwins
    from auxlearn_joint_embedding.objectives import contrastive_logits as contrastive_logits
    from auxlearn_joint_embedding.objectives import cross_correlation as cross_correlation
    from auxlearn_joint_embedding.objectives import redundancy as redundancy
    from auxlearn_joint_embedding.simclr import SimCLR as SimCLR
    from auxlearn_joint_embedding.twins import JointEmbedding as JointEmbedding
    from auxlearn_joint_embedding.twins import projector as projector

# Where each public name with torch behind it lives. There is no `__dir__` beside it on purpose: pluggy reads every
# name that `dir` lists, which would import torch as soon as the plugin is registered.
_HOMES = {
    "BarlowTwins": "auxlearn_joint_embedding.barlow_twins",
    "JointEmbedding": "auxlearn_joint_embedding.twins",
    "SimCLR": "auxlearn_joint_embedding.simclr",
    "contrastive_logits": "auxlearn_joint_embedding.objectives",
    "cross_correlation": "auxlearn_joint_embedding.objectives",
    "projector": "auxlearn_joint_embedding.twins",
    "redundancy": "auxlearn_joint_embedding.objectives",
}

__all__ = [
    "BarlowTwins",
    "BarlowTwinsParams",
    "JointEmbedding",
    "SimCLR",
    "SimCLRParams",
    "auxlearn_pretext_tasks",
    "contrastive_logits",
    "cross_correlation",
    "projector",
    "redundancy",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
