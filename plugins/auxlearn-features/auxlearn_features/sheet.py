"""`read_sheet`: the rows of a table of features, without its vectors: from text, Parquet or `.npz`. Needs no torch."""

from __future__ import annotations

import re
import zipfile
import zlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
import numpy as np

from auxlearn.errors import DataError, Problem, escape, nearest
from auxlearn_features.params import FeaturesParams, InputParams
from auxlearn_features.survey import Array
from auxlearn_tables.manifest import Cells, read_manifest, require_columns
from auxlearn_tables.names import split_name
from auxlearn_tables.targets import targets_of

__all__ = ["UNREADABLE", "Archive", "Sheet", "inputs_of", "read_sheet", "wrong"]

_SPLIT = "{split}"

# What numpy and zipfile raise for files that are damaged, encrypted, or hold something else.
UNREADABLE = (OSError, ValueError, EOFError, RuntimeError, MemoryError, zipfile.BadZipFile, zlib.error)


def wrong(where: Path | str, what: str, **more: Any) -> DataError:
    """Return the error of one mistake in the data."""
    return DataError(Problem(where=str(where), what=what, exit_code=4, **more))


def inputs_of(params: FeaturesParams) -> dict[str, InputParams]:
    """Return the settings of each modality, with where its vectors are, which goes without saying for a name alone."""
    given = params.inputs
    named = given if isinstance(given, Mapping) else {name: InputParams() for name in given}
    return {name: _placed(name, one, Path(params.path).suffix.lower()) for name, one in named.items()}


def _placed(name: str, one: InputParams, ending: str) -> InputParams:
    if one.array or one.column or one.file or one.files:
        return one
    if ending == ".npz":
        return attrs.evolve(one, array=name)
    return attrs.evolve(one, column=name) if ending == ".parquet" else attrs.evolve(one, file=f"{name}.npy")


@attrs.frozen(eq=False, kw_only=True)
class Sheet:
    """The rows of a table.

    Attributes:
        path: The file.
        rows: Each row, with where it stands and its cells by column; of Parquet without the vectors.
        named: The split of each row as the table calls it.
        splits: The split of each row as auxlearn calls it.
        archive: The arrays, if the table is an `.npz`.
    """

    path: Path
    rows: Sequence[Cells]
    named: Sequence[str]
    splits: Sequence[str]
    archive: Archive | None = None

    def cells(self, column: str) -> list[str | None]:
        """Return a column as text."""
        found = (row.cells.get(column) for row in self.rows)
        return [None if cell is None else str(cell) for cell in found]


class Archive:
    """The arrays of an `.npz` file, each read when it is asked for; one with Python objects in it never is.

    Args:
        path: The file.

    Raises:
        DataError: If it is missing or no such file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            with zipfile.ZipFile(path) as file:
                self.names = tuple(n.removesuffix(".npy") for n in file.namelist() if n.endswith(".npy"))
        except (OSError, zipfile.BadZipFile) as error:
            what = "there is no such file" if not path.is_file() else f"it is no .npz file ({escape(error, 200)})"
            raise wrong(path, what) from None

    def read(self, name: str, setting: str) -> Array:
        """Return an array with rows, bytes of it as text; `setting` is what asks for it.

        Raises:
            DataError: If there is no such array, it has no rows, or it cannot be read without running code.
        """
        if name not in self.names:
            what, allowed = f'there is no array "{escape(name)}" (`{setting}`)', escape(", ".join(self.names), 300)
            raise wrong(self.path, what, allowed=allowed, meant=nearest(name, self.names))
        try:
            with np.load(self.path, allow_pickle=False) as file:
                found: Array = file[name]
            if isinstance(found, bytes):
                raise ValueError("no array")
            if found.dtype.kind == "S":
                found = np.char.decode(found, "utf-8")
        except UNREADABLE as error:
            objects = "Object arrays" in str(error)
            what = "holds Python objects, which could run code" if objects else f"cannot be read ({escape(error, 200)})"
            fix = "save it as numbers, or as text of a fixed length" if objects else None
            raise wrong(self.path, f'the array "{escape(name)}" {what}', fix=fix) from None
        if not found.ndim:
            raise wrong(self.path, f'the array "{escape(name)}" is a single value', allowed="one for each row")
        return found

    def splits(self, template: str, setting: str) -> tuple[str, ...]:
        """Return what stands for `{split}` in the names of the arrays that `template` describes, in their order."""
        before, _, after = template.partition(_SPLIT)
        pattern = re.compile(f"{re.escape(before)}(.+){re.escape(after)}")
        found = tuple(match[1] for name in self.names if (match := pattern.fullmatch(name)))
        if not found:
            what, allowed = f'no array is like "{escape(template)}" (`{setting}`)', escape(", ".join(self.names), 300)
            raise wrong(self.path, what, allowed=allowed)
        return found


def read_sheet(params: FeaturesParams, folder: str) -> Sheet:
    """Return the rows of the table that `params` name.

    Args:
        params: The settings of `features`.
        folder: The folder that relative paths of the spec start from.

    Raises:
        DataError: If the table cannot be read, lacks a column, or its arrays differ in their number of rows.
    """
    path = Path(folder, params.path).expanduser()
    if path.suffix.lower() == ".npz":
        return _from_archive(params, path)
    if path.suffix.lower() not in (".csv", ".tsv", ".parquet"):
        ending = escape(path.suffix) or "missing"
        raise wrong(path, f"its ending is {ending}", allowed=".csv, .tsv, .parquet, .npz")
    vectors = {f"inputs/{name}": one.column for name, one in inputs_of(params).items() if one.column is not None}
    columns, rows = read_manifest(path, without=set(vectors.values()))
    require_columns(path, columns, _wanted(params, columns) | vectors)
    splits = [row.cells.get(params.split_column) if params.split_column in columns else "train" for row in rows]
    named = _filled(splits, rows, params.split_column)
    return Sheet(path=path, rows=rows, named=named, splits=[split_name(one, params.splits) for one in named])


def _filled(splits: Sequence[Any], rows: Sequence[Cells], column: str) -> list[str]:
    """Return the split of each row as text; one that is empty is an error."""
    empty = next((row.where for row, split in zip(rows, splits, strict=True) if split is None), None)
    if empty is not None:
        raise wrong(empty, f"the cell `{column}` is empty")
    return [str(split) for split in splits]


def _wanted(params: FeaturesParams, columns: Collection[str]) -> dict[str, str]:
    """Return the columns of cells that have to be there, by the setting that names them."""
    wanted = {f"targets/{target.name}": column for target in targets_of(params) for column in target.columns}
    if params.group_column is not None:
        wanted["group_column"] = params.group_column
    usual = {"id_column": (params.id_column, "id"), "split_column": (params.split_column, "split")}
    return wanted | {s: name for s, (name, default) in usual.items() if name != default or name in columns}


def _from_archive(params: FeaturesParams, path: Path) -> Sheet:
    archive = Archive(path)
    templates = {f"inputs/{name}": one.array for name, one in inputs_of(params).items() if one.array is not None}
    by_split = next(((s, n) for s, n in (templates | _wanted(params, ())).items() if _SPLIT in n), None)
    # What is usual is one array for all rows, which says nothing where each split has its own.
    wanted = _wanted(params, archive.names if by_split is None else ())
    for setting, name in (templates | wanted).items():
        if by_split is not None and _SPLIT not in name:
            what = f'"{escape(name)}" (`{setting}`) is one array, and "{escape(by_split[1])}" one for each split'
            raise wrong(path, what, fix="`{split}` in the names of all arrays, or of none")
    if by_split is None:
        cells, count = _columns(archive, templates, wanted, None)
        rows = [Cells(f"{path.name} row {i}", {n: column[i] for n, column in cells.items()}) for i in range(count)]
        named = _filled(cells.get(params.split_column, ["train"] * count), rows, params.split_column)
    else:
        rows, named = [], []
        for split in archive.splits(by_split[1], by_split[0]):
            cells, count = _columns(archive, templates, wanted, split)
            places = (f"{path.name} {split} row {i}" for i in range(count))
            rows += [Cells(place, {n: column[i] for n, column in cells.items()}) for i, place in enumerate(places)]
            named += [split] * count
    if not rows:
        raise wrong(path, "it has no rows")
    return Sheet(
        path=path, rows=rows, named=named, splits=[split_name(one, params.splits) for one in named], archive=archive
    )


def _columns(
    archive: Archive, templates: Mapping[str, str], wanted: Mapping[str, str], split: str | None
) -> tuple[dict[str, list[Any]], int]:
    """Return the cells of each wanted column, for one split or for all, and the number of rows."""

    def read(name: str, setting: str) -> Array:
        return archive.read(name if split is None else name.replace(_SPLIT, split), setting)

    arrays = {name: read(name, setting) for setting, name in wanted.items()}
    counts = [len(read(name, setting)) for setting, name in templates.items()] + [len(a) for a in arrays.values()]
    if not counts:
        raise wrong(archive.path, "no array of it is named, so nothing says how many rows there are")
    count = counts[0]
    for name, array in arrays.items():
        if array.ndim not in (1, 2) or len(array) != count:
            what = f'the array "{escape(name)}" has shape {list(array.shape)}'
            raise wrong(archive.path, what, allowed=f"[{count}] or [{count}, labels]")
    return {name: list(_cells(array)) for name, array in arrays.items()}, count


def _cells(array: Array) -> Iterator[Any]:
    """Yield the cells of a column of an array: text, numbers, lists of them; None for NaN, or a list of it."""
    blank = np.isnan(array) if array.dtype.kind == "f" else np.zeros(array.shape, dtype=bool)
    nothing = np.logical_and.reduce(blank, axis=tuple(range(1, array.ndim)))
    for cell, none in zip(array.tolist(), nothing.tolist(), strict=True):
        yield None if none or cell == "" else cell
