"""Names that are known ahead of any array."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

from auxlearn.errors import Problem, escape, pointer
from auxlearn.registry import unusable_name
from auxlearn_features.params import SynthFeaturesParams

__all__ = ["SYNTHETIC_TARGETS", "pointers", "synthetic_classes", "synthetic_splits", "wrong_names"]

SYNTHETIC_TARGETS = ("label", "tags", "level")
"""The targets of `synthfeatures`: a class, several labels at once, a number."""

_NAME = re.compile(r"[A-Za-z]\w*")


def synthetic_classes(count: int) -> tuple[str, ...]:
    """Return the names of so many made-up classes.

    >>> synthetic_classes(3)
    ('class_0', 'class_1', 'class_2')
    """
    return tuple(f"class_{number}" for number in range(count))


def synthetic_splits(params: SynthFeaturesParams) -> tuple[str, ...]:
    """Return the splits that have rows."""
    return tuple(split for split in ("train", "val", "test") if getattr(params, split))


def pointers(where: str, given: Mapping[str, object] | Sequence[str]) -> list[tuple[str, str]]:
    """Return the names that stand at `where`, as the keys of an object or in a list, each with the pointer to it.

    >>> pointers("/inputs", ["a"]), pointers("/inputs", {"a/b": 1})
    ([('a', '/inputs/0')], [('a/b', '/inputs/a~1b')])
    """
    steps: Iterable[object] = given if isinstance(given, Mapping) else range(len(given))
    return [(name, where + pointer(step)) for name, step in zip(given, steps, strict=True)]


def wrong_names(
    where: str, modalities: Mapping[str, object] | Sequence[str], targets: Iterable[str]
) -> Iterator[Problem]:
    """Yield the names of modalities that cannot be names of a network's parts, are targets' too, or come twice."""
    taken, seen = set(targets), set[str]()
    for name, place in pointers(where, modalities):
        if not _NAME.fullmatch(name):
            what = f'"{escape(name)}" cannot be the name of a modality'
            yield Problem(where=place, what=what, allowed="letters, digits and _, a letter first")
        elif (why := unusable_name(name)) is not None:
            what = f'"{name}" cannot be the name of a modality: {why}'
            yield Problem(where=place, what=what, fix=f'e.g. "{name.strip("_")}_features"')
        elif name in taken:
            yield Problem(where=place, what=f'a target is called "{name}" too', fix="rename one of them")
        elif name in seen:
            yield Problem(where=place, what=f'"{name}" is named twice', fix="name each once")
        seen.add(name)
