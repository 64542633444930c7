"""A z-buffer rasteriser in numpy: which triangle each sample of the image shows, and where on it."""

import attrs
import numpy as np
import numpy.typing as npt

from auxlearn_synthfaces.generate.mesh import Floats, Ints

__all__ = ["Surface", "rasterise"]

_EDGE = 1e-9  # tolerance that leaves no gaps between neighbours

Flags = npt.NDArray[np.bool_]


@attrs.frozen(eq=False)
class Surface:
    """The visible surface.

    Attributes:
        sample: Flat index (row * resolution + column) of each covered sample [S].
        triangle: The triangle seen there [S].
        weights: Perspective-correct barycentric weights on it [S, 3].
    """

    sample: Ints
    triangle: Ints
    weights: Floats

    def interpolate(self, values: Floats, triangles: Ints) -> Floats:
        """Values of the vertices [V, C], interpolated at each covered sample [S, C]."""
        corners = triangles[self.triangle]
        w = self.weights
        result: Floats = (
            w[:, :1] * values[corners[:, 0]] + w[:, 1:2] * values[corners[:, 1]] + w[:, 2:] * values[corners[:, 2]]
        )
        return result


def rasterise(projected: Floats, triangles: Ints, two_sided: Flags, resolution: int) -> Surface:
    """Find the nearest triangle at the centre of each sample of a square image.

    Args:
        projected: Image coordinates in [0, 1] (x right, y down) and depth of each vertex [V, 3].
        triangles: Vertex indices [T, 3].
        two_sided: Which triangles are seen from behind too [T].
        resolution: Samples along each side.
    """
    shown, planes, low, extent = _set_up(projected[triangles].astype(np.float64), two_sided, resolution)
    boxes = extent[:, 0] * extent[:, 1]
    which = np.repeat(np.arange(len(shown)), boxes)  # every sample of every triangle's bounding box
    place = np.arange(len(which)) - np.repeat(np.cumsum(boxes) - boxes, boxes)
    down, right = np.divmod(place, extent[which, 0])
    column, row = low[which, 0] + right, low[which, 1] + down
    own = planes[:, which]
    first, second = (own[i] * column + own[i + 1] * row + own[i + 2] for i in (0, 3))
    third = 1 - first - second
    inside = np.flatnonzero((first >= -_EDGE) & (second >= -_EDGE) & (third >= -_EDGE))
    sample = (row * resolution + column)[inside]
    scaled = np.stack([first[inside], second[inside], third[inside]]) * own[6:, inside]
    closeness = scaled[0] + scaled[1] + scaled[2]  # 1 / depth is linear in the image
    order = np.argsort(closeness, kind="stable")
    nearest = np.full(resolution**2, -1)
    nearest[sample[order]] = order  # of several, the last assigned stays
    chosen = nearest[nearest >= 0]
    weights = (scaled[:, chosen] / closeness[chosen]).T.astype(np.float32)
    return Surface(sample[chosen], shown[which[inside[chosen]]], weights)


def _set_up(corners: Floats, two_sided: Flags, resolution: int) -> tuple[Ints, Floats, Ints, Ints]:
    """Choose the triangles that can be seen, and make what is linear over each of them.

    Returns:
        Their indices [U]; for each, (d/dcolumn, d/drow, value at sample 0, 0) of the first and the second barycentric
        weight, and one over the depth of each corner [9, U]; the first sample and the size of their bounding boxes in
        columns and rows [U, 2].
    """
    flat = corners[..., :2] * resolution - 0.5  # sample centres lie at whole numbers
    a, b, c = flat[:, 0], flat[:, 1], flat[:, 2]
    low = np.clip(np.ceil(np.minimum(np.minimum(a, b), c)), 0, resolution).astype(np.int64)
    high = np.clip(np.floor(np.maximum(np.maximum(a, b), c)), -1, resolution - 1).astype(np.int64)
    area = (b[:, 0] - a[:, 0]) * (c[:, 1] - a[:, 1]) - (b[:, 1] - a[:, 1]) * (c[:, 0] - a[:, 0])
    # y points down, so what is counter-clockwise from outside has negative area when it faces the camera
    facing = (area < -_EDGE) | (two_sided & (area > _EDGE))
    shown = np.flatnonzero(facing & (high >= low).all(1))
    a, b, c, area = a[shown], b[shown], c[shown], area[shown]
    planes = []
    for one, other in ((b, c), (c, a)):
        across, along = (one - other) / area[:, None], one / area[:, None]
        offset = along[:, 0] * other[:, 1] - along[:, 1] * other[:, 0]
        planes += [across[:, 1], -across[:, 0], offset]
    low = low[shown]
    return shown, np.stack([*planes, *(1 / corners[shown, :, 2].T)]), low, high[shown] - low + 1
