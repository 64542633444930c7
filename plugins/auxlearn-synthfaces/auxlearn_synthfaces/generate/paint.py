"""What colour each visible point has, painted in the coordinates of the undeformed mesh.

Brows, irises, lips and beard are functions of where a point lies on the mesh at rest, so they follow the skin through
every shape and expression, at any resolution.
"""

import attrs
import numpy as np

from auxlearn_synthfaces.generate.mesh import REGIONS, Floats, HeadMesh, Ints
from auxlearn_synthfaces.generate.people import Look

__all__ = ["MASKS", "Paint", "hair_cover", "linear", "paint"]

MASKS = ("lips", "mouth", "lids", "ears")
"""The masks of the mesh that the painter needs, in this order."""

_EYE = np.array([0.30775, 7.28415])  # centre of the left eye at rest, x and y
_IRIS, _PUPIL = 0.071, 0.030


@attrs.frozen(eq=False)
class Paint:
    """Material of each sample: linear reflectance [S, 3] and strength of the highlight [S]."""

    colour: Floats
    gloss: Floats


def linear(colour: Floats | tuple[float, ...]) -> Floats:
    """Linear light of an sRGB colour in [0, 1]."""
    return np.power(np.asarray(colour, np.float32), 2.2)


def _step(low: float, high: float, values: Floats) -> Floats:
    """Smooth step from 0 at ``low`` to 1 at ``high``."""
    t = np.clip((values - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


def _over(colour: Floats, paint_colour: Floats, alpha: Floats) -> Floats:
    result: Floats = colour + (paint_colour - colour) * alpha[:, None]
    return result


def _waves(rest: Floats, phase: tuple[float, float, float], scale: float) -> Floats:
    """Smooth pseudo-random pattern of about ``scale`` bumps a unit, in [-1, 1]."""
    total = np.ones(len(rest), np.float32)
    for turn, shift in enumerate(phase):
        angle = 2.1 * turn + 6.3 * shift
        direction = np.array([np.cos(angle), np.sin(angle), np.cos(1.7 * angle)], np.float32)
        total *= np.sin(scale * (rest @ direction) * (1 + 0.37 * turn) + 40 * shift)
    return total


def hair_cover(rest: Floats, look: Look) -> Floats:
    """How far each point at rest lies inside the hairline: above 0 is hair [S]."""
    x, y, z = rest.T
    forehead = 7.88 + 0.9 * np.minimum(z - 1.1, 0)  # a plane from the forehead down to the nape
    sideburn = 0.25 * _step(0.55, 0.75, np.abs(x)) * _step(0.2, 0.5, z) * (1 - _step(0.7, 0.95, z))
    uneven = 0.035 * _waves(rest, look.phase, 9.0)
    result: Floats = (y - forehead - look.hairline * _step(-0.9, 0.6, z) + sideburn + uneven).astype(np.float32)
    return result


def _brows(rest: Floats, look: Look) -> Floats:
    x, y, z = np.abs(rest[:, 0]), rest[:, 1], rest[:, 2]
    along = (x - 0.11) / 0.44
    arch = 4 * look.brow_arch * along * (1.15 - along)
    middle = 7.465 + look.brow_height + arch
    half = look.brow_width * (1 - 0.55 * _step(0.45, 1.05, along))
    inside = 1 - _step(0.75, 1.2, np.abs(y - middle) / half)
    result: Floats = inside * _step(-0.08, 0.05, along) * (1 - _step(0.93, 1.05, along)) * (z > 0.8)
    return result


def _beard(rest: Floats, look: Look) -> Floats:
    x, y, z = np.abs(rest[:, 0]), rest[:, 1], rest[:, 2]
    upper = 6.62 + 0.5 * np.maximum(x - 0.28, 0)  # rises from the chin towards the ears
    jaw = (1 - _step(-0.04, 0.06, y - upper)) * _step(0.1, 0.35, z) * (y > 6.0)
    lip = (1 - _step(0.28, 0.36, x)) * _step(6.80, 6.84, y) * (1 - _step(6.90, 6.95, y)) * (z > 1.2)
    result: Floats = np.maximum(look.beard * jaw, look.moustache * lip)
    return result


def _eyes(rest: Floats, look: Look) -> Floats:
    offset = np.stack([np.abs(rest[:, 0]) - _EYE[0] - 0.004, rest[:, 1] - _EYE[1]], axis=1)
    radius = np.where(rest[:, 2] > 1.2, np.linalg.norm(offset, axis=1), 1.0)
    colour = np.broadcast_to(linear((0.93, 0.92, 0.91)), (len(rest), 3))
    iris = linear(look.iris)
    colour = _over(colour, iris * 0.35, 1 - _step(_IRIS, _IRIS + 0.010, radius))
    colour = _over(colour, iris, 1 - _step(_IRIS - 0.018, _IRIS - 0.006, radius))
    return _over(colour, linear((0.02, 0.02, 0.02)), 1 - _step(_PUPIL - 0.005, _PUPIL + 0.005, radius))


def _skin(rest: Floats, masks: Floats, look: Look) -> tuple[Floats, Floats]:
    """Reflectance and gloss of the body's surface; columns of ``masks`` are those of ``MASKS``."""
    lips, mouth, lids, ears = masks.T
    skin = linear(look.skin)
    x, y, z = np.abs(rest[:, 0]), rest[:, 1], rest[:, 2]
    colour = skin * (1 + look.freckles * _waves(rest, look.phase, 45.0))[:, None] * np.ones((1, 3))
    cheeks = np.exp(-(((x - 0.42) / 0.2) ** 2) - ((y - 6.98) / 0.17) ** 2)
    nose = np.exp(-((x / 0.12) ** 2) - ((y - 7.0) / 0.1) ** 2)
    colour = _over(colour, skin * np.array([1.0, 0.72, 0.70]), 0.5 * (cheeks + nose) * (z > 0.7))
    colour = _over(colour, skin * np.array([0.72, 0.60, 0.58]), 0.6 * _step(0.3, 0.8, lids))
    dark = linear(look.hair) * 0.6
    colour = _over(colour, dark, _beard(rest, look) * (1 - _step(0.2, 0.6, lips)))
    colour = _over(colour, linear(look.lips), _step(0.3, 0.7, lips))
    colour = _over(colour, linear((0.30, 0.07, 0.07)), _step(0.4, 0.8, mouth))
    colour = _over(colour, linear(look.brows), 0.92 * _brows(rest, look))
    colour = _over(colour, linear(look.shirt), 1 - _step(5.80, 5.86, y + 0.25 * _step(0.2, 0.9, z)))
    hair = linear(look.hair) * (1 + 0.6 * _waves(rest, look.phase, 24.0))[:, None]
    cover = _step(-0.02, 0.03, hair_cover(rest, look)) * (1 - _step(0.1, 0.4, ears))
    gloss = 0.10 + 0.25 * _step(0.3, 0.7, lips) + 0.25 * _step(0.4, 0.8, mouth)
    return _over(colour, hair, cover), gloss * (1 - 0.6 * cover)


def paint(mesh: HeadMesh, triangle: Ints, rest: Floats, masks: Floats, look: Look) -> Paint:
    """Colour the visible samples.

    Args:
        mesh: The head.
        triangle: The triangle at each sample [S].
        rest: Where the sample lies on the undeformed mesh [S, 3].
        masks: Its membership in each of ``MASKS`` [S, 4].
        look: The person's colours.
    """
    region = mesh.region[triangle]
    colour, gloss = np.zeros((len(rest), 3), np.float32), np.zeros(len(rest), np.float32)
    body, eye, hair = (region == REGIONS.index(name) for name in ("body", "eye", "hair"))
    colour[body], gloss[body] = _skin(rest[body], masks[body], look)
    colour[eye], gloss[eye] = _eyes(rest[eye], look), 0.35
    colour[hair] = linear(look.hair) * (1 + 0.6 * _waves(rest[hair], look.phase, 24.0))[:, None]
    gloss[hair] = 0.04
    for name, plain, shine in (
        ("teeth", (0.95, 0.93, 0.88), 0.4),
        ("tongue", (0.72, 0.30, 0.30), 0.2),
        ("lash", (0.05, 0.04, 0.04), 0.0),
    ):
        here = region == REGIONS.index(name)
        colour[here], gloss[here] = linear(plain), shine
    return Paint(colour, gloss)
