"""The picture of a row, as it is stored: whole, cut to a square, or aligned, and of which size."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import attrs
import numpy as np
from PIL import Image
from torch import Tensor

from auxlearn.data.alignment import align_face, cut_square, square_of
from auxlearn.data.images import MAX_PIXELS, Fit, convert_image, read_image
from auxlearn.data.problems import problem
from auxlearn.data.source import DataSource, Region
from auxlearn.errors import DataError

__all__ = ["Pictures", "Treatment"]

_ALIGNED_SIDE = 112


@attrs.frozen(kw_only=True)
class Treatment:
    """What is done to pictures.

    Attributes:
        size: Side of the square result in pixels; None: as it comes out, and 112 for aligned faces.
        crop: Cut to a square round this part of the row's `Region`; None: not at all.
        margin: What the square has on each side besides, as a part of the region's longer side.
        align: Move the landmarks to `auxlearn.data.alignment.STANDARD_FACE`; instead of cutting.
        fit: How what is not square gets a `size`; see `read_image`.
    """

    size: int | None = None
    crop: Literal["box", "landmarks"] | None = None
    margin: float = 0.0
    align: bool = False
    fit: Fit = "crop"


class Pictures:
    """The pictures and labels of one split.

    Args:
        source: The data, with pictures in their own size.
        split: Which split.
        treatment: What is done to them.
    """

    def __init__(self, source: DataSource, split: str, treatment: Treatment) -> None:
        self._source, self._split, self._how = source, split, treatment
        self._rows: Any = source.dataset(split)
        # A region is about the file, of which a row may show a part.
        self._files: Sequence[str | None] | None = (
            source.files(split) if treatment.align or treatment.crop is not None else None
        )

    def __len__(self) -> int:
        return len(self._rows)

    def read(self, index: int) -> tuple[Image.Image, dict[str, Any]]:
        """Return the picture and the labels of a row.

        Raises:
            DataError: If it cannot be read, or lacks what the treatment needs.
        """
        name = self._source.name(self._split, index)
        file = None if self._files is None else self._files[index]
        if file is not None and hasattr(self._rows, "labels"):  # the image would be decoded for nothing
            item, pixels = self._rows.labels(index), read_image(file)
        else:
            item = dict(self._rows[index])
            shown = item.pop("image", None)
            pixels = shown if file is None else read_image(file)
        if pixels is None:
            raise DataError(problem(name, "the row has no image"))
        if not (self._how.align or self._how.crop):
            return _resized(_picture(pixels), self._how), item
        try:
            return _cut(_picture(pixels), self._source.region(self._split, index) or Region(), self._how), item
        except ValueError as error:
            raise DataError(problem(name, f"the row {error}")) from None


def _picture(pixels: Any) -> Image.Image:
    array = pixels.numpy() if isinstance(pixels, Tensor) else np.asarray(pixels)
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[0] not in (1, 3):
        raise ValueError(f"Images should be uint8 [1 or 3, H, W], found {array.dtype} {array.shape}.")
    return Image.fromarray(np.ascontiguousarray(np.broadcast_to(array, (3, *array.shape[1:])).transpose(1, 2, 0)))


def _resized(picture: Image.Image, how: Treatment) -> Image.Image:
    return picture if how.size is None else _picture(convert_image(picture, how.size, fit=how.fit))


def _cut(picture: Image.Image, region: Region, how: Treatment) -> Image.Image:
    if how.align:
        return align_face(picture, region.landmarks, how.size or _ALIGNED_SIDE)
    square = square_of(region, how.crop or "box", how.margin)
    return _resized(cut_square(picture, square, MAX_PIXELS), how)
