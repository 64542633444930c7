"""Adience: faces of Flickr albums with gender and age group, in five folds.

Paper: "Age and Gender Estimation of Unfiltered Faces" (TIFS 2014; https://talhassner.github.io/home/projects/Adience).
`fold_0_data.txt` to `fold_4_data.txt` (`fold_frontal_0_data.txt`, ... for nearly frontal faces) have tab-separated
columns `user_id, original_image, face_id, age, gender, x, y, dx, dy, tilt_ang, fiducial_yaw_angle, fiducial_score`;
beside them are unpacked `aligned/<user_id>/landmark_aligned_face.<face_id>.<original_image>` or
`faces/<user_id>/coarse_tilt_aligned_face.<face_id>.<original_image>`
(https://docs.opencv.org/4.x/d8/d4e/group__datasets__fr.html reads the same files).

The box x, y, dx, dy is one in the original photo, which neither archive shows, so there are no regions. A gender u or
none is a missing label, and so is an age that is not one of the eight groups (a single year, another range). The group
is the album, which no two folds share.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from auxlearn.data import DataContext, TableRow, TableSource
from auxlearn_faces.readers.layout import Layout
from auxlearn_faces.readers.names import AGES_ADIENCE
from auxlearn_faces.readers.params import AdienceParams
from auxlearn_faces.readers.rows import GENDER, classes, make_source

__all__ = ["build"]

_COLUMNS = ("user_id", "original_image", "face_id", "age", "gender")
_FILES = {"aligned": "landmark_aligned_face", "faces": "coarse_tilt_aligned_face"}
_GENDERS = {"f": "female", "m": "male", "u": "", "": ""}
_AGE = re.compile(r"|None|\d{1,3}|\(\d{1,3}, ?\d{1,3}\)")


def build(params: AdienceParams, context: DataContext) -> TableSource:
    """Return Adience, one fold as `test`.

    Raises:
        DataError: If the folder is not laid out as Adience.
    """
    layout = Layout.open(params.path, context)
    prefix = "fold_frontal" if params.frontal else "fold"
    lists = [layout.need(f"{prefix}_{fold}_data.txt") for fold in range(5)]
    images = layout.need(f"{params.images}/")
    layout.settle()
    rows: list[TableRow] = []
    for fold, relative in enumerate(lists):
        split = "test" if fold == params.fold else "train"
        rows += _rows(layout, relative, split, images + "{}/" + _FILES[params.images] + ".{}.{}")
    return make_source(layout, rows, {"gender": GENDER, "age_group": classes(AGES_ADIENCE)}, params, context)


def _rows(layout: Layout, relative: str, split: str, form: str) -> Iterator[TableRow]:
    for where, cells in layout.table(relative, _COLUMNS, delimiter="\t"):
        gender = layout.choice(where, "gender", cells["gender"], _GENDERS)
        age = cells["age"]
        if not _AGE.fullmatch(age):
            layout.wrong("ages", where, f'`age` is "{age}"', allowed="(0, 2), ..., a year, or None")
        yield TableRow(
            path=form.format(cells["user_id"], cells["face_id"], cells["original_image"]),
            targets={"gender": gender or None, "age_group": age if age in AGES_ADIENCE else None},
            split=split,
            group=cells["user_id"],
            where=where,
        )
