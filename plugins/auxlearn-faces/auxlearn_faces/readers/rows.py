"""What the readers share: from rows to a data source, and the targets that several data sets have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from auxlearn.data import DataContext, TableRow, TableSource, TargetInfo
from auxlearn_faces.params import ANGLES
from auxlearn_faces.readers.layout import Layout
from auxlearn_faces.readers.names import GENDERS
from auxlearn_faces.readers.params import ImageParams

__all__ = ["AGE", "GENDER", "POSE", "classes", "make_source"]

AGE = TargetInfo(kind="continuous", unit="year")
POSE = TargetInfo(kind="continuous", names=ANGLES, shape=(3,), unit="degree")


def classes(names: Sequence[str]) -> TargetInfo:
    """Return the target with these classes."""
    return TargetInfo(kind="class", names=tuple(names))


GENDER = classes(GENDERS)


def make_source(
    layout: Layout,
    rows: Sequence[TableRow],
    targets: Mapping[str, TargetInfo],
    params: ImageParams,
    context: DataContext,
) -> TableSource:
    """Return the source of the rows, whose paths are relative to the folder, once everything is known to be there.

    Raises:
        DataError: With everything that was wrong about the lists, and the images that they name and that are missing.
    """
    layout.require_images((row.where or row.path, row.path) for row in rows)
    layout.settle()
    return TableSource(rows, root=layout.path, targets=targets, size=context.size, fit=params.fit)
