"""`Decoder`: from a feature map back to an image."""

from __future__ import annotations

import math
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["Decoder"]


class Decoder(nn.Module):
    r"""Draw an image of any size from one feature map.

    A 1 x 1 convolution to `width` channels, then one stage for each doubling of the resolution but the last: a 1 x 1
    convolution to half the channels, resizing to the nearest neighbour, a depthwise 3 x 3 convolution, BatchNorm and
    SiLU. The last doubling is a sub-pixel convolution ("Real-Time Single Image and Video Super-Resolution Using an
    Efficient Sub-Pixel Convolutional Neural Network", [arXiv 1609.05158](https://arxiv.org/abs/1609.05158)): a stage at
    full resolution would cost more than all others together. There are no skip connections from finer maps: they would
    let the decoder copy, and the backbone learn nothing.

    Each stage resizes to $\lceil S / 2^k \rceil$ for the target's side S and the k doublings that are left, not by a
    factor of two, so neither the side nor the stride of the backbone needs to fit; of an odd side, the last row of
    pixels is cut.

    The output goes through a sigmoid: it is always in [0, 1], as pixels are and as perceptual networks expect them.

    Args:
        channels: Of the feature map.
        reduction: How many pixels a cell of the feature map spans along each side.
        image_channels: Of the image.
        width: Channels at the coarsest scale; each stage halves them.
        narrowest: Fewest channels of a stage.
        separable: False for a full 3 x 3 convolution in each stage, several times as costly.

    Shape:
        [N, channels, h, w] and the size (H, W) to [N, image_channels, H, W], at least float32.

    Examples:
        >>> import torch
        >>> from auxlearn_inpainting import Decoder
        >>> Decoder(320, 32)(torch.zeros(2, 320, 4, 4), (97, 97)).shape
        torch.Size([2, 3, 97, 97])
    """

    def __init__(
        self,
        channels: int,
        reduction: int,
        *,
        image_channels: int = 3,
        width: int = 128,
        narrowest: int = 16,
        separable: bool = True,
    ) -> None:
        super().__init__()
        if min(channels, reduction, image_channels, width, narrowest) < 1:
            found = {"channels": channels, "reduction": reduction, "width": width, "narrowest": narrowest}
            raise ValueError(f"Sizes of a decoder should be positive, found {found}.")
        doublings = math.ceil(math.log2(reduction))
        widths = [max(min(narrowest, width), width >> index) for index in range(max(doublings, 1))]
        self.doubles = 2 if doublings else 1
        self.enter = nn.Sequential(nn.Conv2d(channels, width, 1, bias=False), nn.BatchNorm2d(width), nn.SiLU())
        self.stages = nn.ModuleList(_Stage(before, after, separable=separable) for before, after in pairwise(widths))
        self.leave = nn.Conv2d(widths[-1], image_channels * self.doubles**2, 3, padding=1)

    def forward(self, features: Tensor, size: tuple[int, int]) -> Tensor:
        """Return the image of this height and width."""
        drawn = self.enter(features)
        for left, stage in zip(range(len(self.stages), 0, -1), self.stages, strict=True):
            drawn = stage(drawn, _parts(size, 2**left))
        logits = F.pixel_shuffle(self.leave(_resize(drawn, _parts(size, self.doubles))), self.doubles)
        logits = logits[:, :, : size[0], : size[1]]
        image: Tensor = logits.to(torch.promote_types(logits.dtype, torch.float32)).sigmoid()
        return image


class _Stage(nn.Module):
    """One doubling of the resolution."""

    def __init__(self, before: int, after: int, *, separable: bool) -> None:
        super().__init__()
        # Mixing channels commutes with resizing, and costs a quarter before it.
        self.mix = nn.Conv2d(before, after, 1, bias=False) if separable else nn.Identity()
        inner = after if separable else before
        self.smooth = nn.Conv2d(inner, after, 3, padding=1, groups=after if separable else 1, bias=False)
        self.norm = nn.BatchNorm2d(after)

    def forward(self, drawn: Tensor, size: tuple[int, int]) -> Tensor:
        smooth: Tensor = self.norm(self.smooth(_resize(self.mix(drawn), size)))
        return F.silu(smooth, inplace=True)


def _parts(size: tuple[int, int], parts: int) -> tuple[int, int]:
    """Return the size divided by `parts`, rounded up."""
    return -(-size[0] // parts), -(-size[1] // parts)


def _resize(drawn: Tensor, size: tuple[int, int]) -> Tensor:
    return drawn if drawn.shape[2:] == torch.Size(size) else F.interpolate(drawn, size, mode="nearest-exact")
