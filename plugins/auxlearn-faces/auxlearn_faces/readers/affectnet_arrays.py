"""AffectNet's release of 2021: cropped images, and four small arrays for each.

    train_set/images/0.jpg        train_set/annotations/0_exp.npy  0_val.npy  0_aro.npy  0_lnd.npy
    val_set/images/...            val_set/annotations/...

as https://github.com/sb-ai-lab/EmotiEffLib/issues/14 lists it. The label is 0 to 7; an array holds one number, or its
digits as text; `lnd` has x, y of 68 landmarks, flat.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from auxlearn.data import Region, TableRow
from auxlearn_faces.readers.layout import Layout

__all__ = ["read_arrays"]


def read_arrays(layout: Layout, names: Sequence[str]) -> list[TableRow]:
    """Return the rows of both sets; those of expressions that are not in `names` are left out."""
    layout.need("train_set/annotations/")
    layout.need("val_set/annotations/")
    layout.settle()
    folders = (("train", "train_set"), ("val", "val_set"))
    return [row for split, folder in folders for row in _rows(layout, folder, split, names)]


def _rows(layout: Layout, folder: str, split: str, names: Sequence[str]) -> Iterator[TableRow]:
    annotations = layout.path / folder / "annotations"
    labelled = {path.name.removesuffix("_exp.npy") for path in annotations.glob("*_exp.npy")}
    images = {path.stem: path.name for path in (layout.path / folder / "images").iterdir() if path.suffix}
    for name in sorted(images.keys() ^ labelled):
        lacks = f"annotations/{name}_exp.npy" if name in images else f"images/{name}.jpg"
        layout.wrong("pairs of image and label", f"{folder}/{lacks}", "the file is missing")
    for name in sorted(images.keys() & labelled, key=lambda name: (len(name), name)):
        where = f"{folder}/images/{images[name]}"
        label = _number(layout, annotations / f"{name}_exp.npy")
        if label is None or label not in range(11):
            layout.wrong("labels", where, f"the expression is {label}", allowed="0 to 7")
        elif label < len(names):
            affect = {
                target: _number(layout, annotations / f"{name}_{short}.npy")
                for target, short in (("valence", "val"), ("arousal", "aro"))
            }
            yield TableRow(
                path=where,
                targets={"expression": names[int(label)]}
                | {target: None if value == -2 else value for target, value in affect.items()},
                split=split,
                region=partial(_region, annotations / f"{name}_lnd.npy"),
                where=where,
            )


def _number(layout: Layout, path: Path) -> float | None:
    try:
        return float(np.load(path, allow_pickle=False).item())
    except (OSError, ValueError) as error:
        reason = "the file is missing" if isinstance(error, FileNotFoundError) else "it does not hold one number"
        layout.wrong("arrays", str(path), reason)
        return None


def _region(path: Path) -> Region | None:
    try:
        points = np.load(path, allow_pickle=False).astype(float).reshape(-1, 2)
    except (OSError, ValueError):
        return None
    return Region(landmarks=tuple((float(x), float(y)) for x, y in points))
