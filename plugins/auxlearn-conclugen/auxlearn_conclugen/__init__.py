"""ConCluGen: contrast, clustering and reconstruction of several modalities.

Offers the backbone `gated_multimodal`, the pretext tasks `multimodal_contrastive`, `multimodal_clustering`,
`multimodal_reconstruction` and `feature_simclr`, and presets. The losses, k-means and the queue are of use without
auxlearn's engine, too. Importing this module loads no torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from auxlearn_conclugen.params import ClusteringParams as ClusteringParams
from auxlearn_conclugen.params import ContrastiveParams as ContrastiveParams
from auxlearn_conclugen.params import FeatureSimCLRParams as FeatureSimCLRParams
from auxlearn_conclugen.params import GatedMultimodalParams as GatedMultimodalParams
from auxlearn_conclugen.params import ProjectionParams as ProjectionParams
from auxlearn_conclugen.params import ReconstructionParams as ReconstructionParams
from auxlearn_conclugen.params import UnitParams as UnitParams
from auxlearn_conclugen.provider import auxlearn_backbones as auxlearn_backbones
from auxlearn_conclugen.provider import auxlearn_presets as auxlearn_presets
from auxlearn_conclugen.provider import auxlearn_pretext_tasks as auxlearn_pretext_tasks

if TYPE_CHECKING:
    from auxlearn_conclugen.backbone import GatedEmbedding as GatedEmbedding
    from auxlearn_conclugen.backbone import GatedMultimodal as GatedMultimodal
    from auxlearn_conclugen.clustering import MultimodalClustering as MultimodalClustering
    from auxlearn_conclugen.clusters import Clusters as Clusters
    from auxlearn_conclugen.clusters import assign as assign
    from auxlearn_conclugen.clusters import kmeans as kmeans
    from auxlearn_conclugen.contrastive import MultimodalContrastive as MultimodalContrastive
    from auxlearn_conclugen.multimodal import MultimodalTask as MultimodalTask
    from auxlearn_conclugen.objectives import margin_logits as margin_logits
    from auxlearn_conclugen.objectives import margin_softmax as margin_softmax
    from auxlearn_conclugen.projection import Projection as Projection
    from auxlearn_conclugen.queue import RowQueue as RowQueue
    from auxlearn_conclugen.reconstruction import MultimodalReconstruction as MultimodalReconstruction
    from auxlearn_conclugen.reconstruction import decoder as decoder
    from auxlearn_conclugen.simclr import FeatureSimCLR as FeatureSimCLR
    from auxlearn_conclugen.simclr import corrupt as corrupt

# Where each public name with torch behind it lives. There is no `__dir__` beside it on purpose: pluggy reads every
# name that `dir` lists, which would import torch as soon as the plugin is registered.
_HOMES = {
    "Clusters": "clusters",
    "FeatureSimCLR": "simclr",
    "GatedEmbedding": "backbone",
    "GatedMultimodal": "backbone",
    "MultimodalClustering": "clustering",
    "MultimodalContrastive": "contrastive",
    "MultimodalReconstruction": "reconstruction",
    "MultimodalTask": "multimodal",
    "Projection": "projection",
    "RowQueue": "queue",
    "assign": "clusters",
    "corrupt": "simclr",
    "decoder": "reconstruction",
    "kmeans": "clusters",
    "margin_logits": "objectives",
    "margin_softmax": "objectives",
}

__all__ = [
    "ClusteringParams",
    "Clusters",
    "ContrastiveParams",
    "FeatureSimCLR",
    "FeatureSimCLRParams",
    "GatedEmbedding",
    "GatedMultimodal",
    "GatedMultimodalParams",
    "MultimodalClustering",
    "MultimodalContrastive",
    "MultimodalReconstruction",
    "MultimodalTask",
    "Projection",
    "ProjectionParams",
    "ReconstructionParams",
    "RowQueue",
    "UnitParams",
    "assign",
    "auxlearn_backbones",
    "auxlearn_presets",
    "auxlearn_pretext_tasks",
    "corrupt",
    "decoder",
    "kmeans",
    "margin_logits",
    "margin_softmax",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"auxlearn_conclugen.{_HOMES[name]}"), name)
