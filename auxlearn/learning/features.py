"""`Features`: what a backbone says about a batch, and its shape ahead of any tensor."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import attrs
from torch import Tensor, nn

__all__ = ["Feature", "FeatureShape", "Features", "MapShape", "in_dtype_of"]


@attrs.frozen(kw_only=True)
class MapShape:
    """The form of one feature map.

    Attributes:
        channels: How many it has.
        reduction: How many input pixels a cell spans along each side.
    """

    channels: int
    reduction: int


@attrs.frozen(kw_only=True)
class FeatureShape:
    """The form of one modality's features.

    Attributes:
        pooled: Width D of the pooled feature.
        maps: The feature maps, fine to coarse; empty if the backbone gives none.
        source: Width of the frozen input feature, if the modality is one.
        inputs: Names of the inputs that it is made of; empty for the single one of its own name.
    """

    pooled: int
    maps: tuple[MapShape, ...] = ()
    source: int | None = None
    inputs: tuple[str, ...] = ()


# A dataclass, since torch.compile cannot trace the constructor of a frozen attrs class and backbones make these.
@dataclass(frozen=True, eq=False, kw_only=True, slots=True)
class Feature:
    """One modality's features.

    Attributes:
        pooled: [N, D].
        maps: Fine to coarse, each [N, C, H, W].
        source: The frozen input feature [N, S], if the modality is one.
    """

    pooled: Tensor
    maps: tuple[Tensor, ...] = ()
    source: Tensor | None = None

    def map(self, change: Callable[[Tensor], Tensor]) -> Feature:
        """Return the features with `change` applied to every tensor."""
        return Feature(
            pooled=change(self.pooled),
            maps=tuple(change(m) for m in self.maps),
            source=None if self.source is None else change(self.source),
        )


class Features(Mapping[str, Feature]):
    """The features of every modality by name; `.only` is the single one of an image task.

    Args:
        parts: The features of each modality.

    Examples:
        >>> import torch
        >>> from auxlearn.learning import Feature, Features
        >>> Features({"image": Feature(pooled=torch.zeros(2, 5))}).only.pooled.shape
        torch.Size([2, 5])
    """

    def __init__(self, parts: Mapping[str, Feature]) -> None:
        self._parts = dict(parts)

    def __getitem__(self, modality: str) -> Feature:
        return self._parts[modality]

    def __iter__(self) -> Iterator[str]:
        return iter(self._parts)

    def __len__(self) -> int:
        return len(self._parts)

    @property
    def only(self) -> Feature:
        """The features of the single modality; ValueError if there are several."""
        if len(self._parts) != 1:
            raise ValueError(f"`only` should be asked of one modality, found {sorted(self._parts)}.")
        return next(iter(self._parts.values()))

    def take(self, rows: Tensor | slice) -> Features:
        """Return the features of these rows."""
        return Features({name: part.map(lambda t: t[rows]) for name, part in self._parts.items()})


def in_dtype_of(module: nn.Module, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return inputs as `module` computes unless under autocast: in float32, or as a "true" precision asks."""
    dtype = next((p.dtype for p in module.parameters() if p.is_floating_point()), None)
    return {name: t.to(dtype) if dtype is not None and t.is_floating_point() else t for name, t in inputs.items()}
