"""`auxlearn resume`: go on with an interrupted run."""

from __future__ import annotations

import argparse
from typing import Any

__all__ = ["add", "run"]


def add(subparsers: Any) -> None:
    """Add the command to the parser."""
    text = "Go on with an interrupted run, bit for bit as if it had never stopped."
    parser = subparsers.add_parser("resume", help="go on with an interrupted run", description=text)
    parser.add_argument("path", metavar="DIR", help="the run folder")
    parser.add_argument(
        "overrides", nargs="*", metavar="a.b=c", help="settings that cannot change the result, e.g. data.workers=4"
    )
    parser.add_argument(
        "--allow-inexact", action="store_true", help="go on although threads, devices, versions or data differ"
    )
    parser.add_argument(
        "--locked", action="store_true", help="refuse if a file of a plugin is not as when the run began"
    )
    parser.add_argument("--json", action="store_true", help="end with one JSON object on stdout")
    parser.add_argument("--quiet", action="store_true", help="no progress")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    from auxlearn import api
    from auxlearn.cli.run import report
    from auxlearn.training.memory import keep_freed_memory
    from auxlearn.training.progress import make_reporter

    keep_freed_memory()
    result = api.resume(
        args.path,
        args.overrides,
        allow_inexact=args.allow_inexact,
        locked=args.locked,
        registry=args.registry(),
        reporter=make_reporter(quiet=args.quiet),
    )
    if result.rank == 0:
        report(result, as_json=args.json)
    return 0
