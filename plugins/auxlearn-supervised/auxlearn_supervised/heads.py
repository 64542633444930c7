"""What the three tasks share: a linear layer on the pooled features of all modalities."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from auxlearn.learning import Features, FeatureShape

__all__ = ["at_least_float32", "make_head", "read_head"]


def at_least_float32(tensor: Tensor) -> Tensor:
    """Return `tensor`, in float32 if it has a lower precision: losses and weights are summed in that."""
    return tensor.float() if tensor.dtype in (torch.bfloat16, torch.float16) else tensor


def make_head(features: Mapping[str, FeatureShape], outputs: int) -> nn.Linear:
    """Return a linear layer on the concatenated pooled features."""
    return nn.Linear(sum(shape.pooled for shape in features.values()), outputs)


def read_head(head: nn.Linear, features: Features, dropout: float) -> Tensor:
    """Return what `head` says about the pooled features, concatenated by name if there are several: [N, outputs].

    Args:
        head: From `make_head`; dropout is applied while it is in training mode.
        features: What the backbone says.
        dropout: Part of the pooled feature that is set to zero.
    """
    parts = [features[name].pooled for name in sorted(features)]
    pooled = parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)
    if head.training and dropout > 0:
        pooled = F.dropout(pooled, dropout)
    return at_least_float32(head(pooled))
