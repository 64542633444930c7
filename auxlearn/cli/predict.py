"""`auxlearn predict`: images, or rows of a data source, in; one JSON line for each out."""

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
    from auxlearn.data import DataSource
    from auxlearn.results.loaded import LoadedRun
    from auxlearn.results.predictor import Predictor

__all__ = ["add", "run"]

_SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".ppm", ".pgm"}


def add(subparsers: Any) -> None:
    """Add the command to the parser."""
    text = (
        "Predict images, or rows of a data source, with the model of a run or of an export: one JSON line for each, "
        "in order. Images are prepared as in evaluation; faces should be cropped as those of the training data, since "
        "no face is looked for. An image that cannot be read gets a line with `error`, and the exit code is 4."
    )
    parser = subparsers.add_parser("predict", help="images or rows to JSON lines", description=text)
    parser.add_argument("path", metavar="RUN_OR_EXPORT", help="a run folder, or a folder that export wrote")
    parser.add_argument(
        "what",
        nargs="*",
        metavar="IMAGE_OR_DATA",
        help="image files, and folders of them; or one .json file with a section `data`, for its rows; nothing, with "
        "--split, for rows of the run's own data",
    )
    parser.add_argument("--split", metavar="NAME", help="of rows: the split (default: every split of a .json file)")
    parser.add_argument("--out", metavar="FILE", help="where to write instead of stdout")
    parser.add_argument(
        "--which", default="best", metavar="best|last|STEP", help="which weights of a run (default: best)"
    )
    parser.add_argument("--batch-size", type=_positive, default=64, metavar="N", help="how many at once (default: 64)")
    parser.add_argument("--quiet", action="store_true", help="no progress")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    from auxlearn.errors import Problem, SpecError

    is_data = [path.endswith(".json") for path in args.what]
    if is_data == [True] or (args.split is not None and not args.what):
        return _rows(args)
    if any(is_data) or args.split is not None or not args.what:
        what = "give images, or one .json file with a section `data`, or --split for rows of the run's own data"
        raise SpecError(Problem(where="predict", what=what))
    return _images(args)


def _rows(args: argparse.Namespace) -> int:
    """Predict rows of a data source."""
    from auxlearn.results.rows import answer_rows, require_inputs, require_split
    from auxlearn.training.recorder import finite_json

    predictor, loaded = _predictor(args)
    source = _source(args, predictor, loaded)
    splits = source.splits if args.split is None else (args.split,)
    for split in splits:
        require_split(source, split)
    require_inputs(source, predictor)
    total = sum(len(source.dataset(split)) for split in splits)  # type: ignore[arg-type, misc]
    with _output(args.out) as out, _progress("rows", total, quiet=args.quiet) as advance:
        for split in splits:
            for name, answer in answer_rows(predictor, source, split):
                line = {"split": split, "row": name, **finite_json(answer)}
                out.write(json.dumps(line, allow_nan=False) + "\n")
                advance(1)
    return 0


def _source(args: argparse.Namespace, predictor: Predictor, loaded: LoadedRun | None) -> DataSource:
    """Return the data that the .json file means, its images of the size that the model knows; or that of the run."""
    from auxlearn.data import DataContext
    from auxlearn.data.opening import read_section
    from auxlearn.errors import Problem, SpecError
    from auxlearn.training.build import build_component

    if args.what:
        section = read_section(args.what[0], [], args.registry())
        sides = {one.shape[-1] for one in predictor.inputs.values() if one.kind == "image"}
        size = section.choice.keys.size or next(iter(sides), None)
        source: DataSource = build_component(section.choice, DataContext(size=size, root=section.root))
        source.check()
        return source
    if loaded is None:
        what, fix = "an export does not know the data of its run", "give a .json file with a section `data`"
        raise SpecError(Problem(where="--split", what=what, fix=fix))
    return loaded.data_source()


def _images(args: argparse.Namespace) -> int:
    """Predict images."""
    from auxlearn.errors import DataError, Problem

    files = list(_files(args.what))
    if not files:
        raise DataError(Problem(where=", ".join(args.what), what="there are no images", exit_code=4))
    predictor, _ = _predictor(args)
    predictor.image_input()  # once, not for each of them
    failed = 0
    with _output(args.out) as out, _progress("images", len(files), quiet=args.quiet) as advance:
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


def _predictor(args: argparse.Namespace) -> tuple[Predictor, LoadedRun | None]:
    """Return what predicts, and the run, if it is one."""
    import torch

    from auxlearn import api
    from auxlearn.results import LoadedExport
    from auxlearn.results.description import FILE

    path = Path(args.path)
    if (path / FILE).is_file() or (path.is_file() and (path.parent / FILE).is_file()):
        return LoadedExport.open(path, registry=args.registry()).predictor(args.batch_size), None
    loaded = api.load_run(path, which=args.which, registry=args.registry())
    model = loaded.model.to("cuda" if torch.cuda.is_available() else "cpu")
    return model.predictor(args.batch_size), loaded


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
    from auxlearn.files import telling_refusals

    with telling_refusals(Path(path)), open(path, "w", encoding="utf-8") as file:
        yield file


@contextlib.contextmanager
def _progress(what: str, total: int, *, quiet: bool) -> Iterator[Any]:
    """Show a bar on a terminal, and nothing elsewhere; the lines themselves tell how far it is."""
    if quiet or not sys.stderr.isatty():
        yield lambda _done: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=total)
        yield lambda done: bar.advance(task, done)
