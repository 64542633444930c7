"""CelebA: 202,599 faces with 40 attributes.

Paper: "Deep Learning Face Attributes in the Wild" (arXiv 1411.7766; https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html).
The archive's readme: `Anno/list_attr_celeba.txt` begins with the number of images and the names of the attributes,
then a line for each image, 1 or -1; `Eval/list_eval_partition.txt` has 0 training, 1 validation, 2 testing;
`list_landmarks_align_celeba.txt` and `list_landmarks_celeba.txt` (five points, of the aligned images and of those in
the wild) and `list_bbox_celeba.txt` (x_1, y_1, width, height, in the wild) are headed like the attributes; images are
in `Img/img_align_celeba` and `Img/img_celeba`. torchvision keeps all files in one folder, and
https://www.kaggle.com/datasets/jessicali9530/celeba-dataset has the same lists as `.csv`; both are recognised.

The attribute `Male` is the target `gender` too. Landmarks and boxes become regions if their lists are there, and
`identity_CelebA.txt` (on request from the authors) groups. The box of `101283.jpg` has no area (`320 828 0 0`); such a
box is none, and an image without one is left out where images are cropped by it.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import attrs
import numpy as np

from auxlearn.data import DataContext, Region, TableRow, TableSource, TargetInfo
from auxlearn_faces.readers.layout import Layout
from auxlearn_faces.readers.names import ATTRIBUTES, GENDERS
from auxlearn_faces.readers.params import CelebAParams
from auxlearn_faces.readers.rows import GENDER, make_source

__all__ = ["build"]

_SPLITS = {"0": "train", "1": "val", "2": "test"}
_IMAGES = {
    "aligned": ("img_align_celeba/img_align_celeba/", "img_align_celeba/", "Img/img_align_celeba/"),
    "wild": ("img_celeba/img_celeba/", "img_celeba/", "Img/img_celeba/"),
}
_LANDMARKS = {"aligned": "list_landmarks_align_celeba", "wild": "list_landmarks_celeba"}
_ATTRIBUTES = TargetInfo(kind="multilabel", names=ATTRIBUTES, shape=(len(ATTRIBUTES),))


@attrs.frozen(eq=False)
class _Regions:
    """Boxes and landmarks of all images as arrays, since those of 200,000 images as objects would fill the memory."""

    boxes: _Numbers
    landmarks: _Numbers

    def of(self, name: str) -> Region | None:
        """Return what is known about an image."""
        box, points = self.box(name), self.landmarks.get(name)
        if box is None and points is None:
            return None
        pairs = () if points is None else tuple(zip(points[::2], points[1::2], strict=True))
        return Region(box=box, landmarks=pairs)

    def box(self, name: str) -> tuple[float, float, float, float] | None:
        """Return left, top, right, bottom of the face; None for a box without area too."""
        left, top, width, height = self.boxes.get(name) or (0, 0, 0, 0)
        return (left, top, left + width, top + height) if width > 0 and height > 0 else None


@attrs.frozen(eq=False)
class _Numbers:
    """Some numbers for each image."""

    rows: Mapping[str, int]
    values: np.ndarray[Any, Any]

    def get(self, name: str) -> tuple[float, ...] | None:
        """Return the numbers of an image, if there are any."""
        return tuple(map(float, self.values[self.rows[name]])) if name in self.rows else None


def build(params: CelebAParams, context: DataContext) -> TableSource:
    """Return CelebA.

    Raises:
        DataError: If the folder is not laid out in one of the forms that CelebA has.
    """
    layout = Layout.open(params.path, context)
    attributes = layout.need(*_places("list_attr_celeba", "Anno/"))
    partition = layout.need(*_places("list_eval_partition", "Eval/"))
    images = layout.need(*_IMAGES[params.images])
    boxes = layout.need(*_places("list_bbox_celeba", "Anno/")) if params.crop == "box" else None
    layout.settle()
    regions = _regions(layout, params, boxes)
    splits = _column(layout, partition)
    people = _column(layout, identity) if (identity := _first(layout, "identity_CelebA", "Anno/")) else {}
    rows = []
    for where, name, applying in _attributes(layout, attributes):
        split = layout.choice(where, "partition", splits.get(name, "none"), _SPLITS)
        crop = regions.box(name) if params.crop == "box" else None
        if split is not None and (crop is not None or params.crop != "box"):
            rows.append(
                TableRow(
                    path=images + name,
                    targets={"gender": GENDERS["Male" in applying], "attributes": applying},
                    split=split,
                    group=people.get(name),
                    region=_Lookup(regions, name),
                    crop=crop,
                    where=where,
                )
            )
    return make_source(layout, rows, {"gender": GENDER, "attributes": _ATTRIBUTES}, params, context)


@attrs.frozen(eq=False)
class _Lookup:
    regions: _Regions
    name: str

    def __call__(self) -> Region | None:
        return self.regions.of(self.name)


def _places(name: str, folder: str) -> tuple[str, ...]:
    return f"{name}.txt", f"{folder}{name}.txt", f"{name}.csv"


def _first(layout: Layout, name: str, folder: str) -> str | None:
    return next(filter(layout.has, _places(name, folder)), None)


def _regions(layout: Layout, params: CelebAParams, boxes: str | None) -> _Regions:
    if boxes is None and params.images == "wild":
        boxes = _first(layout, "list_bbox_celeba", "Anno/")
    return _Regions(
        _numbers(layout, boxes, 4), _numbers(layout, _first(layout, _LANDMARKS[params.images], "Anno/"), 10)
    )


def _numbers(layout: Layout, relative: str | None, count: int) -> _Numbers:
    rows: dict[str, int] = {}
    values = []
    for where, words in _lines(layout, relative) if relative is not None else ():
        try:
            values.append(np.array(words[1:], dtype=np.float32))
        except ValueError:
            values.append(np.empty(0, dtype=np.float32))
        if len(values[-1]) != count:
            layout.wrong("lines", where, f"{len(words) - 1} words after the name", allowed=f"{count} numbers")
            values.pop()
        else:
            rows[words[0]] = len(rows)
    return _Numbers(rows, np.array(values).reshape(-1, count))


def _column(layout: Layout, relative: str) -> dict[str, str]:
    """Return the one word that a list says of each image. Such lists have no head, but as `.csv` they do."""
    return {words[0]: words[-1] for _, words in _lines(layout, relative, skip=0)}


def _attributes(layout: Layout, relative: str) -> Iterator[tuple[str, str, tuple[str, ...]]]:
    """Yield where each image stands in the list, its name, and the attributes that apply."""
    _check_names(layout, relative)
    for where, words in _lines(layout, relative):
        if len(words) != len(ATTRIBUTES) + 1 or not {*words[1:]} <= {"1", "-1"}:
            allowed = f"the name of an image, and {len(ATTRIBUTES)} numbers 1 or -1"
            layout.wrong("lines", where, f"{len(words)} words", allowed=allowed)
        else:
            yield where, words[0], tuple(name for name, mark in zip(ATTRIBUTES, words[1:], strict=True) if mark == "1")


def _check_names(layout: Layout, relative: str) -> None:
    lines = [words for _, words in zip(range(2), _heads(layout, relative), strict=False)]
    found: Sequence[str] = next((words for words in lines if len(words) > 1), ())
    if tuple(found[-len(ATTRIBUTES) :]) != ATTRIBUTES:
        what = "it does not name CelebA's 40 attributes in their order"
        layout.wrong("head", str(layout.path / relative), what, allowed=", ".join(ATTRIBUTES))


def _heads(layout: Layout, relative: str) -> Iterator[list[str]]:
    for _, words in layout.lines(relative):
        yield " ".join(words).replace(",", " ").split()


def _lines(layout: Layout, relative: str, skip: int = 2) -> Iterator[tuple[str, list[str]]]:
    """Yield the lines of a list below its head: `skip` lines of a `.txt`, one of a `.csv`."""
    if relative.endswith(".csv"):
        for where, words in layout.lines(relative, skip=1):
            yield where, next(csv.reader(["".join(words)]))
    else:
        yield from layout.lines(relative, skip=skip)
