"""`ClipSource`: rows of video, sound and text, read from files that a manifest names."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from typing import Any

import attrs
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from auxlearn.data import DataContext, DataSource, InputShape, TableSource
from auxlearn.errors import DataError, Problem, SpecError, escape
from auxlearn_media.decoding import Clip
from auxlearn_media.params import MediaParams
from auxlearn_media.spectrogram import log_mel
from auxlearn_tables.build import ManifestRows, read_rows

__all__ = ["ClipSource", "Row", "build_media"]

_ANY_SIZE = 8  # given to the table of the rows, which opens no file where the size is known


@attrs.frozen(kw_only=True)
class Row:
    """What of its file one row shows, and its text.

    Attributes:
        file: The real path of the file; None where it cannot be meant, which `check` tells.
        name: The path as the manifest has it.
        start, end: Seconds; an end of infinity is that of the file.
        text: The text, None for a row without.
    """

    file: str | None
    name: str
    start: float
    end: float
    text: str | None


def build_media(params: MediaParams, context: DataContext) -> ClipSource:
    """Return the clips of a manifest.

    Raises:
        SpecError: If the settings name nothing to read, or no size for frames.
        DataError: If the manifest is not as the settings say.
    """
    if params.video is not None and context.size is None:
        raise SpecError(Problem(where="/size", what="frames need a size", fix='e.g. "size": 112'))
    given = {"start_column": params.start_column, "end_column": params.end_column}
    columns = {setting: name for setting, name in given.items() if name is not None}
    if params.text is not None:
        columns["text/column"] = params.text.column
    return ClipSource(read_rows(params, context.root, columns), params, context.size or _ANY_SIZE)


class ClipSource(DataSource):
    """The clips of a manifest, as `auxlearn.data.DataSource`.

    Labels, splits, groups and files are those of a table of images; what is read of a file is not.

    Args:
        manifest: Its rows.
        params: What is read of them.
        size: Side of the frames in pixels.
    """

    def __init__(self, manifest: ManifestRows, params: MediaParams, size: int) -> None:
        self.params, self.size = params, size
        self._table = TableSource(manifest.rows, root=manifest.root, targets=manifest.targets, size=_ANY_SIZE)
        self.targets, self.splits = self._table.targets, self._table.splits
        self.inputs = _inputs(params, size)
        made = _spans(manifest, params)
        texts = [None if params.text is None else _cell(cells, params.text.column) for cells in manifest.cells]
        self.rows: dict[str, list[Row]] = {}
        for split in self.splits:
            own = [number for number, row in enumerate(manifest.rows) if row.split == split]
            files = self._table.files(split)
            self.rows[split] = [
                Row(
                    file=files[index],
                    name=manifest.rows[number].path,
                    start=made[number][0],
                    end=made[number][1],
                    text=texts[number],
                )
                for index, number in enumerate(own)
            ]

    def dataset(self, split: str) -> Dataset[Any]:
        """Return the rows of `split`, each decoded when it is asked for."""
        return _Clips(self.rows[split], self._table.dataset(split), self.params, self.size, crops=split == "train")

    def labels(self, split: str, target: str) -> Sequence[Any]:
        """Return every row's class index, None for a row without."""
        return self._table.labels(split, target)

    def groups(self, split: str) -> Sequence[str | None] | None:
        """Return every row's group, or None if no row has one."""
        return self._table.groups(split)

    def duplicates(self) -> Sequence[Sequence[tuple[str, int]]]:
        """Return the sets of rows that show the same part of the same file."""
        found: list[list[tuple[str, int]]] = []
        for places in self._table.duplicates():
            alike: dict[tuple[float, float], list[tuple[str, int]]] = {}
            for split, index in places:
                row = self.rows[split][index]
                alike.setdefault((row.start, row.end), []).append((split, index))
            found += [same for same in alike.values() if len(same) > 1]
        return found

    def files(self, split: str) -> Sequence[str | None]:
        """Return the real path of each row's file; None where it cannot be meant."""
        return [row.file for row in self.rows[split]]

    def name(self, split: str, index: int) -> str:
        """Return the path of the row, as the manifest has it, with its seconds if it is a part of the file."""
        row = self.rows[split][index]
        part = "" if (row.start, row.end) == (0.0, math.inf) else f" {row.start:g}-{row.end:g} s"
        return escape(row.name, 200) + part

    def fingerprint(self) -> str:
        """Return a hash of the rows, of their labels and files, and of how they are read."""
        spans = [(row.start, row.end, row.text) for split in self.splits for row in self.rows[split]]
        facts = (self._table.fingerprint(), self.size, self.inputs, self.params, spans)
        return hashlib.blake2b(repr(facts).encode("utf-8", "backslashreplace"), digest_size=16).hexdigest()

    def check(self) -> None:
        """Look whether every file is there; it is opened only when it is read.

        Raises:
            DataError: With every row whose file is missing or outside of the root.
        """
        missing = [
            _problem(self.name(split, index), "the file is missing, or not inside of the root")
            for split in self.splits
            for index, row in enumerate(self.rows[split])
            if row.file is None
        ]
        if missing:
            raise DataError(missing)


class _Clips(Dataset[Any]):
    """The rows of one split. Holds what reading needs and nothing more, as it travels to the workers."""

    def __init__(self, rows: Sequence[Row], table: Any, params: MediaParams, size: int, *, crops: bool) -> None:
        self.rows, self.table, self.params, self.size, self.crops = rows, table, params, size, crops

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> dict[str, Any]:
        row = self.rows[index]
        item = {**self.table.labels(index), **self._text(row)}
        if not (self.params.video or self.params.audio or self.params.spectrogram):
            return item
        if row.file is None:
            raise DataError(_problem(escape(row.name, 300), "the file is missing, or not inside of the root"))
        try:
            with Clip(row.file) as clip:
                return item | self._decoded(clip, row)
        except ValueError as error:
            raise DataError(_problem(escape(row.name, 300), f"the file {error}")) from None

    def _decoded(self, clip: Clip, row: Row) -> dict[str, Any]:
        found: dict[str, Any] = {}
        video, audio, mel = self.params.video, self.params.audio, self.params.spectrogram
        start = self._start(clip, row)
        if video is not None and clip.has_picture:
            end = row.end if video.frames is None else min(row.end, start + video.frames / video.fps)
            frames = clip.frames(fps=video.fps, size=self.size, fit=self.params.fit, start=start, end=end)
            found["video"] = _repeated(frames, video.frames)
        if audio is not None and clip.has_sound:
            found["audio"] = self._sound(clip, row, start, audio.rate, audio.seconds)
        if mel is not None and clip.has_sound:
            sound = self._sound(clip, row, start, mel.rate, mel.seconds)
            found["spectrogram"] = log_mel(sound, rate=mel.rate, mels=mel.mels, n_fft=mel.n_fft, hop=mel.hop)
        return found

    def _start(self, clip: Clip, row: Row) -> float:
        """Return where reading begins: of rows of fixed length at random in training, else in the middle."""
        longest = max((seconds for seconds in _lengths(self.params).values() if seconds is not None), default=None)
        if longest is None:
            return row.start
        spare = max(0.0, min(row.end, clip.duration) - row.start - longest)
        return row.start + spare * (float(torch.rand(())) if self.crops else 0.5)

    def _sound(self, clip: Clip, row: Row, start: float, rate: int, seconds: float | None) -> Tensor:
        end = row.end if seconds is None else min(row.end, start + seconds)
        sound = torch.from_numpy(clip.samples(rate=rate, start=start, end=end))
        return sound if seconds is None else _filled(sound, round(seconds * rate))

    def _text(self, row: Row) -> dict[str, Tensor]:
        if self.params.text is None or not row.text:
            return {}
        text = torch.from_numpy(np.frombuffer(row.text.encode(), dtype=np.uint8).copy())
        return {"text": text if self.params.text.bytes is None else _filled(text, self.params.text.bytes)}


def _lengths(params: MediaParams) -> dict[str, float | None]:
    """Return the seconds of each input that is read of the file, None for the whole clip."""
    video = params.video
    found = {} if video is None else {"video": None if video.frames is None else video.frames / video.fps}
    sounds = {"audio": params.audio, "spectrogram": params.spectrogram}
    return found | {name: one.seconds for name, one in sounds.items() if one is not None}


def _inputs(params: MediaParams, size: int) -> dict[str, InputShape]:
    """Return the form of each input; -1 is the length of a whole clip."""
    found: dict[str, InputShape] = {}
    if params.video is not None:
        found["video"] = InputShape(shape=(params.video.frames or -1, 3, size, size), kind="feature")
    if params.audio is not None:
        length = -1 if params.audio.seconds is None else round(params.audio.seconds * params.audio.rate)
        found["audio"] = InputShape(shape=(length,), dtype="float32", kind="feature")
    if params.spectrogram is not None:
        own = params.spectrogram
        length = -1 if own.seconds is None else 1 + round(own.seconds * own.rate) // own.hop
        found["spectrogram"] = InputShape(shape=(1, own.mels, length), dtype="float32", kind="feature")
    if params.text is not None:
        found["text"] = InputShape(shape=(params.text.bytes or -1,), kind="feature")
    return found


def _spans(manifest: ManifestRows, params: MediaParams) -> list[tuple[float, float]]:
    """Return from which to which second each row is; DataError for those that are none."""
    found, problems = [], []
    for row, cells in zip(manifest.rows, manifest.cells, strict=True):
        try:
            start, end = _second(cells, params.start_column, 0.0), _second(cells, params.end_column, math.inf)
            if not 0 <= start < end:
                raise ValueError(f"is from second {start:g} to {end:g}")
            found.append((start, end))
        except ValueError as error:
            problems.append(_problem(row.where, f"the row {error}", allowed="numbers, the start before the end"))
    if problems:
        raise DataError(problems)
    return found


def _second(cells: Mapping[str, Any], column: str | None, default: float) -> float:
    cell = None if column is None else cells[column]
    if cell is None:
        return default
    try:
        return float(cell)
    except (TypeError, ValueError):
        raise ValueError(f'has "{escape(cell)}" in the column "{column}"') from None


def _cell(cells: Mapping[str, Any], column: str) -> str | None:
    return None if cells[column] is None else str(cells[column])


def _repeated(frames: np.ndarray[Any, Any], length: int | None) -> Tensor:
    """Return `length` frames, cut, or with the last one repeated."""
    if length is not None:
        frames = frames[np.minimum(np.arange(length), len(frames) - 1)]
    return torch.from_numpy(np.ascontiguousarray(frames))


def _filled(row: Tensor, length: int) -> Tensor:
    """Return the first `length` values, with zeros where there are fewer."""
    return torch.nn.functional.pad(row[:length], (0, length - min(length, len(row))))


def _problem(where: str, what: str, allowed: str | None = None) -> Problem:
    return Problem(where=where, what=what, allowed=allowed, exit_code=4)
