"""`Unlabelled`: the second stream of training rows, whose labels nobody reads."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from auxlearn.data.checks import few, leaks
from auxlearn.data.contents import same_files
from auxlearn.data.divide import Division
from auxlearn.data.loader import UNLABELLED
from auxlearn.data.problems import problem
from auxlearn.data.selection import Part, Selection
from auxlearn.data.source import DataSource, InputShape
from auxlearn.errors import DataError, Problem, escape, nearest

__all__ = ["Unlabelled", "joint_leaks", "second_stream", "unlabelled_leaks"]

_WHERE = "/data/unlabelled"


class Unlabelled(Selection):
    """Rows of a source as the one split `"unlabelled"`, without targets.

    Args:
        base: The source that has the rows.
        parts: Which rows they are.
        inputs: The modalities to read, as the labelled rows have them.

    Raises:
        DataError: If the source has other inputs.
    """

    def __init__(self, base: DataSource, parts: Sequence[Part], inputs: Mapping[str, InputShape]) -> None:
        super().__init__(base, {UNLABELLED: parts})
        problems = [_unlike(name, base.inputs.get(name), wanted) for name, wanted in inputs.items()]
        if any(problems):
            raise DataError([found for found in problems if found])
        self.inputs, self.targets = dict(inputs), {}


def _unlike(name: str, found: InputShape | None, wanted: InputShape) -> Problem | None:
    if found is not None and (found.kind, found.shape, found.dtype) == (wanted.kind, wanted.shape, wanted.dtype):
        return None
    allowed = f"{wanted.kind} {wanted.shape} of {wanted.dtype}, as the labelled rows have it"
    if found is None:
        return problem(_WHERE, f"these rows have no `{name}`", allowed=allowed)
    fix = "`data.size`, to which all images are then decoded" if {found.kind, wanted.kind} == {"image"} else None
    return problem(_WHERE, f"`{name}` is {found.kind} {found.shape} of {found.dtype}", allowed=allowed, fix=fix)


def second_stream(division: Division, other: DataSource | None, split: str) -> Unlabelled:
    """Return the rows of `split` of another source; without one, those that the fraction left out.

    Raises:
        DataError: If there is no such split, or the rows have other inputs.
    """
    inputs = division.view.inputs
    if other is None:
        return Unlabelled(division.view.base, division.rest, inputs)
    if split not in other.splits:
        known = ", ".join(other.splits)
        what = f'the data has no split "{escape(split)}"'
        raise DataError(problem(f"{_WHERE}/split", what, allowed=known, meant=nearest(split, other.splits)))
    rows = np.arange(len(other.dataset(split)))  # type: ignore[arg-type]
    return Unlabelled(other, [(split, rows)], inputs)


def unlabelled_leaks(view: Selection, stream: Unlabelled) -> Iterator[Problem]:
    """Yield the rows that are held out for scoring and stand among the unlabelled ones too.

    They are compared as files, or, within one source, as rows. Other rows of two sources cannot be told apart.
    """
    held = [split for split in view.splits if split != "train"]
    fix = 'take it out of the unlabelled rows, or accept it with `"allow_leaks": true`'
    for split, index, twin in _by_file(view, held, stream) or _by_row(view, held, stream):
        what = f"stands in {split} and, as {escape(stream.name(UNLABELLED, twin))}, among the unlabelled rows"
        yield problem(view.name(split, index), what, fix=fix)


def joint_leaks(division: Division, stream: Unlabelled | None, other: DataSource | None) -> list[Problem]:
    """Return what stands in two splits; the rest of a fraction may do so no more than the rows that were drawn."""
    leaking = leaks(division.view if other is not None or stream is None else division.whole)
    if stream is not None and other is not None:
        leaking += few(unlabelled_leaks(division.view, stream), "unlabelled rows in another split")
    return leaking


def _by_file(view: Selection, held: Sequence[str], stream: Unlabelled) -> list[tuple[str, int, int]]:
    """Return (split, index, index in the stream) of the rows whose files hold the same."""
    twins: dict[str, int] = {path: i for i, path in enumerate(stream.files(UNLABELLED) or ()) if path is not None}
    ours = [(path, split, i) for split in held for i, path in enumerate(view.files(split) or ()) if path is not None]
    if not twins or not ours:
        return []
    place: dict[str, int] = {}
    for same in same_files(dict.fromkeys([*twins, *(path for path, _, _ in ours)])):
        twin = next((twins[path] for path in same if path in twins), None)
        if twin is not None:
            place |= dict.fromkeys(same, twin)
    return [(split, i, place[path]) for path, split, i in ours if path in place]


def _by_row(view: Selection, held: Sequence[str], stream: Unlabelled) -> Iterator[tuple[str, int, int]]:
    """Yield (split, index, index in the stream) of the rows that are one row of one source."""
    if not view.base.fingerprint() or view.base.fingerprint() != stream.base.fingerprint():
        return
    rows = len(stream.dataset(UNLABELLED))  # type: ignore[arg-type]
    twins = {stream.origin(UNLABELLED, i): i for i in range(rows)}
    for split in held:
        for i in range(len(view.dataset(split))):  # type: ignore[arg-type]
            twin = twins.get(view.origin(split, i))
            if twin is not None:
                yield split, i, twin
