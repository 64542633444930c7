"""Reading decoded rows from the memory-mapped cache, against decoding JPEG files in every epoch."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
from PIL import Image
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder  # type: ignore[import-untyped]
from torchvision.transforms import (  # type: ignore[import-untyped]
    Compose,
    Normalize,
    PILToTensor,
    ToTensor,
)

from auxlearn.data import Prepared, TableRow, TableSource, TargetInfo, prepare
from auxlearn.spec.models import DataKeys
from benchmarks.paired import Line, compare, take_turns, timed

__all__ = ["run"]

SIZE, IMAGES, ROWS = 96, 1024, 64
CLASSES = ("angry", "happy", "neutral", "sad")


def run(rounds: int) -> list[Line]:
    """Measure an epoch of 1,024 JPEG files of 96 px in shuffled batches of 64, without workers."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder, "images")
        bytes_ = _write_images(root)
        cached, decoded = _prepare(root, DataKeys(cache="memmap", cache_dir=folder)), _prepare(root, DataKeys())
        usual = Compose([ToTensor(), Normalize((0.5,) * 3, (0.5,) * 3)])
        cache, files = "memmap cache, uint8", "image files by the engine, uint8"
        folder_bytes, folder_floats = "ImageFolder + DataLoader, uint8", "ImageFolder + DataLoader, usual recipe"
        timings = take_turns(
            {
                cache: timed(_epoch(cached.train_loader(ROWS)), times=5),
                files: timed(_epoch(decoded.train_loader(ROWS))),
                folder_bytes: timed(_epoch(DataLoader(ImageFolder(root, PILToTensor()), ROWS, shuffle=True))),
                folder_floats: timed(_epoch(DataLoader(ImageFolder(root, usual), ROWS, shuffle=True))),
            },
            rounds,
        )
    note = f"an epoch; {bytes_ / IMAGES / 1e3:.1f} kB a file"
    return [
        compare(timings, cache, folder_bytes, goal=1 / 6, note=note),
        compare(timings, cache, folder_floats, note="ToTensor and Normalize an image"),
        compare(timings, files, folder_bytes),
    ]


def _epoch(loader: Iterable[object]) -> Callable[[], None]:
    """Return a function that reads as many batches as an epoch has."""

    def read() -> None:
        for _ in itertools.islice(loader, IMAGES // ROWS):
            pass

    return read


def _prepare(root: Path, keys: DataKeys) -> Prepared:
    files = [path.relative_to(root) for path in root.rglob("*.jpg")]
    rows = [TableRow(path=path.as_posix(), targets={"kind": path.parent.name}) for path in files]
    source = TableSource(rows, root=root, targets={"kind": TargetInfo(kind="class", names=CLASSES)})
    return prepare(source, keys, seed=0, batch_size=ROWS)


def _write_images(root: Path) -> int:
    """Write smooth random pictures, about as hard to compress as faces; return the bytes of all files."""
    generator = np.random.default_rng(0)
    total = 0
    for number in range(IMAGES):
        path = root / CLASSES[number % len(CLASSES)] / f"{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        coarse = generator.integers(0, 256, (12, 12, 3), dtype=np.uint8)
        picture = np.asarray(Image.fromarray(coarse).resize((SIZE, SIZE), Image.Resampling.BICUBIC), np.int16)
        grain = generator.integers(-8, 9, (SIZE, SIZE, 1))
        Image.fromarray((picture + grain).clip(0, 255).astype(np.uint8)).save(path, quality=90)
        total += path.stat().st_size
    return total
