r"""Turn images, or the tiles of images, by multiples of 90 degrees: each row its own, without interpolation.

Turns are counted counterclockwise as displayed, like `torch.rot90(image, k, (-2, -1))`. With $c = \cos 90°k$,
$s = \sin 90°k$ and pixels counted from the centre of the square, with y pointing down, the result shows at line $i$ and
column $j$ what stood at

$$ (i', j') = (c\,i + s\,j,\; -s\,i + c\,j). $$

So in an image of $W$ columns that is kept line by line, the place of the source is linear in $i$ and $j$:
one step down moves it by $cW - s$, one step across by $sW + c$.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from auxlearn.learning import Motion

__all__ = ["quarter_turn", "turn_motion"]


def quarter_turn(images: Tensor, turns: Tensor, tiles: int = 1, mode: str = "bilinear") -> Tensor:
    """Return the images with each tile turned where it is, in one pass over the memory.

    The memory format of `images` is kept. Where `tiles` does not divide the side, the image is resized up to the
    next multiple, its tiles turned, and resized back (224 to 225 to 224 pixels for 3 tiles).

    Args:
        images: Square, of any dtype: [N, C, S, S]; float if they have to be resized.
        turns: Quarter turns counterclockwise of each tile, row by row; any integers, also negative: int64
            [N, tiles * tiles].
        tiles: Tiles along each side; 1 turns whole images.
        mode: How to resize: `"bilinear"`, or `"nearest-exact"` for label maps.

    Raises:
        ValueError: If the images are not square, or `turns` does not fit.

    Examples:
        >>> import torch
        >>> from auxlearn_rotation import quarter_turn
        >>> quarter_turn(torch.arange(4).view(1, 1, 2, 2), torch.tensor([[1]]))
        tensor([[[[1, 3],
                  [0, 2]]]])
    """
    count, _, height, width = images.shape
    if height != width:
        raise ValueError(f"`images` should be square, found {height} x {width}.")
    if turns.shape != (count, tiles * tiles):
        raise ValueError(f"`turns` should have shape {(count, tiles * tiles)}, found {tuple(turns.shape)}.")
    fitting = -(-width // tiles) * tiles
    if fitting == width:
        return _gather(images, turns, tiles)
    larger = F.interpolate(images, (fitting, fitting), mode=mode)
    return F.interpolate(_gather(larger, turns, tiles), (height, width), mode=mode)


def turn_motion(turns: Tensor, side: int) -> Motion:
    """Return what quarter turns of whole images do to pixel coordinates.

    Args:
        turns: Quarter turns counterclockwise: int64 [N].
        side: Side of the images in pixels.

    Examples:
        >>> import torch
        >>> from auxlearn_rotation import turn_motion
        >>> upper_right = torch.tensor([7.0, 0.0, 1.0])  # x, y, 1
        >>> (turn_motion(torch.tensor([1]), side=8).matrix @ upper_right).tolist()
        [[0.0, 0.0]]
    """
    cos, sin = _cosine(turns).float(), _cosine(turns - 1).float()
    centre = (side - 1) / 2
    first = torch.stack([cos, sin, centre * (1 - cos - sin)], 1)
    second = torch.stack([-sin, cos, centre * (1 + sin - cos)], 1)
    return Motion(torch.stack([first, second], 1))


def _cosine(turns: Tensor) -> Tensor:
    """Return the cosine of so many quarter turns; the sine is that of one turn less."""
    turns = turns.remainder(4)
    return (1 - turns) * (1 - turns % 2)


def _gather(images: Tensor, turns: Tensor, tiles: int) -> Tensor:
    count, channels, side, _ = images.shape
    pixels = side * side
    source = _sources(turns, tiles, side // tiles)
    if images.is_contiguous(memory_format=torch.channels_last) and not images.is_contiguous():
        image = torch.arange(0, count * pixels, pixels, device=images.device).view(-1, 1, 1, 1, 1)
        flat = images.permute(0, 2, 3, 1).reshape(-1, channels).index_select(0, (source + image).flatten())
        return flat.view(count, side, side, channels).permute(0, 3, 1, 2)
    where = source.view(count, 1, pixels).expand(-1, channels, -1)
    return images.reshape(count, channels, pixels).gather(2, where).view(images.shape)


def _sources(turns: Tensor, tiles: int, side: int) -> Tensor:
    """Return which pixel of the source stands at each pixel: int64 [N, tiles, side, tiles, side]."""
    width = tiles * side
    cos, sin = _cosine(turns), _cosine(turns - 1)
    down, across = width * cos - sin, width * sin + cos
    first = (side - 1) * (width + 1 - down - across) // 2
    tile = torch.arange(tiles * tiles, device=turns.device)
    corner = tile // tiles * (side * width) + tile % tiles * side
    steps = torch.arange(side, device=turns.device)
    first, down, across = (t.view(-1, tiles, 1, tiles, 1) for t in (first + corner, down, across))
    return first + down * steps.view(side, 1, 1) + across * steps
