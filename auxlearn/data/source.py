"""`DataSource`: where samples come from, and what is known about them ahead of any tensor."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import attrs
from torch.utils.data import Dataset

__all__ = ["DataContext", "DataSource", "InputShape", "LabelCounts", "Region", "TargetInfo"]


@attrs.frozen(kw_only=True)
class InputShape:
    """The form of one modality, without the row dimension.

    Attributes:
        shape: E.g. `(3, 64, 64)` for an image, `(768,)` for a feature vector. One -1 among them is the axis whose
            length differs from row to row, as the time of whole clips: such rows can be extracted, not trained on.
        dtype: Name of the torch dtype of the stored data: `"uint8"` for images.
        kind: `"image"` is augmented and scaled to [0, 1]; `"feature"` reaches the backbone as it is.
        mean, std: Of a feature, the statistics of each component over the training rows that have it, by which a
            backbone may standardise; empty where they are not known. A row without the feature holds the mean.
    """

    shape: tuple[int, ...]
    dtype: str = "uint8"
    kind: Literal["image", "feature"] = "image"
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()


@attrs.frozen(kw_only=True)
class TargetInfo:
    """What is known about one target.

    Attributes:
        kind: `"class"`: int64 class index; `"multilabel"`: float [classes] of 0 and 1; `"continuous"`: float.
        names: The names of the classes, in the order of their indices; of the components of a continuous
            target, if they have names.
        shape: Shape of one row's target: `()` for a class or a single number.
        unit: Of a continuous target, e.g. `"degree"`.
    """

    kind: Literal["class", "multilabel", "continuous"]
    names: tuple[str, ...] = ()
    shape: tuple[int, ...] = ()
    unit: str | None = None


@attrs.frozen(kw_only=True)
class LabelCounts:
    """How often each label of a multi-label target occurs.

    Attributes:
        rows: Rows that have the target.
        positives: How many of them have each label.
    """

    rows: int
    positives: tuple[int, ...]


@attrs.frozen(kw_only=True)
class Region:
    """Where the object of interest, such as a face, is in a stored image; in pixels of the file, y down.

    Attributes:
        box: left, top, right, bottom.
        landmarks: Points (x, y), in the order that the data set documents; for five of a face, the eyes on the left
            and on the right of the picture, the nose, and the corners of the mouth on the left and on the right.
    """

    box: tuple[float, float, float, float] | None = None
    landmarks: tuple[tuple[float, float], ...] = ()


@attrs.frozen(kw_only=True)
class DataContext:
    """What a data source is built with besides its own params.

    Attributes:
        size: Side in pixels to which images are decoded, or None for their own size.
        root: Folder against which relative paths of the spec are resolved: the folder of the spec file.
    """

    size: int | None = None
    root: str = "."


class DataSource(ABC):
    """An ordinary map-style torch `Dataset` per split, plus what the data knows about itself.

    Items are dicts: each modality and target under its name, e.g. `{"image": uint8 [C, H, W], "emotion": 3}`.
    A target (or, beside others, a modality) that a row lacks is left out or None. Items are read in loader
    workers, so they hold tensors, numpy arrays and numbers only; no attrs objects. What an item draws from the
    generators of Python, numpy or torch is seeded for it, the same for any number of workers.

    A data set whose rows lie in arrays should also have `__getitems__(indices)`, which returns all of them at once,
    rows first: `{"image": uint8 [N, C, H, W], "emotion": [N], "present": {"targets/emotion": bool [N]}}`, where
    `present` (or a key of it) may be left out if nothing lacks. It should draw nothing.

    Attributes:
        inputs: The form of each modality.
        targets: What is known about each target.
        splits: The splits that exist, of `"train"`, `"val"`, `"test"` and further ones.
    """

    inputs: Mapping[str, InputShape]
    targets: Mapping[str, TargetInfo]
    splits: tuple[str, ...]

    @abstractmethod
    def dataset(self, split: str) -> Dataset[Any]:
        """Return the rows of `split`. Its dataset has `__len__` and `__getitem__`."""

    def dataset_for(self, split: str, *, training: bool) -> Dataset[Any]:
        """Return the rows of `split` as they are trained on, or scored. Default: there is no difference.

        The spec may score rows of the split `train`, or train on those of `val`. What is scored draws nothing. A
        source whose training draws overrides this: a cache then keeps what is scored only.
        """
        return self.dataset(split)

    def measured(self, rows: Sequence[tuple[str, Iterable[int]]]) -> Mapping[str, InputShape]:
        """Return `inputs` with the statistics of these rows, the ones that are trained on. Default: `inputs`.

        Args:
            rows: Numbers of rows with the split that they are in.
        """
        return self.inputs

    def labels(self, split: str, target: str) -> Sequence[Any] | None:
        """Return every row's label without reading inputs (None for a row without), or None if that cannot be.

        It is asked for class targets, whose labels are indices, and for multi-label ones: 0 or 1 for each label.
        Fractions by stratum, class weights and balanced sampling need it; without it they read all items.
        """
        return None

    def groups(self, split: str) -> Sequence[str | None] | None:
        """Return every row's group, e.g. the person, or None if there are no groups. No group may be in two splits.

        A row whose group is None is a group of its own.
        """
        return None

    def duplicates(self) -> Sequence[Sequence[tuple[str, int]]]:
        """Return the sets of rows, as (split, index), that hold the same input. No such set may be in two splits."""
        return ()

    def files(self, split: str) -> Sequence[str | None] | None:
        """Return the real path of the one file that each row's input is read from, or None if rows are no files.

        Rows of two sources are the same where their files hold the same; None for a row whose file is not known.
        """
        return None

    def name(self, split: str, index: int) -> str:
        """Return how to call a row in messages and saved lists: a path, an id."""
        return f"{split}/{index}"

    def region(self, split: str, index: int) -> Region | None:
        """Return where in its stored image the object of a row is, if that is known. Default: it is not."""
        return None

    def resized(self, size: int | None) -> DataSource | None:
        """Return the same rows with images of this size; None, the default, if they have to be built again for it.

        Args:
            size: As in `DataContext`.
        """
        return None

    def shape(self, split: str, index: int) -> tuple[int, int] | None:
        """Return (height, width) of the part of its file that a row shows, in the file's pixels. Default: all of it.

        Raises:
            DataError: If the file cannot be read.
        """
        return None

    def fingerprint(self) -> str:
        """Return a short hash that changes when the samples do; resuming compares it."""
        return ""

    def check(self) -> None:  # noqa: B027 (nothing to check is a fine default)
        """Raise a `DataError` with everything wrong about the data that can be seen before training."""
