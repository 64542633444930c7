"""`auxlearn extract`: raw data through frozen networks, as a table of feature vectors."""

from __future__ import annotations

import argparse
import json
import sys
from functools import partial
from typing import TYPE_CHECKING, Any

from auxlearn.cli.data import within

if TYPE_CHECKING:
    from auxlearn.results.extraction import Extracted

__all__ = ["add", "run"]


def add(subparsers: Any) -> None:
    """Add the command to the parser."""
    text = (
        "Run the frozen networks of SPEC over every row of its data and write the mean of their features over time, as "
        "a folder of vectors with a section for a spec. Stopped at any time, the same command goes on where it was."
    )
    parser = subparsers.add_parser("extract", help="features of raw data by frozen networks", description=text)
    parser.add_argument("spec", help='a JSON file with "data" and, in "extract", networks by name')
    parser.add_argument("overrides", nargs="*", metavar="a.b=c", help="changes to the spec, e.g. data.workers=4")
    parser.add_argument("--out", required=True, metavar="FOLDER", help="where to")
    parser.add_argument(
        "--device",
        choices=("auto", "cpu", "cuda", "mps"),
        default="auto",
        help="where the networks run (default: auto)",
    )
    parser.add_argument(
        "--skip-bad",
        type=within(int, 0),
        default=0,
        metavar="N",
        help="leave out up to N rows that cannot be read (default: 0)",
    )
    parser.add_argument("--quiet", action="store_true", help="no progress")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    from auxlearn import api
    from auxlearn.cli.counting import counted

    found = api.extract(
        args.spec,
        args.out,
        args.overrides,
        device=args.device,
        skip_bad=args.skip_bad,
        registry=args.registry(),
        progress=partial(counted, quiet=args.quiet),
    )
    for problem in found.skipped:
        print(f"left out: {problem}", file=sys.stderr)
    if args.json:
        print(json.dumps(_facts(found)))
    else:
        _tell(found)
    return 0


def _facts(found: Extracted) -> dict[str, Any]:
    return {
        "path": str(found.path),
        "rows": dict(found.rows),
        "widths": dict(found.widths),
        "missing": dict(found.missing),
        "data": dict(found.section),
        "skipped": list(found.skipped),
    }


def _tell(found: Extracted) -> None:
    print(f"wrote    {found.path}")
    print(f"rows     {', '.join(f'{split} {count}' for split, count in found.rows.items())}")
    for name, width in found.widths.items():
        lacking = f", {found.missing[name]} rows lack it" if found.missing[name] else ""
        print(f"vectors  {name} {width}{lacking}")
    print(f"section  {found.path}/data.json")
