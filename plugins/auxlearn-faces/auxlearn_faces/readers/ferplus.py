"""FER+: FER2013's pictures with ten votes each.

Paper: "Training Deep Networks for Facial Expression Recognition with Crowd-Sourced Label Distribution"
(arXiv 1608.01041). `fer2013new.csv` of https://github.com/microsoft/FERPlus stands beside `fer2013.csv` and has its
rows in the same order, which `Usage` of both has to bear out: Usage, Image name, and the votes for neutral, happiness,
surprise, sadness, anger, disgust, fear, contempt, unknown and NF (not a face).

Which rows count, and as what, is that repository's `src/ferplus.py`: votes of a single person are dropped, then

- majority: the expression with more than half of the votes that are left;
- votes (its cross entropy): the expressions with the most votes, until three, or three quarters of the votes, are
  taken; they should be more than half of the votes, and at most three. Their shares are the target `votes`.

Rows without such a label, and those that are best called unknown or no face, are left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch

from auxlearn.data import DataContext, TargetInfo
from auxlearn_faces.readers.fer2013 import SPLITS, GreyFaces, Pictures, read_pictures
from auxlearn_faces.readers.layout import Layout
from auxlearn_faces.readers.names import FERPLUS
from auxlearn_faces.readers.params import FerPlusParams
from auxlearn_faces.readers.rows import classes

__all__ = ["build", "majority", "shares"]

_COLUMNS = (*FERPLUS, "unknown", "NF")


def build(params: FerPlusParams, context: DataContext) -> GreyFaces:
    """Return FER+.

    Raises:
        DataError: If a file is missing, or the two do not fit together.
    """
    layout = Layout.open(params.path, context)
    pixels = layout.need("fer2013.csv", "icml_face_data.csv")
    votes = layout.need("fer2013new.csv")
    pictures = read_pictures(layout, pixels)
    given = _read_votes(layout, votes, pictures)
    if len(given) != len(pictures.labels):
        what = f"it has {len(given)} rows, {pixels} has {len(pictures.labels)}"
        layout.wrong("rows", str(layout.path / votes), what, allowed="as many, in the same order")
    layout.settle()
    rule = majority if params.labels == "majority" else shares
    found = [rule(votes) for votes in given]
    rows = [row for row, distribution in enumerate(found) if distribution is not None]
    if not rows:
        layout.wrong("rows", str(layout.path / votes), "no row has a label")
    layout.settle()
    kept = Pictures(
        pictures.pixels[rows],
        [pictures.labels[row] for row in rows],
        [pictures.splits[row] for row in rows],
        [pictures.where[row] for row in rows],
    )
    distributions = torch.tensor([distribution for distribution in found if distribution is not None])
    targets = {"expression": (classes(FERPLUS), distributions.argmax(1))}
    if params.labels == "votes":
        info = TargetInfo(kind="continuous", names=FERPLUS, shape=(len(FERPLUS),))
        targets["votes"] = (info, distributions)
    return GreyFaces(kept, targets, size=context.size)


def _read_votes(layout: Layout, relative: str, pictures: Pictures) -> list[tuple[int, ...]]:
    rows: list[tuple[int, ...]] = []
    for where, cells in layout.table(relative, ("Usage", *_COLUMNS)):
        split = layout.choice(where, "Usage", cells["Usage"], SPLITS)
        wanted = pictures.splits[len(rows)] if len(rows) < len(pictures.splits) else None
        if None not in (split, wanted) and split != wanted:
            what = f"it is a row of {split}, and {pictures.where[len(rows)]} is one of {wanted}"
            layout.wrong("order", where, what, allowed="the rows in the same order")
        read = partial(layout.number, where, kind=int)
        rows.append(tuple(int(read(name, cells[name]) or 0) for name in _COLUMNS))
    return rows


def majority(votes: Sequence[int]) -> tuple[float, ...] | None:
    """Return the expression with more than half of the votes as a distribution of one, or None.

    Args:
        votes: For the eight expressions, unknown and no face.

    Examples:
        >>> from auxlearn_faces.readers.ferplus import majority
        >>> majority((6, 0, 1, 1, 0, 0, 0, 0, 2, 0))
        (1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
        >>> majority((4, 0, 0, 4, 2, 0, 0, 0, 0, 0)) is None
        True
    """
    kept = [count if count > 1 else 0 for count in votes]
    best = kept.index(max(kept))
    if kept[best] * 2 <= sum(kept) or best >= len(FERPLUS):
        return None
    return tuple(float(place == best) for place in range(len(FERPLUS)))


def shares(votes: Sequence[int]) -> tuple[float, ...] | None:
    """Return the shares of the expressions with the most votes, or None.

    Args:
        votes: For the eight expressions, unknown and no face.

    Examples:
        >>> from auxlearn_faces.readers.ferplus import shares
        >>> shares((4, 0, 0, 4, 2, 0, 0, 0, 0, 0))
        (0.5, 0.0, 0.0, 0.5, 0.0, 0.0, 0.0, 0.0)
    """
    left = [count if count > 1 else 0 for count in votes]
    total = sum(left)
    taken = [0] * len(left)
    count, sure = 0, True
    while sum(taken) * 4 < total * 3 and count < 3 and sure:
        most = max(left)
        for place, own in enumerate(left):
            if own != most:
                continue
            taken[place], left[place] = own, 0
            count += 1
            if place >= len(FERPLUS):  # nobody can say what comes after it
                sure = False
                if sum(taken) > most:  # expressions stand before it, and it is dropped
                    taken[place] = 0
                    count -= 1
                break
    if sum(taken) * 2 <= total or count > 3 or taken.index(max(taken)) >= len(FERPLUS):
        return None
    return tuple(own / sum(taken[: len(FERPLUS)]) for own in taken[: len(FERPLUS)])
