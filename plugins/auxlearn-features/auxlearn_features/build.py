"""From the settings of `features` to a `FeatureSource`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from auxlearn.data import DataContext, TargetInfo, column
from auxlearn.errors import DataError, Problem, escape
from auxlearn_features.params import FeaturesParams
from auxlearn_features.sheet import Sheet, inputs_of, read_sheet, wrong
from auxlearn_features.source import FeatureSource, FeatureTarget
from auxlearn_features.survey import Array
from auxlearn_features.vectors import read_vectors
from auxlearn_tables.build import label_rows
from auxlearn_tables.targets import targets_of

__all__ = ["build_features"]


def build_features(params: FeaturesParams, context: DataContext) -> FeatureSource:
    """Return the rows of a table of features.

    Args:
        params: The settings of `features`.
        context: The folder that relative paths start from.

    Raises:
        DataError: With what is wrong with the table, its vectors or its labels.
    """
    sheet = read_sheet(params, context.root)
    infos, labels = label_rows(targets_of(params), sheet.rows)
    targets = _targets(sheet, infos, labels)
    strict = params.absent == "error"
    inputs = {name: read_vectors(sheet, name, one, strict=strict) for name, one in inputs_of(params).items()}
    problems = list(_few_copies(sheet, inputs, params.copies))
    if problems:
        raise DataError(problems)
    return FeatureSource(
        inputs,
        split=[None if own is None else split for split, own in zip(sheet.splits, labels, strict=True)],
        targets=targets,
        groups=_groups(sheet, params),
        names=_names(sheet, params),
        copies=params.copies,
        mapped={name: Path(str(array.filename)) for name, array in inputs.items() if isinstance(array, np.memmap)},
    )


def _targets(
    sheet: Sheet, infos: Mapping[str, TargetInfo], labels: Sequence[Mapping[str, Any] | None]
) -> dict[str, FeatureTarget]:
    """Return the labels as columns; of rows that are not used there are none."""
    where, made, problems = [row.where for row in sheet.rows], {}, []
    for name, info in infos.items():
        found, values = column([own and own[name] for own in labels], info, name, where)
        problems += found
        made[name] = FeatureTarget(info, values.values, values.present)
    if problems:
        raise DataError(problems)
    return made


def _few_copies(sheet: Sheet, inputs: Mapping[str, Array], copies: int) -> Iterator[Problem]:
    """Yield the modalities of which fewer copies exist than an item shall show."""
    for name, array in inputs.items():
        there = array.shape[1] if array.ndim == 3 else 1
        if there < copies:
            what = (
                f"`{name}` has {there} {'copy' if there == 1 else 'copies'} of each row, and `copies` asks for {copies}"
            )
            yield Problem(where=str(sheet.path), what=what, fix=f"`copies` of at most {there}", exit_code=4)


def _groups(sheet: Sheet, params: FeaturesParams) -> list[str | None] | None:
    """Return the group of each row: its cell, or what the pattern finds in it."""
    if params.group_column is None:
        return None
    cells = sheet.cells(params.group_column)
    if params.group_pattern is None:
        return cells
    found = [None if cell is None else re.search(params.group_pattern, cell) for cell in cells]
    for row, cell, match in zip(sheet.rows, cells, found, strict=True):
        if cell is not None and match is None:
            raise wrong(row.where, f'`group_pattern` finds nothing in "{escape(cell)}"')
    return [None if match is None else match[1] for match in found]


def _names(sheet: Sheet, params: FeaturesParams) -> list[str]:
    """Return what to call each row: its id and where it stands, which is never two times the same."""
    ids = sheet.cells(params.id_column)
    return [row.where if one is None else f"{row.where} ({one})" for row, one in zip(sheet.rows, ids, strict=True)]
