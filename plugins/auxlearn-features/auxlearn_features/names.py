"""Names that are known ahead of any array."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from auxlearn.errors import Problem, escape
from auxlearn_features.params import SynthFeaturesParams

__all__ = ["SYNTHETIC_TARGETS", "synthetic_classes", "synthetic_splits", "wrong_names"]

SYNTHETIC_TARGETS = ("label", "tags", "level")
"""The targets of `synthfeatures`: a class, several labels at once, a number."""

_NAME = re.compile(r"[A-Za-z_]\w*")


def synthetic_classes(count: int) -> tuple[str, ...]:
    """Return the names of so many made-up classes.

    >>> synthetic_classes(3)
    ('class_0', 'class_1', 'class_2')
    """
    return tuple(f"class_{number}" for number in range(count))


def synthetic_splits(params: SynthFeaturesParams) -> tuple[str, ...]:
    """Return the splits that have rows."""
    return tuple(split for split in ("train", "val", "test") if getattr(params, split))


def wrong_names(where: str, modalities: Iterable[str], targets: Iterable[str]) -> Iterator[Problem]:
    """Yield the names of modalities that cannot be names of a network's parts, or are targets' names too."""
    taken = set(targets)
    for name in modalities:
        pointer = f"{where}/{escape(name).replace('~', '~0').replace('/', '~1')}"
        if not _NAME.fullmatch(name):
            what = f'"{escape(name)}" cannot be the name of a modality'
            yield Problem(where=pointer, what=what, allowed="letters, digits and _, no digit first")
        elif name in taken:
            yield Problem(where=pointer, what=f'a target is called "{name}" too', fix="rename one of them")
