"""`TableSource`: images that are named, with their labels, in a table; what most readers of image data come down to."""

from __future__ import annotations

import copy
import hashlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from itertools import islice
from typing import Any

import attrs
from torch.utils.data import Dataset

from auxlearn.data.contents import same_files, wrong_checksum
from auxlearn.data.images import Crop, Fit, probe_image, read_image, shown_shape, wrong_crop
from auxlearn.data.labels import Column, column
from auxlearn.data.paths import contained, written
from auxlearn.data.problems import problem
from auxlearn.data.source import DataSource, InputShape, Region, TargetInfo
from auxlearn.errors import DataError, Problem, escape

__all__ = ["TableRow", "TableSource"]

_MOST_MEASURED = 100  # rows that are tried before the size of the images is given up


@attrs.frozen(kw_only=True)
class TableRow:
    """One image and what is said about it.

    Attributes:
        path: The file, relative to the root of the source, with `/` between its parts.
        targets: By target: the name or index of a class; the names that apply of a multilabel target; the number
            or numbers of a continuous one. None, or no entry, for a target that the row lacks.
        split: Where the row belongs.
        group: What must not be divided among splits, e.g. the person.
        checksum: Hash of the file in hexadecimal digits: sha256, sha1 or md5 by its length.
        region: Where the object of interest is in the file; or a function that looks it up, where the landmarks of
            all rows would fill the memory.
        crop: The part of the picture that is the image: left, top, right, bottom in pixels, rounded to whole ones;
            black where it reaches beyond the picture. None: all of it.
        where: Where the row stands, for messages, e.g. `manifest.csv line 7`.
    """

    path: str
    targets: Mapping[str, Any] = attrs.field(factory=dict)
    split: str = "train"
    group: str | None = None
    checksum: str | None = None
    region: Region | Callable[[], Region | None] | None = None
    crop: Crop | None = None
    where: str = ""


class TableSource(DataSource):
    """Images below one folder, with labels, splits and groups from a table.

    Args:
        rows: The rows of all splits.
        root: The folder that the paths are relative to. No path may lead out of it, by links neither.
        targets: What the rows' targets are; class names in the order of their indices.
        size: Side to which images are brought, in pixels; None if all have one size already.
        fit: How images that are not square are brought to `size`; see `read_image`.

    Raises:
        DataError: For all rows whose path or label cannot be what is meant, before any file is opened.

    Examples:
        >>> import tempfile, pathlib
        >>> from PIL import Image
        >>> from auxlearn.data import TableRow, TableSource, TargetInfo
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     Image.new("RGB", (8, 8)).save(pathlib.Path(folder, "a.png"))
        ...     targets = {"mood": TargetInfo(kind="class", names=("sad", "happy"))}
        ...     rows = [TableRow(path="a.png", targets={"mood": "happy"})]
        ...     source = TableSource(rows, root=folder, targets=targets)
        ...     item = source.dataset("train")[0]
        >>> int(item["mood"]), item["image"].shape
        (1, torch.Size([3, 8, 8]))
    """

    def __init__(
        self,
        rows: Sequence[TableRow],
        *,
        root: str | os.PathLike[str],
        targets: Mapping[str, TargetInfo],
        size: int | None = None,
        fit: Fit = "crop",
    ) -> None:
        self.root, self.size, self.fit = os.path.realpath(root), size, fit
        self.targets = dict(targets)
        self.splits = _in_custom(dict.fromkeys(row.split for row in rows))
        self._rows = {split: [row for row in rows if row.split == split] for split in self.splits}
        problems = [_problem(row, wrong) for row in rows if (wrong := written(row.path)) is not None]
        problems += [_problem(row, f"cannot be cropped: {wrong}") for row in rows if (wrong := wrong_crop(row.crop))]
        self._columns: dict[str, dict[str, Column]] = {}
        for split, own in self._rows.items():
            where = [row.where or row.path for row in own]
            made = {
                name: column([row.targets.get(name) for row in own], info, name, where)
                for name, info in targets.items()
            }
            problems += [problem for found, _ in made.values() for problem in found]
            self._columns[split] = {name: values for name, (_, values) in made.items()}
        if not rows:
            problems.append(problem(str(root), "there are no images"))
        if problems:
            raise DataError(problems)
        self.inputs = self._inputs()

    def dataset(self, split: str) -> Dataset[Any]:
        """Return the rows of `split`, each decoded when it is asked for."""
        return _Images(self.root, self._rows[split], self._columns[split], self.size, self.fit)

    def labels(self, split: str, target: str) -> Sequence[Any]:
        """Return every row's class index, or what else its label is; None for a row without."""
        given = self._columns[split][target]
        return [value if there else None for value, there in zip(given.values.tolist(), given.present, strict=True)]

    def groups(self, split: str) -> Sequence[str | None] | None:
        """Return every row's group, or None if no row has one."""
        return [row.group for row in self._rows[split]] if self._grouped else None

    def region(self, split: str, index: int) -> Region | None:
        """Return where the object of a row is in its file, if its row says so."""
        region = self._rows[split][index].region
        return region() if callable(region) else region

    def resized(self, size: int | None) -> TableSource:
        """Return the same rows with images of this size."""
        made = copy.copy(self)
        made.__dict__.pop("_fingerprint", None)
        made.size = size
        made.inputs = made._inputs()
        return made

    def shape(self, split: str, index: int) -> tuple[int, int]:
        """Return (height, width) of the part of its file that a row shows."""
        return self._shape(self._rows[split][index])

    def _shape(self, row: TableRow) -> tuple[int, int]:
        try:
            return shown_shape(probe_image(contained(self.root, row.path)), row.crop)
        except ValueError as error:
            raise DataError(_problem(row, str(error))) from None

    def duplicates(self) -> Sequence[Sequence[tuple[str, int]]]:
        """Return the sets of rows whose files are the same, or hold the same bytes, and are cropped alike."""
        return self._duplicates

    def files(self, split: str) -> Sequence[str | None]:
        """Return the real path of each row's file; None where it cannot be meant."""
        return [self._real(row) for row in self._rows[split]]

    def _real(self, row: TableRow) -> str | None:
        with suppress(ValueError):  # `check` says what is wrong with it
            return contained(self.root, row.path)
        return None

    def name(self, split: str, index: int) -> str:
        """Return the path of the row, as it is written in the table."""
        return self._rows[split][index].path

    def fingerprint(self) -> str:
        """Return a hash of every row, and of each file's checksum, or else of its size and time of change."""
        return self._fingerprint

    def check(self) -> None:
        """Raise a `DataError` with all files that are missing, not to be touched, no images, or altered.

        Files are not decoded, so one that is damaged behind its header is found when it is read.
        """
        problems = list(self._wrong_files())
        if problems:
            raise DataError(problems)

    def _wrong_files(self) -> Iterator[Problem]:
        expected = self.inputs["image"].shape[1:]
        for row in self._every():
            try:
                real = contained(self.root, row.path)
                shape = shown_shape(probe_image(real), row.crop)
                altered = row.checksum is not None and wrong_checksum(real, row.checksum)
            except ValueError as error:
                yield _problem(row, str(error))
            except DataError as error:
                yield _problem(row, error.problems[0].what)
            else:
                if self.size is None and shape != expected:
                    yield _problem(
                        row, f"has {shape} pixels (height, width), others {expected}", fix="give `data.size`"
                    )
                if altered:
                    yield _problem(row, f"does not have the checksum {row.checksum}")

    def _every(self) -> Iterator[TableRow]:
        return (row for split in self.splits for row in self._rows[split])

    def _inputs(self) -> dict[str, InputShape]:
        side = (self.size, self.size) if self.size is not None else self._measured()
        return {"image": InputShape(shape=(3, *side))}

    def _measured(self) -> tuple[int, int]:
        """Return (height, width) of the first row that can be measured, since one bad file should not hide the others.

        Raises:
            DataError: With what is wrong about the first row, if none can be measured.
        """
        problems: list[Problem] = []
        for row in islice(self._every(), _MOST_MEASURED):
            try:
                return self._shape(row)
            except DataError as error:
                problems += error.problems
        raise DataError(problems[0])

    @cached_property
    def _grouped(self) -> bool:
        return any(row.group is not None for row in self._every())

    @cached_property
    def _duplicates(self) -> Sequence[Sequence[tuple[str, int]]]:
        files: dict[str, list[tuple[str, int]]] = {}
        for split, rows in self._rows.items():
            for index, row in enumerate(rows):
                path = self._real(row)
                if path is not None:
                    files.setdefault(path, []).append((split, index))
        found: list[list[tuple[str, int]]] = []
        for same in same_files(files):
            alike: dict[Crop | None, list[tuple[str, int]]] = {}
            for split, index in (place for path in same for place in files[path]):
                alike.setdefault(self._rows[split][index].crop, []).append((split, index))
            found += alike.values()
        return [places for places in found if len(places) > 1]

    @cached_property
    def _fingerprint(self) -> str:
        digest = hashlib.blake2b(f"{self.size} {self.fit} {sorted(self.targets.items())}".encode(), digest_size=16)
        for row in self._every():
            file = row.checksum or self._file_facts(row)
            facts = (row.split, row.path, row.group, sorted(row.targets.items()), file)
            digest.update(repr(facts if row.crop is None else (*facts, row.crop)).encode("utf-8", "backslashreplace"))
        return digest.hexdigest()

    def _file_facts(self, row: TableRow) -> tuple[int, int] | None:
        try:
            status = os.stat(os.path.join(self.root, row.path))
        except OSError:
            return None
        return status.st_size, status.st_mtime_ns


class _Images(Dataset[Any]):
    """The rows of one split. Holds what reading needs and nothing more, as it travels to the workers."""

    def __init__(
        self, root: str, rows: Sequence[TableRow], columns: Mapping[str, Column], size: int | None, fit: Fit
    ) -> None:
        self.root, self.columns, self.size, self.fit = root, columns, size, fit
        self.paths = [row.path for row in rows]
        self.crops = [row.crop for row in rows]

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> dict[str, Any]:
        try:
            real = contained(self.root, self.paths[index])  # again: links may have changed since the check
        except ValueError as error:
            raise DataError(problem(escape(self.paths[index], 300), f"the file {error}")) from None
        return {"image": read_image(real, self.size, fit=self.fit, crop=self.crops[index]), **self.labels(index)}

    def labels(self, index: int) -> dict[str, Any]:
        """Return the targets of a row, without its image."""
        return {name: values.values[index] for name, values in self.columns.items() if values.present[index]}


def _in_custom(splits: Mapping[str, None]) -> tuple[str, ...]:
    """Return the names of the splits, `train`, `val` and `test` first."""
    usual = ("train", "val", "test")
    return tuple([name for name in usual if name in splits] + sorted(splits.keys() - set(usual)))


def _problem(row: TableRow, what: str, fix: str | None = None) -> Problem:
    path = escape(row.path, 200)
    return problem(row.where or path, f'path "{path}" {what}', fix=fix)
