"""Where the pixels of a result come from: crop, zoom, rotation, mirroring and resizing as one affine map.

kornia's `warp_affine` takes the map from source to result and inverts it with `torch.linalg.inv`, which makes a GPU
wait for the host. Here both directions are written down in closed form.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from auxlearn.learning import Motion

__all__ = ["Window", "resample"]

# From here on a bilinear sample would skip source pixels, so the source is first shrunk with a proper filter.
_COARSEST = 2


class Window(NamedTuple):
    """The part of each source image that fills the result: a rotated, perhaps mirrored rectangle.

    Attributes:
        width, height: Its sides in source pixels, [N].
        x, y: Its centre in source pixels from the centre of the image, [N].
        angle: By how much it is turned clockwise as displayed, in radians, so the result turns the other way, [N].
        mirror: -1 where left and right are exchanged, else 1, [N].
        source: Height and width of the source image.
        size: Side of the result.
    """

    width: Tensor
    height: Tensor
    x: Tensor
    y: Tensor
    angle: Tensor
    mirror: Tensor
    source: tuple[int, int]
    size: int

    def motion(self) -> Motion:
        """Return the map from source pixels to result pixels."""
        cos, sin = self.angle.cos(), self.angle.sin()
        across, down = self.mirror * self.size / self.width, self.size / self.height
        linear = torch.stack([cos * across, sin * across, -sin * down, cos * down], 1).view(-1, 2, 2)
        height, width = self.source
        centre = torch.stack([self.x + (width - 1) / 2, self.y + (height - 1) / 2], 1).unsqueeze(2)
        return Motion(torch.cat([linear, (self.size - 1) / 2 - linear @ centre], 2))

    def sampling(self) -> Tensor:
        """Return the map from result to source that `affine_grid` takes, in its coordinates of -1 to 1: [N, 2, 3]."""
        cos, sin = self.angle.cos(), self.angle.sin()
        height, width = self.source
        across, down = self.mirror * self.width, self.height
        first = torch.stack([cos * across, -sin * down, 2 * self.x], 1) / width
        second = torch.stack([sin * across, cos * down, 2 * self.y], 1) / height
        return torch.stack([first, second], 1)


def resample(images: Tensor, window: Window, padding: str = "zeros") -> Tensor:
    """Return what the window shows: float [N, C, size, size].

    Images of more than twice the result's size are first shrunk to that, with antialiasing.

    Args:
        images: Float [N, C, H, W].
        window: Which part of each image to show.
        padding: What lies beyond the edge: `"zeros"`, `"border"` or `"reflection"`.
    """
    height, width = images.shape[-2:]
    shrink = min(height, width) / (_COARSEST * window.size)
    if shrink > 1:
        size = (round(height / shrink), round(width / shrink))
        images = F.interpolate(images, size, mode="bilinear", antialias=True)
    grid = _grid(window.sampling(), window.size)
    return F.grid_sample(images, grid, mode="bilinear", padding_mode=padding, align_corners=False)


def _grid(maps: Tensor, size: int) -> Tensor:
    """Return `F.affine_grid(maps, [N, C, size, size], align_corners=False)` in a sixth of its time: [N, size, size, 2].

    A place is a complex number here, so that each is one addition of what its column and its line contribute.
    """
    places = ((2 * torch.arange(size, device=maps.device) + 1) / size - 1).view(1, size, 1)
    columns = torch.view_as_complex((maps[:, None, :, 0] * places).contiguous())
    lines = torch.view_as_complex((maps[:, None, :, 1] * places + maps[:, None, :, 2]).contiguous())
    return torch.view_as_real(columns.unsqueeze(1) + lines.unsqueeze(2))
