"""Cutting faces out of pictures: squares round a box or landmarks, and similarity transforms to a standard face."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from PIL import Image

from auxlearn.data.source import Region

__all__ = ["STANDARD_FACE", "align_face", "cut_square", "five_points", "similarity", "square_of"]

Points = Sequence[tuple[float, float]]

STANDARD_FACE = (
    (38.2946, 51.6963),
    (73.5318, 51.5014),
    (56.0252, 71.7366),
    (41.5493, 92.3655),
    (70.7299, 92.2041),
)
"""Where eyes, nose and corners of the mouth stand in an aligned picture of 112 x 112 pixels: the template of "ArcFace"
(arXiv 1801.07698), which the face recognition sets of the field are aligned to. The eyes and the mouth on the left of
the picture come first; (0, 0) is the centre of the first pixel."""

_STANDARD_SIDE = 112
_LEFT_EYE, _RIGHT_EYE = slice(36, 42), slice(42, 48)  # of the 68 landmarks of 300-W
_NOSE, _MOUTH_LEFT, _MOUTH_RIGHT = 30, 48, 54


def five_points(landmarks: Points) -> Points:
    """Return eyes, nose and corners of the mouth, from five landmarks or the 68 of 300-W; ValueError for others.

    Of 68, an eye is the mean of its six points ("300 Faces in-the-Wild Challenge", doi 10.1016/j.imavis.2016.01.002).
    """
    if len(landmarks) == len(STANDARD_FACE):
        return landmarks
    if not landmarks:
        raise ValueError("has no landmarks in the data")
    if len(landmarks) != 68:
        raise ValueError(f"has {len(landmarks)} landmarks, where aligning needs 5, or the 68 of 300-W")
    eyes = [_mean(landmarks[eye]) for eye in (_LEFT_EYE, _RIGHT_EYE)]
    return [*eyes, landmarks[_NOSE], landmarks[_MOUTH_LEFT], landmarks[_MOUTH_RIGHT]]


def _mean(points: Points) -> tuple[float, float]:
    return sum(x for x, _ in points) / len(points), sum(y for _, y in points) / len(points)


def similarity(source: Points, target: Points) -> tuple[complex, complex]:
    """Return the scale and turn a, and the shift b, of the similarity nearest to bringing `source` to `target`.

    With points as complex numbers it is z -> a z + b, and the sum of squared distances is least for
    a = Σ conj(z - mean z) (w - mean w) / Σ |z - mean z|²: the estimate of "Least-squares estimation of transformation
    parameters between two point patterns" (Umeyama, doi 10.1109/34.88573) in the plane, where it needs no singular
    values, among the maps that do not mirror.

    Raises:
        ValueError: If all points of `source` are the same.

    Examples:
        >>> from auxlearn.data.alignment import similarity
        >>> similarity([(0, 0), (1, 0)], [(1, 1), (1, 3)])  # twice as large, a quarter turn, shifted by (1, 1)
        (2j, (1+1j))
    """
    before, after = (np.array([complex(*point) for point in points]) for points in (source, target))
    off_before, off_after = before - before.mean(), after - after.mean()
    spread = float((np.abs(off_before) ** 2).sum())
    if not spread > 0:  # also refuses NaN
        raise ValueError("has landmarks that are all at one place")
    turn = complex((off_before.conj() * off_after).sum() / spread)
    return turn, complex(after.mean() - turn * before.mean())


def align_face(picture: Image.Image, landmarks: Points, size: int) -> Image.Image:
    """Return the face with these landmarks, moved to `STANDARD_FACE`, as a square of `size` pixels.

    The picture is turned, scaled and shifted, not sheared, so the face keeps its proportions. It is made smaller with
    antialiasing first and then resampled bicubically; what lies beyond the picture is black.

    Args:
        picture: In mode RGB.
        landmarks: Five, or the 68 of 300-W, in pixels of the picture, (0, 0) being the centre of the first.
        size: Side of the result.

    Raises:
        ValueError: If there are others, all at one place, or mapped beyond what can be drawn.
    """
    ratio = size / _STANDARD_SIDE
    target = [((x + 0.5) * ratio - 0.5, (y + 0.5) * ratio - 0.5) for x, y in STANDARD_FACE]
    turn, shift = similarity(five_points(landmarks), target)
    if not abs(turn) > 0 or not math.isfinite(abs(turn)):
        raise ValueError("has landmarks that are no face")
    # From here on coordinates count from the corner of the first pixel, as Pillow's do.
    corner = complex(0.5, 0.5)
    back, origin = 1 / turn, corner - (shift + corner) / turn
    shrink = min(1.0, abs(turn))
    small = (max(1, round(picture.width * shrink)), max(1, round(picture.height * shrink)))
    scale_x, scale_y = small[0] / picture.width, small[1] / picture.height
    if small != picture.size:
        picture = picture.resize(small, Image.Resampling.BICUBIC)
    matrix = (
        *(back.real * scale_x, -back.imag * scale_x, origin.real * scale_x),
        *(back.imag * scale_y, back.real * scale_y, origin.imag * scale_y),
    )
    return picture.transform((size, size), Image.Transform.AFFINE, matrix, resample=Image.Resampling.BICUBIC)


def square_of(region: Region, what: str, margin: float) -> tuple[int, int, int, int]:
    """Return the square round a region in whole pixels: left, top, right, bottom.

    Args:
        region: Where the object is.
        what: `"box"`, or `"landmarks"` for the smallest box that holds them.
        margin: What is added on each side, as a part of the longer side of the box.

    Raises:
        ValueError: If the region lacks it, or it has no area.

    Examples:
        >>> from auxlearn.data import Region
        >>> from auxlearn.data.alignment import square_of
        >>> square_of(Region(box=(10, 10, 30, 50)), "box", 0.25)
        (-10, 0, 50, 60)
    """
    box = region.box if what == "box" else _round_points(region.landmarks)
    if box is None:
        raise ValueError(f"has no {what} in the data")
    left, top, right, bottom = box
    half = max(right - left, bottom - top) * (0.5 + margin)
    if not (0 < half < math.inf and right > left and bottom > top):
        raise ValueError(f"has the {what} {tuple(round(edge, 1) for edge in box)}, which has no area")
    middle_x, middle_y = (left + right) / 2, (top + bottom) / 2
    first_x, first_y, side = round(middle_x - half), round(middle_y - half), max(1, round(2 * half))
    return first_x, first_y, first_x + side, first_y + side


def _round_points(points: Points) -> tuple[float, float, float, float] | None:
    if not points:
        return None
    across, down = zip(*points, strict=True)
    return min(across), min(down), max(across), max(down)


def cut_square(picture: Image.Image, square: tuple[int, int, int, int], max_pixels: int) -> Image.Image:
    """Return a part of a picture, black where it reaches beyond; ValueError if it is outside or too large."""
    left, top, right, bottom = square
    if left >= picture.width or top >= picture.height or right <= 0 or bottom <= 0:
        raise ValueError(f"would be cut to {square}, outside of its {picture.width} x {picture.height} pixels")
    if (right - left) * (bottom - top) > max_pixels:
        raise ValueError(f"would be cut to {right - left} x {bottom - top} pixels, more than the limit of {max_pixels}")
    return picture.crop(square)
