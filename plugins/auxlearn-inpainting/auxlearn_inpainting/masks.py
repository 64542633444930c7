"""Masks: which pixels of each image are hidden, drawn on the device from a few uniform numbers a row.

A mask is a pure function of its numbers, so it does not depend on other rows, and the same numbers give it again.
Whatever is random happens before: in `Draws` for the task, in torch's generator for the kornia augmentation.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Literal

import attrs
import torch
from torch import Tensor

from auxlearn_inpainting.params import REGIONS

__all__ = ["BlockMask", "FaceMask", "GridMask", "Mask", "fill_masked", "spread", "spread_integers"]


class Mask(ABC):
    """A shape of masks.

    Attributes:
        numbers: How many uniform numbers make one mask.
    """

    @property
    @abstractmethod
    def numbers(self) -> int:
        """How many uniform numbers make one mask."""

    @abstractmethod
    def draw(self, numbers: Tensor, height: int, width: int) -> Tensor:
        """Return the masks, true where pixels are hidden.

        Args:
            numbers: In [0, 1), float [N, `self.numbers`]; each row makes the mask of one image.
            height: H, rows of pixels.
            width: W, columns of pixels.

        Returns:
            Bool [N, 1, H, W], on the device of `numbers`.
        """


@attrs.frozen(kw_only=True)
class BlockMask(Mask):
    """A few rectangles.

    Number and joint area are uniform; the rectangles have equal shares of the area, aspect ratios that are
    log-uniform, and uniform places inside the image. They may overlap, so less than the area may be masked. With one
    rectangle it is the mask of "Random Erasing Data Augmentation" ([arXiv 1708.04896](https://arxiv.org/abs/1708.04896));
    several are the "random block" of "Context Encoders" ([arXiv 1604.07379](https://arxiv.org/abs/1604.07379)).

    Args:
        number: Fewest and most rectangles.
        area: Least and greatest part of the image that they have together.
        aspect: Greatest ratio of a rectangle's longer side to its shorter one, sides in parts of the image's; a
            rectangle too long for the image is made wider.

    Examples:
        >>> import torch
        >>> from auxlearn_inpainting import BlockMask
        >>> mask = BlockMask(number=(1, 1), area=(0.25, 0.25), aspect=1.0)
        >>> mask.draw(torch.zeros(1, mask.numbers), 4, 4)[0, 0].int()
        tensor([[1, 1, 0, 0],
                [1, 1, 0, 0],
                [0, 0, 0, 0],
                [0, 0, 0, 0]], dtype=torch.int32)
    """

    number: tuple[int, int] = (1, 3)
    area: tuple[float, float] = (0.1, 0.4)
    aspect: float = 2.0

    def __attrs_post_init__(self) -> None:
        _require_range("number", self.number, 1, None)
        _require_range("area", self.area, 0, 1)
        if self.aspect < 1:
            raise ValueError(f"Parameter `aspect` should be at least 1, found {self.aspect}.")

    @property
    def numbers(self) -> int:
        """Count and area, then aspect, left and top of each rectangle."""
        return 2 + 3 * self.number[1]

    def draw(self, numbers: Tensor, height: int, width: int) -> Tensor:
        """Return the masks."""
        count = spread_integers(numbers[:, 0], self.number)
        share = spread(numbers[:, 1], self.area) / count
        mask = torch.zeros(len(numbers), 1, height, width, dtype=torch.bool, device=numbers.device)
        for index in range(self.number[1]):
            ratio, left, top = numbers[:, 2 + 3 * index : 5 + 3 * index].unbind(1)
            wide = (share * self.aspect ** (2 * ratio - 1)).sqrt().clamp(max=1).maximum(share)
            tall = share / wide
            left, top = left * (1 - wide), top * (1 - tall)
            mask |= _box((left, top, left + wide, top + tall), height, width) & _column(index < count)
        return mask


@attrs.frozen(kw_only=True)
class GridMask(Mask):
    """Cells of a regular grid, the same number in every image.

    The masks of "Masked Autoencoders Are Scalable Vision Learners" ([arXiv
    2111.06377](https://arxiv.org/abs/2111.06377)), which hides 75 % of 14 x 14 cells.

    Args:
        cells: Cells along each side. Where they do not divide it, some are a pixel larger than others.
        portion: Part of the cells that is masked, rounded to a whole number of them and at least one.

    Examples:
        >>> import torch
        >>> from auxlearn_inpainting import GridMask
        >>> mask = GridMask(cells=2, portion=0.5)
        >>> mask.draw(torch.tensor([[0.9, 0.1, 0.2, 0.8]]), 4, 4)[0, 0].int()
        tensor([[0, 0, 1, 1],
                [0, 0, 1, 1],
                [1, 1, 0, 0],
                [1, 1, 0, 0]], dtype=torch.int32)
    """

    cells: int = 8
    portion: float = 0.4

    def __attrs_post_init__(self) -> None:
        if self.cells < 2:
            raise ValueError(f"Parameter `cells` should be at least 2, found {self.cells}.")
        _require_range("portion", (self.portion, self.portion), 0, 1)

    @property
    def numbers(self) -> int:
        """One for each cell: the cells with the least numbers are masked."""
        return self.cells**2

    def draw(self, numbers: Tensor, height: int, width: int) -> Tensor:
        """Return the masks."""
        count = max(1, round(self.portion * self.numbers))
        masked = (_ranks(numbers) < count).view(-1, 1, self.cells, self.cells)
        rows, columns = (torch.arange(side, device=numbers.device) * self.cells // side for side in (height, width))
        return masked.index_select(2, rows).index_select(3, columns)


@attrs.frozen(kw_only=True)
class FaceMask(Mask):
    """Boxes of parts of a face, some of them chosen for each image.

    Args:
        number: Fewest and most regions.
        jitter: How far each edge of a box may move either way, in parts of the side.
        regions: Left, top, right and bottom of each region in parts of the sides, for roughly aligned faces.

    Examples:
        >>> import torch
        >>> from auxlearn_inpainting import FaceMask
        >>> mask = FaceMask(number=(1, 1), jitter=0.0, regions={"mouth": (0.25, 0.5, 0.75, 1.0)})
        >>> mask.draw(torch.zeros(1, mask.numbers), 4, 4)[0, 0].int()
        tensor([[0, 0, 0, 0],
                [0, 0, 0, 0],
                [0, 1, 1, 0],
                [0, 1, 1, 0]], dtype=torch.int32)
    """

    number: tuple[int, int] = (1, 2)
    jitter: float = 0.03
    regions: Mapping[str, tuple[float, ...]] = attrs.field(factory=lambda: dict(REGIONS))

    def __attrs_post_init__(self) -> None:
        _require_range("number", self.number, 1, len(self.regions))
        for name, box in self.regions.items():
            if len(box) != 4 or box[0] >= box[2] or box[1] >= box[3]:
                raise ValueError(f"Region `{name}` should be (left, top, right, bottom), found {box}.")

    @property
    def numbers(self) -> int:
        """The count, then for each region one to choose it by and four for its edges."""
        return 1 + 5 * len(self.regions)

    def draw(self, numbers: Tensor, height: int, width: int) -> Tensor:
        """Return the masks."""
        many = len(self.regions)
        count = spread_integers(numbers[:, 0], self.number)
        ranks = _ranks(numbers[:, 1 : 1 + many])
        shifts = (numbers[:, 1 + many :] * 2 - 1) * self.jitter
        mask = torch.zeros(len(numbers), 1, height, width, dtype=torch.bool, device=numbers.device)
        for index, box in enumerate(self.regions.values()):
            left, top, right, bottom = (shifts[:, 4 * index + edge] + place for edge, place in enumerate(box))
            # Far jitter may let edges change places.
            edges = [*torch.stack([left, top]).minimum(torch.stack([right, bottom])).unbind()]
            edges += [*torch.stack([left, top]).maximum(torch.stack([right, bottom])).unbind()]
            mask |= _box(edges, height, width) & _column(ranks[:, index] < count)
        return mask


def fill_masked(
    images: Tensor, mask: Tensor, fill: Literal["mean", "zero", "noise"] = "mean", noise: Tensor | None = None
) -> Tensor:
    """Return the images with something else where the mask is true; other pixels are untouched.

    Args:
        images: Float [N, C, H, W].
        mask: Bool [N, 1, H, W].
        fill: `"mean"`, the mean colour of each whole image; `"zero"`, black; `"noise"`, what `noise` shows.
        noise: Like `images`.

    Examples:
        >>> import torch
        >>> from auxlearn_inpainting import fill_masked
        >>> fill_masked(torch.tensor([[[[0.0, 0.5, 1.0]]]]), torch.tensor([[[[True, False, True]]]]))
        tensor([[[[0.5000, 0.5000, 0.5000]]]])
    """
    if fill == "mean":
        return torch.where(mask, images.mean((2, 3), keepdim=True), images)
    if fill == "zero":
        return images.masked_fill(mask, 0)
    if fill != "noise" or noise is None:
        raise ValueError(f"Parameter `fill` should be 'mean', 'zero' or 'noise' with `noise`, found {fill!r}.")
    return torch.where(mask, noise.to(images.dtype), images)


def spread(number: Tensor, between: tuple[float, float]) -> Tensor:
    """Return uniform numbers in [0, 1) as uniform numbers in this range."""
    return between[0] + number * (between[1] - between[0])


def spread_integers(number: Tensor, between: tuple[int, int]) -> Tensor:
    """Return uniform numbers in [0, 1) as uniform whole numbers in this range, both ends included, as floats."""
    low, high = between
    return (low + (number * (high - low + 1)).floor()).clamp(max=high)  # 0.99999994 * 3 may round up


def _ranks(numbers: Tensor) -> Tensor:
    """Return the place of each number in the order of its row."""
    return numbers.argsort(1).argsort(1)


def _box(edges: Sequence[Tensor], height: int, width: int) -> Tensor:
    """Return where the centres of pixels lie within a box (left, top, right, bottom) a row: bool [N, 1, H, W]."""
    left, top, right, bottom = edges
    rows, columns = _within(top, bottom, height), _within(left, right, width)
    return rows.view(-1, 1, height, 1) & columns.view(-1, 1, 1, width)


def _within(low: Tensor, high: Tensor, side: int) -> Tensor:
    centres = (torch.arange(side, device=low.device, dtype=low.dtype) + 0.5) / side
    return (centres >= low.unsqueeze(1)) & (centres < high.unsqueeze(1))


def _column(rows: Tensor) -> Tensor:
    return rows.view(-1, 1, 1, 1)


def _require_range(name: str, found: tuple[float, float], low: float, high: float | None) -> None:
    """Raise a ValueError unless `found` ascends within the bounds; a lower bound of 0 is excluded."""
    above = found[0] > 0 if low == 0 else found[0] >= low
    if len(found) != 2 or not above or found[0] > found[1] or (high is not None and found[1] > high):
        bounds = f"above 0 and up to {high}" if low == 0 else f"from {low}" + ("" if high is None else f" to {high}")
        raise ValueError(f"Parameter `{name}` should ascend within numbers {bounds}, found {found}.")
