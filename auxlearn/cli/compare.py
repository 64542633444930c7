"""`auxlearn compare`: what runs that are there say together."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from auxlearn.cli.summaries import tell

if TYPE_CHECKING:
    from auxlearn.studies.summary import Summary

__all__ = ["add", "run"]


def add(subparsers: Any) -> None:
    """Add the command to the parser."""
    text = (
        "Compare runs that are done, paired by seed: those of one spec are an arm. Means with intervals, paired "
        "differences from a baseline with an exact test, and cost."
    )
    parser = subparsers.add_parser("compare", help="compare runs that are there", description=text)
    parser.add_argument("runs", nargs="+", metavar="RUN", help="a run folder")
    parser.add_argument(
        "--baseline", metavar="RUN", help="with whose spec the others are compared (default: the first)"
    )
    parser.add_argument("--metric", help="what to compare (default: what the baseline selects its weights by)")
    parser.add_argument("--mode", choices=("max", "min"), help="whether more or less is better (default: as it says)")
    parser.add_argument("--stage", help="the stage whose scores count, for runs with stages (default: the last)")
    parser.add_argument("--out", metavar="DIR", help="also write summary.json, report.md and figures there")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    from auxlearn.studies.comparing import compare
    from auxlearn.studies.statistics import require_extra

    if args.out:
        require_extra()  # the pictures too, before anybody waits for the rest
    summary = compare(args.runs, baseline=args.baseline, metric=args.metric, mode=args.mode, stage=args.stage)
    if args.out:
        _write(Path(args.out), summary)
    if args.json:
        import attrs

        print(json.dumps(attrs.asdict(summary), allow_nan=False))
    else:
        tell(summary)
    return 0


def _write(folder: Path, summary: Summary) -> None:
    from auxlearn.files import writing_in
    from auxlearn.studies.report import write_report

    with writing_in(folder):
        write_report(folder, summary, "Comparison")
