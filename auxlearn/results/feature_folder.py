"""`FeatureFolder`: vectors of rows, written one row after the other, that a crash at any time cannot spoil.

While it is written, everything new lies in `.partial/`: the vectors of each name as plain numbers, a line for each row,
and `state.json`, which says how much of them counts; what lies behind was written by a process that was killed, and is
cut off. When all rows are there, the tables are made of them; `data.json` comes last and says that the folder is whole.
"""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

import numpy as np
from filelock import FileLock, Timeout

from auxlearn.data import TargetInfo
from auxlearn.data.columns import columns_of
from auxlearn.errors import EnvironmentProblem, Problem, SpecError, escape
from auxlearn.files import telling_refusals, write_atomically, write_json
from auxlearn.spec.pointers import differences, show

__all__ = ["IDENTITY", "ROWS", "SECTION", "FeatureFolder"]

IDENTITY, ROWS, SECTION = "extraction.json", "rows.csv", "data.json"

_REPORT = "report.json"
_PARTIAL, _STATE, _LINES, _LOCK = ".partial", "state.json", "rows.jsonl", "lock"
_AT_ONCE = 4096  # rows that are copied at a time


class FeatureFolder:
    """The folder of one extraction. It is a context manager: in it, no other process may write there.

    Args:
        path: Where it is; made if there is nothing.
        identity: What the vectors depend on, as JSON: a folder is gone on with only if it was begun with the same.
        widths: The width of the vectors by name.

    Raises:
        SpecError: If there is something else, or an extraction that was begun otherwise; it names each difference.
        EnvironmentProblem: If the disk refuses, or another process works there.
    """

    def __init__(self, path: str | Path, identity: Mapping[str, Any], widths: Mapping[str, int]) -> None:
        self.path, self.widths = Path(path), dict(widths)
        self._partial = self.path / _PARTIAL
        self._lock = FileLock(self._partial / _LOCK)
        self._identity = json.loads(json.dumps(identity))
        self._files: dict[str, BinaryIO] = {}
        self._counted = (0, 0)  # the rows that are written, and where their lines end; at once, whatever interrupts

    def __enter__(self) -> FeatureFolder:
        with telling_refusals(self.path):
            self._require_own()
            if not self.whole:
                self._partial.mkdir(parents=True, exist_ok=True)
                self._begin()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        try:
            if self._files:
                self.commit()
        finally:
            self._close()
            self._lock.release()

    @property
    def whole(self) -> bool:
        """Whether everything is there."""
        return (self.path / SECTION).exists()

    @property
    def rows(self) -> int:
        """How many rows are written."""
        return self._counted[0]

    def add(self, line: Mapping[str, Any], vectors: Mapping[str, np.ndarray[Any, Any]]) -> None:
        """Add a row: what is said about it, and its vector of each name, or none where it has none."""
        with telling_refusals(self.path):
            for name, width in self.widths.items():
                vector = vectors.get(name)
                row = np.full(width, np.nan) if vector is None else vector
                self._files[name].write(np.ascontiguousarray(row, dtype="<f4").tobytes())
            self._files[_LINES].write(json.dumps(line, ensure_ascii=False, allow_nan=False).encode() + b"\n")
            self._counted = (self.rows + 1, self._files[_LINES].tell())

    def commit(self) -> None:
        """Let the rows so far count, whatever happens."""
        with telling_refusals(self.path):
            for file in self._files.values():
                file.flush()
                os.fsync(file.fileno())
            rows, lines = self._counted
            write_json(self._partial / _STATE, {"rows": rows, "lines": lines})

    def lines(self) -> list[dict[str, Any]]:
        """Return what is said about each row so far."""
        self._files[_LINES].flush()
        with (self._partial / _LINES).open("rb") as file:
            return [json.loads(line) for line in file]

    def finish(self, targets: Mapping[str, TargetInfo], keys: Mapping[str, Any]) -> None:
        """Make the tables of the rows, without those whose line says `skipped`; called again, it makes the same.

        Args:
            targets: What is known about each target.
            keys: Further keys of the section `data` that is written.
        """
        lines = self.lines()
        kept = [index for index, line in enumerate(lines) if "skipped" not in line]
        with telling_refusals(self.path):
            self.commit()
            missing = {name: self._write_array(name, np.asarray(kept, dtype=np.int64)) for name in self.widths}
            section = _write_rows(self.path / ROWS, [lines[index] for index in kept], targets)
            rows = dict(Counter(lines[index]["split"] for index in kept))
            skipped = [line["skipped"] for line in lines if "skipped" in line]
            write_json(self.path / _REPORT, {"rows": rows, "missing": missing, "skipped": skipped})
            whole = {"type": "features", "path": ROWS, "inputs": list(self.widths), **section, **keys}
            write_json(self.path / SECTION, {"data": whole})
            self._close()
            shutil.rmtree(self._partial, ignore_errors=True)

    def report(self) -> dict[str, Any]:
        """Return what is in a whole folder: `rows` by split, how many `missing` by name, and why some are `skipped`."""
        found: dict[str, Any] = json.loads((self.path / _REPORT).read_bytes())
        return found

    def section(self) -> dict[str, Any]:
        """Return the section `data` of a whole folder."""
        found: dict[str, Any] = json.loads((self.path / SECTION).read_bytes())["data"]
        return found

    def _require_own(self) -> None:
        """Raise if this is no place for this extraction; leave its identity there."""
        if not (self.path / IDENTITY).exists():
            if os.path.lexists(self.path) and not (self.path.is_dir() and not any(self.path.iterdir())):
                what = "is there already, and no folder of features"
                raise SpecError(Problem(where=escape(self.path), what=what, fix="another --out"))
            self.path.mkdir(parents=True, exist_ok=True)
            write_json(self.path / IDENTITY, self._identity)
            return
        found = json.loads((self.path / IDENTITY).read_bytes())
        problems = [
            Problem(
                where=where,
                what=f"{escape(self.path)} was made with {show(was)}, not {show(now)}",
                fix="another --out",
            )
            for where, was, now in differences(found, self._identity)
        ]
        if problems:
            raise SpecError(problems)

    def _begin(self) -> None:
        """Open the files where the last commit ended."""
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            what = "another process works here"
            raise EnvironmentProblem(Problem(where=escape(self.path), what=what)) from None
        if self.whole:  # since we looked
            return
        state = {"rows": 0, "lines": 0}
        if (self._partial / _STATE).exists():
            state = json.loads((self._partial / _STATE).read_bytes())
        self._counted = (state["rows"], state["lines"])
        ends = {name: self.rows * width * 4 for name, width in self.widths.items()}
        for name, end in {**ends, _LINES: state["lines"]}.items():
            file = self._files[name] = (self._partial / self._file(name)).open("ab")
            file.truncate(end)
            file.seek(end)

    def _file(self, name: str) -> str:
        return name if name == _LINES else f"{name}.f32"

    def _close(self) -> None:
        while self._files:
            self._files.popitem()[1].close()

    def _write_array(self, name: str, kept: np.ndarray[Any, Any]) -> int:
        """Write the rows `kept` as a `.npy` file, all or nothing; return how many of them have no vector."""
        width, missing = self.widths[name], 0
        found = np.memmap(self._partial / self._file(name), dtype="<f4", mode="r", shape=(self.rows, width))
        aside = self._partial / f"{name}.npy"
        with aside.open("wb") as file:
            header = {"descr": "<f4", "fortran_order": False, "shape": (len(kept), width)}
            np.lib.format.write_array_header_1_0(file, header)
            for start in range(0, len(kept), _AT_ONCE):
                part = found[kept[start : start + _AT_ONCE]]
                missing += int(np.isnan(part[:, 0]).sum())
                file.write(part.tobytes())
            file.flush()
            os.fsync(file.fileno())
        os.replace(aside, self.path / f"{name}.npy")
        return missing


def _write_rows(path: Path, lines: Sequence[Mapping[str, Any]], targets: Mapping[str, TargetInfo]) -> dict[str, Any]:
    """Write the table of the rows, and return the settings that read it."""
    labels = columns_of(targets, [line["targets"] for line in lines])
    names = ["id", "split", "group"] if any(line["group"] for line in lines) else ["id", "split"]
    own = {name: name if name not in labels.cells else f"row_{name}" for name in names}
    file = io.StringIO(newline="")
    table = csv.writer(file, lineterminator="\n")
    table.writerow([*own.values(), *labels.cells])
    for index, line in enumerate(lines):
        table.writerow([*(line[name] or "" for name in own), *(cells[index] for cells in labels.cells.values())])
    write_atomically(path, file.getvalue().encode())
    columns = {f"{name}_column": column for name, column in own.items()}
    return {**columns, "targets": labels.targets}
