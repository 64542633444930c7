"""`auxlearn data`: look at any data source, and write it as images with a manifest."""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from auxlearn.data import DataSource
    from auxlearn.data.opening import DataSection
    from auxlearn.data.overview import Overview
    from auxlearn.data.writing import Written

__all__ = ["add", "prepare", "show", "within"]

_SOURCE = 'a spec, a JSON file with its section "data", or the type of a data source'
_SETTINGS = "settings of the data source, e.g. path=faces"
_ACROSS = 8


def within(kind: Callable[[str], float], least: int, most: float = math.inf) -> Callable[[str], float]:
    """Return what reads a number of this kind from `least` to `most`."""

    def read(text: str) -> float:
        number = math.nan
        with contextlib.suppress(ValueError):
            number = kind(text)
        if not least <= number <= most:
            bounds = f"at least {least}" if most == math.inf else f"{least} to {most}"
            what = f"should be {'an integer' if kind is int else 'a number'}, {bounds}, found {text}"
            raise argparse.ArgumentTypeError(what)
        return number

    return read


def add(subparsers: Any) -> None:
    """Add the command to the parser."""
    text = "Look at data before training on it, or write it as images with a manifest."
    parser = subparsers.add_parser("data", help="look at data, or write it as a table", description=text)
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    _add_show(actions)
    _add_prepare(actions)


def _add_show(actions: Any) -> None:
    text = "Count rows, classes, missing labels and groups by split, as a run would divide them; draw a contact sheet."
    parser = actions.add_parser("show", help="rows, classes, groups, image sizes; a contact sheet", description=text)
    parser.add_argument("source", metavar="SOURCE", help=_SOURCE)
    parser.add_argument("settings", nargs="*", metavar="KEY=VALUE", help=_SETTINGS)
    parser.add_argument("--sheet", metavar="FILE", help="draw random rows of each class into this picture (.png, .jpg)")
    parser.add_argument("--target", help="the class target for the lines of the sheet (default: the first)")
    parser.add_argument("--across", type=within(int, 1), metavar="N", help=f"rows of each line (default: {_ACROSS})")
    parser.add_argument("--seed", type=int, default=0, help="seed of the rows on the sheet (default: 0)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(run=show)


def _add_prepare(actions: Any) -> None:
    text = (
        "Write every row of a data source into a new folder: pictures, manifest.csv with labels and checksums, "
        "data.json with the section for a spec. The folder appears when it is complete."
    )
    parser = actions.add_parser("prepare", help="any data as pictures with a manifest", description=text)
    parser.add_argument("source", metavar="SOURCE", help=_SOURCE)
    parser.add_argument("settings", nargs="*", metavar="KEY=VALUE", help=_SETTINGS)
    parser.add_argument("--out", required=True, metavar="FOLDER", help="where to; nothing may be there")
    parser.add_argument(
        "--size", type=within(int, 8, 4096), metavar="N", help="side of the pictures (default: as they come)"
    )
    parser.add_argument(
        "--crop", choices=("box", "landmarks"), help="cut to a square round each row's box or landmarks, in the file"
    )
    parser.add_argument(
        "--margin", type=within(float, 0, 10), metavar="M", help="room round it, as a part of its side (default: 0)"
    )
    parser.add_argument(
        "--align", action="store_true", help="turn and scale faces by their landmarks to ArcFace's template"
    )
    parser.add_argument(
        "--quality", type=within(int, 1, 95), metavar="Q", help="write JPEG of this quality instead of PNG"
    )
    parser.add_argument("--workers", type=within(int, 1), default=1, metavar="N", help="threads (default: 1)")
    parser.add_argument(
        "--skip-bad",
        type=within(int, 0),
        default=0,
        metavar="N",
        help="leave out up to N rows that cannot be read (default: 0)",
    )
    parser.add_argument("--quiet", action="store_true", help="no progress")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(run=prepare)


def show(args: argparse.Namespace) -> int:
    """Run `auxlearn data show`."""
    from auxlearn.data.opening import read_section
    from auxlearn.data.overview import overview
    from auxlearn.errors import Problem, SpecError

    for option in ("target", "across"):
        if getattr(args, option) is not None and args.sheet is None:
            raise SpecError(Problem(what=f"--{option} is about the contact sheet", fix="give --sheet FILE too"))
    section = read_section(args.source, args.settings, args.registry())
    source = _divided(section, _build(section, section.choice.keys.size))
    target = _sheet_target(source, args.target)
    found = overview(source, seed=args.seed)
    if args.sheet is not None:
        _draw(source, target, args)
    if args.json:
        print(json.dumps(found.to_json(), allow_nan=False))
    else:
        print(_tables(found))
    return 0


def _build(section: DataSection, size: int | None) -> DataSource:
    from auxlearn.data import DataContext
    from auxlearn.training.build import build_component

    source: DataSource = build_component(section.choice, DataContext(size=size, root=section.root))
    return source


def _divided(section: DataSection, source: DataSource) -> DataSource:
    """Return the splits that a run with this section has."""
    from auxlearn.data.divide import class_labels, divide

    labels = {split: class_labels(source, split) for split in source.splits}
    return divide(source, labels, section.choice.keys, section.seed).view


def _sheet_target(source: DataSource, asked: str | None) -> str | None:
    from auxlearn.data.divide import target_of

    return target_of(source, asked, "--target")


def _draw(source: DataSource, target: str | None, args: argparse.Namespace) -> None:
    from auxlearn.data.sheet import contact_sheet
    from auxlearn.errors import EnvironmentProblem, Problem, escape

    sheet = contact_sheet(source, target=target, across=args.across or _ACROSS, seed=args.seed)
    try:
        sheet.save(args.sheet)
    except (OSError, ValueError) as error:  # ValueError: an ending that is no picture's
        raise EnvironmentProblem(Problem(where=escape(args.sheet), what=f"cannot be written: {error}")) from None
    print(f"drew {args.sheet}", file=sys.stderr)


def _tables(found: Overview) -> str:
    from auxlearn.cli.tables import table

    splits = list(found.rows)
    lines: list[Sequence[str]] = [("rows", *(str(found.rows[split]) for split in splits))]
    if any(count is not None for count in found.groups.values()):
        lines.append(("groups", *(str(found.groups[split] or 0) for split in splits)))
    parts = [table(lines, ("", *map(str.upper, splits)))]
    for target, classes in found.classes.items():
        rows = [(name, *(str(counts[split]) for split in splits)) for name, counts in classes.items()]
        if any(found.missing[target].values()):
            rows.append(("(no label)", *(str(found.missing[target][split]) for split in splits)))
        parts.append(table(rows, (target, *map(str.upper, splits))))
    if found.numbers:
        facts = [(name, str(one["kind"]), _components(one)) for name, one in found.numbers.items()]
        parts.append(table(facts, ("TARGET", "KIND", "COMPONENTS")))
    if found.sizes:
        parts.append(_sizes(found.sizes))
    return "\n\n".join(parts)


def _components(facts: Mapping[str, Any]) -> str:
    unit = f" ({facts['unit']})" if facts["unit"] else ""
    return ", ".join(facts["names"]) + unit


def _sizes(sizes: Mapping[tuple[int, int], int], most: int = 5) -> str:
    shown = [f"{width} x {height} ({count})" for (width, height), count in list(sizes.items())[:most]]
    rest = f", {len(sizes) - most} other sizes" if len(sizes) > most else ""
    return f"images  {', '.join(shown)}{rest}"


def prepare(args: argparse.Namespace) -> int:
    """Run `auxlearn data prepare`."""
    from auxlearn.cli.counting import counted
    from auxlearn.data.opening import read_section
    from auxlearn.data.pictures import Treatment
    from auxlearn.data.writing import SECTION, require_writable, write_table
    from auxlearn.errors import Problem, SpecError

    if args.align and args.crop:
        raise SpecError(Problem(what="--align and --crop were both given", fix="aligned faces are cut already"))
    if args.margin is not None and not args.crop:
        raise SpecError(Problem(what="--margin is the room round a crop", fix="give --crop too"))
    section = read_section(args.source, args.settings, args.registry())
    # Checked with a size, for which pictures may differ in theirs; then read in their own.
    source = _build(section, section.choice.keys.size or 64)
    fit: Any = getattr(section.choice.params, "fit", "crop")
    treatment = Treatment(size=args.size, crop=args.crop, margin=args.margin or 0.0, align=args.align, fit=fit)
    require_writable(source, args.out, treatment)
    if args.skip_bad == 0:
        source.check()
    source = source.resized(None) or _build(section, None)
    keys = {key: value for key, value in section.own_keys.items() if key not in ("cache_dir", "size")}
    if section.unlabelled is not None and "unlabelled" not in keys:
        what = f"`unlabelled` is not in {SECTION}: its rows are of another source ({section.unlabelled})"
        print(f"left out: {what}", file=sys.stderr)
    size = args.size or section.choice.keys.size
    rows: list[Any] = [source.dataset(split) for split in source.splits]
    with counted(sum(map(len, rows)), quiet=args.quiet) as advance:
        written = write_table(
            source,
            args.out,
            treatment=treatment,
            keys=keys if size is None else {"size": size, **keys},
            quality=args.quality,
            workers=args.workers,
            skip_bad=args.skip_bad,
            advance=advance,
        )
    _report(written, args)
    return 0


def _report(written: Written, args: argparse.Namespace) -> None:
    from auxlearn.data.writing import SECTION

    for problem in written.skipped:
        print(f"left out: {problem}", file=sys.stderr)
    if args.json:
        skipped = [str(problem) for problem in written.skipped]
        print(json.dumps({"path": args.out, "rows": written.rows, "data": written.section, "skipped": skipped}))
    else:
        print(f"wrote    {args.out}")
        print(f"rows     {', '.join(f'{split} {count}' for split, count in written.rows.items())}")
        print(f"section  {args.out}/{SECTION}")
