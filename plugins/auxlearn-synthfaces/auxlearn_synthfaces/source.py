"""`SynthFaces`: the rendered faces as a data source."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from auxlearn.data import DataSource, InputShape, TargetInfo
from auxlearn_synthfaces.archive import (
    EXPRESSIONS,
    MORPHOLOGIES,
    SHIPPED,
    SPLITS,
    Row,
    fingerprint,
    read_images,
    read_labels,
)

__all__ = ["SynthFaces"]

_ANGLES = ("yaw", "pitch", "roll")


class _Faces(Dataset[Any]):
    """Rows of one split, all in memory: columns by name, rows first."""

    def __init__(self, columns: dict[str, Tensor]) -> None:
        self.columns = columns

    def __len__(self) -> int:
        return len(self.columns["image"])

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return {name: column[index] for name, column in self.columns.items()}

    def __getitems__(self, indices: Sequence[int]) -> dict[str, Tensor]:
        rows = torch.as_tensor(indices)
        return {name: column[rows] for name, column in self.columns.items()}


class SynthFaces(DataSource):
    """Rendered faces with exact labels, in subject-disjoint splits.

    Targets: `expression` and `morphology` (classes), `age` in years, `yaw`, `pitch` and `roll` in degrees, and the
    three together as `pose` [3]. Angles follow 300W-LP (https://arxiv.org/abs/1511.07212): yaw > 0 turns the nose to
    the viewer's left, pitch > 0 up, roll > 0 turns the head clockwise as the viewer sees it. `morphology` says which
    sex-typed mesh was rendered, which is not a person's gender. A row's group is its subject.

    Args:
        expressions: Expressions to use, in the order of their class indices.
        size: Side of the images in pixels; None keeps their own. Other sizes are made by bilinear interpolation with
            antialiasing.
        folder: An archive as the generator writes it with `--form packed`; by default the one in this package.

    Raises:
        ValueError: If an expression is unknown or named twice, or the size is less than 1.

    Examples:
        >>> from auxlearn_synthfaces import SynthFaces
        >>> faces = SynthFaces(expressions=("happiness", "sadness"))
        >>> faces.inputs["image"].shape, faces.targets["expression"].names
        ((3, 64, 64), ('happiness', 'sadness'))
        >>> sorted(faces.dataset("test")[0])
        ['age', 'expression', 'image', 'morphology', 'pitch', 'pose', 'roll', 'yaw']
    """

    def __init__(
        self, expressions: Sequence[str] = EXPRESSIONS, size: int | None = None, folder: Path = SHIPPED
    ) -> None:
        if len(set(expressions)) != len(expressions) or not set(expressions) <= set(EXPRESSIONS):
            raise ValueError(f"Expressions should be different ones of {EXPRESSIONS}, got {tuple(expressions)}.")
        if size is not None and size < 1:
            raise ValueError(f"The size should be at least 1, got {size}.")
        self._folder, self._expressions = folder, tuple(expressions)
        rows = read_labels(folder)
        images = read_images(folder, len(rows))
        used = {
            split: [i for i, row in enumerate(rows) if row.split == split and row.expression in expressions]
            for split in SPLITS
        }
        self._rows = {split: [rows[i] for i in chosen] for split, chosen in used.items()}
        self._data = {split: _Faces(self._columns(split, images[used[split]], size)) for split in SPLITS}
        self.splits = SPLITS
        self.inputs = {"image": InputShape(shape=tuple(self._data["train"].columns["image"].shape[1:]))}
        degrees = TargetInfo(kind="continuous", unit="degree")
        self.targets = {
            "expression": TargetInfo(kind="class", names=self._expressions),
            "morphology": TargetInfo(kind="class", names=MORPHOLOGIES),
            "age": TargetInfo(kind="continuous", unit="year"),
            **dict.fromkeys(_ANGLES, degrees),
            "pose": TargetInfo(kind="continuous", names=_ANGLES, shape=(3,), unit="degree"),
        }

    def _columns(self, split: str, images: np.ndarray[Any, Any], size: int | None) -> dict[str, Tensor]:
        rows = self._rows[split]
        pose = torch.tensor([[row.yaw, row.pitch, row.roll] for row in rows])
        return {
            "image": torch.from_numpy(np.ascontiguousarray(_resized(images, size).transpose(0, 3, 1, 2))),
            "expression": torch.tensor([self._expressions.index(row.expression) for row in rows]),
            "morphology": torch.tensor([MORPHOLOGIES.index(row.morphology) for row in rows]),
            "age": torch.tensor([row.age for row in rows]),
            **dict(zip(_ANGLES, pose.T.contiguous(), strict=True)),
            "pose": pose,
        }

    def dataset(self, split: str) -> Dataset[Any]:
        """Return the rows of `split`."""
        return self._data[split]

    def labels(self, split: str, target: str) -> Sequence[int] | None:
        """Return every row's class index, or None for a target that is not a class."""
        if self.targets[target].kind != "class":
            return None
        labels: list[int] = self._data[split].columns[target].tolist()
        return labels

    def groups(self, split: str) -> Sequence[str]:
        """Return every row's subject."""
        return [row.subject for row in self._rows[split]]

    def name(self, split: str, index: int) -> str:
        """Return the id of an image: `<subject>-<number>`."""
        return f"synthfaces/{self._row(split, index).id}"

    def _row(self, split: str, index: int) -> Row:
        return self._rows[split][index]

    def fingerprint(self) -> str:
        """Return a hash of the archive and of the expressions in use."""
        return f"{fingerprint(self._folder)}-{','.join(self._expressions)}"


def _resized(images: np.ndarray[Any, Any], size: int | None) -> np.ndarray[Any, Any]:
    if size is None or size == images.shape[1]:
        return images
    small = [Image.fromarray(image).resize((size, size), Image.Resampling.BILINEAR) for image in images]
    return np.stack([np.asarray(image) for image in small])
