"""AffectNet: expressions, valence and arousal in the wild, in both forms in which it is given out.

Paper: "AffectNet: A Database for Facial Expression, Valence, and Arousal Computing in the Wild" (arXiv 1708.03985).

The lists `training.csv` and `validation.csv` with the columns `subDirectory_filePath, face_x, face_y, face_width,
face_height, facial_landmarks, expression, valence, arousal` stand beside Manually_Annotated_Images
(https://github.com/sb-ai-lab/EmotiEffLib/issues/14); HMTL's authors keep the lists in `label/` and unpack the images
one folder deeper, and read a `validation.csv` without a head
(https://github.com/mahdip72/AffectNet-with-Self-Supervised-auxiliary-tasks, sl.py). All of it is recognised.

Labels 8 to 10 (none, uncertain, no face) say that there is no expression, and their rows are left out. Valence and
arousal are in [-1, 1]; -2 is no value. One training image is broken in the archives and always left out
(103/29a31ebf...jpg, an empty file according to several projects that read the set).
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

import attrs

from auxlearn.data import DataContext, Region, TableRow, TableSource, TargetInfo
from auxlearn.errors import nearest
from auxlearn_faces.expressions import EXPRESSIONS
from auxlearn_faces.readers.affectnet_arrays import read_arrays
from auxlearn_faces.readers.layout import Layout
from auxlearn_faces.readers.params import AffectNetParams
from auxlearn_faces.readers.rows import classes, make_source

__all__ = ["build"]

_COLUMNS = (
    "subDirectory_filePath",
    "face_x",
    "face_y",
    "face_width",
    "face_height",
    "facial_landmarks",
    "expression",
    "valence",
    "arousal",
)
_LISTS = ("", "label/", "Manually_Annotated_file_lists/")
_IMAGES = (
    "Manually_Annotated_Images/Manually_Annotated_Images/",
    "Manually_Annotated/Manually_Annotated_Images/",
    "Manually_Annotated_Images/",
)
_BROKEN = "103/29a31ebf1567693f4644c8ba3476ca9a72ee07fe67a5860d98707a0a.jpg"
_NOT_READ_BY_HMTL = {"train": (".tif", ".tiff", ".bmp"), "val": (".tif", ".tiff")}
_LABELS = {str(index): name for index, name in enumerate((*EXPRESSIONS, "none", "uncertain", "no face"))}


def build(params: AffectNetParams, context: DataContext) -> TableSource:
    """Return AffectNet's images.

    Raises:
        DataError: If the folder is not laid out as either form.
    """
    layout = Layout.open(params.path, context)
    # For each file of the first form, what stands in its place in the second.
    training = layout.need(*(f"{folder}training.csv" for folder in _LISTS), "train_set/images/")
    validation = layout.need(*(f"{folder}validation.csv" for folder in _LISTS), "val_set/images/")
    own = () if params.images is None else (f"{params.images.rstrip('/')}/",)
    images = layout.need(*(own or (*_IMAGES, "train_set/annotations/")))
    layout.settle()
    if training.startswith("train_set"):
        if params.crop == "box":
            layout.wrong("crop", "/data/crop", "the release with train_set/ has no face boxes", allowed="none")
        rows = read_arrays(layout, params.expressions)
    else:
        rows = [
            row
            for split, relative in (("train", training), ("val", validation))
            for row in _rows(layout, relative, split, images, params)
        ]
    number = TargetInfo(kind="continuous")
    targets = {"expression": classes(params.expressions), "valence": number, "arousal": number}
    return make_source(layout, rows, targets, params, context)


@attrs.frozen
class _Line:
    """A line of a list: its number, where it begins in the file, its cells."""

    number: int
    start: int
    cells: list[str]


def _rows(layout: Layout, relative: str, split: str, images: str, params: AffectNetParams) -> Iterator[TableRow]:
    path = layout.path / relative
    endings = _NOT_READ_BY_HMTL[split] if params.formats == "hmtl" else ()
    head: tuple[str, ...] = _COLUMNS
    for line in _lines(layout, relative):
        if line.number == 1 and _COLUMNS[0] in line.cells:
            head = tuple(cell.strip() for cell in line.cells)
            if not _complete(layout, path, head):
                return
            continue
        where = f"{path.name} line {line.number}"
        if len(line.cells) != len(head):
            layout.wrong("lines", where, f"{len(line.cells)} cells", allowed=f"{len(head)}")
            continue
        cells = dict(zip(head, line.cells, strict=True))
        file = cells[_COLUMNS[0]]
        label = layout.choice(where, "expression", cells["expression"], _LABELS)
        if label in params.expressions and file != _BROKEN and not file.lower().endswith(endings):
            yield TableRow(
                path=images + file,
                targets={"expression": label} | _affect(layout, where, cells),
                split=split,
                region=partial(_region, path, line.start, head),
                crop=_box(layout, where, cells) if params.crop == "box" else None,
                where=where,
            )


def _lines(layout: Layout, relative: str) -> Iterator[_Line]:
    start = 0
    with layout.reading(relative), (layout.path / relative).open("rb") as file:
        for number, line in enumerate(file, start=1):
            if line.strip():
                yield _Line(number, start, _cells(line))
            start += len(line)


def _cells(line: bytes) -> list[str]:
    text = line.decode("utf-8-sig", "replace").rstrip("\r\n")
    return text.split(",") if '"' not in text else next(csv.reader([text]))  # the first is far faster


def _complete(layout: Layout, path: Path, head: tuple[str, ...]) -> bool:
    """Return whether the list has all columns; if not, the problems are noted."""
    absent = [name for name in _COLUMNS if name not in head]
    for name in absent:
        what = f'there is no column "{name}"'
        layout.wrong("columns", str(path), what, allowed=", ".join(head), meant=nearest(name, head))
    return not absent


def _affect(layout: Layout, where: str, cells: Mapping[str, str]) -> dict[str, float | None]:
    found = {name: layout.number(where, name, cells[name]) for name in ("valence", "arousal")}
    return {name: None if value == -2 else value for name, value in found.items()}


def _box(layout: Layout, where: str, cells: Mapping[str, str]) -> tuple[float, float, float, float] | None:
    found = [layout.number(where, name, cells[name]) for name in _COLUMNS[1:5]]
    if None in found:
        return None
    left, top, width, height = (value for value in found if value is not None)
    return left, top, left + width, top + height


def _region(path: Path, start: int, head: tuple[str, ...]) -> Region | None:
    """Return the face box and the 68 landmarks of the line that begins at `start`.

    All landmarks of the set are some 40 million numbers, so they stay in the file until somebody asks.
    """
    with path.open("rb") as file:
        file.seek(start)
        cells = dict(zip(head, _cells(file.readline()), strict=True))
    try:
        left, top, width, height = (float(cells[name]) for name in _COLUMNS[1:5])
        numbers = [float(number) for number in cells["facial_landmarks"].split(";")]
    except ValueError:
        return None
    points = tuple(zip(numbers[::2], numbers[1::2], strict=False))
    return Region(box=(left, top, left + width, top + height), landmarks=points)
