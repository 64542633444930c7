"""What a component is checked with: a network with features of any modality, and batches of any inputs and targets."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from auxlearn.data import Batch, InputShape, TargetInfo
from auxlearn.learning import Backbone, Feature, Features, FeatureShape, MapShape

__all__ = ["StageBackbone", "stage_batch"]

_COARSEST_TURN = 30.0  # so that numbers are not all within the reach of an untrained head


class StageBackbone(Backbone):
    """A small smooth network without randomness and without norms: each row's features depend on that row alone.

    Images get a chain of convolutions with a feature map for each reduction; features get a layer.

    Args:
        inputs: The form of each modality.
        reductions: How many input pixels a cell of each map spans, fine to coarse, in powers of two.
        width: Width of the pooled feature.

    Examples:
        >>> import torch
        >>> from auxlearn.data import InputShape
        >>> from auxlearn.testing import StageBackbone
        >>> backbone = StageBackbone({"image": InputShape(shape=(3, 32, 32))}, reductions=(4, 8))
        >>> [tuple(one.shape) for one in backbone({"image": torch.rand(2, 3, 32, 32)}).only.maps]
        [(2, 8, 8, 8), (2, 8, 4, 4)]
    """

    def __init__(
        self, inputs: Mapping[str, InputShape], *, reductions: tuple[int, ...] = (4, 8), width: int = 8
    ) -> None:
        super().__init__()
        self.reductions = reductions
        self.shapes = {name: _shape(one, reductions, width) for name, one in inputs.items()}
        self.parts = nn.ModuleDict({name: _part(one, reductions, width) for name, one in inputs.items()})

    def forward(self, inputs: Mapping[str, Tensor]) -> Features:
        """Return the features of each modality in `inputs`."""
        return Features({name: self._feature(name, tensor) for name, tensor in inputs.items() if name in self.parts})

    def _feature(self, name: str, tensor: Tensor) -> Feature:
        part: nn.Module = self.parts[name]
        if isinstance(part, nn.Linear):
            vector = tensor if tensor.ndim == 2 else tensor[:, 0]
            return Feature(pooled=part(vector).tanh(), source=vector)
        maps, found, span = [], tensor, 1
        for layer in part.children():
            found, span = layer(found).tanh(), span * 2
            maps += [found] if span in self.reductions else []
        return Feature(pooled=found.mean((2, 3)), maps=tuple(maps))


def _shape(one: InputShape, reductions: tuple[int, ...], width: int) -> FeatureShape:
    if one.kind == "feature":
        return FeatureShape(pooled=width, source=one.shape[-1])
    return FeatureShape(pooled=width, maps=tuple(MapShape(channels=width, reduction=span) for span in reductions))


def _part(one: InputShape, reductions: tuple[int, ...], width: int) -> nn.Module:
    if one.kind == "feature":
        return nn.Linear(one.shape[-1], width)
    depth = max(1, round(math.log2(max(reductions, default=4))))
    widths = [one.shape[0], *[width] * depth]
    return nn.Sequential(
        *(nn.Conv2d(before, after, 3, stride=2, padding=1) for before, after in itertools.pairwise(widths))
    )


def stage_batch(
    inputs: Mapping[str, InputShape],
    targets: Mapping[str, TargetInfo] | None = None,
    *,
    rows: int = 8,
    seed: int = 0,
    augmented: bool = True,
) -> Batch:
    """Return a batch of noise that fits what a data source declares; every row has everything.

    Args:
        inputs: The form of each modality.
        targets: What there is to learn.
        rows: How many rows.
        seed: Another batch for another seed.
        augmented: Images as augmentation leaves them, float in [0, 1]; else uint8.

    Examples:
        >>> from auxlearn.data import InputShape
        >>> from auxlearn.testing import stage_batch
        >>> stage_batch({"image": InputShape(shape=(3, 8, 8))}, rows=2).image.shape
        torch.Size([2, 3, 8, 8])
    """
    generator = torch.Generator().manual_seed(seed)
    found: dict[str, Tensor] = {}
    for name, one in inputs.items():
        if one.kind == "feature":
            found[name] = torch.randn(rows, *one.shape, generator=generator).to(getattr(torch, one.dtype))
            continue
        pixels = torch.randint(0, 256, (rows, *one.shape), dtype=torch.uint8, generator=generator)
        found[name] = pixels.float() / 255 if augmented else pixels
    labels = {name: _labels(info, rows, generator) for name, info in (targets or {}).items()}
    return Batch(inputs=found, targets=labels, ids=torch.arange(rows))


def _labels(info: TargetInfo, rows: int, generator: torch.Generator) -> Tensor:
    if info.kind == "class":
        return torch.randint(0, len(info.names), (rows,), generator=generator)
    if info.kind == "multilabel":
        return torch.randint(0, 2, (rows, *(info.shape or (len(info.names),))), generator=generator).float()
    return (torch.rand(rows, *info.shape, generator=generator) * 2 - 1) * _COARSEST_TURN
