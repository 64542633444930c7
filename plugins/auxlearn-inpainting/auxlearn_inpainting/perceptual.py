"""Perceptual losses: what a frozen network makes of the difference between two images."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from auxlearn.learning import Features

__all__ = ["Distance", "FrozenNetwork", "LpipsLoss", "PerceptualLoss"]

Distance = Literal["unit", "l1", "l2"]

_TINY = 1e-10


class FrozenNetwork:
    """A handle to a network that does not learn: in evaluation mode, no gradient to its weights, only to its inputs.

    It is no `nn.Module`, so whoever keeps it neither stores nor optimises the network.

    Args:
        module: The network; it is put in evaluation mode, and its parameters no longer require gradients.
    """

    def __init__(self, module: nn.Module) -> None:
        self.module = module.eval().requires_grad_(False)

    def __call__(self, *inputs: Any) -> Any:
        """Call the network."""
        return self.module(*inputs)


class _OnFrozen(nn.Module):
    """A module that takes its frozen network along when it moves to another device, type or memory format."""

    network: Callable[..., Any]

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> _OnFrozen:
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        if isinstance(self.network, FrozenNetwork):
            self.network.module._apply(fn)  # type: ignore[no-untyped-call]
        return self


class PerceptualLoss(_OnFrozen):
    r"""The distance between the feature maps that a frozen network gives for two images.

    With $\phi_l(x)$ the map of level $l$, which has $C_l$ channels and places $p$, and $\hat\phi$ scaled to unit length
    along the channels at each place, the distance of two images is $\sum_l d_l$ with one of

    - `"unit"`: $d_l = \mathrm{mean}_p\, \|\hat\phi_l(x)_p - \hat\phi_l(y)_p\|_2^2$, as in "The Unreasonable
      Effectiveness of Deep Features as a Perceptual Metric" (equation 1 of [arXiv
      1801.03924](https://arxiv.org/abs/1801.03924)) with all channel weights 1. It does not depend on the scale of the
      features, which differs by orders of magnitude between networks and levels;
    - `"l2"`: $d_l = \mathrm{mean}_{p,c}\, (\phi_l(x) - \phi_l(y))^2$, the feature reconstruction loss of "Perceptual
      Losses for Real-Time Style Transfer and Super-Resolution" (equation 2 of [arXiv
      1603.08155](https://arxiv.org/abs/1603.08155));
    - `"l1"`: the mean absolute difference.

    Both papers use networks trained on ImageNet. Any network will do here, and none is chosen for you.

    Args:
        network: Called as `network({modality: images})` with images in [0, 1], it gives `Features`, or feature maps
            from fine to coarse, each [N, C, H, W]. An `nn.Module` is frozen, and moves with this module but is no part
            of its state; anything else is only called.
        levels: Which maps are compared, 0 the finest and -1 the coarsest; None for all.
        distance: `"unit"`, `"l1"` or `"l2"`.
        modality: Name of the network's input.

    Examples:
        >>> import torch
        >>> from auxlearn_inpainting import PerceptualLoss
        >>> loss = PerceptualLoss(lambda inputs: [inputs["image"]], distance="l1")
        >>> loss(torch.full((1, 3, 4, 4), 0.75), torch.zeros(1, 3, 4, 4))
        tensor([0.7500])
    """

    def __init__(
        self,
        network: Callable[[Mapping[str, Tensor]], Features | Sequence[Tensor]],
        *,
        levels: Sequence[int] | None = None,
        distance: Distance = "unit",
        modality: str = "image",
    ) -> None:
        super().__init__()
        if distance not in {"unit", "l1", "l2"}:
            raise ValueError(f"Parameter `distance` should be 'unit', 'l1' or 'l2', found {distance!r}.")
        self.network = FrozenNetwork(network) if isinstance(network, nn.Module) else network
        self.levels = None if levels is None else tuple(levels)
        self.distance, self.modality = distance, modality

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Return the distance of each row: [N], at least float32. Gradients flow to `prediction` only."""
        with torch.no_grad():
            wanted = self._maps(target)
        found = self._maps(prediction)
        terms = [_distance(a, b, self.distance) for a, b in zip(found, wanted, strict=True)]
        return torch.stack(terms).sum(0)

    def _maps(self, images: Tensor) -> Sequence[Tensor]:
        given = self.network({self.modality: images})
        maps = given[self.modality].maps if isinstance(given, Features) else given
        if not maps:
            raise ValueError("The network of a perceptual loss should give feature maps, found none.")
        return maps if self.levels is None else [maps[level] for level in self.levels]


class LpipsLoss(_OnFrozen):
    """LPIPS, the learned distance of [arXiv 1801.03924](https://arxiv.org/abs/1801.03924), by the package `lpips`.

    Args:
        network: An `lpips.LPIPS`, or anything that takes two images in [-1, 1] and gives N numbers; frozen as in
            `PerceptualLoss`.
    """

    def __init__(self, network: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.network = FrozenNetwork(network) if isinstance(network, nn.Module) else network

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Return the distance of each row of images in [0, 1]: [N], at least float32."""
        distances: Tensor = self.network(prediction * 2 - 1, target.detach() * 2 - 1)
        return distances.to(torch.promote_types(distances.dtype, torch.float32)).reshape(len(prediction))


def _distance(found: Tensor, wanted: Tensor, kind: Distance) -> Tensor:
    """Return the distance of two feature maps a row: [N]."""
    dtype = torch.promote_types(found.dtype, torch.float32)
    found, wanted = found.to(dtype), wanted.to(dtype)
    if kind == "unit":
        return (_unit(found) - _unit(wanted)).square().sum(1).mean((1, 2))
    apart = found - wanted
    return (apart.abs() if kind == "l1" else apart.square()).mean((1, 2, 3))


def _unit(maps: Tensor) -> Tensor:
    """Return the maps with vectors of length 1 along the channels; zeros stay zeros, and have a gradient."""
    return maps * maps.square().sum(1, keepdim=True).add(_TINY).rsqrt()
