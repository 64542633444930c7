"""What this plugin offers, told without torch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from auxlearn.errors import DataError, PluginError, Problem, pointer
from auxlearn.registry import CheckContext, DataFacts, Provider, hookimpl
from auxlearn_tables.folder import scan
from auxlearn_tables.manifest import read_manifest
from auxlearn_tables.names import split_name
from auxlearn_tables.params import FolderParams, TableParams
from auxlearn_tables.targets import HasTargets, targets_of

__all__ = ["auxlearn_data_sources", "check_table", "check_targets", "describe_table"]


@hookimpl
def auxlearn_data_sources() -> Iterable[Provider]:
    """Offer `folder` and `table`."""
    return [
        Provider(
            name="folder",
            summary="Images in folders: root/split/class/*, or root/class/*.",
            params=FolderParams,
            build=_build_folder,
            describe=_describe_folder,
            trial=_trial_of_folder,
        ),
        Provider(
            name="table",
            summary="Images named in a CSV or Parquet manifest, with any number of targets.",
            params=TableParams,
            build=_build_table,
            describe=describe_table,
            check=check_table,
            trial=_trial_of_table,
        ),
    ]


def _trial_of_folder() -> Any:
    from auxlearn.testing import Trial

    return Trial(prepare=lambda folder: {"root": str(_write(folder))})


def _trial_of_table() -> Any:
    from auxlearn.testing import Trial

    def prepare(folder: Path) -> dict[str, str]:
        images = sorted(path.relative_to(folder) for path in _write(folder).rglob("*.png"))
        lines = [f"{path.as_posix()},{path.parts[0]},{path.parts[1]}" for path in images]
        (folder / "rows.csv").write_text("\n".join(["path,split,label", *lines]), encoding="utf-8")
        return {"path": str(folder / "rows.csv")}

    return Trial(params={"targets": ["label"]}, prepare=prepare)


def _write(folder: Path) -> Path:
    """Write small images for the checks: two classes in two splits."""
    from PIL import Image

    for number, place in enumerate((split, label) for split in ("train", "val") for label in ("a", "b")):
        for copy in range(3):
            path = folder.joinpath(*place, f"{copy}.png")
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (12 + copy, 10), (40 * number, 60 * copy, 200)).save(path)
    return folder


def _build_folder(params: FolderParams, context: Any) -> Any:
    from auxlearn_tables.build import build_folder

    return build_folder(params, context)


def _build_table(params: TableParams, context: Any) -> Any:
    from auxlearn_tables.build import build_table

    return build_table(params, context)


def _describe_folder(params: FolderParams) -> DataFacts | None:
    """Tell what is in the folder, if its place is certain: a relative path is known only with the spec's folder."""
    if not Path(params.root).is_absolute():
        return None
    try:
        found = scan(Path(params.root), params)
    except DataError:
        return None  # `build` says what is wrong
    splits = tuple(dict.fromkeys(image.split for image in found.images))
    return DataFacts(targets={params.target: found.classes} if found.classes else {}, splits=splits)


def describe_table(params: TableParams) -> DataFacts | None:
    """Tell what is in the manifest, if its place is certain."""
    path = Path(params.path)
    if not path.is_absolute():
        return None
    try:
        columns, rows = read_manifest(path)
    except (DataError, PluginError):
        return None  # `build` says what is wrong
    targets = targets_of(params)
    if any(column not in columns for target in targets for column in target.columns):
        return None
    names = {t.name: t.classes([t.read(r.cells) for r in rows]) if t.params.kind == "class" else () for t in targets}
    splits = (split_name(str(row.cells.get(params.split_column) or "train"), params.splits) for row in rows)
    return DataFacts(targets=names, splits=tuple(dict.fromkeys(splits)))


def check_table(params: TableParams, context: CheckContext) -> Iterable[Problem]:  # noqa: ARG001
    """Find targets that are declared against themselves."""
    return check_targets(params)


def check_targets(params: HasTargets) -> Iterator[Problem]:
    """Yield the targets that are declared against themselves."""
    for target in targets_of(params):
        where = pointer("targets", target.name)
        many = target.params.kind == "continuous" or target.params.threshold is not None
        if not many and len(target.params.columns) > 1:
            what = f"a {target.params.kind} target has {len(target.params.columns)} columns"
            yield Problem(where=f"{where}/columns", what=what, allowed="one, or kind `continuous`, or a `threshold`")
        if target.params.threshold is not None and target.params.kind != "multilabel":
            yield Problem(where=f"{where}/threshold", what=f"a {target.params.kind} target has no threshold")
        if target.params.indices and (target.params.kind != "class" or not target.params.classes):
            what = "indices are of a class, and of those that `classes` names"
            yield Problem(where=f"{where}/indices", what=what, fix="name them in `classes`")
        if target.params.kind == "continuous" and target.params.classes:
            yield Problem(where=f"{where}/classes", what="a continuous target has no classes")
        if len(set(target.params.classes)) < len(target.params.classes):
            yield Problem(where=f"{where}/classes", what="a class is named twice")
