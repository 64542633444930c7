"""`DatasetSource`: a data source around ordinary datasets of (image, class) pairs."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from auxlearn.data.images import convert_image
from auxlearn.data.problems import problem
from auxlearn.data.source import DataSource, InputShape, TargetInfo
from auxlearn.errors import DataError, escape

__all__ = ["DatasetSource"]


class DatasetSource(DataSource):
    """A data source around ordinary map-style datasets, as those of torchvision: an item is (image, class).

    An image is a Pillow image of any mode, or uint8 [C, H, W] as a tensor or an array, with one channel or three; it
    becomes RGB of the size that is asked for, as `read_image` makes it. A class is its index, or None for a row
    without. So datasets are made *without* transforms to tensors: scaling, normalising and augmenting are done later,
    on the device, by parts of the spec.

    What the datasets know besides, such as groups, is told by overriding that method of `DataSource`.

    Args:
        datasets: By the name of the split.
        names: The names of the classes, in the order of their indices.
        size: Side of the images in pixels, as in `DataContext`; None for their own, which is that of the first one.
        target: Name of the target.
        labels: The classes of all rows by split, where they are known without making images; such as
            `{"train": dataset.targets}`.
        fingerprint: What the rows depend on, as a short text: the name of the data set, its version, its settings.

    Raises:
        DataError: If a dataset that is asked for its first image is empty, or its images are none.

    Examples:
        >>> from PIL import Image
        >>> from auxlearn.data import DatasetSource
        >>> pairs = [(Image.new("L", (12, 8), 9), 1), (Image.new("L", (9, 9)), 0)]
        >>> source = DatasetSource({"train": pairs}, ("dark", "bright"), size=4, fingerprint="two-v1")
        >>> row = source.dataset("train")[0]
        >>> row["image"].shape, row["label"], source.splits
        (torch.Size([3, 4, 4]), 1, ('train',))
    """

    def __init__(
        self,
        datasets: Mapping[str, Any],
        names: Sequence[str],
        *,
        size: int | None = None,
        target: str = "label",
        labels: Mapping[str, Sequence[Any]] | None = None,
        fingerprint: str,
    ) -> None:
        self.datasets, self.size, self.target = dict(datasets), size, target
        self.known, self.text = dict(labels or {}), fingerprint
        self.splits = tuple(self.datasets)
        self.targets = {target: TargetInfo(kind="class", names=tuple(names))}
        self.inputs = {"image": InputShape(shape=(3, *self._shape()))}

    def dataset(self, split: str) -> Dataset[Any]:
        """Return the rows of `split`."""
        return _Rows(self.datasets[split], split, self.size, self.target)

    def labels(self, split: str, target: str) -> list[int | None] | None:
        """Return every row's class, if `labels` was given for the split."""
        if split not in self.known:
            return None
        return [None if label is None else int(label) for label in self.known[split]]

    def resized(self, size: int | None) -> DatasetSource:
        """Return the same rows with images of this size."""
        other = copy.copy(self)
        other.size = size
        other.inputs = {"image": InputShape(shape=(3, *other._shape()))}
        return other

    def fingerprint(self) -> str:
        """Return what the rows depend on."""
        return f"{self.text}-{self.size}"

    def _shape(self) -> tuple[int, int]:
        """Return (height, width) of the images."""
        if self.size is not None:
            return self.size, self.size
        split, dataset = next(iter(self.datasets.items()))
        if len(dataset) == 0:
            raise DataError(problem(split, "the split is empty"))
        height, width = self.dataset(split)[0]["image"].shape[1:]
        return height, width


class _Rows(Dataset[Any]):
    """One of the datasets, with its pairs as the engine wants them."""

    def __init__(self, dataset: Any, split: str, size: int | None, target: str) -> None:
        self.dataset, self.split, self.size, self.target = dataset, split, size, target

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> dict[str, Any]:
        pair = self.dataset[index]
        where = f"{self.split}/{index}"
        if not isinstance(pair, Sequence) or len(pair) != 2:
            raise DataError(problem(where, f"is {escape(repr(pair), 80)}", allowed="a pair: (image, class)"))
        image, label = pair
        return {"image": _pixels(image, self.size, where), self.target: None if label is None else int(label)}


def _pixels(image: Any, size: int | None, where: str) -> Tensor:
    if isinstance(image, Image.Image):
        return convert_image(image, size)
    array = np.asarray(image)
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[0] not in (1, 3):
        what = f"the image is a {type(image).__name__} of {array.dtype}, of shape {array.shape}"
        allowed = "a Pillow image, or uint8 [C, H, W] with C 1 or 3"
        fix = "make the dataset without its transform to tensors"
        raise DataError(problem(where, what, allowed=allowed, fix=fix))
    return convert_image(Image.fromarray(array[0] if len(array) == 1 else array.transpose(1, 2, 0)), size)
