"""What the tasks share: a small head on the pooled features of all modalities."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from auxlearn.learning import Features, FeatureShape

__all__ = ["Head", "at_least_float32", "last_layer", "make_head", "only_layer", "read_head"]

Head = nn.Linear | nn.Sequential


def at_least_float32(tensor: Tensor) -> Tensor:
    """Return `tensor`, in float32 if it has a lower precision: losses and weights are summed in that."""
    return tensor.float() if tensor.dtype in (torch.bfloat16, torch.float16) else tensor


def make_head(features: Mapping[str, FeatureShape], outputs: int, hidden: int | None = None) -> Head:
    """Return a layer on the concatenated pooled features, after a hidden one with ReLU if `hidden` gives its width.

    Examples:
        >>> from auxlearn.learning import FeatureShape
        >>> from auxlearn_supervised.heads import make_head
        >>> make_head({"image": FeatureShape(pooled=8)}, 2)
        Linear(in_features=8, out_features=2, bias=True)
        >>> len(make_head({"image": FeatureShape(pooled=8)}, 2, hidden=16))
        3
    """
    width = sum(shape.pooled for shape in features.values())
    if hidden is None:
        return nn.Linear(width, outputs)
    return nn.Sequential(nn.Linear(width, hidden), nn.ReLU(), nn.Linear(hidden, outputs))


def last_layer(head: Head) -> nn.Linear:
    """Return the layer whose outputs are those of `head`."""
    layer = head if isinstance(head, nn.Linear) else head[-1]
    if not isinstance(layer, nn.Linear):
        raise ValueError(f"Parameter `head` should be made by `make_head`, found {head}.")
    return layer


def only_layer(head: Head, modalities: int) -> nn.Linear | None:
    """Return `head` if it is one linear layer on one modality, as plain models have, else None."""
    return head if isinstance(head, nn.Linear) and modalities == 1 else None


def read_head(head: Head, features: Features, dropout: float) -> Tensor:
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
