"""`read_vectors`: the vectors of one modality as an array, from wherever its settings say. Needs no torch."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from auxlearn.errors import DataError, Problem, escape, nearest
from auxlearn_features.params import InputParams
from auxlearn_features.sheet import UNREADABLE, Sheet, wrong
from auxlearn_features.survey import Array, fits

__all__ = ["read_vectors"]

_MOST = 20  # problems that are collected before reading is given up


def read_vectors(sheet: Sheet, name: str, given: InputParams, *, strict: bool = False) -> Array:
    """Return vectors [rows, width] or [rows, copies, width] in the order of the rows; where there is none, NaN.

    Args:
        sheet: The rows.
        name: The modality.
        given: Where its vectors are, in one way.
        strict: A row's file that is not there is an error.

    Raises:
        DataError: If they cannot be read, or are not what they should be.
    """
    if given.files:
        found, where = _files(sheet, given.files, strict=strict), sheet.path.parent / given.files[0]
    elif given.file is not None:
        where = sheet.path.parent / given.file
        found = _load(where, mapped=True)
    elif given.column is not None:
        where = sheet.path
        found = _lists(sheet, given.column)
    else:
        where = sheet.path
        found = _array(sheet, name, given.array or name)
    _check(where, name, found, given.width, len(sheet.rows))
    return found


def _check(where: Path, name: str, found: Array, width: int | None, rows: int) -> None:
    """Raise a `DataError` if the array is not one of vectors, one or more for each row."""
    form = f"`{name}` has shape {list(found.shape)}"
    if found.dtype.kind not in "fiu":
        raise wrong(where, f"`{name}` holds {found.dtype}", allowed="numbers")
    if found.ndim not in (2, 3) or 0 in found.shape[1:]:
        raise wrong(where, form, allowed=f"[{rows}, width] or [{rows}, copies, width]")
    if len(found) != rows:
        raise wrong(where, f"{form}, and the table has {rows} rows")
    if width is not None and found.shape[-1] != width:
        raise wrong(where, form, allowed=f"vectors of {width} numbers (`inputs/{name}/width`)")


def _array(sheet: Sheet, name: str, template: str) -> Array:
    """Return an array of the archive, or those of all splits after each other."""
    setting = f"inputs/{name}/array"
    if sheet.archive is None:
        raise wrong(sheet.path, "it has no arrays", fix="`column`, `file` or `files`, or a table that is an .npz")
    if "{split}" not in template:
        return sheet.archive.read(template, setting)
    parts = {
        split: sheet.archive.read(template.replace("{split}", split), setting) for split in dict.fromkeys(sheet.named)
    }
    forms = {part.shape[1:] for part in parts.values()}
    if len(forms) > 1:
        shapes = ", ".join(f"{split} {list(part.shape)}" for split, part in parts.items())
        raise wrong(sheet.path, f"the arrays of `{name}` differ: {shapes}")
    for split, part in parts.items():
        if len(part) != sheet.named.count(split):
            what = f"the array of `{name}` in {split} has {len(part)} rows, others {sheet.named.count(split)}"
            raise wrong(sheet.path, what)
    return np.concatenate(list(parts.values()))


def _load(path: Path, *, mapped: bool = False) -> Array:
    """Return the array of a `.npy` file."""
    try:
        if mapped:
            return np.lib.format.open_memmap(path, mode="r")
        with path.open("rb") as file:  # np.load would open an .npz as well
            return np.lib.format.read_array(file, allow_pickle=False)
    except FileNotFoundError:
        near = nearest(path.name, [p.name for p in path.parent.glob("*.npy")]) if path.parent.is_dir() else None
        raise wrong(path, "there is no such file", meant=near) from None
    except UNREADABLE as error:
        if "Object arrays" in str(error) or "Python objects" in str(error):
            raise wrong(path, "it holds Python objects, which could run code") from None
        if zipfile.is_zipfile(path):
            raise wrong(path, "it is an .npz file", fix="name it as `path`, and what is in it as `array`") from None
        raise wrong(path, f"it is no .npy file ({escape(error, 200)})") from None


def _files(sheet: Sheet, templates: Sequence[str], *, strict: bool) -> Array:
    """Return what the files of all rows hold: float32 [rows, copies, width]."""
    found: Array | None = None
    problems: list[Problem] = []
    for row in range(len(sheet.rows)):
        for copy, template in enumerate(templates):
            path = sheet.path.parent / _path(sheet, row, template)
            if not path.is_file():
                if strict:
                    problems.append(Problem(where=sheet.rows[row].where, what=f"{path} is not there", exit_code=4))
                continue
            vector = _load(path)
            if found is None and vector.ndim == 1:
                found = np.full((len(sheet.rows), len(templates), len(vector)), np.nan, dtype=np.float32)
            if found is None or vector.shape != found.shape[2:] or vector.dtype.kind not in "fiu":
                form = f"{vector.dtype} {list(vector.shape)}"
                allowed = "[width]" if found is None else f"[{found.shape[2]}], as the first one is"
                problems.append(Problem(where=str(path), what=f"it holds {form}", allowed=allowed, exit_code=4))
            elif not fits(vector):
                problems.append(Problem(where=str(path), what="it holds numbers too large for float32", exit_code=4))
            else:
                found[row, copy] = vector
        if len(problems) >= _MOST:
            break
    if problems:
        raise DataError(problems)
    if found is None:
        first = sheet.path.parent / _path(sheet, 0, templates[0])
        raise wrong(sheet.path, f"no row has a file; the first would be {first}")
    return found


def _path(sheet: Sheet, row: int, template: str) -> str:
    """Return the path of a row's file, relative to the folder of the table."""
    one = sheet.rows[row]
    cells: dict[str, Any] = {name: "" if cell is None else cell for name, cell in one.cells.items()}
    try:
        made = template.format_map({**cells, "split": sheet.named[row]})
    except (KeyError, IndexError, ValueError, AttributeError) as error:
        missing = str(error.args[0]) if isinstance(error, KeyError) else None
        what = f'`files` has "{escape(template)}", which cannot be filled in'
        allowed = ", ".join(f"{{{name}}}" for name in {**cells, "split": ""})
        raise wrong(sheet.path, what, allowed=allowed, meant=missing and nearest(missing, cells)) from None
    if PurePosixPath(made).is_absolute() or ".." in PurePosixPath(made).parts:
        raise wrong(one.where, f'the path "{escape(made)}" leads out of the folder of the table')
    return made


def _lists(sheet: Sheet, column: str) -> Array:
    """Return a list column of a Parquet table, lists of numbers or lists of such lists."""
    import pyarrow as pa
    from pyarrow import compute, parquet

    if sheet.path.suffix.lower() != ".parquet":
        raise wrong(sheet.path, "a list column is one of a Parquet table", fix="`file` or `files`")
    found = pa.concat_arrays(parquet.read_table(sheet.path, columns=[column]).column(0).chunks)
    there = found.is_valid().to_numpy(zero_copy_only=False)
    values, shape = found.drop_null(), [int(there.sum())]
    while pa.types.is_nested(values.type):
        lengths = compute.list_value_length(values).to_numpy(zero_copy_only=False)
        odd = np.flatnonzero(lengths != lengths[:1])
        if odd.size:
            what = f"`{column}` has a list of {lengths[odd[0]]} where others have {lengths[0]}"
            raise wrong(sheet.path, what)
        shape.append(int(lengths[0]) if len(lengths) else 0)
        values = values.flatten()
    numbers = pa.types.is_floating(values.type) or pa.types.is_integer(values.type)
    if len(shape) < 2 or values.null_count or not numbers:
        raise wrong(sheet.path, f"`{column}` holds {found.type}", allowed="lists of numbers, without gaps in them")
    given = values.to_numpy(zero_copy_only=False)
    # Numbers that are too large stay as they are, for the survey to tell their row.
    made = np.full((len(found), *shape[1:]), np.nan, dtype=np.float32 if fits(given) else given.dtype)
    made[there] = given.reshape(shape)
    return made
