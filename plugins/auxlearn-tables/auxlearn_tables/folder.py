"""The image folder: what its layout says, without opening a file."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

import attrs

from auxlearn.errors import DataError, Problem, escape, nearest
from auxlearn_tables.names import class_order, split_name
from auxlearn_tables.params import FolderParams

__all__ = ["Found", "Image", "scan"]

_SPLITS = ("train", "val", "test")


@attrs.frozen
class Image:
    """One image file: its path below the root with `/` between the parts, its split, its class folder if any."""

    path: str
    split: str
    label: str | None


@attrs.frozen
class Found:
    """The images of a folder, in order of path, and their classes."""

    images: tuple[Image, ...]
    classes: tuple[str, ...]


def scan(root: Path, params: FolderParams) -> Found:
    """Return what is in `root`, of the layout `split/class/*` if a folder is named like a split, else `class/*`.

    An image that lies beside the class folders has no label. Folders in class folders are searched too; links to
    folders are not followed, and what begins with a dot is skipped.

    Raises:
        DataError: If there is no such folder, it has no images, or its folders are not what they should be.
    """
    if not root.is_dir():
        raise _wrong(root, "there is no such folder")
    images: list[Image] = []
    classes: set[str] = set()
    for folder, split in _splits(root, params.splits).items():
        classes |= {path.name for path in _folders(folder)}
        for path in _files(folder, params.extensions):
            parts = path.relative_to(folder).parts
            images.append(Image(path.relative_to(root).as_posix(), split, parts[0] if len(parts) > 1 else None))
    if not images:
        raise _wrong(root, f"there are no images with the endings {', '.join(params.extensions)}")
    if params.classes:
        _compare(root, classes, params)
    return Found(tuple(images), class_order(classes, params.classes))


def _compare(root: Path, classes: set[str], params: FolderParams) -> None:
    """Raise a `DataError` if the class folders are not the declared classes, as far as `others` asks for that.

    A declared class without a folder is fine, as long as another has one: the data may lack it.
    """
    allowed = escape(", ".join(params.classes), 300)
    others = sorted(classes - set(params.classes)) if params.others == "error" else []
    if others:
        fix = '`"others": "drop"`, or "unlabelled"'
        raise DataError(
            [
                Problem(
                    where=str(root / name),
                    what="the folder is none of `classes`",
                    allowed=allowed,
                    meant=nearest(name, params.classes),
                    fix=fix,
                    exit_code=4,
                )
                for name in others
            ]
        )
    if not classes & set(params.classes):
        found = escape(", ".join(sorted(classes)), 300)
        raise _wrong(root, f"none of the classes {allowed} has a folder", allowed=found)


def _splits(root: Path, given: Mapping[str, str]) -> dict[Path, str]:
    """Return the folder of each split, with its name."""
    folders = {path: split_name(path.name, given) for path in _folders(root)}
    named = {path: split for path, split in folders.items() if split in _SPLITS or path.name in given}
    # A class may be called `train`, the vehicle: splits hold class folders.
    if not any(next(_folders(path), None) for path in named) and not _flat(root, named):
        return {root: "train"}
    others = [path.name for path in folders.keys() - named.keys()]
    if others:
        fix = f'`"splits": {{"{escape(min(others))}": ...}}`, or move it'
        raise _wrong(root, f"the folder {escape(min(others))} stands beside splits, but is none", fix=fix)
    return named


def _flat(root: Path, named: Mapping[Path, str]) -> bool:
    """Return whether `root` holds nothing but folders named like splits: images without labels."""
    return bool(named) and len(named) == len(list(_folders(root)))


def _folders(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.iterdir()) if path.is_dir() and not path.name.startswith("."))


def _files(folder: Path, extensions: tuple[str, ...]) -> Iterator[Path]:
    endings = tuple(ending.lower() for ending in extensions)
    for place, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            if not name.startswith(".") and name.lower().endswith(endings):
                yield Path(place, name)


def _wrong(root: Path, what: str, allowed: str | None = None, fix: str | None = None) -> DataError:
    return DataError(Problem(where=str(root), what=what, allowed=allowed, fix=fix, exit_code=4))
