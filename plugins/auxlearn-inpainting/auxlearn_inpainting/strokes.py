"""`FreeformMask`: masks as a hand with a brush would paint them."""

from __future__ import annotations

import math

import attrs
import torch
from torch import Tensor

from auxlearn_inpainting.masks import Mask, spread, spread_integers

__all__ = ["FreeformMask"]

_PER_STROKE, _PER_SEGMENT = 5, 2
# Degrees by which a line leaves the direction of its stroke, to one side and to the other in turn.
_LEAST_TURN, _GREATEST_TURN = math.radians(48), math.radians(96)


@attrs.frozen(kw_only=True)
class FreeformMask(Mask):
    """Strokes of a brush: chains of straight lines that turn to one side and the other, with round ends and joints.

    Algorithm 1 of "Free-Form Image Inpainting with Gated Convolution" ([arXiv
    1806.03589](https://arxiv.org/abs/1806.03589)): a random start, brush width and number of vertices for each
    stroke, and a random turn and length for each line, which ends at the border of the image.

    Differences: the strokes are not drawn by a canvas on the host, but each pixel compares its distance to each line
    with half the brush's width, for all rows at once; a random direction of each stroke takes the place of random flips
    of the mask; lengths are uniform.

    Args:
        strokes: Fewest and most strokes.
        segments: Fewest and most lines in a stroke.
        length: Shortest and longest line, in parts of the side.
        width: Thinnest and thickest brush, in parts of the side.

    Examples:
        >>> import torch
        >>> from auxlearn_inpainting import FreeformMask
        >>> mask = FreeformMask()
        >>> mask.draw(torch.rand(2, mask.numbers), 33, 33).shape
        torch.Size([2, 1, 33, 33])
    """

    strokes: tuple[int, int] = (1, 3)
    segments: tuple[int, int] = (3, 8)
    length: tuple[float, float] = (0.05, 0.35)
    width: tuple[float, float] = (0.08, 0.2)

    def __attrs_post_init__(self) -> None:
        for name in ("strokes", "segments", "length", "width"):
            low, high = getattr(self, name)
            if not 0 < low <= high:
                raise ValueError(f"Parameter `{name}` should be two positive numbers that ascend, found {low, high}.")

    @property
    def numbers(self) -> int:
        """The count; for each stroke its lines, start, width and direction; for each line its turn and length."""
        return 1 + self.strokes[1] * self._per_stroke

    @property
    def _per_stroke(self) -> int:
        return _PER_STROKE + _PER_SEGMENT * self.segments[1]

    def draw(self, numbers: Tensor, height: int, width: int) -> Tensor:
        """Return the masks."""
        count = spread_integers(numbers[:, 0], self.strokes)
        mask = torch.zeros(len(numbers), height, width, dtype=torch.bool, device=numbers.device)
        for index in range(self.strokes[1]):
            begin = 1 + index * self._per_stroke
            self._stroke(mask, numbers[:, begin : begin + self._per_stroke], index < count)
        return mask.unsqueeze(1)

    def _stroke(self, mask: Tensor, numbers: Tensor, painted: Tensor) -> None:
        """Add one stroke to each mask of the rows that are to be `painted`."""
        lines, x, y, brush, direction = numbers[:, :_PER_STROKE].unbind(1)
        lines = spread_integers(lines, self.segments) * painted
        radius = spread(brush, self.width) / 2
        for index in range(self.segments[1]):
            turn, length = numbers[:, _PER_STROKE + _PER_SEGMENT * index :][:, :_PER_SEGMENT].unbind(1)
            angle = spread(turn, (_LEAST_TURN, _GREATEST_TURN)) * (-1) ** (index + 1) + 2 * math.pi * direction
            length = spread(length, self.length)
            to_x, to_y = (x + length * angle.cos()).clamp(0, 1), (y + length * angle.sin()).clamp(0, 1)
            reach = torch.where(index < lines, radius.square(), -1.0)  # no square of a distance is below -1
            mask |= _squared_distance((x, y), (to_x, to_y), *mask.shape[1:]) <= reach.view(-1, 1, 1)
            x, y = to_x, to_y


def _squared_distance(start: tuple[Tensor, Tensor], end: tuple[Tensor, Tensor], height: int, width: int) -> Tensor:
    r"""Return the square of each pixel's distance to the line between two points (x, y), sides being 1: [N, H, W].

    With $p$ the pixel, $a$ and $b$ the ends and $d = b - a$, the nearest point is $a + t d$ for
    $t = \mathrm{clamp}((p - a) \cdot d / |d|^2, 0, 1)$.
    """
    x, y = start
    rows, columns = ((torch.arange(side, device=x.device, dtype=x.dtype) + 0.5) / side for side in (height, width))
    across, down = columns - x.unsqueeze(1), rows - y.unsqueeze(1)  # [N, W], [N, H]
    dx, dy = (end[0] - x).unsqueeze(1), (end[1] - y).unsqueeze(1)
    square = (dx.square() + dy.square()).clamp(min=1e-12)  # a line of no length is its starting point
    along = ((across * dx / square).unsqueeze(1) + (down * dy / square).unsqueeze(2)).clamp_(0, 1)
    off_x = torch.addcmul(across.unsqueeze(1), along, dx.unsqueeze(2), value=-1)
    off_y = torch.addcmul(down.unsqueeze(2), along, dy.unsqueeze(2), value=-1)
    return off_x.square_().addcmul_(off_y, off_y)
