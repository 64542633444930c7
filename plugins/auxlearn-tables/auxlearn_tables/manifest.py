"""The manifest: its rows as plain cells, each with the place where it stands."""

from __future__ import annotations

import csv
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import attrs

from auxlearn.errors import DataError, PluginError, Problem, escape, nearest

__all__ = ["Cells", "read_manifest", "require_columns"]


@attrs.frozen
class Cells:
    """One row: where it stands, and its cells by column; None for one that is empty."""

    where: str
    cells: Mapping[str, Any]


def read_manifest(path: Path, without: Collection[str] = ()) -> tuple[tuple[str, ...], list[Cells]]:
    """Return the columns and the rows of the CSV, TSV or Parquet file `path`.

    Args:
        path: The file.
        without: Columns of a Parquet file that are left out of the rows, for being large.

    Raises:
        DataError: If it is missing, is no table, or has rows of other lengths than its head.
        PluginError: If it is a Parquet file and pyarrow is not installed.
    """
    readers = {
        ".csv": partial(_text, delimiter=","),
        ".tsv": partial(_text, delimiter="\t"),
        ".parquet": partial(_parquet, without=without),
    }
    read = readers.get(path.suffix.lower())
    if read is None:
        raise _wrong(path, f"its ending is {escape(path.suffix) or 'missing'}", allowed=", ".join(readers))
    if not path.is_file():
        raise _wrong(path, "there is no such file")
    columns, rows = read(path)
    twice = sorted({name for name in columns if columns.count(name) > 1})
    if twice:
        raise _wrong(path, f"two columns are called {escape(twice[0])}")
    if not rows:
        raise _wrong(path, "it has no rows")
    return columns, rows


def require_columns(path: Path, columns: Sequence[str], wanted: Mapping[str, str]) -> None:
    """Raise a `DataError` with every column of `wanted` (by the setting that names it) that is not there."""
    problems = [
        Problem(
            where=str(path),
            what=f'there is no column "{escape(name)}" (`{setting}`)',
            allowed=escape(", ".join(columns), 300),
            meant=nearest(name, columns),
            exit_code=4,
        )
        for setting, name in wanted.items()
        if name not in columns
    ]
    if problems:
        raise DataError(problems)


def _text(path: Path, delimiter: str) -> tuple[tuple[str, ...], list[Cells]]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            lines = csv.reader(file, delimiter=delimiter, strict=True)
            columns = tuple(next(lines, ()))
            return columns, list(_rows(path, columns, lines))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise _wrong(path, f"it cannot be read as text with columns ({escape(error, 200)})") from error


def _rows(path: Path, columns: tuple[str, ...], lines: Any) -> Iterator[Cells]:
    for line in lines:
        where = f"{path.name} line {lines.line_num}"
        if len(line) != len(columns) and line:
            problem = Problem(
                where=where, what=f"{len(line)} cells", allowed=f"{len(columns)}, as the head has", exit_code=4
            )
            raise DataError(problem)
        if line:  # an empty line is no row
            yield Cells(where, {name: cell.strip() or None for name, cell in zip(columns, line, strict=True)})


def _parquet(path: Path, without: Collection[str]) -> tuple[tuple[str, ...], list[Cells]]:
    try:
        from pyarrow import ArrowException, parquet
    except ImportError as error:
        fix = "pip install 'auxlearn-tables[parquet]'"
        raise PluginError(Problem(where=str(path), what="Parquet needs pyarrow", fix=fix, exit_code=3)) from error
    try:
        columns = parquet.read_schema(path).names
        table = parquet.read_table(path, columns=[name for name in columns if name not in without])
    except (ArrowException, OSError) as error:
        raise _wrong(path, f"it cannot be read as Parquet ({escape(error, 200)})") from error
    every = table.to_pylist() or [{}] * table.num_rows
    rows = [Cells(f"{path.name} row {index}", cells) for index, cells in enumerate(every)]
    return tuple(columns), rows


def _wrong(path: Path, what: str, allowed: str | None = None) -> DataError:
    return DataError(Problem(where=str(path), what=what, allowed=allowed, exit_code=4))
