"""Render a data set: ``python -m auxlearn_synthfaces.generate --out DIR --count N --size 64 --seed 0``."""

import argparse
import csv
import functools
import sys
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import attrs
import numpy as np
from PIL import Image
from rich.console import Console
from rich.progress import track

from auxlearn_synthfaces.archive import Images, Row, write_archive
from auxlearn_synthfaces.generate.mesh import asset_root
from auxlearn_synthfaces.generate.samples import Plan, render_subject

__all__ = ["main", "write_folder"]


def write_folder(folder: Path, parts: Iterable[tuple[Sequence[Row], Images]]) -> int:
    """Write one PNG an image and ``manifest.csv`` with ``path``, the labels, ``subject`` and ``split``.

    Args:
        folder: Made if it does not exist.
        parts: Labels and images [N, S, S, 3], written as they come.

    Returns:
        The number of images.
    """
    (folder / "images").mkdir(parents=True, exist_ok=True)
    labels = [field.name for field in attrs.fields(Row) if field.name != "id"]
    count = 0
    with (folder / "manifest.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["path", *labels])
        for rows, images in parts:
            for row, image in zip(rows, images, strict=True):
                path = f"images/{row.id}.png"
                Image.fromarray(image).save(folder / path)
                writer.writerow([path, *(getattr(row, name) for name in labels)])
            count += len(rows)
    return count


def _write_packed(folder: Path, parts: Iterable[tuple[Sequence[Row], Images]], quality: int) -> int:
    rows: list[Row] = []
    images = []
    for labels, pixels in parts:
        rows += labels
        images.append(pixels)
    write_archive(folder, rows, np.concatenate(images), quality)
    return len(rows)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m auxlearn_synthfaces.generate", description="Render labelled faces.")
    parser.add_argument("--out", type=Path, required=True, help="folder to write to")
    parser.add_argument("--count", type=int, default=4000, help="number of images (4000)")
    parser.add_argument("--subjects", type=int, help="number of people (three for every 40 images)")
    parser.add_argument("--size", type=int, default=64, help="side of the images in pixels (64)")
    parser.add_argument("--seed", type=int, default=0, help="of everything drawn (0)")
    parser.add_argument(
        "--form",
        choices=("packed", "folder"),
        default="folder",
        help="PNG files and manifest.csv (folder), or sheets",
    )
    parser.add_argument("--quality", type=int, default=90, help="of the packed form's JPEG sheets, 1 to 95 (90)")
    parser.add_argument("--workers", type=int, default=1, help="processes to render in (1)")
    return parser


def _rendered(plan: Plan, workers: int) -> Iterator[tuple[list[Row], Images]]:
    """Render subject by subject, in order."""
    render = functools.partial(render_subject, plan)
    if workers <= 1:
        yield from map(render, range(plan.subjects))
        return
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        yield from pool.map(render, range(plan.subjects))


def _plan(options: argparse.Namespace) -> Plan:
    """Check what was asked for, before anything is rendered.

    Raises:
        ValueError, OSError, ModuleNotFoundError: It cannot be done.
    """
    subjects = options.subjects if options.subjects is not None else max(1, round(options.count * 3 / 40))
    plan = Plan(count=options.count, subjects=subjects, size=options.size, seed=options.seed)
    if options.form == "packed" and options.size % 8:
        raise ValueError(f"'size' must be a multiple of 8 for the packed form: {options.size}")
    if not 1 <= options.quality <= 95:
        raise ValueError(f"'quality' must be 1 to 95: {options.quality}")
    asset_root()
    options.out.mkdir(parents=True, exist_ok=True)
    return plan


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        plan = _plan(options)
    except (ValueError, OSError, ModuleNotFoundError) as error:
        parser.error(str(error))
    console = Console(stderr=True)
    parts = track(_rendered(plan, options.workers), "Rendering", total=plan.subjects, console=console)
    packed = options.form == "packed"
    count = _write_packed(options.out, parts, options.quality) if packed else write_folder(options.out, parts)
    console.print(f"{count} images of {plan.subjects} people in {options.out}", soft_wrap=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
