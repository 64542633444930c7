"""The settings of the two data sources."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import attrs

from auxlearn.registry import option

__all__ = ["EXTENSIONS", "Fit", "FolderParams", "Others", "TableParams", "TargetParams"]

EXTENSIONS = (".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")

Others = Literal["error", "drop", "unlabelled"]
Fit = Literal["crop", "squash"]

_OTHERS = "Rows of classes that `classes` does not name: an error, dropped, or kept without a label."
_SPLITS = 'The split that a name stands for, e.g. {"Training": "train"}; "valid" and "validation" are `val` anyway.'
_FIT = "How images that are not square become so: the central square, or all of it with changed proportions."


@attrs.frozen(kw_only=True)
class FolderParams:
    """Settings of `folder`: images in `root/split/class/*` or `root/class/*`."""

    root: str = option(help="The folder, relative to the folder of the spec.")
    target: str = option("label", help="What the classes are called as a target.", pattern=r"[A-Za-z_]\w*")
    classes: tuple[str, ...] = option((), help="Class folders in the order of their indices; none named: all, sorted.")
    others: Others = option("error", help=_OTHERS)
    splits: Mapping[str, str] = option(attrs.Factory(dict), help=_SPLITS)
    extensions: tuple[str, ...] = option(EXTENSIONS, help="Endings of image files; others are skipped.")
    fit: Fit = option("crop", help=_FIT)


@attrs.frozen(kw_only=True)
class TargetParams:
    """Settings of one target of `table`."""

    kind: Literal["class", "multilabel", "continuous"] = option(
        "class", help="One class a row; any number of them; or numbers."
    )
    columns: tuple[str, ...] = option((), help="Its columns; none named: the one with the target's name.")
    classes: tuple[str, ...] = option((), help="Class names in the order of their indices; none named: all, sorted.")
    indices: bool = option(False, help="Cells of a class hold its index in `classes`, from 0, instead of its name.")
    others: Others = option("error", help=_OTHERS)
    threshold: float | None = option(
        None,
        help="Of a multilabel target with a number for each label, in several columns or a list in one: above it a "
        "label applies; `classes` names them, or else the columns do.",
    )
    separator: str = option("|", help="What stands between the class names in a cell of a multilabel target.")
    unit: str | None = option(None, help="Unit of the numbers, e.g. `degree`.")


@attrs.frozen(kw_only=True)
class TableParams:
    """Settings of `table`: a manifest with one image a row."""

    path: str = option(help="The manifest (.csv, .tsv or .parquet), relative to the folder of the spec.")
    root: str | None = option(None, help="Folder that the images' paths are relative to; null: the manifest's.")
    targets: tuple[str, ...] | Mapping[str, TargetParams] = option(
        (), help="Columns that are class targets; or targets by name, each with its settings."
    )
    path_column: str = option("path", help="Column with the path of the image.")
    split_column: str = option("split", help="Column with the split; without a column `split` all are `train`.")
    group_column: str | None = option(None, help="Column with what no split may divide, e.g. the person; null: none.")
    checksum_column: str | None = option(None, help="Column with a sha256, sha1 or md5 of the image file; null: none.")
    splits: Mapping[str, str] = option(attrs.Factory(dict), help=_SPLITS)
    fit: Fit = option("crop", help=_FIT)
