"""Expressions as mixtures of face units, named as in AffectNet.

A prototype gives the mean weight of each unit; a drawn expression scales all of them by one intensity, each of them
by its own factor, and its two sides slightly apart. Gaze and half-closed lids are drawn for every image whatever its
expression, so that they say nothing about it.

The prototypes are built from the action units that are commonly ascribed to each emotion (Ekman and Friesen, "Facial
Action Coding System", https://doi.org/10.1037/t27734-000), exaggerated so that they can be told apart at 64 pixels.
"""

from collections.abc import Mapping

import attrs
import numpy as np

from auxlearn_synthfaces.generate.mesh import Floats, HeadMesh, read_target

__all__ = ["Expression", "FaceUnits", "draw_expression", "load_units"]

_BOTH: Mapping[str, Mapping[str, float]] = {
    "neutral": {},
    "happiness": {"mouthSmile": 1.1, "cheekSquint": 0.7, "eyeSquint": 0.2, "mouthUpperUp": 0.7, "mouthLowerDown": 0.3},
    "sadness": {"mouthFrown": 1.9, "browOuterUp": -0.7, "eyeBlink": 0.22, "eyeSquint": 0.3, "mouthPress": 0.2},
    "surprise": {"browOuterUp": 1.3, "eyeWide": 1.5},
    "fear": {"eyeWide": 1.8, "mouthStretch": 1.7, "mouthLowerDown": 1.0, "browDown": 0.3, "browOuterUp": -0.5},
    "disgust": {
        "noseSneer": 1.9,
        "mouthUpperUp": 1.6,
        "browDown": 0.7,
        "cheekSquint": 0.8,
        "eyeSquint": 0.8,
        "mouthFrown": 0.6,
    },
    "anger": {
        "browDown": 1.9,
        "eyeSquint": 0.5,
        "eyeWide": 0.5,
        "mouthPress": 0.8,
        "noseSneer": 0.5,
        "mouthFrown": 0.4,
    },
}
_MIDDLE: Mapping[str, Mapping[str, float]] = {
    "happiness": {"jawOpen": 0.3},
    "sadness": {"browInnerUp": 1.9, "mouthShrugLower": 0.9},
    "surprise": {"browInnerUp": 1.4, "jawOpen": 0.85, "mouthFunnel": 0.5},
    "fear": {"browInnerUp": 1.9, "jawOpen": 0.3},
    "disgust": {"mouthShrugLower": 0.4, "jawOpen": 0.08},
    "anger": {"mouthRollLower": 0.5, "mouthRollUpper": 0.4, "jawForward": 0.5},
}
_ONE_SIDE: Mapping[str, Mapping[str, float]] = {
    "contempt": {"mouthSmile": 0.95, "mouthDimple": 1.2, "cheekSquint": 0.5, "browOuterUp": 0.9, "eyeSquint": 0.3},
}

_GAZE = ("eyeLookUp", "eyeLookDown", "eyeLookIn", "eyeLookOut", "eyeBlink")


@attrs.frozen(eq=False)
class FaceUnits:
    """Displacements by unit: ``names[i]`` moves the vertices by ``moves[i]`` [V, 3] at weight 1."""

    names: tuple[str, ...]
    moves: Floats


@attrs.frozen(eq=False)
class Expression:
    """One drawn expression.

    Attributes:
        weights: Weight by face unit.
        gaze: How far the eyes look to the subject's left and up, in degrees.
    """

    weights: Mapping[str, float]
    gaze: tuple[float, float]


def load_units(mesh: HeadMesh) -> FaceUnits:
    """Read every face unit that an expression may use."""
    names = set()
    for table in (_BOTH, _ONE_SIDE):
        for units in table.values():
            names |= {unit + side for unit in units for side in ("Left", "Right")}
    for units in _MIDDLE.values():
        names |= set(units)
    names |= {unit + side for unit in _GAZE for side in ("Left", "Right")}
    ordered = tuple(sorted(names))
    moves = np.stack([read_target(mesh, [f"faceunits01/targets/faceunits/{name}"]) for name in ordered])
    return FaceUnits(ordered, moves)


def draw_expression(name: str, random: np.random.Generator) -> Expression:
    """Draw one face of an expression.

    Args:
        name: One of ``archive.EXPRESSIONS``.
        random: Where the draws come from.
    """
    intensity = random.uniform(0.75, 1.25)
    weights: dict[str, float] = {}
    for unit, mean in _BOTH.get(name, {}).items():
        weight = mean * intensity * random.uniform(0.8, 1.2)
        for side in ("Left", "Right"):
            weights[unit + side] = weight * random.uniform(0.92, 1.08)
    for unit, mean in _MIDDLE.get(name, {}).items():
        weights[unit] = mean * intensity * random.uniform(0.8, 1.2)
    side, other = ("Left", "Right") if random.uniform() < 0.5 else ("Right", "Left")
    for unit, mean in _ONE_SIDE.get(name, {}).items():
        weights[unit + side] = mean * intensity * random.uniform(0.85, 1.15)
    if name == "contempt":
        weights["mouthDimple" + other] = 0.2
    return Expression(weights, _draw_gaze(weights, random))


def _draw_gaze(weights: dict[str, float], random: np.random.Generator) -> tuple[float, float]:
    """Draw where the eyes look, and let the lids follow."""
    left, up = random.normal(0, 8), random.normal(0, 5)
    left, up = float(np.clip(left, -18, 18)), float(np.clip(up, -10, 10))
    vertical = "eyeLookUp" if up > 0 else "eyeLookDown"
    lids = max(0.0, random.normal(0.02, 0.06))
    for side in ("Left", "Right"):
        outwards = (left > 0) == (side == "Left")
        for unit, weight in (
            (vertical, abs(up) / 25),
            ("eyeLookOut" if outwards else "eyeLookIn", abs(left) / 35),
            ("eyeBlink", lids),
        ):
            weights[unit + side] = weights.get(unit + side, 0.0) + weight
    return left, up
