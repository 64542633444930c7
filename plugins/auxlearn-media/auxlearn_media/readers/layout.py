"""`Layout`: the folder of a data set while it is being read, and everything that is wrong about it."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import attrs

from auxlearn.data import DataContext
from auxlearn.errors import DataError, Problem, escape, nearest

__all__ = ["Layout"]

_SHOWN = 10  # problems of one kind that are listed; the rest are counted


@attrs.frozen(eq=False)
class Layout:
    """A folder and what is wrong about it, which is collected and raised together by `settle`.

    Attributes:
        path: The folder.
    """

    path: Path
    _problems: list[Problem] = attrs.field(factory=list)

    @classmethod
    def open(cls, given: str, context: DataContext) -> Layout:
        """Return the folder that a spec calls `given`.

        Raises:
            DataError: If there is no such folder.
        """
        path = Path(context.root, os.path.expanduser(given))
        if path.is_dir():
            return cls(path)
        what = "it is a file" if path.exists() else "there is no such folder"
        fix = "unpack it and give the folder" if path.exists() else None
        raise DataError(_problem(str(path), what, meant=_near(path.name, path.parent), fix=fix))

    def need(self, *alternatives: str) -> str:
        """Return the first of `alternatives` that is there, and note if none is; those that end in `/` are folders."""
        for one in alternatives:
            found = self.path / one
            if found.is_dir() if one.endswith("/") else found.is_file():
                return one
        what = f"there is no {' or '.join(alternatives)}"
        self.wrong(str(self.path), what, meant=_near(alternatives[0].rstrip("/"), self.path))
        return alternatives[0]

    def wrong(self, where: str, what: str, *, allowed: str | None = None, meant: str | None = None) -> None:
        """Note a problem."""
        self._problems.append(_problem(where, what, allowed=allowed, meant=meant))

    def settle(self) -> None:
        """Raise a `DataError` with what was wrong, if anything was."""
        rest = len(self._problems) - _SHOWN
        if self._problems:
            more = [_problem(str(self.path), f"{rest} more problems")] if rest > 0 else []
            raise DataError([*self._problems[:_SHOWN], *more])

    def table(self, relative: str, columns: Sequence[str]) -> Iterator[tuple[str, dict[str, str]]]:
        """Yield the rows of a list with a head: where each stands, and its cells by column, stripped."""
        path = self.path / relative
        try:
            with path.open(newline="", encoding="utf-8-sig") as file:
                lines = csv.DictReader(file)
                head = [name.strip() for name in lines.fieldnames or ()]
                lines.fieldnames = head
                for name in columns:
                    if name not in head:
                        found = escape(", ".join(head), 300) or "nothing"
                        what = f'there is no column "{name}"'
                        self.wrong(str(path), what, allowed=found, meant=nearest(name, head))
                for line in lines if set(columns) <= set(head) else ():
                    yield f"{path.name} line {lines.line_num}", {n: (line[n] or "").strip() for n in head}
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            self.wrong(str(path), f"it cannot be read as text ({escape(error, 200)})")

    def transcripts(self, relative: str | None) -> dict[str, str]:
        """Return what is said in each file, by its path, as a CSV of the user says."""
        if relative is None:
            return {}
        self.need(relative)
        self.settle()
        return {cells["path"]: cells["text"] for _, cells in self.table(relative, ("path", "text"))}


def _near(name: str, folder: Path) -> str | None:
    return nearest(name, os.listdir(folder)) if folder.is_dir() else None


def _problem(
    where: str, what: str, *, allowed: str | None = None, meant: str | None = None, fix: str | None = None
) -> Problem:
    return Problem(where=where, what=what, allowed=allowed, meant=meant, fix=fix, exit_code=4)
