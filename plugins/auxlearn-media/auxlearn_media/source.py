"""`ClipSource`: rows of video, sound and text, read from files that a table names."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import attrs
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from auxlearn.data import DataSource, InputShape, TableRow, TableSource, TargetInfo
from auxlearn.errors import DataError, Problem, SpecError, escape
from auxlearn_media.decoding import Clip
from auxlearn_media.params import MediaParams
from auxlearn_media.readers.params import SetParams
from auxlearn_media.spectrogram import log_mel

__all__ = ["ClipSource", "Part", "Row"]

_ANY_SIZE = 8  # given to the table of the rows, which opens no file where the size is known

Params: TypeAlias = MediaParams | SetParams


@attrs.frozen(kw_only=True)
class Part:
    """What of its file a row shows, and what belongs to it.

    Attributes:
        start, end: Seconds; an end of infinity is that of the file.
        text: The text, None for a row without.
        sound: The real path of the file with the sound, where that is another.
    """

    start: float = 0.0
    end: float = math.inf
    text: str | None = None
    sound: str | None = None


@attrs.frozen(kw_only=True)
class Row:
    """A row as it is read.

    Attributes:
        file: The real path of the file; None where it cannot be meant, which `check` tells.
        name: The path as the manifest has it.
        part: What of it is shown.
    """

    file: str | None
    name: str
    part: Part


class ClipSource(DataSource):
    """Clips, as `auxlearn.data.DataSource`.

    Labels, splits, groups and files are those of a table of images; what is read of a file is not.

    Args:
        rows: The rows, as of a table.
        parts: For each row, what of its file it shows.
        root: The folder that the paths of the rows are relative to.
        targets: What the rows' targets are.
        params: What is read of them.
        size: Side of the frames in pixels.

    Raises:
        SpecError: If frames are to be read and have no size.
        DataError: As `TableSource`.
    """

    def __init__(
        self,
        rows: Sequence[TableRow],
        parts: Sequence[Part],
        *,
        root: str | Path,
        targets: Mapping[str, TargetInfo],
        params: Params,
        size: int | None,
    ) -> None:
        if params.video is not None and size is None:
            raise SpecError(Problem(where="/size", what="frames need a size", fix='e.g. "size": 112'))
        self.params, self.size = params, size or _ANY_SIZE
        self._table = TableSource(rows, root=root, targets=targets, size=_ANY_SIZE)
        self.targets, self.splits = self._table.targets, self._table.splits
        self.inputs = _inputs(params, self.size)
        own: dict[str, list[tuple[TableRow, Part]]] = {split: [] for split in self.splits}
        for row, part in zip(rows, parts, strict=True):
            own[row.split].append((row, part))
        self.rows = {
            split: [
                Row(file=file, name=row.path, part=part)
                for (row, part), file in zip(own[split], self._table.files(split), strict=True)
            ]
            for split in self.splits
        }

    def dataset(self, split: str) -> Dataset[Any]:
        """Return the rows of `split`, each decoded when it is asked for; those of `train` as they are trained on."""
        return self.dataset_for(split, training=split == "train")

    def dataset_for(self, split: str, *, training: bool) -> Dataset[Any]:
        """Return the rows of `split` with parts of fixed length drawn at random, or from the middle of each clip."""
        return _Clips(self.rows[split], self._table.dataset(split), self.params, self.size, crops=training)

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
                alike.setdefault((row.part.start, row.part.end), []).append((split, index))
            found += [same for same in alike.values() if len(same) > 1]
        return found

    def files(self, split: str) -> Sequence[str | None]:
        """Return the real path of each row's file; None where it cannot be meant."""
        return [row.file for row in self.rows[split]]

    def name(self, split: str, index: int) -> str:
        """Return the path of the row, as the manifest has it, with its seconds if it is a part of the file."""
        row = self.rows[split][index]
        start, end = row.part.start, row.part.end
        return escape(row.name, 200) + ("" if (start, end) == (0.0, math.inf) else f" {start:g}-{end:g} s")

    def fingerprint(self) -> str:
        """Return a hash of the rows, of their labels and files, and of how they are read."""
        parts = [row.part for split in self.splits for row in self.rows[split]]
        facts = (self._table.fingerprint(), self.size, self.inputs, self.params, parts)
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

    def __init__(self, rows: Sequence[Row], table: Any, params: Params, size: int, *, crops: bool) -> None:
        self.rows, self.table, self.params, self.size, self.crops = rows, table, params, size, crops

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> dict[str, Any]:
        row = self.rows[index]
        item = {**self.table.labels(index), **self._text(row.part.text)}
        if not (self.params.video or self.params.audio or self.params.spectrogram):
            return item
        if row.file is None:
            raise DataError(_problem(escape(row.name, 300), "the file is missing, or not inside of the root"))
        try:
            with Clip(row.file) as clip:
                part = attrs.evolve(row.part, start=self._start(clip, row.part))
                item |= self._seen(clip, part)
                item |= self._heard(clip, part) if part.sound is None else {}
            if part.sound is not None:
                with Clip(part.sound) as clip:
                    item |= self._heard(clip, part)
        except ValueError as error:
            raise DataError(_problem(escape(row.name, 300), f"the file {error}")) from None
        return item

    def _start(self, clip: Clip, part: Part) -> float:
        """Return where reading begins: of rows of fixed length at random in training, else in the middle."""
        longest = max((seconds for seconds in _lengths(self.params).values() if seconds is not None), default=None)
        if longest is None:
            return part.start
        spare = max(0.0, min(part.end, clip.duration) - part.start - longest)
        return part.start + spare * (float(torch.rand(())) if self.crops else 0.5)

    def _seen(self, clip: Clip, part: Part) -> dict[str, Tensor]:
        video = self.params.video
        if video is None or not clip.has_picture:
            return {}
        end = part.end if video.frames is None else min(part.end, part.start + video.frames / video.fps)
        frames = clip.frames(fps=video.fps, size=self.size, fit=self.params.fit, start=part.start, end=end)
        return {"video": _repeated(frames, video.frames)}

    def _heard(self, clip: Clip, part: Part) -> dict[str, Tensor]:
        found: dict[str, Tensor] = {}
        audio, mel = self.params.audio, self.params.spectrogram
        if audio is not None and clip.has_sound:
            found["audio"] = _sound(clip, part, audio.rate, audio.seconds)
        if mel is not None and clip.has_sound:
            sound = _sound(clip, part, mel.rate, mel.seconds)
            found["spectrogram"] = log_mel(sound, rate=mel.rate, mels=mel.mels, n_fft=mel.n_fft, hop=mel.hop)
        return found

    def _text(self, text: str | None) -> dict[str, Tensor]:
        if self.params.text is None or not text:
            return {}
        written = torch.from_numpy(np.frombuffer(text.encode(), dtype=np.uint8).copy())
        return {"text": written if self.params.text.bytes is None else _filled(written, self.params.text.bytes)}


def _sound(clip: Clip, part: Part, rate: int, seconds: float | None) -> Tensor:
    end = part.end if seconds is None else min(part.end, part.start + seconds)
    sound = torch.from_numpy(clip.samples(rate=rate, start=part.start, end=end))
    return sound if seconds is None else _filled(sound, round(seconds * rate))


def _lengths(params: Params) -> dict[str, float | None]:
    """Return the seconds of each input that is read of the file, None for the whole clip."""
    video = params.video
    found = {} if video is None else {"video": None if video.frames is None else video.frames / video.fps}
    sounds = {"audio": params.audio, "spectrogram": params.spectrogram}
    return found | {name: one.seconds for name, one in sounds.items() if one is not None}


def _inputs(params: Params, size: int) -> dict[str, InputShape]:
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


def _repeated(frames: np.ndarray[Any, Any], length: int | None) -> Tensor:
    """Return `length` frames, cut, or with the last one repeated."""
    if length is not None:
        frames = frames[np.minimum(np.arange(length), len(frames) - 1)]
    return torch.from_numpy(np.ascontiguousarray(frames))


def _filled(row: Tensor, length: int) -> Tensor:
    """Return the first `length` values, with zeros where there are fewer."""
    return torch.nn.functional.pad(row[:length], (0, length - min(length, len(row))))


def _problem(where: str, what: str) -> Problem:
    return Problem(where=where, what=what, exit_code=4)
