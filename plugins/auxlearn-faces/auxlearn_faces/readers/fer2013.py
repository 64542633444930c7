"""FER2013: 35,887 grey faces of 48 pixels in one CSV file.

Paper: "Challenges in Representation Learning" (arXiv 1307.0414). `fer2013.csv` (`icml_face_data.csv` in the later
archive of https://www.kaggle.com/c/challenges-in-representation-learning-facial-expression-recognition-challenge/data)
has the columns `emotion` (0 angry, 1 disgust, 2 fear, 3 happy, 4 sad, 5 surprise, 6 neutral), `pixels` (2,304 grey
values, row by row) and `Usage`: Training is `train`, PublicTest `val`, PrivateTest `test`. The folders of images
`train/angry/...`, `test/angry/...` that Kaggle also has are read by the source `folder`.
"""

from __future__ import annotations

import copy
import hashlib
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import attrs
import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from auxlearn.data import DataContext, DataSource, InputShape, TargetInfo
from auxlearn_faces.readers.layout import Layout
from auxlearn_faces.readers.names import FER2013
from auxlearn_faces.readers.params import Fer2013Params
from auxlearn_faces.readers.rows import classes

__all__ = ["SPLITS", "GreyFaces", "Pictures", "build", "read_pictures"]

SPLITS = {"Training": "train", "PublicTest": "val", "PrivateTest": "test"}

_SIDE = 48
_COLUMNS = ("emotion", "pixels", "Usage")


@attrs.frozen(eq=False)
class Pictures:
    """The rows of the file: grey pixels uint8 [N, 48, 48], class indices, splits, and where each row stands."""

    pixels: np.ndarray[Any, Any]
    labels: list[int]
    splits: list[str]
    where: list[str]


def build(params: Fer2013Params, context: DataContext) -> GreyFaces:
    """Return FER2013.

    Raises:
        DataError: If the file is missing or is not what it should be.
    """
    layout = Layout.open(params.path, context)
    pictures = read_pictures(layout, layout.need("fer2013.csv", "icml_face_data.csv"))
    targets = {"expression": (classes(FER2013), torch.tensor(pictures.labels))}
    return GreyFaces(pictures, targets, size=context.size)


def read_pictures(layout: Layout, relative: str) -> Pictures:
    """Return the rows of `fer2013.csv`; DataError if any is not what it should be."""
    layout.settle()
    known = {str(index): name for index, name in enumerate(FER2013)}
    pixels, labels, splits, places = [], [], [], []
    for where, cells in layout.table(relative, _COLUMNS):
        name = layout.choice(where, "emotion", cells["emotion"], known)
        split = layout.choice(where, "Usage", cells["Usage"], SPLITS)
        grey = _grey(cells["pixels"])
        if grey is None:
            layout.wrong("pixels", where, "`pixels` is something else", allowed="2304 numbers from 0 to 255")
        if name is not None and split is not None and grey is not None:
            pixels.append(grey)
            labels.append(FER2013.index(name))
            splits.append(split)
            places.append(where)
    if not pixels:
        layout.wrong("rows", str(layout.path / relative), "it has no rows that can be read")
    layout.settle()
    return Pictures(np.stack(pixels), labels, splits, places)


def _grey(text: str) -> np.ndarray[Any, Any] | None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # some versions only warn of what is no number
            values = np.fromstring(text, dtype=np.int64, sep=" ")  # four times as fast as splitting
    except (ValueError, DeprecationWarning):
        return None
    if values.size != _SIDE**2 or values.min() < 0 or values.max() > 255:
        return None
    return values.astype(np.uint8).reshape(_SIDE, _SIDE)


class GreyFaces(DataSource):
    """Grey pictures that lie in memory, shown as RGB.

    Args:
        pictures: The pictures, with their splits.
        targets: Each target and its values, rows first.
        size: Side of the images in pixels, by bilinear interpolation with antialiasing; None keeps their own.
    """

    def __init__(
        self, pictures: Pictures, targets: Mapping[str, tuple[TargetInfo, Tensor]], *, size: int | None = None
    ) -> None:
        self.targets = {name: info for name, (info, _) in targets.items()}
        self.splits = tuple(split for split in SPLITS.values() if split in pictures.splits)
        self._data: dict[str, _Grey] = {}
        self._where: dict[str, list[str]] = {}
        for split in self.splits:
            rows = [row for row, own in enumerate(pictures.splits) if own == split]
            values = {name: column[rows] for name, (_, column) in targets.items()}
            self._data[split] = _Grey(pictures.pixels[rows], values, _SIDE)
            self._where[split] = [pictures.where[row] for row in rows]
        self._resize(size)

    def _resize(self, size: int | None) -> None:
        self._size = _SIDE if size is None else size
        self.inputs = {"image": InputShape(shape=(3, self._size, self._size))}
        self._data = {split: _Grey(data.pixels, data.values, self._size) for split, data in self._data.items()}

    def resized(self, size: int | None) -> GreyFaces:
        """Return the same rows with images of this size."""
        made = copy.copy(self)
        made._resize(size)
        return made

    def dataset(self, split: str) -> Dataset[Any]:
        """Return the rows of `split`."""
        return self._data[split]

    def labels(self, split: str, target: str) -> Sequence[int] | None:
        """Return every row's class index, or None for a target that is not a class."""
        if self.targets[target].kind != "class":
            return None
        labels: list[int] = self._data[split].values[target].tolist()
        return labels

    def duplicates(self) -> Sequence[Sequence[tuple[str, int]]]:
        """Return the sets of rows whose pixels are equal."""
        same: dict[bytes, list[tuple[str, int]]] = {}
        for split, data in self._data.items():
            for index, grey in enumerate(data.pixels):
                same.setdefault(grey.tobytes(), []).append((split, index))
        return [places for places in same.values() if len(places) > 1]

    def name(self, split: str, index: int) -> str:
        """Return where the row stands in the file."""
        return self._where[split][index]

    def fingerprint(self) -> str:
        """Return a hash of the pixels, the targets and the size."""
        digest = hashlib.blake2b(str(self._size).encode(), digest_size=16)
        for split, data in self._data.items():
            digest.update(f"{split} {len(data)}".encode() + data.pixels.tobytes())
            for name, values in sorted(data.values.items()):
                digest.update(f"{name} {self.targets[name]}".encode() + values.numpy().tobytes())
        return digest.hexdigest()


class _Grey(Dataset[Any]):
    """The rows of one split."""

    def __init__(self, pixels: np.ndarray[Any, Any], values: Mapping[str, Tensor], size: int) -> None:
        self.pixels, self.values, self.size = pixels, values, size

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {name: column[0] for name, column in self.__getitems__([index]).items()}

    def __getitems__(self, indices: Sequence[int]) -> dict[str, Any]:
        rows = torch.as_tensor(indices)
        grey = self.pixels[rows.numpy()]
        if self.size != _SIDE:
            sides = (self.size, self.size)
            resized = (Image.fromarray(one).resize(sides, Image.Resampling.BILINEAR) for one in grey)
            grey = np.stack([np.asarray(one) for one in resized])
        image = torch.from_numpy(grey)[:, None].repeat(1, 3, 1, 1)
        return {"image": image} | {name: column[rows] for name, column in self.values.items()}
