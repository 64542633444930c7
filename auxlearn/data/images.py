"""`read_image`: one image file to uint8 RGB, the same pixels for every loader, cache, prediction and export.

What is decided here, and why:

- Only common still-picture formats are tried, and the number of pixels is read from the header and limited
  before anything is decoded, so that a file from a stranger costs little.
- The EXIF orientation is applied: a photo is upright as its viewer showed it to whoever labelled it.
- Transparent pixels show a white ground. Dropping alpha instead would reveal colours that nobody saw.
- 16-bit grey is scaled to 8 bits, not clipped; float images have values in [0, 1].
- Of an animated or multi-page file the first picture counts.
- A crop may reach beyond the picture, as the loose crops of faces do; there it is black, as Pillow makes it.
"""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Callable, Mapping
from typing import Any, BinaryIO, Literal, TypeVar

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from auxlearn.data.problems import problem
from auxlearn.errors import DataError, escape

__all__ = [
    "FORMATS",
    "MAX_PIXELS",
    "Crop",
    "Fit",
    "convert_image",
    "crop_pixels",
    "probe_image",
    "read_image",
    "shown_shape",
    "wrong_crop",
]

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "PPM")
MAX_PIXELS = 50_000_000

Crop = tuple[float, float, float, float]
Fit = Literal["crop", "squash"]
T = TypeVar("T")

_GROUND = (255, 255, 255)


def read_image(
    path: str | os.PathLike[str],
    size: int | None = None,
    *,
    fit: Fit = "crop",
    crop: Crop | None = None,
    max_pixels: int = MAX_PIXELS,
) -> Tensor:
    """Return the image in the file `path` as uint8 RGB [3, H, W].

    Args:
        path: An image file, in one of `FORMATS` whatever its ending says.
        size: Side of the square result in pixels, by bilinear interpolation with antialiasing; None keeps the
            image's own size. An image that already has the size is not touched.
        fit: `"crop"` takes the central square, which is what the field evaluates on and keeps faces undistorted;
            `"squash"` uses the whole picture and changes its proportions.
        crop: The part of the picture that is the image: left, top, right, bottom in pixels of the upright picture,
            rounded to whole ones; black where it reaches beyond the picture. None is all of it.
        max_pixels: The largest image to decode.

    Raises:
        DataError: If the file cannot be read, is no image, is too large or damaged.

    Examples:
        >>> import tempfile, pathlib
        >>> from PIL import Image
        >>> from auxlearn.data import read_image
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = pathlib.Path(folder, "wide.png")
        ...     Image.new("L", (12, 8), 7).save(path)
        ...     read_image(path).shape, read_image(path, 4)[:, 0, 0]
        (torch.Size([3, 8, 12]), tensor([7, 7, 7], dtype=torch.uint8))
    """

    def decode(image: Image.Image) -> Tensor:
        ImageOps.exif_transpose(image, in_place=True)
        return _pixels(image, size, fit, None if crop is None else crop_pixels(crop, max_pixels))

    return _opened(path, max_pixels, decode)


def convert_image(image: Image.Image, size: int | None = None, *, fit: Fit = "crop") -> Tensor:
    """Return an open Pillow image as `read_image` returns a file; the image itself is left as it is."""
    return _pixels(ImageOps.exif_transpose(image), size, fit)


def crop_pixels(crop: Crop, max_pixels: int = MAX_PIXELS) -> tuple[int, int, int, int]:
    """Return the crop in whole pixels.

    Raises:
        ValueError: If it is no area, or one of more than `max_pixels`.
    """
    if len(crop) != 4 or not all(math.isfinite(edge) for edge in crop):
        raise ValueError(f"the crop should be four numbers, found {crop}")
    left, top, right, bottom = map(round, crop)
    if left >= right or top >= bottom:
        raise ValueError(f"the crop {(left, top, right, bottom)} (left, top, right, bottom) has no area")
    if (right - left) * (bottom - top) > max_pixels:
        raise ValueError(f"the crop of {right - left} x {bottom - top} pixels has more than the limit of {max_pixels}")
    return left, top, right, bottom


def wrong_crop(crop: Crop | None) -> str | None:
    """Return what is wrong with a crop, whatever the picture; None if nothing is."""
    try:
        crop is None or crop_pixels(crop)
    except ValueError as error:
        return str(error)
    return None


def shown_shape(shape: tuple[int, int], crop: Crop | None) -> tuple[int, int]:
    """Return (height, width) of what a crop shows of a picture of `shape`; ValueError if that is nothing of it.

    Examples:
        >>> from auxlearn.data.images import shown_shape
        >>> shown_shape((20, 30), (5, 5, 15, 25))
        (20, 10)
    """
    if crop is None:
        return shape
    left, top, right, bottom = crop_pixels(crop)
    if left >= shape[1] or top >= shape[0] or right <= 0 or bottom <= 0:
        raise ValueError(f"is cropped to {(left, top, right, bottom)}, outside of its {shape} pixels (height, width)")
    return bottom - top, right - left


def _pixels(image: Image.Image, size: int | None, fit: Fit, crop: tuple[int, int, int, int] | None = None) -> Tensor:
    picture = _rgb(image)  # before the crop, as black is another value in each mode
    picture = _resize(picture if crop is None else picture.crop(crop), size, fit)
    # A copy, as the array of a Pillow image is read-only; [H, W, C] to [C, H, W] at the same time.
    return torch.from_numpy(np.ascontiguousarray(np.asarray(picture).transpose(2, 0, 1)))


def probe_image(path: str | os.PathLike[str], *, max_pixels: int = MAX_PIXELS) -> tuple[int, int]:
    """Return (height, width) as the header of the file tells them, without decoding; the errors of `read_image`.

    The orientation is taken into account. A file that is cut off or damaged behind its header passes.
    """

    def measure(image: Image.Image) -> tuple[int, int]:
        # The orientations from 5 on swap the axes; Pillow has done so already for TIFF.
        # The PNG reader's own `getexif` decodes everything, to find what may stand behind the pixels.
        turned = image.format != "TIFF" and Image.Image.getexif(image).get(0x0112, 1) >= 5
        return (image.width, image.height) if turned else (image.height, image.width)

    return _opened(path, max_pixels, measure)


def _opened(path: str | os.PathLike[str], max_pixels: int, use: Callable[[Image.Image], T]) -> T:
    """Return `use` of the opened image; whatever goes wrong is a `DataError` with the path."""
    try:
        with open(path, "rb") as file, warnings.catch_warnings():
            # Pillow warns about oddities that do not change the pixels. Of its limit we have our own, stricter form.
            warnings.simplefilter("ignore")
            return use(_header(file, max_pixels))
    except Exception as error:  # Pillow's decoders raise OSError, SyntaxError, ValueError, struct.error and others
        raise DataError(problem(escape(path, 300), _reason(error, path))) from error


def _header(file: BinaryIO, max_pixels: int) -> Image.Image:
    image = Image.open(file, formats=FORMATS)
    if image.width * image.height > max_pixels:
        raise ValueError(f"{image.width} x {image.height} pixels are more than the limit of {max_pixels}")
    return image


def _reason(error: Exception, path: str | os.PathLike[str]) -> str:
    if isinstance(error, FileNotFoundError):
        return "the file is missing"
    if isinstance(error, UnidentifiedImageError):
        empty = os.path.getsize(path) == 0
        return "the file is empty" if empty else f"no image in a known format; allowed: {', '.join(FORMATS)}"
    if isinstance(error, Image.DecompressionBombError):
        return "more pixels than any image should have"
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return f"the image cannot be read ({escape(text, 200) or type(error).__name__})"


def _rgb(image: Image.Image) -> Image.Image:
    """Return the image in mode RGB."""
    convert = _DEEP.get(image.mode)
    if convert is not None:
        grey = np.rint(convert(np.asarray(image))).astype(np.uint8)
        return Image.fromarray(grey).convert("RGB")
    if image.has_transparency_data:
        layered = image.convert("RGBA")
        ground = Image.new("RGBA", layered.size, (*_GROUND, 255))
        return Image.alpha_composite(ground, layered).convert("RGB")
    return image if image.mode == "RGB" else image.convert("RGB")


def _sixteen_bits(grey: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    low, high = int(grey.min()), int(grey.max())
    if low < 0 or high > 65535:
        raise ValueError(f"grey values should be 16-bit, found {low} to {high}")
    return grey / 257.0  # 65535 / 257 == 255


def _unit_interval(grey: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    low, high = float(grey.min()), float(grey.max())
    if not (low >= 0 and high <= 1):  # also refuses NaN
        raise ValueError(f"float values should be in [0, 1], found {low:g} to {high:g}")
    return grey * 255.0


# Modes with more than 8 bits, which Pillow itself would clip.
_DEEP: Mapping[str, Callable[[np.ndarray[Any, Any]], np.ndarray[Any, Any]]] = {
    "I": _sixteen_bits,
    "I;16": _sixteen_bits,
    "I;16B": _sixteen_bits,
    "I;16L": _sixteen_bits,
    "I;16N": _sixteen_bits,
    "F": _unit_interval,
}


def _resize(image: Image.Image, size: int | None, fit: Fit) -> Image.Image:
    if size is None or image.size == (size, size):
        return image
    width, height = image.size
    side = min(width, height)
    left, top = (width - side) / 2, (height - side) / 2
    box = (0, 0, width, height) if fit == "squash" else (left, top, left + side, top + side)
    return image.resize((size, size), Image.Resampling.BILINEAR, box=box)
