r"""Cut images into a grid of tiles and put the tiles in another order.

Tiles are numbered row by row. An *order* says which tile stands where: position `k` of the result shows tile
`order[k]` of the source,

$$ \mathrm{tiles}_{out}[k] = \mathrm{tiles}_{in}[\mathrm{order}[k]]. $$

(kornia's `RandomJigsaw` numbers the positions column by column instead, so its identity transposes the grid.)
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["invert_order", "puzzle", "shuffle_tiles", "unshuffle_tiles"]


def invert_order(order: Tensor) -> Tensor:
    """Return the orders that undo `order`.

    Args:
        order: Permutations of 0 ... K-1: int64 [N, K].

    Examples:
        >>> import torch
        >>> from auxlearn_puzzling import invert_order
        >>> invert_order(torch.tensor([[2, 0, 1]])).tolist()
        [[1, 2, 0]]
    """
    return order.argsort(1)


def shuffle_tiles(images: Tensor, order: Tensor, grid: int) -> Tensor:
    """Return the images with position `k` showing tile `order[k]`, in one pass over the memory.

    A tile is `height / grid` short runs of memory, one for each of its lines. All runs of all tiles are the rows of
    a matrix, so the shuffle is a single selection of rows. The memory format of `images` is kept.

    Args:
        images: [N, C, H, W] of any dtype; H and W are multiples of `grid`.
        order: Which tile each position shows, row by row: int64 [N, grid * grid]. Tiles may repeat.
        grid: Tiles along each side.

    Raises:
        ValueError: If the sides are no multiples of `grid`, or `order` does not fit.

    Examples:
        >>> import torch
        >>> from auxlearn_puzzling import shuffle_tiles
        >>> shuffle_tiles(torch.arange(4).view(1, 1, 2, 2), torch.tensor([[3, 0, 1, 2]]), grid=2)
        tensor([[[[3, 0],
                  [1, 2]]]])
    """
    count, channels, height, width = images.shape
    if height % grid or width % grid:
        raise ValueError(f"`images` should have sides that are multiples of grid {grid}, found {height} x {width}.")
    if order.shape != (count, grid * grid):
        raise ValueError(f"`order` should have shape {(count, grid * grid)}, found {tuple(order.shape)}.")
    lines, run = height // grid, width // grid
    if images.is_contiguous(memory_format=torch.channels_last) and not images.is_contiguous():
        flat = images.permute(0, 2, 3, 1).reshape(-1, run * channels)
        result = flat.index_select(0, _runs(order, grid, lines, planes=1))
        return result.view(count, height, width, channels).permute(0, 3, 1, 2)
    flat = images.reshape(-1, run)
    return flat.index_select(0, _runs(order, grid, lines, planes=channels)).view(images.shape)


def _runs(order: Tensor, grid: int, lines: int, planes: int) -> Tensor:
    """Return which run of the source stands at each run of the result: int64 [N * planes * grid * lines * grid]."""
    first = (order // grid * (lines * grid) + order % grid).view(-1, 1, grid, 1, grid)
    line = torch.arange(0, lines * grid, grid, device=order.device).view(lines, 1)
    size = grid * lines * grid
    plane = torch.arange(0, len(order) * planes * size, size, device=order.device).view(-1, planes, 1, 1, 1)
    return (first + line + plane).flatten()


def unshuffle_tiles(images: Tensor, order: Tensor, grid: int) -> Tensor:
    """Return the images from which `shuffle_tiles` made `images`; its arguments and errors are the same.

    Examples:
        >>> import torch
        >>> from auxlearn_puzzling import shuffle_tiles, unshuffle_tiles
        >>> images, order = torch.rand(1, 3, 6, 6), torch.randperm(9).view(1, 9)
        >>> bool((unshuffle_tiles(shuffle_tiles(images, order, 3), order, 3) == images).all())
        True
    """
    return shuffle_tiles(images, invert_order(order), grid)


def puzzle(images: Tensor, order: Tensor, grid: int, mode: str = "bilinear") -> Tensor:
    """Return the images with their tiles in `order`, for images of any size.

    Where `grid` does not divide a side, the image is resized up to the next multiple, shuffled, and resized back, as
    the code of arXiv 2105.06421 does (224 to 225 to 224 pixels for a grid of 3).

    Args:
        images: Float [N, C, H, W].
        order: Which tile each position shows, row by row: int64 [N, grid * grid].
        grid: Tiles along each side.
        mode: How to resize: `"bilinear"`, or `"nearest-exact"` for label maps.

    Examples:
        >>> import torch
        >>> from auxlearn_puzzling import puzzle
        >>> puzzle(torch.rand(2, 3, 64, 64), torch.stack([torch.randperm(9)] * 2), grid=3).shape
        torch.Size([2, 3, 64, 64])
    """
    size = images.shape[-2:]
    fitting = [-(-side // grid) * grid for side in size]
    if fitting == list(size):
        return shuffle_tiles(images, order, grid)
    return F.interpolate(shuffle_tiles(F.interpolate(images, fitting, mode=mode), order, grid), size, mode=mode)
