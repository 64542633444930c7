"""`media`: clips that a manifest names."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from auxlearn.data import DataContext
from auxlearn.errors import DataError, Problem, escape
from auxlearn_media.params import MediaParams
from auxlearn_media.source import ClipSource, Part
from auxlearn_tables.build import ManifestRows, read_rows

__all__ = ["build_media"]


def build_media(params: MediaParams, context: DataContext) -> ClipSource:
    """Return the clips of a manifest.

    Raises:
        SpecError: If the settings name nothing to read, or no size for frames.
        DataError: If the manifest is not as the settings say.
    """
    given = {"start_column": params.start_column, "end_column": params.end_column}
    columns = {setting: name for setting, name in given.items() if name is not None}
    if params.text is not None:
        columns["text/column"] = params.text.column
    found = read_rows(params, context.root, columns)
    parts = _parts(found, params)
    return ClipSource(found.rows, parts, root=found.root, targets=found.targets, params=params, size=context.size)


def _parts(manifest: ManifestRows, params: MediaParams) -> list[Part]:
    """Return what of its file each row shows; DataError for those that show none."""
    found, problems = [], []
    for row, cells in zip(manifest.rows, manifest.cells, strict=True):
        try:
            start, end = _second(cells, params.start_column, 0.0), _second(cells, params.end_column, math.inf)
            if not 0 <= start < end:
                raise ValueError(f"is from second {start:g} to {end:g}")
            text = None if params.text is None else _cell(cells, params.text.column)
            found.append(Part(start=start, end=end, text=text))
        except ValueError as error:
            allowed = "numbers, the start before the end"
            problems.append(Problem(where=row.where, what=f"the row {error}", allowed=allowed, exit_code=4))
    if problems:
        raise DataError(problems)
    return found


def _second(cells: Mapping[str, Any], column: str | None, default: float) -> float:
    cell = None if column is None else cells[column]
    if cell is None:
        return default
    try:
        return float(cell)
    except (TypeError, ValueError):
        raise ValueError(f'has "{escape(cell)}" in the column "{column}"') from None


def _cell(cells: Mapping[str, Any], column: str) -> str | None:
    return None if cells[column] is None else str(cells[column])
