"""Images with one bright point each, to see where a transform takes it."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from auxlearn.learning import Motion

__all__ = ["bright_points", "misplaced"]

_ROWS = 16
_SPREAD = 1.2  # standard deviation of a point in pixels
_DARK, _BRIGHT = 0.2, 0.6
_AS_BRIGHT = 0.75  # of the brightest place
_MARGIN = 2.0  # pixels at the border, where a point may be cut
_RIGHT = 0.75  # of the rows: neighbours of a point may outshine it
_IN_SIGHT = 0.72  # of its brightness, more than the neighbours of a covered point have


def bright_points(shape: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """Return images [N, C, H, W] in [0, 1] of a form, and where the point of each is: [N, 2], x and y."""
    channels, height, width = shape
    generator = torch.Generator().manual_seed(0)
    share = torch.rand(_ROWS, 2, generator=generator) * 0.5 + 0.25
    points = (share * torch.tensor([width - 1.0, height - 1.0])).round()
    x, y = torch.arange(width), torch.arange(height)
    far = (x - points[:, :1]).square().unsqueeze(1) + (y - points[:, 1:]).square().unsqueeze(2)
    images = _DARK + _BRIGHT * torch.exp(-far / (2 * _SPREAD**2))
    return images.unsqueeze(1).expand(-1, channels, -1, -1).contiguous(), points


def misplaced(images: Tensor, motion: Motion, points: Tensor) -> str | None:
    """Return how the points of `images` are not where `motion` takes `points`; None if they are."""
    found = images.detach().float().mean(1)
    light = (found - found.flatten(1).median(1).values.view(-1, 1, 1)).abs()
    ones = torch.ones(len(points), 1)
    wanted = (motion.matrix.float() @ torch.cat([points, ones], 1).unsqueeze(2)).squeeze(2)
    size = torch.tensor([images.shape[3], images.shape[2]])
    inside = ((wanted >= _MARGIN) & (wanted <= size - 1 - _MARGIN)).all(1) & (light.amax((1, 2)) > _IN_SIGHT * _BRIGHT)
    if not inside.any():
        return None
    there = F.grid_sample(light.unsqueeze(1), (2 * wanted / (size - 1) - 1).view(-1, 1, 1, 2), align_corners=True)
    right = there.flatten() >= _AS_BRIGHT * light.amax((1, 2))
    if float(right[inside].float().mean()) >= _RIGHT:
        return None
    row = int((inside & ~right).nonzero()[0])
    place = int(light[row].argmax())
    at = (place % images.shape[3], place // images.shape[3])
    return (
        f"the point at {_shown(points[row])} should move to {_shown(wanted[row])}, "
        f"the brightest pixel is at ({at[0]}, {at[1]})"
    )


def _shown(point: Tensor) -> str:
    return f"({float(point[0]):.1f}, {float(point[1]):.1f})"
