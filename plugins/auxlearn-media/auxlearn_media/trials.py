"""Under which conditions the conformance kit checks what this plugin offers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

__all__ = ["trial_of_clips", "trial_of_video"]


def trial_of_clips() -> Any:
    """Return a trial with a manifest of two clips that are made for it."""
    from auxlearn.testing import Trial

    def prepare(folder: Path) -> dict[str, str]:
        from auxlearn_media.testing import write_clip

        for number in range(2):
            write_clip(folder / f"{number}.mp4", seconds=0.5, tone=300.0 + 300 * number)
        lines = ["path,split,mood,words", "0.mp4,train,sad,so so", "1.mp4,train,happy,good"]
        (folder / "clips.csv").write_text("\n".join(lines), encoding="utf-8")
        return {"path": str(folder / "clips.csv")}

    reads = {"spectrogram": {"seconds": 0.2, "mels": 16, "n_fft": 256}, "text": {"column": "words", "bytes": 8}}
    return Trial(params={**reads, "targets": ["mood"]}, prepare=prepare)


def trial_of_video() -> Any:
    """Return a trial with short clips of small frames."""
    from auxlearn.data import InputShape
    from auxlearn.testing import Trial

    clips = InputShape(shape=(4, 3, 32, 32), kind="feature")
    return Trial(params={"model": "r3d_18"}, inputs={"video": clips}, rows=2)
