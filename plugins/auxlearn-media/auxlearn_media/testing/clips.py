"""Clips made from nothing, for tests, examples and a first try."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np

__all__ = ["write_clip"]


def write_clip(
    path: str | Path,
    *,
    seconds: float = 2.0,
    fps: int = 25,
    size: tuple[int, int] = (64, 48),
    color: tuple[int, int, int] | None = None,
    tone: float | None = 440.0,
    rate: int = 16000,
    rotation: int = 0,
    picture: bool = True,
) -> None:
    """Write a clip in which a white square moves to the right over the ground, with a tone.

    Args:
        path: The file; its ending says the container, e.g. `.mp4`, `.mkv`, `.wav`.
        seconds: Its length.
        fps: Frames a second.
        size: Width and height of the frames, both even.
        color: Instead of the square, every frame has this colour (red, green, blue).
        tone: Frequency of the tone in Hz; None for a clip without sound.
        rate: Samples of the sound a second.
        rotation: By how many degrees, counter-clockwise, a viewer is told to turn the picture.
        picture: Whether there are frames at all.
    """
    wave = Path(path).suffix == ".wav"
    with av.open(str(path), "w") as container:
        if picture and not wave:
            video = container.add_stream("mpeg4", rate=fps, options={"qscale": "1"})
            video.width, video.height, video.pix_fmt = *size, "yuv420p"
            if rotation:
                video.set_display_rotation(rotation)
        if tone is not None:
            audio = container.add_stream("pcm_s16le" if wave else "aac", rate=rate, layout="mono")
        if picture and not wave:
            for number in range(round(seconds * fps)):
                frame = av.VideoFrame.from_ndarray(_frame(size, number / fps, color), format="rgb24")
                frame.pts, frame.time_base = number, Fraction(1, fps)
                container.mux(video.encode(frame))
            container.mux(video.encode(None))
        if tone is not None:
            times = np.arange(round(seconds * rate)) / rate
            samples = (0.5 * np.sin(2 * np.pi * tone * times) * 32767).astype(np.int16)
            made = av.AudioFrame.from_ndarray(samples[None], format="s16", layout="mono")
            made.sample_rate, made.pts, made.time_base = rate, 0, Fraction(1, rate)
            for packet in audio.encode(made):
                container.mux(packet)
            container.mux(audio.encode(None))


def _frame(
    size: tuple[int, int], time: float, color: tuple[int, int, int] | None
) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    width, height = size
    if color is not None:
        return np.full((height, width, 3), color, dtype=np.uint8)
    frame = np.full((height, width, 3), 30, dtype=np.uint8)
    side = height // 3
    left = int(time * width / 2) % (width - side)
    frame[side : 2 * side, left : left + side] = 255
    return frame
