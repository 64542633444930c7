"""Made-up people: the shape of a head, and what its skin, hair and eyes look like.

Shapes are blends of MakeHuman's macro targets (sex, age, ethnicity, weight) plus normally distributed details.
Morphology is which of the sex-typed macro targets the shape is built from: a property of the mesh, not a person's
gender.
"""

from collections.abc import Mapping

import attrs
import numpy as np

from auxlearn_synthfaces.generate.mesh import Floats, HeadMesh, read_target

__all__ = ["Look", "Person", "Shapes", "draw_person", "load_shapes"]


_SEXES = ("female", "male")
_ETHNICITIES = ("african", "asian", "caucasian")
_AGES = ("child", "young", "old")
_AGE_YEARS = (10.0, 25.0, 90.0)  # what MakeHuman's age targets stand for
_WEIGHTS = ("minweight", "averageweight", "maxweight")
_FOLDERS = ("head", "forehead", "eyebrows", "eyes", "nose", "mouth", "cheek", "chin", "ears")
_OPPOSITES = {
    "decr": "incr", "down": "up", "in": "out", "backward": "forward", "concave": "convex", "compress": "uncompress",
}  # fmt: skip
# These would move the whole head, or fake an expression or an age.
_LEFT_OUT = ("head-trans", "head-age", "head-angle", "mouth-trans", "mouth-angles", "eyebrows-angle", "eyes-trans")
_DETAIL = 0.33  # standard deviation of a detail's weight; 1 is what MakeHuman's sliders allow


@attrs.frozen(eq=False)
class Shapes:
    """The targets that heads are blended from.

    Attributes:
        macro: By (sex, age, ethnicity) and (sex, age, weight) [V, 3].
        details: Displacement for a positive and a negative weight of each detail [D, 2, V, 3].
    """

    macro: Mapping[tuple[str, str, str], Floats]
    details: Floats


@attrs.frozen(kw_only=True)
class Look:
    """Colours (sRGB in [0, 1]) and measures that the painter uses; lengths in mesh units."""

    skin: tuple[float, float, float]
    lips: tuple[float, float, float]
    hair: tuple[float, float, float]
    brows: tuple[float, float, float]
    iris: tuple[float, float, float]
    shirt: tuple[float, float, float]
    brow_width: float
    brow_height: float
    brow_arch: float
    hairline: float
    hair_volume: float
    hair_length: float | None
    beard: float
    moustache: float
    freckles: float
    phase: tuple[float, float, float]


@attrs.frozen(eq=False)
class Person:
    """A made-up person.

    Attributes:
        morphology: One of ``archive.MORPHOLOGIES``.
        age: In years.
        points: The head at rest, eyes and size normalised [V, 3].
        look: What is painted on it.
    """

    morphology: str
    age: float
    points: Floats
    look: Look


def load_shapes(mesh: HeadMesh) -> Shapes:
    """Read all shape targets (a few seconds)."""
    macro = {}
    for sex in _SEXES:
        for age in _AGES:
            for ethnicity in _ETHNICITIES:
                name = f"mpfb2/targets/macrodetails/{ethnicity}-{sex}-{age}"
                macro[sex, age, ethnicity] = read_target(mesh, [name])
            for weight in _WEIGHTS:
                name = f"mpfb2/targets/macrodetails/universal-{sex}-{age}-averagemuscle-{weight}"
                macro[sex, age, weight] = read_target(mesh, [name])
    pairs = [np.stack([read_target(mesh, names) for names in pair]) for pair in _detail_names(mesh)]
    return Shapes(macro, np.stack(pairs))


def _detail_names(mesh: HeadMesh) -> list[tuple[list[str], list[str]]]:
    """Opposite target files, left and right joined; a detail without an opposite has an empty second list."""
    found: dict[str, list[str]] = {}
    for folder in _FOLDERS:
        for path in sorted((mesh.root / "mpfb2" / "targets" / folder).glob("*.target.gz")):
            stem = path.name.removesuffix(".target.gz")
            name = stem[2:] if stem.startswith(("l-", "r-")) else stem
            if not f"{folder}-{name}".startswith(_LEFT_OUT) and not name.startswith(_LEFT_OUT):
                found.setdefault(name, []).append(f"mpfb2/targets/{folder}/{stem}")
    pairs = []
    negative = set(_OPPOSITES)
    for name, files in found.items():
        stem, _, ending = name.rpartition("-")
        if ending in negative and f"{stem}-{_OPPOSITES[ending]}" in found:
            pairs.append((found[f"{stem}-{_OPPOSITES[ending]}"], files))
        elif not any(ending == after and f"{stem}-{before}" in found for before, after in _OPPOSITES.items()):
            pairs.append((files, []))
    return pairs


def draw_person(mesh: HeadMesh, shapes: Shapes, morphology: str, random: np.random.Generator) -> Person:
    """Draw a person of one of ``archive.MORPHOLOGIES``."""
    male = morphology == "male_morph"
    age = float(np.round(random.uniform(14, 80), 1))
    ethnicity = random.dirichlet([0.35] * len(_ETHNICITIES))
    points = _draw_shape(mesh, shapes, male=male, age=age, ethnicity=ethnicity, random=random)
    return Person(morphology, age, points, _draw_look(male=male, age=age, ethnicity=ethnicity, random=random))


def _draw_shape(
    mesh: HeadMesh, shapes: Shapes, *, male: bool, age: float, ethnicity: Floats, random: np.random.Generator
) -> Floats:
    typed = random.uniform(0.85, 1.0)
    sexes = {"male": typed if male else 1 - typed, "female": 1 - typed if male else typed}
    ages = [float(np.interp(age, _AGE_YEARS, row)) for row in np.eye(3)]
    weights = random.dirichlet([1.0, 3.0, 0.8])
    points = mesh.rest.copy()
    for sex, part in sexes.items():
        for stage, share in zip(_AGES, ages, strict=True):
            if part * share > 0:
                for name, amount in zip((*_ETHNICITIES, *_WEIGHTS), (*ethnicity, *weights), strict=True):
                    points += np.float32(part * share * amount) * shapes.macro[sex, stage, name]
    details = np.clip(random.normal(0, _DETAIL, len(shapes.details)), -1, 1)
    signed = np.stack([np.maximum(details, 0), np.maximum(-details, 0)], axis=1).astype(np.float32)
    return _normalised(mesh, points + np.tensordot(signed, shapes.details, 2))


def _normalised(mesh: HeadMesh, points: Floats) -> Floats:
    """Move and scale a head so that its eyes lie where the base mesh has them and its face is as large."""

    def marks(vertices: Floats) -> Floats:
        lips = vertices[mesh.masks["lips"] > 0.5].mean(0)
        return np.stack([vertices[mesh.eyes[0]].mean(0), vertices[mesh.eyes[1]].mean(0), lips])

    own, base = marks(points), marks(mesh.rest)
    scale = np.linalg.norm(base - base.mean(0)) / np.linalg.norm(own - own.mean(0))
    result: Floats = ((points - own[:2].mean(0)) * scale + base[:2].mean(0)).astype(np.float32)
    return result


_SKINS = np.array([[0.96, 0.82, 0.74], [0.88, 0.70, 0.58], [0.72, 0.52, 0.39], [0.52, 0.35, 0.25], [0.34, 0.22, 0.16]])
_HAIRS = np.array([[0.05, 0.04, 0.04], [0.17, 0.10, 0.06], [0.33, 0.20, 0.11], [0.66, 0.50, 0.28], [0.50, 0.21, 0.09]])
_IRISES = np.array([[0.20, 0.11, 0.05], [0.33, 0.19, 0.08], [0.25, 0.42, 0.62], [0.32, 0.44, 0.27], [0.42, 0.47, 0.50]])


def _triple(values: Floats) -> tuple[float, float, float]:
    red, green, blue = (float(value) for value in np.clip(values, 0, 1))
    return red, green, blue


def _draw_look(*, male: bool, age: float, ethnicity: Floats, random: np.random.Generator) -> Look:
    african, asian, caucasian = ethnicity
    tone = np.clip(3.1 * african + 1.0 * asian + 0.5 * caucasian + random.normal(0, 0.45), 0, 4)
    skin = np.array([np.interp(tone, range(5), _SKINS[:, channel]) for channel in range(3)])
    skin = skin * random.uniform(0.95, 1.05, 3)
    dark = random.uniform() < african + asian
    hair = _HAIRS[random.choice(2 if dark else 5)] * random.uniform(0.7, 1.3)
    grey = np.clip((age - 42 + random.normal(0, 10)) / 30, 0, 1)
    hair = hair * (1 - grey) + grey * np.array([0.68, 0.67, 0.66])
    iris = _IRISES[random.choice(2 if dark else 5)] * random.uniform(0.85, 1.15)
    red = random.uniform(0.0, 1.0 if not male else 0.4)
    lips = skin * (1 - 0.4 * red) * np.array([0.86, 0.60, 0.58]) + 0.4 * red * np.array([0.75, 0.12, 0.18])
    bearded = male and age > 18 and random.uniform() < 0.35
    long = random.uniform() < (0.12 if male else 0.7)
    bald = male and age > 30 and random.uniform() < 0.25
    return Look(
        skin=_triple(skin),
        lips=_triple(lips),
        hair=_triple(hair),
        brows=_triple(np.minimum(hair * 0.6, skin * 0.45)),
        iris=_triple(iris),
        shirt=_triple(random.uniform(0.05, 0.9, 3)),
        brow_width=random.uniform(0.032, 0.046) if male else random.uniform(0.024, 0.036),
        brow_height=random.uniform(-0.015, 0.02),
        brow_arch=random.uniform(0.0, 0.03),
        hairline=random.uniform(0.25, 0.6) if bald else random.normal(0.0, 0.06),
        hair_volume=random.uniform(0.0, 0.02) if bald else random.uniform(0.03, 0.16),
        hair_length=random.uniform(5.0, 6.9) if long and not bald else None,
        beard=random.uniform(0.3, 0.9) if bearded else (random.uniform(0, 0.2) if male and age > 18 else 0.0),
        moustache=random.uniform(0.3, 0.9) if bearded and random.uniform() < 0.7 else 0.0,
        freckles=random.uniform(0, 0.12),
        phase=_triple(random.uniform(0, 1, 3)),
    )
