"""UTKFace: 23,000 faces with age, gender and race in their names.

https://susanqq.github.io/UTKFace: `[age]_[gender]_[race]_[date&time].jpg` (`.jpg.chip.jpg` for the aligned and cropped
ones), with gender 0 male, 1 female and race 0 White, 1 Black, 2 Asian, 3 Indian, 4 Others. Files may lie in folders.

A few names of the archive lack a field; as which one is missing is a guess, they are left out, as the field does.
There is no official split: all rows are `train`; use `data.split` or `data.folds`.
"""

from __future__ import annotations

import re

from auxlearn.data import DataContext, TableRow, TableSource
from auxlearn_faces.readers.layout import Layout
from auxlearn_faces.readers.names import RACES_UTKFACE
from auxlearn_faces.readers.params import UtkFaceParams
from auxlearn_faces.readers.rows import AGE, GENDER, classes, make_source

__all__ = ["build"]

_NAME = re.compile(r"(\d{1,3})_([01])_([0-4])_\d{14,20} ?\.?jpg(\.chip\.jpg)?", re.IGNORECASE)
_FORM = "[age]_[gender 0-1]_[race 0-4]_[date&time].jpg or .jpg.chip.jpg"
_GENDERS = {"0": "male", "1": "female"}

# The beginnings of the names that lack a field.
_BROKEN = (
    "39_1_20170116174525125.",
    "53__0_20170116184028385.",
    "61_1_20170109142408075.",
    "61_1_20170109150557335.",
    "61_3_20170109150557335.",
)


def build(params: UtkFaceParams, context: DataContext) -> TableSource:
    """Return UTKFace.

    Raises:
        DataError: If there are no images, or some have other names.
    """
    layout = Layout.open(params.path, context)
    rows, others = [], []
    for path in sorted(layout.path.rglob("*.[jJ][pP][gG]")):
        relative = path.relative_to(layout.path).as_posix()
        found = _NAME.fullmatch(path.name)
        if found is not None:
            labels = {
                "age": float(found[1]),
                "gender": _GENDERS[found[2]],
                "race": RACES_UTKFACE[int(found[3])],
            }
            rows.append(TableRow(path=relative, targets=labels, where=relative))
        elif not path.name.startswith(_BROKEN):
            others.append(relative)
    if not rows:
        layout.wrong("images", str(layout.path), f"there are no images {_FORM}")
    for relative in others if rows else ():
        layout.wrong("names", relative, "the name is not one of UTKFace", allowed=_FORM)
    targets = {"age": AGE, "gender": GENDER, "race": classes(RACES_UTKFACE)}
    return make_source(layout, rows, targets, params, context)
