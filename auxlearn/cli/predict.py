"""`auxlearn predict`: images in, one JSON line for each out."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from auxlearn.results.predictor import Predictor

__all__ = ["add", "run"]

_SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".ppm", ".pgm"}


def add(subparsers: Any) -> None:
    """Add the command to the parser."""
    text = (
        "Predict images with the model of a run or of an export: one JSON line for each image, in order. "
        "Images are prepared as in evaluation; faces should be cropped as those of the training data, since no face "
        "is looked for. An image that cannot be read gets a line with `error`, and the exit code is 4."
    )
    parser = subparsers.add_parser("predict", help="images to JSON lines", description=text)
    parser.add_argument("path", metavar="RUN_OR_EXPORT", help="a run folder, or a folder that export wrote")
    parser.add_argument("images", nargs="+", metavar="IMAGE", help="image files, and folders of them")
    parser.add_argument("--out", metavar="FILE", help="where to write instead of stdout")
    parser.add_argument(
        "--which", default="best", metavar="best|last|STEP", help="which weights of a run (default: best)"
    )
    parser.add_argument("--batch-size", type=_positive, default=64, metavar="N", help="images at once (default: 64)")
    parser.add_argument("--quiet", action="store_true", help="no progress")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    from auxlearn.errors import DataError, Problem

    files = list(_files(args.images))
    if not files:
        raise DataError(Problem(where=", ".join(args.images), what="there are no images", exit_code=4))
    predictor = _predictor(args)
    failed = 0
    with _output(args.out) as out, _progress(len(files), quiet=args.quiet) as advance:
        for start in range(0, len(files), args.batch_size):
            part = files[start : start + args.batch_size]
            lines = _lines(predictor, part)
            failed += sum("error" in line for line in lines)
            for line in lines:
                out.write(json.dumps(line, allow_nan=False) + "\n")
            out.flush()
            advance(len(part))
    if failed:
        print(f"error: {failed} of {len(files)} images could not be read; see their lines", file=sys.stderr)
    return DataError.exit_code if failed else 0


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"should be at least 1, found {number}")
    return number


def _predictor(args: argparse.Namespace) -> Predictor:
    import torch

    from auxlearn import api
    from auxlearn.results import LoadedExport
    from auxlearn.results.description import FILE

    path = Path(args.path)
    if (path / FILE).is_file() or (path.is_file() and (path.parent / FILE).is_file()):
        return LoadedExport.open(path, registry=args.registry()).predictor(args.batch_size)
    model = api.load_run(path, which=args.which, registry=args.registry()).model
    return model.to("cuda" if torch.cuda.is_available() else "cpu").predictor(args.batch_size)


def _files(given: Sequence[str]) -> Iterator[str]:
    """Yield the files as given, and those in folders with the ending of an image, sorted."""
    for path in given:
        if not os.path.isdir(path):
            yield path
            continue
        for folder, folders, names in os.walk(path):
            folders.sort()
            yield from (os.path.join(folder, name) for name in sorted(names) if Path(name).suffix.lower() in _SUFFIXES)


def _lines(predictor: Predictor, files: Sequence[str]) -> list[dict[str, Any]]:
    """Return one object for each file: the answers, or what is wrong with it."""
    from auxlearn.errors import DataError
    from auxlearn.training.recorder import finite_json

    prepared: dict[int, Any] = {}
    errors: dict[int, str] = {}
    for index, file in enumerate(files):
        if os.path.exists(file) and not os.path.isfile(file):
            errors[index] = "this is no file"  # e.g. a pipe, from which reading could wait for ever
            continue
        try:
            prepared[index] = predictor.prepare(file)
        except DataError as error:
            errors[index] = error.problems[0].what
    found = dict(zip(prepared, predictor.answer_images(list(prepared.values())), strict=True))
    return [
        {"path": file, **(finite_json(found[index]) if index in found else {"error": errors[index]})}
        for index, file in enumerate(files)
    ]


@contextlib.contextmanager
def _output(path: str | None) -> Iterator[TextIO]:
    if path is None:
        yield sys.stdout
        return
    from auxlearn.errors import EnvironmentProblem, Problem

    try:
        with open(path, "w", encoding="utf-8") as file:
            yield file
    except OSError as error:
        raise EnvironmentProblem(Problem(where=path, what=f"cannot be written: {error.strerror}")) from None


@contextlib.contextmanager
def _progress(total: int, *, quiet: bool) -> Iterator[Any]:
    """Show a bar on a terminal, and nothing elsewhere; the lines themselves tell how far it is."""
    if quiet or not sys.stderr.isatty():
        yield lambda _done: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("images", total=total)
        yield lambda done: bar.advance(task, done)
