"""What the tasks share: a small head on the pooled features of some modalities."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import attrs
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from auxlearn.errors import Problem, SpecError, escape, nearest
from auxlearn.learning import Features, FeatureShape

__all__ = ["Fusion", "Head", "at_least_float32", "last_layer", "make_head", "only_layer", "read_head"]

Head = nn.Linear | nn.Sequential


@attrs.frozen
class Fusion:
    """How the pooled features of several modalities become one.

    A row that lacks a modality counts with what the backbone says about the values that the data source fills in for
    it. Of one modality alone the feature is taken as it is.

    Attributes:
        modalities: Those to read, in any order; None for all that the backbone gives.
        how: `"concat"` puts them side by side, sorted by name; `"mean"` takes their mean.

    Examples:
        >>> from auxlearn.learning import FeatureShape
        >>> from auxlearn_supervised.heads import Fusion
        >>> shapes = {"video": FeatureShape(pooled=8), "audio": FeatureShape(pooled=8)}
        >>> Fusion().width(shapes), Fusion(how="mean").width(shapes), Fusion(("audio",)).width(shapes)
        (16, 8, 8)
    """

    modalities: Sequence[str] | None = None
    how: Literal["concat", "mean"] = "concat"

    def names(self, known: Mapping[str, object]) -> list[str]:
        """Return the modalities to read, sorted."""
        return sorted(known if self.modalities is None else set(self.modalities))

    def width(self, shapes: Mapping[str, FeatureShape]) -> int:
        """Return the width of what comes out of features of these shapes.

        Raises:
            SpecError: If the backbone does not give a modality, or the mean is asked for of different widths.
        """
        if self.modalities is not None:
            _require_known(self.modalities, shapes)
        widths = {name: shapes[name].pooled for name in self.names(shapes)}
        if self.how == "concat":
            return sum(widths.values())
        if len(set(widths.values())) > 1:
            found = ", ".join(f"{name} ({width})" for name, width in widths.items())
            what = f"there is no mean of features of different widths: {found}"
            fix = '"concat", or a backbone that gives all of them the same width'
            raise SpecError(Problem(where="/fusion", what=what, fix=fix))
        return next(iter(widths.values()))

    def __call__(self, features: Features) -> Tensor:
        """Return the one feature: [N, width]."""
        parts = [features[name].pooled for name in self.names(features)]
        if len(parts) == 1:
            return parts[0]
        return torch.cat(parts, dim=1) if self.how == "concat" else torch.stack(parts).mean(0)


def _require_known(modalities: Sequence[str], known: Mapping[str, object]) -> None:
    problems = [
        Problem(
            where=f"/modalities/{place}",
            what=f'the backbone gives no feature "{escape(name)}"',
            allowed=", ".join(known),
            meant=nearest(name, known),
        )
        for place, name in enumerate(modalities)
        if name not in known
    ]
    if not modalities:
        problems = [Problem(where="/modalities", what="names none", allowed=f"null for all, or {', '.join(known)}")]
    if problems:
        raise SpecError(problems)


def at_least_float32(tensor: Tensor) -> Tensor:
    """Return `tensor`, in float32 if it has a lower precision: losses and weights are summed in that."""
    return tensor.float() if tensor.dtype in (torch.bfloat16, torch.float16) else tensor


def make_head(
    features: Mapping[str, FeatureShape], outputs: int, hidden: int | None = None, fusion: Fusion | None = None
) -> Head:
    """Return a layer on the fused pooled features, after a hidden one with ReLU if `hidden` gives its width.

    Args:
        features: The form of the backbone's features.
        outputs: Width of what the head says.
        hidden: Width of the hidden layer; None for a linear head.
        fusion: How several modalities become one; default: all of them, concatenated.

    Raises:
        SpecError: If the features cannot be fused so.

    Examples:
        >>> from auxlearn.learning import FeatureShape
        >>> from auxlearn_supervised.heads import make_head
        >>> make_head({"image": FeatureShape(pooled=8)}, 2)
        Linear(in_features=8, out_features=2, bias=True)
        >>> len(make_head({"image": FeatureShape(pooled=8)}, 2, hidden=16))
        3
    """
    width = (fusion or Fusion()).width(features)
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
    """Return `head` if it is one linear layer, and the backbone gives one modality, as plain models have; else None."""
    return head if isinstance(head, nn.Linear) and modalities == 1 else None


def read_head(head: Head, features: Features, dropout: float, fusion: Fusion | None = None) -> Tensor:
    """Return what `head` says about the fused pooled features: [N, outputs].

    Args:
        head: From `make_head`; dropout is applied while it is in training mode.
        features: What the backbone says.
        dropout: Part of the fused feature that is set to zero.
        fusion: As given to `make_head`.
    """
    pooled = (fusion or Fusion())(features)
    if head.training and dropout > 0:
        pooled = F.dropout(pooled, dropout)
    return at_least_float32(head(pooled))
