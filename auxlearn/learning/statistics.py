"""What BatchNorm does on one pass: the plan's key `statistics`."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Literal

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.modules.batchnorm import _BatchNorm

from auxlearn.learning.features import Features
from auxlearn.learning.interfaces import Backbone

__all__ = ["SeparateNorms", "Statistics", "batch_norms", "run_backbone"]

Statistics = Literal["shared", "frozen", "batch", "separate"]


def batch_norms(module: nn.Module) -> dict[str, _BatchNorm]:
    """Return the BatchNorm layers of `module` by name."""
    return {name: layer for name, layer in module.named_modules() if isinstance(layer, _BatchNorm)}


class SeparateNorms(nn.Module):
    """A second set of BatchNorm parameters and statistics for the passes of one task.

    "Adversarial Examples Improve Image Recognition" (AdvProp, arXiv 1911.09665, section 3.2) calls it an auxiliary
    batch norm: views from another distribution do not mix into the statistics that inference uses.

    Args:
        backbone: Whose BatchNorm layers are copied.
    """

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        norms = batch_norms(backbone)
        self._names = list(norms)
        self.layers = nn.ModuleList(copy.deepcopy(norm) for norm in norms.values())

    @torch.no_grad()
    def take_over(self, backbone: nn.Module) -> None:
        """Begin again with the BatchNorm layers of `backbone`, in place, as an optimizer may hold the parameters."""
        norms = batch_norms(backbone).values()
        for own, norm in zip(self.layers, norms, strict=True):
            own.load_state_dict(norm.state_dict())

    def overrides(self) -> dict[str, Tensor]:
        """Return the tensors that stand in for the backbone's, by the backbone's names."""
        return {
            f"{name}.{leaf}": tensor
            for name, layer in zip(self._names, self.layers, strict=True)
            for leaf, tensor in (*layer.named_parameters(), *layer.named_buffers())
        }


@contextmanager
def _set(norms: list[_BatchNorm], attribute: str, value: bool) -> Iterator[None]:
    before = [getattr(norm, attribute) for norm in norms]
    for norm in norms:
        setattr(norm, attribute, value)
    try:
        yield
    finally:
        for norm, old in zip(norms, before, strict=True):
            setattr(norm, attribute, old)


def run_backbone(
    backbone: Backbone, inputs: Mapping[str, Tensor], statistics: Statistics, separate: SeparateNorms | None
) -> Features:
    """Return the features of `inputs`, with BatchNorm as `statistics` says.

    Args:
        backbone: The network.
        inputs: What it shall see.
        statistics: `"shared"`: as the network is. `"frozen"`: normalise by the running statistics. `"batch"`:
            normalise by this pass, leave the running statistics alone. `"separate"`: use `separate` throughout.
        separate: The set of norms for `"separate"`.
    """
    if statistics == "separate":
        if separate is None:
            raise ValueError("`separate` should be given for statistics 'separate', found None.")
        features: Features = functional_call(backbone, separate.overrides(), (inputs,))
        return features
    if statistics == "shared":
        result: Features = backbone(inputs)
        return result
    norms = list(batch_norms(backbone).values())
    # BatchNorm in training without tracking normalises by the batch and passes no running statistics on.
    with _set(norms, "training", False) if statistics == "frozen" else _set(norms, "track_running_stats", False):
        return run_backbone(backbone, inputs, "shared", None)
