"""Files of a study: each is written whole or not at all, and a disk that refuses is one message."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from auxlearn.errors import EnvironmentProblem, Problem

__all__ = ["replace", "writing_in"]


@contextlib.contextmanager
def writing_in(folder: Path) -> Iterator[None]:
    """Make the folder, and tell whatever the system has against writing in it.

    Raises:
        EnvironmentProblem: If it cannot be made or written.
    """
    try:
        if folder.is_file():
            what, fix = "is a file, where a folder is needed", "another --out"
            raise EnvironmentProblem(Problem(where=str(folder), what=what, fix=fix, exit_code=8))
        folder.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        what = f"cannot be written: {error.strerror or error}"
        raise EnvironmentProblem(Problem(where=str(error.filename or folder), what=what, exit_code=8)) from error


def replace(path: Path, text: str) -> None:
    """Write a file so that a reader, or a crash, finds the old content or the new, and nothing between."""
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        aside.write_text(text, encoding="utf-8")
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)
