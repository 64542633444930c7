"""Data sources `features`, precomputed feature vectors, and `synthfeatures`, made-up ones; and a backbone for both.

Offered to auxlearn through `auxlearn_data_sources` and `auxlearn_backbones`. `FeatureSource` makes a data source of any
arrays. Importing this module loads no torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from auxlearn_features.params import FeaturesBackboneParams as FeaturesBackboneParams
from auxlearn_features.params import FeaturesParams as FeaturesParams
from auxlearn_features.params import InputParams as InputParams
from auxlearn_features.params import SynthFeaturesParams as SynthFeaturesParams
from auxlearn_features.provider import auxlearn_backbones as auxlearn_backbones
from auxlearn_features.provider import auxlearn_data_sources as auxlearn_data_sources

if TYPE_CHECKING:
    from auxlearn_features.backbone import FeaturesBackbone as FeaturesBackbone
    from auxlearn_features.source import FeatureSource as FeatureSource
    from auxlearn_features.source import FeatureTarget as FeatureTarget

# Where each public name with torch behind it lives. There is no `__dir__` beside it on purpose: pluggy reads every
# name that `dir` lists, which would import torch as soon as the plugin is registered.
_HOMES = {
    "FeatureSource": "auxlearn_features.source",
    "FeatureTarget": "auxlearn_features.source",
    "FeaturesBackbone": "auxlearn_features.backbone",
}

__all__ = [
    "FeatureSource",
    "FeatureTarget",
    "FeaturesBackbone",
    "FeaturesBackboneParams",
    "FeaturesParams",
    "InputParams",
    "SynthFeaturesParams",
    "auxlearn_backbones",
    "auxlearn_data_sources",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
