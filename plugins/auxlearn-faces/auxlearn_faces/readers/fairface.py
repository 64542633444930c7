"""FairFace: 108,501 faces, balanced over seven race groups, with gender and age group.

Paper: "FairFace" (WACV 2021, arXiv 1908.04913; https://github.com/joojs/fairface, CC BY 4.0). The lists
`fairface_label_train.csv` and `fairface_label_val.csv` have the columns `file, age, gender, race, service_test`, where
`file` is `train/1.jpg`, `val/1.jpg`; the archives of the images (margin 0.25 or 1.25) hold `train/` and `val/`.
Training is `train`, validation, on which results are published, `val`.
"""

from __future__ import annotations

from collections.abc import Iterator

from auxlearn.data import DataContext, TableRow, TableSource
from auxlearn_faces.readers.layout import Layout
from auxlearn_faces.readers.names import AGES_FAIRFACE, RACES_FAIRFACE
from auxlearn_faces.readers.params import FairFaceParams
from auxlearn_faces.readers.rows import GENDER, classes, make_source

__all__ = ["build"]

_COLUMNS = ("file", "age", "gender", "race")
_GENDERS = {"Male": "male", "Female": "female"}


def build(params: FairFaceParams, context: DataContext) -> TableSource:
    """Return FairFace.

    Raises:
        DataError: If the folder is not laid out as FairFace.
    """
    layout = Layout.open(params.path, context)
    lists = {split: layout.need(f"fairface_label_{split}.csv") for split in ("train", "val")}
    folder = "" if params.images == "." else f"{params.images.rstrip('/')}/"
    for split in lists:
        layout.need(f"{folder}{split}/")
    layout.settle()
    rows = [row for split, relative in lists.items() for row in _rows(layout, relative, split, folder)]
    targets = {"gender": GENDER, "age_group": classes(AGES_FAIRFACE), "race": classes(RACES_FAIRFACE)}
    return make_source(layout, rows, targets, params, context)


def _rows(layout: Layout, relative: str, split: str, folder: str) -> Iterator[TableRow]:
    for where, cells in layout.table(relative, _COLUMNS):
        labels = {
            "gender": layout.choice(where, "gender", cells["gender"], _GENDERS),
            "age_group": layout.choice(where, "age", cells["age"], AGES_FAIRFACE),
            "race": layout.choice(where, "race", cells["race"], RACES_FAIRFACE),
        }
        yield TableRow(path=folder + cells["file"], targets=labels, split=split, where=where)
