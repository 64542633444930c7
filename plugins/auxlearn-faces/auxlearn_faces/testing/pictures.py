"""Pictures of noise."""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np
from PIL import Image

__all__ = ["write_lines", "write_picture"]


def write_picture(path: Path, width: int = 24, height: int = 20) -> None:
    """Write noise that is different for each path, in the format that the ending says, and make its folders."""
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(zlib.crc32(str(path).encode()))
    Image.fromarray(noise.integers(0, 256, (height, width, 3), dtype=np.uint8)).save(path)


def write_lines(path: Path, lines: list[str], end: str = "\n") -> None:
    """Write the lines of a text file, and make its folders."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(line + end for line in lines), encoding="utf-8", newline="")
