"""Balancers: `uncertainty`, `dwa`, `gradnorm`, `cosine_gate` and `pcgrad`, each after its paper.

Offered to auxlearn through `auxlearn_balancers`. Importing this module loads no torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from auxlearn_balancing.provider import CosineGateParams as CosineGateParams
from auxlearn_balancing.provider import DwaParams as DwaParams
from auxlearn_balancing.provider import GradNormParams as GradNormParams
from auxlearn_balancing.provider import UncertaintyParams as UncertaintyParams
from auxlearn_balancing.provider import auxlearn_balancers as auxlearn_balancers

if TYPE_CHECKING:
    from auxlearn_balancing.cosine_gate import CosineGate as CosineGate
    from auxlearn_balancing.dwa import DynamicWeightAverage as DynamicWeightAverage
    from auxlearn_balancing.gradnorm import GradNorm as GradNorm
    from auxlearn_balancing.pcgrad import PCGrad as PCGrad
    from auxlearn_balancing.tasks import TaskLosses as TaskLosses
    from auxlearn_balancing.tasks import weighted_sum as weighted_sum
    from auxlearn_balancing.uncertainty import Uncertainty as Uncertainty

# Where each public name with torch behind it lives. There is no `__dir__` beside it on purpose: pluggy reads every
# name that `dir` lists, which would import torch as soon as the plugin is registered.
_HOMES = {
    "CosineGate": "auxlearn_balancing.cosine_gate",
    "DynamicWeightAverage": "auxlearn_balancing.dwa",
    "GradNorm": "auxlearn_balancing.gradnorm",
    "PCGrad": "auxlearn_balancing.pcgrad",
    "TaskLosses": "auxlearn_balancing.tasks",
    "Uncertainty": "auxlearn_balancing.uncertainty",
    "weighted_sum": "auxlearn_balancing.tasks",
}

__all__ = [
    "CosineGate",
    "CosineGateParams",
    "DwaParams",
    "DynamicWeightAverage",
    "GradNorm",
    "GradNormParams",
    "PCGrad",
    "TaskLosses",
    "Uncertainty",
    "UncertaintyParams",
    "auxlearn_balancers",
    "weighted_sum",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
