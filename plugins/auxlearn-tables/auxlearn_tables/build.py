"""From what a folder or a manifest says to an `auxlearn.data.TableSource`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs

from auxlearn.data import DataContext, TableRow, TableSource, TargetInfo
from auxlearn.errors import DataError, Problem
from auxlearn_tables.folder import scan
from auxlearn_tables.manifest import Cells, read_manifest, require_columns
from auxlearn_tables.names import split_name
from auxlearn_tables.params import FolderParams, TableParams
from auxlearn_tables.targets import Target, targets_of

__all__ = ["ManifestRows", "build_folder", "build_table", "label_rows", "read_rows"]


def build_folder(params: FolderParams, context: DataContext) -> TableSource:
    """Return the images of a folder.

    Args:
        params: The settings of `folder`.
        context: The image size, and the folder that relative paths start from.
    """
    root = Path(context.root, params.root).expanduser()
    found = scan(root, params)
    rows = []
    for image in found.images:
        other = image.label is not None and image.label not in found.classes
        if other and params.others == "drop":
            continue
        label = None if other and params.others == "unlabelled" else image.label
        rows.append(TableRow(path=image.path, split=image.split, targets={params.target: label}))
    info = TargetInfo(kind="class", names=found.classes)
    targets = {params.target: info} if found.classes else {}
    return TableSource(rows, root=root, targets=targets, size=context.size, fit=params.fit)


@attrs.frozen(kw_only=True)
class ManifestRows:
    """The rows of a manifest that are to be used.

    Attributes:
        root: The folder that their paths are relative to.
        rows: The rows, in the order of the manifest.
        cells: All cells of each row by column, None for an empty one.
        targets: What the rows' targets are.
    """

    root: Path
    rows: Sequence[TableRow]
    cells: Sequence[Mapping[str, Any]]
    targets: Mapping[str, TargetInfo]


def build_table(params: TableParams, context: DataContext) -> TableSource:
    """Return the images of a manifest.

    Args:
        params: The settings of `table`.
        context: The image size, and the folder that relative paths start from.
    """
    found = read_rows(params, context.root)
    return TableSource(found.rows, root=found.root, targets=found.targets, size=context.size, fit=params.fit)


def read_rows(params: TableParams, folder: str, columns: Mapping[str, str] | None = None) -> ManifestRows:
    """Return the rows of a manifest with their labels; no other file is opened.

    Args:
        params: The settings of `table`, or of a source that has them and more.
        folder: The folder that relative paths of the spec start from.
        columns: Further columns that have to be there, by the setting that names them.

    Raises:
        DataError: If the manifest cannot be read or lacks a column.
    """
    path = Path(folder, params.path).expanduser()
    root = path.parent if params.root is None else Path(folder, params.root).expanduser()
    known, rows = read_manifest(path)
    targets = targets_of(params)
    require_columns(path, known, _wanted(params, targets, known) | dict(columns or {}))
    infos, labels = label_rows(targets, rows)
    kept = [(row, own) for row, own in zip(rows, labels, strict=True) if own is not None]
    made = [_row(row, own, params, known) for row, own in kept]
    return ManifestRows(root=root, rows=made, cells=[row.cells for row, _ in kept], targets=infos)


def label_rows(
    targets: Sequence[Target], rows: Sequence[Cells]
) -> tuple[dict[str, TargetInfo], list[dict[str, Any] | None]]:
    """Return what the targets are, and the labels of each row by target; None for a row that is to be dropped.

    The labels are as `TableRow` has them. That they are what the target can have is checked where they are used.
    """
    values = {target.name: [target.read(row.cells) for row in rows] for target in targets}
    classes = {target.name: target.classes(values[target.name]) for target in targets}
    infos = {target.name: _info(target, classes[target.name], values[target.name]) for target in targets}
    given = ({name: column[index] for name, column in values.items()} for index in range(len(rows)))
    return infos, [_labels(targets, labels, classes) for labels in given]


def _wanted(params: TableParams, targets: Sequence[Target], columns: Sequence[str]) -> dict[str, str]:
    """Return the columns that have to be there, by the setting that names them."""
    wanted = {"path_column": params.path_column}
    if params.split_column != "split" or "split" in columns:
        wanted["split_column"] = params.split_column
    given = {"group_column": params.group_column, "checksum_column": params.checksum_column}
    wanted |= {setting: name for setting, name in given.items() if name is not None}
    return wanted | {f"targets/{target.name}": column for target in targets for column in target.columns}


def _info(target: Target, classes: tuple[str, ...], values: Sequence[Any]) -> TargetInfo:
    kind, columns = target.params.kind, target.params.columns
    # The numbers of a target stand in columns of their own, or as a list in one.
    many = next((value for value in values if isinstance(value, tuple)), columns)
    shapes = {"class": (), "multilabel": (len(classes),), "continuous": (len(many),) if many else ()}
    names = classes if kind != "continuous" else columns if len(columns) == len(many) else ()
    return TargetInfo(kind=kind, names=names, shape=shapes[kind], unit=target.params.unit)


def _labels(
    targets: Sequence[Target], given: Mapping[str, Any], classes: Mapping[str, Sequence[str]]
) -> dict[str, Any] | None:
    """Return the labels of a row, without those of classes that are not to be used; None to drop the row."""
    labels = dict(given)
    for target in targets:
        if target.params.others != "error" and target.other(labels[target.name], classes[target.name]):
            if target.params.others == "drop":
                return None
            labels[target.name] = None
    return labels


def _row(row: Cells, labels: Mapping[str, Any], params: TableParams, columns: Sequence[str]) -> TableRow:
    def cell(column: str | None) -> str | None:
        value = None if column is None else row.cells[column]
        return None if value is None else str(value)

    split = cell(params.split_column) if params.split_column in columns else "train"
    path = cell(params.path_column)
    if split is None or path is None:
        empty = params.path_column if path is None else params.split_column
        raise DataError(Problem(where=row.where, what=f"the cell `{empty}` is empty", exit_code=4))
    return TableRow(
        path=path,
        targets=labels,
        split=split_name(split, params.splits),
        group=cell(params.group_column),
        checksum=cell(params.checksum_column),
        where=row.where,
    )
