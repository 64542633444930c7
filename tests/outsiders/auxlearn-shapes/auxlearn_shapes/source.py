"""The data source around `Shapes`."""

from __future__ import annotations

from auxlearn.data import DatasetSource

from auxlearn_shapes.provider import CLASSES, SPLITS
from auxlearn_shapes.shapes import Shapes

__all__ = ["shapes_source"]


def shapes_source(rows: int, size: int | None) -> DatasetSource:
    """Return drawings as data: as many for training as `rows`, a quarter of that for each other split.

    Args:
        rows: Drawings to train on.
        size: Side of the images in pixels; None for their own.
    """
    counts = {split: rows if split == "train" else max(1, rows // 4) for split in SPLITS}
    datasets = {split: Shapes(count, first=number * 1_000_000) for number, (split, count) in enumerate(counts.items())}
    labels = {split: [index % len(CLASSES) for index in range(count)] for split, count in counts.items()}
    return DatasetSource(datasets, CLASSES, size=size, target="shape", labels=labels, fingerprint=f"shapes-1-{rows}")
