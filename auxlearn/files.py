"""Files that are there whole or not at all, flushed to disk, and one message for whatever the system refuses."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from auxlearn.errors import EnvironmentProblem, Problem, SpecError, escape

__all__ = [
    "flush_file",
    "flush_folder",
    "removed_if_refused",
    "require_replaceable",
    "telling_refusals",
    "write_atomically",
    "write_flushed",
    "write_json",
    "writing_in",
]


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file so that a reader, or a crash, finds the old content or the new, and nothing between.

    Raises:
        EnvironmentProblem: If it cannot be written; the old content is still there.
    """
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    with removed_if_refused(aside):
        write_flushed(aside, content)
        os.replace(aside, path)
        flush_folder(path.parent)


def write_json(path: Path, content: Any) -> None:
    """Write a JSON file atomically, indented for people, without numbers that strict JSON lacks."""
    write_atomically(path, json.dumps(content, indent=2, allow_nan=False).encode() + b"\n")


def write_flushed(path: Path, content: bytes) -> None:
    """Write a file, and wait until it is on disk."""
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def flush_file(path: Path) -> None:
    """Wait until a file that others have written is on disk."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def flush_folder(folder: Path) -> None:
    """Make renames in `folder` durable, where the system can."""
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def require_replaceable(folder: Path) -> None:
    """Raise a SpecError if no other folder can take the place of `folder`, which need not be there."""
    if folder.is_dir() and (folder.samefile(os.curdir) or folder.is_mount()):
        what = "is the current folder, or one on which something is mounted, and cannot be replaced"
        raise SpecError(Problem(where=escape(folder, 400), what=what, fix="write to a folder in it"))


@contextlib.contextmanager
def telling_refusals(where: Path) -> Iterator[None]:
    """Say what the system has against writing at `where`.

    Raises:
        EnvironmentProblem: If it refuses.
    """
    try:
        yield
    except OSError as error:
        what, fix = f"cannot be written: {error.strerror or error}", None
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            fix = "free space"
            if where.is_dir():
                what += f"; {shutil.disk_usage(where).free:,} bytes are free"
        elif error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            fix = "another folder, or its permissions"
        raise EnvironmentProblem(Problem(where=escape(where, 400), what=what, fix=fix, exit_code=8)) from error


@contextlib.contextmanager
def removed_if_refused(aside: Path) -> Iterator[None]:
    """Remove what was written `aside`, a file or a folder, if the system refuses, and say why.

    Raises:
        EnvironmentProblem: If it refuses.
    """
    with telling_refusals(aside.parent):
        try:
            yield
        except OSError:
            if aside.is_dir():
                shutil.rmtree(aside, ignore_errors=True)
            else:
                aside.unlink(missing_ok=True)
            raise


@contextlib.contextmanager
def writing_in(folder: Path) -> Iterator[None]:
    """Make a folder, and say what the system has against writing in it.

    Raises:
        EnvironmentProblem: If it cannot be made or written.
    """
    if folder.is_file():
        what, fix = "is a file, where a folder is needed", "another --out"
        raise EnvironmentProblem(Problem(where=escape(folder, 400), what=what, fix=fix, exit_code=8))
    with telling_refusals(folder):
        folder.mkdir(parents=True, exist_ok=True)
        yield
