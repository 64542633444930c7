"""Balancer `torchjd`: the aggregators of TorchJD that work on inner products of gradients.

Offered to auxlearn through `auxlearn_balancers`. Importing this module loads no torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from auxlearn_torchjd.provider import TorchJDParams as TorchJDParams
from auxlearn_torchjd.provider import auxlearn_balancers as auxlearn_balancers

if TYPE_CHECKING:
    from auxlearn_torchjd.balancer import TorchJD as TorchJD
    from auxlearn_torchjd.balancer import make_weighting as make_weighting
    from auxlearn_torchjd.projector import NonNegativeProjector as NonNegativeProjector

# Where each public name with torch behind it lives. There is no `__dir__` beside it on purpose: pluggy reads every
# name that `dir` lists, which would import torch as soon as the plugin is registered.
_HOMES = {
    "NonNegativeProjector": "auxlearn_torchjd.projector",
    "TorchJD": "auxlearn_torchjd.balancer",
    "make_weighting": "auxlearn_torchjd.balancer",
}

__all__ = [
    "NonNegativeProjector",
    "TorchJD",
    "TorchJDParams",
    "auxlearn_balancers",
    "make_weighting",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
