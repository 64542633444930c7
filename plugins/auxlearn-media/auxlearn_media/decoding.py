"""Files to frames and samples, by FFmpeg's libraries through PyAV.

Times are seconds from the beginning of the file, the same for picture and sound. What is decided here:

- A frame of a row is what a viewer would see at its time: frame k of a row from `start` is the picture at
  `start + k / fps`. So a row of `end - start` seconds has `ceil((end - start) * fps)` frames, whatever rate its file
  has.
- Pictures are turned as their file says, and made square and brought to their size by Pillow, as images are.
- Sound is mixed to one channel and resampled by FFmpeg; where it begins later than the picture, silence comes first.
- A cover in a sound file is no picture.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import av
import numpy as np
from av.stream import Disposition
from PIL import Image

__all__ = ["Clip"]

_MICRO = 1_000_000  # FFmpeg's times of containers are in millionths of a second
_NEAR = 1e-6  # seconds; times of frames are fractions, which binary numbers round


class Clip:
    """An open media file; it is a context manager.

    Args:
        path: The file.

    Raises:
        ValueError: Here and in every method, if the file cannot be decoded, saying why.
    """

    def __init__(self, path: str) -> None:
        with _decoding():
            self._container = av.open(path)
        streams = self._container.streams
        self._picture = next((one for one in streams.video if not one.disposition & Disposition.attached_pic), None)
        self._sound = next(iter(streams.audio), None)
        if self._picture is not None:
            self._picture.thread_type = "AUTO"  # else each frame is decoded by one thread
        self._begin = (self._container.start_time or 0) / _MICRO

    def __enter__(self) -> Clip:
        return self

    def __exit__(self, *_: object) -> None:
        self._container.close()

    @property
    def has_picture(self) -> bool:
        """Whether there is a video stream."""
        return self._picture is not None

    @property
    def has_sound(self) -> bool:
        """Whether there is an audio stream."""
        return self._sound is not None

    @property
    def duration(self) -> float:
        """Length in seconds, as the file says; 0 if it does not."""
        return (self._container.duration or 0) / _MICRO

    def frames(
        self,
        *,
        fps: float,
        size: int,
        fit: Literal["crop", "squash"] = "crop",
        start: float = 0.0,
        end: float = math.inf,
    ) -> np.ndarray[Any, Any]:
        """Return the pictures at `start + k / fps` before `end`, uint8 [T, 3, size, size].

        Args:
            fps: Frames a second of the result.
            size: Side in pixels.
            fit: How a picture that is not square becomes so: its central square, or all of it, squashed.
            start: Where to begin, in seconds.
            end: Where to end, in seconds; the end of the file if that comes first.
        """
        with _decoding():
            shown = [_pixels(frame, size, fit) for frame in self._shown(fps, start, end)]
        if not shown:
            raise ValueError(f"has no frames {_between(start, end)}")
        return np.stack(shown)

    def samples(self, *, rate: int, start: float = 0.0, end: float = math.inf) -> np.ndarray[Any, Any]:
        """Return the sound from `start` to `end` as one channel of `rate` samples a second, float32 [T]."""
        with _decoding():
            first, parts = self._resampled(rate, start, end)
        if first is None:
            raise ValueError(f"has no sound {_between(start, end)}")
        sound = np.concatenate(parts)
        ahead = round((start - first) * rate)  # samples that decoding gave before `start`
        sound = sound[ahead:] if ahead >= 0 else np.concatenate([np.zeros(-ahead, np.float32), sound])
        sound = sound if end == math.inf else sound[: round((end - start) * rate)]
        if not len(sound):
            raise ValueError(f"has no sound {_between(start, end)}")
        return np.ascontiguousarray(sound, dtype=np.float32)

    def _shown(self, fps: float, start: float, end: float) -> Iterator[Any]:
        """Yield what a viewer sees at each of the times; a frame that is seen twice, twice."""
        before, count = None, 0
        stop = start
        for frame, time, after in self._decoded(self._picture, start):
            while before is not None and start + count / fps < min(time, end) - _NEAR:
                yield before
                count += 1
            if time >= end:
                return
            before, stop = frame, after
        while before is not None and start + count / fps < min(stop, end) - _NEAR:
            yield before
            count += 1

    def _resampled(self, rate: int, start: float, end: float) -> tuple[float | None, list[np.ndarray[Any, Any]]]:
        """Return at which time the samples begin, and the samples in parts."""
        resampler = av.AudioResampler(format="flt", layout="mono", rate=rate)
        first, parts = None, []
        for frame, time, _ in self._decoded(self._sound, start):
            if time >= end:
                break
            first = time if first is None else first
            frame.pts = None  # a gap in the times of a damaged file is no reason to stop
            parts += [made.to_ndarray()[0] for made in resampler.resample(frame)]
        if first is not None:
            parts += [made.to_ndarray()[0] for made in resampler.resample(None)]
        return first, parts

    def _decoded(self, stream: Any, start: float) -> Iterator[tuple[Any, float, float]]:
        """Yield each frame of a stream, from the last one that can be decoded by itself at or before `start`.

        With it come the times at which it begins and ends.
        """
        self._container.seek(int((start + self._begin) * _MICRO), backward=True)
        after = 0.0
        for frame in self._container.decode(stream):
            time = after if frame.time is None else frame.time - self._begin
            after = time + _length(frame, stream)
            yield frame, time, after


def _length(frame: Any, stream: Any) -> float:
    """Return for how many seconds a frame lasts."""
    if isinstance(frame, av.AudioFrame):
        return frame.samples / frame.sample_rate
    if frame.duration:
        return float(frame.duration * frame.time_base)
    return float(1 / stream.average_rate) if stream.average_rate else 0.0


def _pixels(frame: Any, size: int, fit: Literal["crop", "squash"]) -> np.ndarray[Any, Any]:
    """Return a frame as uint8 [3, size, size]."""
    image = frame.to_image()
    if frame.rotation:
        image = image.rotate(frame.rotation, expand=True)
    if fit == "crop":
        side = min(image.size)
        left, top = (image.width - side) // 2, (image.height - side) // 2
        image = image.crop((left, top, left + side, top + side))
    if image.size != (size, size):
        image = image.resize((size, size), Image.Resampling.BILINEAR)
    return np.asarray(image).transpose(2, 0, 1)


@contextmanager
def _decoding() -> Iterator[None]:
    try:
        yield
    except (av.FFmpegError, OSError) as error:
        raise ValueError(f"cannot be decoded ({getattr(error, 'strerror', None) or error})") from None


def _between(start: float, end: float) -> str:
    return f"from second {start:g}" if end == math.inf else f"from second {start:g} to {end:g}"
