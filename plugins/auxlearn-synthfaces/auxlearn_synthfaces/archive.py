"""The packed form of the data set: sheets of tiled images and a table of labels. Needs numpy and Pillow only.

A sheet is a JPEG of ``COLUMNS`` tiles a row with full colour resolution. Tiles are multiples of 8 pixels wide, so no
JPEG block crosses from one image to another. Rows of the table stand in the order of the tiles.
"""

import csv
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import attrs
import numpy as np
import numpy.typing as npt
from PIL import Image

from auxlearn_synthfaces.names import EXPRESSIONS, MORPHOLOGIES, SPLITS

__all__ = [
    "EXPRESSIONS",
    "MORPHOLOGIES",
    "SHIPPED",
    "SPLITS",
    "Images",
    "Row",
    "fingerprint",
    "read_images",
    "read_labels",
    "write_archive",
]

SHIPPED = Path(__file__).parent / "faces"
"""Folder of the data set inside this package."""

COLUMNS = 20
TILES = 400  # on a full sheet

Images = npt.NDArray[np.uint8]


@attrs.frozen(kw_only=True)
class Row:
    """Labels of one image.

    Attributes:
        id: ``<subject>-<number>``.
        expression: One of ``EXPRESSIONS``.
        yaw, pitch, roll: Head pose in degrees, as in 300W-LP: yaw > 0 turns the nose to the viewer's left, pitch > 0
            up, roll > 0 turns the head clockwise as the viewer sees it.
        morphology: One of ``MORPHOLOGIES``.
        age: In years, as MakeHuman's age targets mean it.
        subject: The made-up person.
        split: One of ``SPLITS``; no subject is in two.
    """

    id: str
    expression: str
    yaw: float
    pitch: float
    roll: float
    morphology: str
    age: float
    subject: str
    split: str


def _sheets(folder: Path) -> list[Path]:
    return sorted(folder.glob("sheet_*.jpg"))


def write_archive(folder: Path, rows: Sequence[Row], images: Images, quality: int = 90) -> None:
    """Write images [N, S, S, 3] and their labels to a folder, replacing an archive there.

    Args:
        folder: Made if it does not exist.
        rows: Labels in the order of the images.
        images: uint8, square.
        quality: Of the JPEGs, 1 to 95.

    Raises:
        ValueError: The numbers of rows and images differ, or the size is no multiple of 8.
    """
    count, size = images.shape[:2]
    if len(rows) != count or size % 8:
        raise ValueError(f"Expected a row an image and a size divisible by 8, got {len(rows)} rows for {images.shape}.")
    folder.mkdir(parents=True, exist_ok=True)
    for old in _sheets(folder):
        old.unlink()
    for start in range(0, count, TILES):
        part = images[start : start + TILES]
        lines = -(-len(part) // COLUMNS)
        tiles = np.zeros((lines * COLUMNS, size, size, 3), np.uint8)
        tiles[: len(part)] = part
        sheet = tiles.reshape(lines, COLUMNS, size, size, 3).swapaxes(1, 2).reshape(lines * size, COLUMNS * size, 3)
        path = folder / f"sheet_{start // TILES:03d}.jpg"
        Image.fromarray(sheet).save(path, quality=quality, subsampling="4:4:4", optimize=True)
    with (folder / "labels.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(field.name for field in attrs.fields(Row))
        writer.writerows(attrs.astuple(row) for row in rows)


def read_labels(folder: Path = SHIPPED) -> list[Row]:
    """Read the table of labels.

    Examples:
        >>> from auxlearn_synthfaces.archive import read_labels
        >>> rows = read_labels()
        >>> len(rows), rows[0].split, len({row.subject for row in rows})
        (4000, 'train', 300)
    """
    with (folder / "labels.csv").open(encoding="utf-8", newline="") as file:
        return [_row(line) for line in csv.DictReader(file)]


def _row(line: Mapping[str, str]) -> Row:
    return Row(
        id=line["id"],
        expression=line["expression"],
        yaw=float(line["yaw"]),
        pitch=float(line["pitch"]),
        roll=float(line["roll"]),
        morphology=line["morphology"],
        age=float(line["age"]),
        subject=line["subject"],
        split=line["split"],
    )


def read_images(folder: Path = SHIPPED, count: int | None = None) -> Images:
    """Decode all images, uint8 [N, S, S, 3], in the order of the labels.

    Args:
        folder: Where the archive lies.
        count: The number of rows of the table, if the caller has read it already.

    Examples:
        >>> from auxlearn_synthfaces.archive import read_images
        >>> read_images().shape
        (4000, 64, 64, 3)
    """
    count = len(read_labels(folder)) if count is None else count
    parts = []
    for path in _sheets(folder):
        with Image.open(path, formats=["JPEG"]) as image:
            sheet = np.asarray(image.convert("RGB"))
        size = sheet.shape[1] // COLUMNS
        tiles = sheet.reshape(-1, size, COLUMNS, size, 3).swapaxes(1, 2)
        parts.append(tiles.reshape(-1, size, size, 3))
    return np.concatenate(parts)[:count]


def fingerprint(folder: Path = SHIPPED) -> str:
    """Hash of the archive's files."""
    digest = hashlib.sha256()
    for path in (folder / "labels.csv", *_sheets(folder)):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]
