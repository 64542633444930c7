"""`Cached`: a data source whose rows were decoded once, into files that are mapped into memory.

A folder of the cache holds one split, as its rows are scored: `meta.json`, and one `.npy` file a column
(`inputs%2Fimage.npy`, ...), rows first, without pickles. Its name is a hash of what is inside: the source's
fingerprint, the split and the form of its columns; so it is never stale, and one that is cut off, or whose files do
not fit `meta.json`, is made again. It is written beside its final place and renamed, under a lock, so processes that
start together make it once.
Bits that rot on the disk are not detected.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
import os
import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import quote, unquote

import numpy as np
import torch
from filelock import FileLock
from rich.console import Console
from rich.progress import track
from torch.utils.data import Dataset

from auxlearn.data.collate import Collate, Columns
from auxlearn.data.failure import Failure
from auxlearn.data.loader import eval_loader
from auxlearn.data.problems import problem
from auxlearn.data.selection import TRAINED, Part, Selection
from auxlearn.data.source import DataSource, InputShape
from auxlearn.errors import DataError, EnvironmentProblem, Problem

__all__ = ["Cached", "cache_folder"]

_VERSION = 2
_ROWS = 64  # rows that are read and written at a time
_log = logging.getLogger(__name__)


def cache_folder(given: str | None = None) -> Path:
    """Return the folder for caches: `given`, or `auxlearn` in the user's cache folder."""
    if given is not None:
        return Path(given).expanduser()
    home = os.environ.get("LOCALAPPDATA") if sys.platform == "win32" else os.environ.get("XDG_CACHE_HOME")
    return (Path(home) if home else Path.home() / ".cache") / "auxlearn"


class Cached(DataSource):
    """A data source that reads its rows from a cache, which it makes when a split is asked for first.

    Where the base reads rows otherwise to train on them, as it does if it draws, those come from the base itself.

    Args:
        base: The source that decodes. Its `fingerprint` says whether a cache belongs to it.
        folder: Where caches are kept.
        workers: Processes that decode while a cache is made.

    Raises:
        DataError: If the source has no fingerprint; later, for the rows that cannot be read, all of them.
        EnvironmentProblem: If the cache cannot be written.
    """

    def __init__(self, base: DataSource, folder: Path, *, workers: int = 0) -> None:
        if not base.fingerprint():
            what = "this data has no fingerprint, so nobody could tell whether a cache belongs to it"
            raise DataError(problem("/data/cache", what, allowed="none"))
        self.base, self.folder, self.workers = base, folder, workers
        self.inputs, self.targets, self.splits = base.inputs, base.targets, base.splits
        self._alike = type(base).dataset_for is DataSource.dataset_for  # rows are the same for training and scoring
        self._made: dict[str, _Mapped] = {}

    def dataset(self, split: str) -> Dataset[Any]:
        """Return the rows of `split` as the base does."""
        return self.dataset_for(split, training=split == "train")

    def dataset_for(self, split: str, *, training: bool) -> Dataset[Any]:
        """Return the rows of `split` from the cache, which is made if it is not there, or from the base."""
        if training and not self._alike:
            return self.base.dataset_for(split, training=True)
        if split not in self._made:
            self._made[split] = _Mapped(self._ready(split))
        return self._made[split]

    def fill(self, view: Mapping[str, Sequence[Part]]) -> list[Problem]:
        """Make the caches that the splits of a view need; return what is wrong with rows that cannot be read."""
        needed = [parts for split, parts in view.items() if self._alike or split not in TRAINED]
        problems: list[Problem] = []
        for origin in dict.fromkeys(origin for parts in needed for origin, _ in parts):
            try:
                self.dataset_for(origin, training=False)
            except DataError as error:
                problems += error.problems
        return problems

    def measured(self, rows: Sequence[tuple[str, Iterable[int]]]) -> Mapping[str, InputShape]:
        """Return what the base measures."""
        return self.base.measured(rows)

    def labels(self, split: str, target: str) -> Sequence[Any] | None:
        """Return what the base knows."""
        return self.base.labels(split, target)

    def groups(self, split: str) -> Sequence[str | None] | None:
        """Return what the base knows."""
        return self.base.groups(split)

    def duplicates(self) -> Sequence[Sequence[tuple[str, int]]]:
        """Return what the base knows."""
        return self.base.duplicates()

    def files(self, split: str) -> Sequence[str | None] | None:
        """Return what the base knows."""
        return self.base.files(split)

    def name(self, split: str, index: int) -> str:
        """Return what the base calls the row."""
        return self.base.name(split, index)

    def fingerprint(self) -> str:
        """Return the base's: cached rows are the same rows."""
        return self.base.fingerprint()

    def check(self) -> None:
        """Check the base."""
        self.base.check()

    def _ready(self, split: str) -> Path:
        """Return the folder with the cache of `split`, made if need be."""
        meta = self._meta(split)
        digest = hashlib.blake2b(json.dumps(meta, sort_keys=True).encode(), digest_size=12).hexdigest()
        final = self.folder / f"{split}-{digest}"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with FileLock(self.folder / f"{final.name}.lock"):
                if not _sound(final, meta):
                    self._make(split, meta, final)
        except OSError as error:
            what = f"the cache cannot be written ({error.strerror or error})"
            fix = "another `data.cache_dir`, or more space"
            raise EnvironmentProblem(Problem(where=str(self.folder), what=what, fix=fix, exit_code=8)) from error
        return final

    def _meta(self, split: str) -> dict[str, Any]:
        rows = len(self.base.dataset(split))  # type: ignore[arg-type]
        forms = Collate(self.base).forms
        columns = {key: {"shape": [rows, *form.shape], "dtype": str(form.dtype)[6:]} for key, form in forms.items()}
        fingerprint = self.base.fingerprint()
        return {"version": _VERSION, "fingerprint": fingerprint, "split": split, "rows": rows, "columns": columns}

    def _make(self, split: str, meta: Mapping[str, Any], final: Path) -> None:
        for left in self.folder.glob(f".{final.name}.*"):  # by a process that was killed: we hold the lock
            shutil.rmtree(left, ignore_errors=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{final.name}.", dir=self.folder))
        try:
            self._require_space(meta)
            _write(temporary, meta, self._columns(split, meta["rows"]))
            if final.exists():
                shutil.rmtree(final)
            os.replace(temporary, final)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)

    def _columns(self, split: str, rows: int) -> Iterator[Columns]:
        """Yield the columns of all rows in order; the problems of all unreadable rows come together at the end."""
        console = Console(stderr=True)
        hidden = not console.is_terminal
        scored = Selection(self.base, {"scored": [(split, np.arange(rows))]})
        loader = eval_loader(scored, "scored", _ROWS, workers=self.workers)
        _log.info("Decoding %d rows of `%s` into %s", rows, split, self.folder)
        failures: list[Failure] = []
        total = math.ceil(rows / _ROWS)
        for columns in track(loader.columns(), f"Decoding {split}", total, console=console, disable=hidden):
            if isinstance(columns, Failure):
                failures.append(columns)
            elif not failures:
                yield columns
        if failures:
            raise Failure.joint(failures).error()

    def _require_space(self, meta: Mapping[str, Any]) -> None:
        needed = sum(_bytes(column) for column in meta["columns"].values())
        free = shutil.disk_usage(self.folder).free
        if needed > free:
            what = f"the cache needs {needed / 1e9:.1f} GB, {free / 1e9:.1f} GB are free"
            fix = "another `data.cache_dir`"
            raise EnvironmentProblem(Problem(where=str(self.folder), what=what, fix=fix, exit_code=8))


class _Mapped(Dataset[Any]):
    """The rows of one split, mapped into memory."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._open()

    def _open(self) -> None:
        arrays = {unquote(path.stem): _mapped(path) for path in sorted(self.folder.glob("*.npy"))}
        masks = {key.removeprefix("present/"): array for key, array in arrays.items() if key.startswith("present/")}
        self.columns = {key.split("/", 1)[1]: arrays[key] for key in masks}
        self.present = {key: mask for key, mask in masks.items() if not mask.all()}

    def __getstate__(self) -> Path:
        return self.folder  # a mapped array would travel to a worker as a whole copy

    def __setstate__(self, folder: Path) -> None:
        self.folder = folder
        self._open()

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())))

    def __getitem__(self, index: int) -> dict[str, Any]:
        lacking = {key.split("/", 1)[1] for key, mask in self.present.items() if not mask[index]}
        return {name: np.array(column[index]) for name, column in self.columns.items() if name not in lacking}

    def __getitems__(self, indices: Sequence[int]) -> dict[str, Any]:
        rows = np.asarray(indices)
        read: dict[str, Any] = {name: column[rows] for name, column in self.columns.items()}
        return read | {"present": {key: mask[rows] for key, mask in self.present.items()}}


def _write(folder: Path, meta: Mapping[str, Any], parts: Iterator[Columns]) -> None:
    """Write the columns, part after part, to their files.

    A write that does not fit on the disk is an error; a page of a mapped file that does not fit ends the process.
    """
    files: dict[str, BinaryIO] = {}
    try:
        for key, column in meta["columns"].items():
            files[key] = _begin(folder, key, column["dtype"], column["shape"])
            files[f"present/{key}"] = _begin(folder, f"present/{key}", "bool", column["shape"][:1])
        for columns in parts:
            everyone = torch.ones(len(columns["ids"]), dtype=torch.bool)
            for key, file in files.items():
                file.write(np.ascontiguousarray(columns.get(key, everyone).numpy()).data)
    finally:
        for file in files.values():
            file.flush()
            os.fsync(file.fileno())
            file.close()
    (folder / "meta.json").write_text(json.dumps(meta, sort_keys=True))


def _begin(folder: Path, key: str, dtype: str, shape: Sequence[int]) -> BinaryIO:
    file = _file(folder, key).open("wb")
    header = {"descr": np.lib.format.dtype_to_descr(np.dtype(dtype)), "fortran_order": False, "shape": tuple(shape)}
    np.lib.format.write_array_header_2_0(file, header)
    return file


def _sound(folder: Path, meta: Mapping[str, Any]) -> bool:
    """Return whether `folder` holds the whole cache that `meta` describes."""
    try:
        if json.loads((folder / "meta.json").read_text()) != meta:
            return False
        for key, column in meta["columns"].items():
            for name, form in ((key, column), (f"present/{key}", {"dtype": "bool", "shape": column["shape"][:1]})):
                array = _mapped(_file(folder, name))
                if list(array.shape) != form["shape"] or array.dtype != np.dtype(form["dtype"]):
                    return False
    except (OSError, ValueError):
        return False
    return True


def _file(folder: Path, key: str) -> Path:
    return folder / f"{quote(key, safe='')}.npy"


def _mapped(path: Path) -> Any:
    return np.load(path, mmap_mode="r", allow_pickle=False)


def _bytes(column: Mapping[str, Any]) -> int:
    size: int = math.prod(column["shape"]) * np.dtype(column["dtype"]).itemsize
    return size
