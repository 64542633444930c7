"""What there is in a data source, in numbers: rows, classes, missing labels, groups, sizes of images."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import attrs
import numpy as np

from auxlearn.data.divide import class_labels
from auxlearn.data.images import probe_image
from auxlearn.data.source import DataSource
from auxlearn.errors import DataError
from auxlearn.seeds import derive_seed

__all__ = ["Overview", "overview", "some_rows"]

T = TypeVar("T")

_MOST_PROBED = 1000  # rows of a split whose size is looked up


@attrs.frozen(kw_only=True)
class Overview:
    """A data source in numbers.

    Attributes:
        rows: Rows of each split.
        classes: Rows of each class by class target, class and split.
        missing: Rows without a label by class target and split.
        numbers: The other targets: kind, components and unit.
        groups: Groups of each split; None where rows have none.
        sizes: How many rows have images of each (width, height), of those that were looked at.
    """

    rows: Mapping[str, int]
    classes: Mapping[str, Mapping[str, Mapping[str, int]]]
    missing: Mapping[str, Mapping[str, int]]
    numbers: Mapping[str, Mapping[str, Any]]
    groups: Mapping[str, int | None]
    sizes: Mapping[tuple[int, int], int]

    def to_json(self) -> dict[str, Any]:
        """Return the overview as JSON; sizes as `"<width>x<height>"`."""
        facts: dict[str, Any] = attrs.asdict(self)
        return facts | {"sizes": {f"{width}x{height}": count for (width, height), count in self.sizes.items()}}


def overview(source: DataSource, *, seed: int = 0) -> Overview:
    """Return what there is in `source`.

    Sizes are read from the heads of the files, of at most 1,000 rows of a split, drawn by `seed`; where rows show parts
    of their files, they are those of the parts, and where rows are no files, what the source says.
    """
    labels = {split: class_labels(source, split) for split in source.splits}
    targets = {name: info for name, info in source.targets.items() if info.kind == "class"}
    counted = {name: {split: Counter(labels[split][name]) for split in source.splits} for name in targets}
    return Overview(
        rows={split: len(source.dataset(split)) for split in source.splits},  # type: ignore[arg-type]
        classes={
            name: {
                one: {split: counted[name][split][place] for split in source.splits}
                for place, one in enumerate(info.names)
            }
            for name, info in targets.items()
        },
        missing={name: {split: counted[name][split][None] for split in source.splits} for name in targets},
        numbers={
            name: {"kind": info.kind, "names": list(info.names), "unit": info.unit}
            for name, info in source.targets.items()
            if info.kind != "class"
        },
        groups={split: _groups(source, split) for split in source.splits},
        sizes=dict(sum((_sizes(source, split, seed) for split in source.splits), Counter()).most_common()),
    )


def _groups(source: DataSource, split: str) -> int | None:
    groups = source.groups(split)
    return None if groups is None else len({group for group in groups if group is not None})


def _sizes(source: DataSource, split: str, seed: int) -> Counter[tuple[int, int]]:
    files, count = source.files(split), len(source.dataset(split))  # type: ignore[arg-type]
    if files is None:
        image = source.inputs.get("image")
        return Counter() if image is None else Counter({(image.shape[-1], image.shape[-2]): count})
    found: Counter[tuple[int, int]] = Counter()
    for index in some_rows(range(count), _MOST_PROBED, seed, split):
        file = files[index]
        if file is None:
            continue
        try:
            height, width = source.shape(split, index) or probe_image(file)
        except DataError:
            continue  # `check` says what is wrong with it
        found[width, height] += 1
    return found


def some_rows(rows: Sequence[T], most: int, seed: int, *names: str) -> list[T]:
    """Return at most so many of `rows`, in their order, drawn by `seed` and `names`."""
    if len(rows) <= most:
        return list(rows)
    draws = np.random.default_rng(derive_seed(seed, "/".join(names)))
    return [rows[place] for place in sorted(draws.choice(len(rows), most, replace=False).tolist())]
