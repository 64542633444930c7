"""Which inputs make up a modality, checked without torch."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from auxlearn.errors import Problem, escape, nearest, pointer
from auxlearn.registry import unusable_name

__all__ = ["wrong_joins"]


def wrong_joins(join: Mapping[str, tuple[str, ...]], known: Collection[str]) -> Iterator[Problem]:
    """Yield what is wrong about `join`.

    Args:
        join: The inputs of each modality that is made of several.
        known: The features of the data; empty if they are not known.
    """
    homes: dict[str, str] = {}
    for name, parts in join.items():
        shown, why = escape(name), unusable_name(name)
        if why is not None:
            yield Problem(where=pointer("join", name), what=f'a modality cannot be called "{shown}": {why}')
        if name in known:
            what = f'"{shown}" is an input of the data, and cannot be the name of a modality that others make up'
            yield Problem(where=pointer("join", name), what=what, fix="choose another name")
        for place, part in enumerate(parts):
            where = pointer("join", name, place)
            if known and part not in known:
                what = f'the data has no feature "{escape(part)}"'
                yield Problem(where=where, what=what, allowed=", ".join(known), meant=nearest(part, known))
            if part in homes:
                what = f'"{escape(part)}" is part of "{escape(homes[part])}" already'
                yield Problem(where=where, what=what, fix="join each input once")
            homes[part] = name
