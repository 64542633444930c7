"""`Layout`: the folder of a data set while it is being read, and everything that is wrong about it."""

from __future__ import annotations

import csv
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

import attrs

from auxlearn.data import DataContext
from auxlearn.errors import DataError, Problem, escape, nearest

__all__ = ["Layout"]

_SHOWN = 10  # problems of one kind that are listed; the rest are counted
_FOLDERS = 200  # folders that are looked through for what is missing
_NAMES = 2000  # names among which the nearest is looked for


@attrs.frozen(eq=False)
class Layout:
    """A folder, what it has to hold, and what is wrong.

    Problems are collected and raised together by `settle`. `need` comes first, then `settle`, then the lists are
    read, and at last `settle` again.

    Attributes:
        path: The folder.
        given: The folder as the spec names it.
    """

    path: Path
    given: str
    _wanted: list[tuple[str, ...]] = attrs.field(factory=list)
    _problems: dict[str, list[Problem]] = attrs.field(factory=dict)

    @classmethod
    def open(cls, given: str, context: DataContext) -> Layout:
        """Return the folder that a spec calls `given`.

        Raises:
            DataError: If there is no such folder.
        """
        path = Path(os.path.expanduser(given))
        path = path if path.is_absolute() else Path(context.root) / path
        if path.is_dir():
            return cls(path, given)
        if path.exists():
            what = "it is a file"
            raise DataError(_problem(str(path), what, fix="unpack it and give the folder"))
        raise DataError(_problem(str(path), "there is no such folder", meant=_nearest(path.name, path.parent)))

    def has(self, relative: str) -> bool:
        """Return whether the folder has `relative`: a folder if that ends in `/`, otherwise a file."""
        return _has(self.path, relative)

    def need(self, *alternatives: str) -> str:
        """Return the first of `alternatives` that is there, and note if none is; those that end in `/` are folders."""
        self._wanted.append(alternatives)
        return next(filter(self.has, alternatives), alternatives[0])

    def wrong(self, kind: str, where: str, what: str, *, allowed: str | None = None, meant: str | None = None) -> None:
        """Note a problem. Of one kind, ten are shown."""
        self._problems.setdefault(kind, []).append(_problem(where, what, allowed=allowed, meant=meant))

    def settle(self) -> None:
        """Raise a `DataError` if something that was needed is not there, or something else was wrong."""
        problems = list(self._absent())
        for kind, found in self._problems.items():
            rest = len(found) - _SHOWN
            problems += found[:_SHOWN]
            problems += [_problem(str(self.path), f"{rest} more of this kind: {kind}")] if rest > 0 else []
        if problems:
            raise DataError(problems)

    def table(
        self, relative: str, columns: Sequence[str], delimiter: str = ","
    ) -> Iterator[tuple[str, dict[str, str]]]:
        """Yield the rows of a list with a head: where each stands, and its cells by column, stripped."""
        path = self.path / relative
        with self.reading(relative), path.open(newline="", encoding="utf-8-sig") as file:
            lines = csv.reader(file, delimiter=delimiter)
            head = [name.strip() for name in next(lines, [])]
            for name in columns:
                if name not in head:
                    found = escape(", ".join(head), 300) or "nothing"
                    what = f'there is no column "{name}"'
                    self.wrong("columns", str(path), what, allowed=found, meant=nearest(name, head))
            for line in lines if set(columns) <= set(head) else ():
                where = f"{path.name} line {lines.line_num}"
                if len(line) == len(head):
                    yield where, {name: cell.strip() for name, cell in zip(head, line, strict=True)}
                elif line:
                    self.wrong("lines", where, f"{len(line)} cells", allowed=f"{len(head)}, as the head has")

    def lines(self, relative: str, skip: int = 0) -> Iterator[tuple[str, list[str]]]:
        """Yield the lines of a list without a head: where each stands, and its words; empty lines are skipped."""
        path = self.path / relative
        with self.reading(relative), path.open(encoding="utf-8-sig") as file:
            for number, line in enumerate(islice(file, skip, None), start=skip + 1):
                if words := line.split():
                    yield f"{path.name} line {number}", words

    @contextmanager
    def reading(self, relative: str) -> Iterator[None]:
        """Note it if the list at `relative` cannot be read."""
        try:
            yield
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            self.wrong("lists", str(self.path / relative), f"it cannot be read as text ({escape(error, 200)})")

    def require_images(self, named: Iterable[tuple[str, str]]) -> None:
        """Note the image files that are not there.

        Args:
            named: Where each is named, and its path relative to this folder.
        """
        listings: dict[str, frozenset[str]] = {}
        absent: list[tuple[str, str]] = []
        total = 0
        for where, relative in named:
            folder, _, name = relative.rpartition("/")
            if folder not in listings:
                listings[folder] = frozenset(_listing(self.path / folder))
            total += 1
            if name not in listings[folder]:
                absent.append((where, relative))
        if len(absent) == total > _SHOWN:
            where, relative = absent[0]
            what = f'none of the {total} images that the lists name is there, e.g. "{escape(relative, 200)}" ({where})'
            self.wrong("images", str(self.path), what)
            return
        for number, (where, relative) in enumerate(absent):
            folder, _, name = relative.rpartition("/")
            few = number < _SHOWN and len(listings[folder]) <= _NAMES
            meant = nearest(name, listings[folder]) if few else None
            self.wrong("images", where, f'the image "{escape(relative, 200)}" is missing', meant=meant)

    def choice(self, where: str, what: str, given: str, known: Mapping[str, str] | Sequence[str]) -> str | None:
        """Return the class that a label stands for; None, and a note, if it is unknown."""
        if given in known:
            return known[given] if isinstance(known, Mapping) else given
        allowed = escape(", ".join(known), 300)
        self.wrong(f"{what} labels", where, f'`{what}` is "{escape(given)}"', allowed=allowed)
        return None

    def number(self, where: str, what: str, given: str, kind: Callable[[str], float] = float) -> float | None:
        """Return the number that `given` is; None, and a note, if it is none."""
        try:
            return kind(given)
        except ValueError:
            self.wrong(f"{what} numbers", where, f'`{what}` is "{escape(given)}"', allowed="a number")
            return None

    def _absent(self) -> Iterator[Problem]:
        """Yield what is needed and not there; if all of it is together elsewhere, only that."""
        absent = [alternatives for alternatives in self._wanted if not any(map(self.has, alternatives))]
        if not absent:
            return
        for relative in self._around():
            place = self.path / relative
            found = [next((one for one in wanted if _has(place, one)), None) for wanted in self._wanted]
            if None not in found:
                shown = os.path.normpath(os.path.join(self.given, relative))
                what = f"expected {' and '.join(map(str, dict.fromkeys(found)))} here, found in {shown}"
                yield _problem(str(self.path), what, fix=f'set `path` to "{shown}"')
                return
        for alternatives in absent:
            folder, missing = self._first_missing(alternatives[0])
            what = f"expected {_either(alternatives)}; there is no {missing}"
            yield _problem(str(self.path), what, meant=_nearest(missing.rstrip("/"), folder))

    def _first_missing(self, relative: str) -> tuple[Path, str]:
        """Return the folder that is there, and what of `relative` is missing in it."""
        folder, parts = self.path, relative.rstrip("/").split("/")
        for part in parts[:-1]:
            if not (folder / part).is_dir():
                return folder, f"{part}/"
            folder /= part
        return folder, parts[-1] + ("/" if relative.endswith("/") else "")

    def _around(self) -> Iterator[str]:
        """Yield the folders up to two levels above and below, relative to this one."""
        yield from ("..", "../..")
        for name in _folders(self.path):
            yield name
        for name in _folders(self.path):
            yield from (f"{name}/{below}" for below in _folders(self.path / name))


def _folders(path: Path) -> list[str]:
    try:
        with os.scandir(path) as entries:
            return sorted(islice((e.name for e in entries if e.is_dir() and not e.name.startswith(".")), _FOLDERS))
    except OSError:
        return []


def _listing(path: Path) -> list[str]:
    try:
        return os.listdir(path)
    except OSError:
        return []


def _has(path: Path, relative: str) -> bool:
    return (path / relative).is_dir() if relative.endswith("/") else (path / relative).is_file()


def _either(alternatives: Sequence[str]) -> str:
    return " or ".join([", ".join(alternatives[:-1]), alternatives[-1]] if len(alternatives) > 1 else alternatives)


def _nearest(name: str, folder: Path) -> str | None:
    return nearest(name, islice(_listing(folder), _NAMES))


def _problem(
    where: str, what: str, *, allowed: str | None = None, meant: str | None = None, fix: str | None = None
) -> Problem:
    return Problem(where=where, what=what, allowed=allowed, meant=meant, fix=fix, exit_code=4)
