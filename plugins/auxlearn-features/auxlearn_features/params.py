"""The settings of what this plugin offers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import attrs

from auxlearn.registry import option
from auxlearn_tables import TargetParams

__all__ = ["FeaturesBackboneParams", "FeaturesParams", "InputParams", "SynthFeaturesParams"]

_COPIES = (
    "How many of a row's copies an item shows, in training drawn anew for each modality, elsewhere the first; with "
    "more than 1 an input has shape (copies, width)."
)


@attrs.frozen(kw_only=True)
class InputParams:
    """Settings of one modality of `features`: where its vectors are, in one of four ways."""

    array: str | None = option(
        None, help="Name of an array of the .npz, [rows, width] or [rows, copies, width]; `{split}` stands for a split."
    )
    column: str | None = option(None, help="Column of the Parquet table that holds lists of numbers.")
    file: str | None = option(
        None, help="A .npy file beside the table, [rows, width] or [rows, copies, width], in the order of its rows."
    )
    files: tuple[str, ...] = option(
        (),
        help="A .npy file for each row, [width], beside the table: a path in which `{id}`, `{split}` and other columns "
        "stand for the row's cells; several paths are the copies of the row.",
    )
    width: int | None = option(None, ge=1, help="How many numbers a vector should have; null: as many as it has.")


@attrs.frozen(kw_only=True)
class FeaturesParams:
    """Settings of `features`: a table of precomputed feature vectors."""

    path: str = option(help="The table (.csv, .tsv, .parquet or .npz), relative to the folder of the spec.")
    inputs: tuple[str, ...] | Mapping[str, InputParams] = option(
        help="Modalities by name, each with its settings; or names alone: the arrays or columns so called, or, for a "
        "table of text, the files `<name>.npy`."
    )
    targets: tuple[str, ...] | Mapping[str, TargetParams] = option(
        (), help="Columns, or arrays, that are class targets; or targets by name, each with its settings."
    )
    id_column: str = option("id", help="Column with the name of the row; without a column `id` rows are numbered.")
    split_column: str = option("split", help="Column with the split; without a column `split` all are `train`.")
    group_column: str | None = option(None, help="Column with what no split may divide, e.g. the person; null: none.")
    group_pattern: str | None = option(
        None, help="Regular expression whose first bracket finds the group in the cell; null: the cell is the group."
    )
    splits: Mapping[str, str] = option(
        attrs.Factory(dict),
        help='The split that a name stands for, e.g. {"dev": "val"}; "valid" and "validation" are `val` anyway.',
    )
    copies: int = option(1, ge=1, help=_COPIES)
    absent: Literal["missing", "error"] = option(
        "missing", help="What a row's file is that is not there: the row lacks the modality, or an error."
    )


@attrs.frozen(kw_only=True)
class FeaturesBackboneParams:
    """Settings of the backbone `features`."""

    modalities: tuple[str, ...] = option((), help="The modalities to give; none named: all that are feature vectors.")


def _modalities() -> dict[str, int]:
    return {"video": 32, "audio": 48, "text": 24}


@attrs.frozen(kw_only=True)
class SynthFeaturesParams:
    """Settings of `synthfeatures`.

    Examples:
        >>> from auxlearn_features import SynthFeaturesParams
        >>> dict(SynthFeaturesParams().modalities)
        {'video': 32, 'audio': 48, 'text': 24}
    """

    modalities: Mapping[str, int] = option(
        attrs.Factory(_modalities), ge=1, help="The modalities and the width of each."
    )
    classes: int = option(6, ge=2, le=1000, help="Number of classes.")
    train: int = option(512, ge=1, help="Rows of the split `train`.")
    val: int = option(128, ge=0, help="Rows of the split `val`; 0: there is none.")
    test: int = option(256, ge=0, help="Rows of the split `test`; 0: there is none.")
    groups: int = option(32, ge=1, help="Groups, e.g. speakers, each with ways of its own; no group is in two splits.")
    missing: float = option(
        0.0, ge=0, lt=1, help="Part of the rows that lack a modality, of each one; no row lacks all of them."
    )
    noise: float = option(1.0, ge=0, help="Noise on each component, which has a standard deviation of about 1 without.")
    available: int = option(1, ge=1, help="Copies that there are of each row, as augmentation would make them.")
    copies: int = option(1, ge=1, help=_COPIES)
    seed: int = option(0, ge=0, help="Seed of the rows, whatever the seed of the run is.")
