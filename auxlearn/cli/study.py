"""`auxlearn study`: all runs of a study, and what they say together."""

from __future__ import annotations

import argparse
import json
import sys
from typing import TYPE_CHECKING, Any

from auxlearn.cli.data import within
from auxlearn.cli.summaries import tell

if TYPE_CHECKING:
    from auxlearn.studies.running import StudyResult

__all__ = ["add", "run"]


def add(subparsers: Any) -> None:
    """Add the command to the parser."""
    text = (
        "Run every arm of a study with every label fraction and seed, and compare them, paired by seed. Stopped at any "
        "time, or given more arms or seeds, the same command does what is left."
    )
    parser = subparsers.add_parser("study", help="many runs, paired by seed, and what they say", description=text)
    parser.add_argument("study", help="a JSON file")
    parser.add_argument("overrides", nargs="*", metavar="a.b=c", help="changes to the study, e.g. seeds=[0,1]")
    parser.add_argument("--out", metavar="DIR", help="the folder of the study (default: runs/NAME)")
    parser.add_argument("--jobs", type=within(int, 1), default=1, metavar="N", help="runs at once (default: 1)")
    parser.add_argument(
        "--threads",
        type=within(int, 1),
        metavar="N",
        help="threads of each run on a CPU (default: as the study was begun, else those that torch has here; with "
        "several jobs, or Ray, the cores divided by the jobs)",
    )
    parser.add_argument(
        "--executor", choices=("local", "ray"), default="local", help="this machine, or a Ray cluster (default: local)"
    )
    parser.add_argument("--address", help="that of the cluster (default: start Ray on this machine)")
    parser.add_argument("--no-run", action="store_true", help="run nothing, compare what is there")
    parser.add_argument(
        "--allow-inexact",
        action="store_true",
        help="go on with runs that were begun although threads, devices, versions or data differ",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--quiet", action="store_true", help="no progress")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    from auxlearn.studies.running import study
    from auxlearn.training.memory import keep_freed_memory

    keep_freed_memory()
    result = study(
        args.study,
        args.overrides,
        out=args.out,
        jobs=args.jobs,
        threads=args.threads,
        executor=args.executor,
        address=args.address,
        run=not args.no_run,
        allow_inexact=args.allow_inexact,
        block=args.no_plugin,
        quiet=args.quiet,
    )
    if args.json:
        print(json.dumps(_facts(result), allow_nan=False))
    else:
        _tell(result)
    return next((outcome.code for outcome in result.failed.values()), 0)


def _tell(result: StudyResult) -> None:
    if result.summary is not None:
        tell(result.summary)
        print()
    for key, outcome in result.failed.items():
        print(f"failed: {key}: {outcome.reason}", file=sys.stderr)
    print(f"study folder  {result.path}")
    for label, name in (("numbers", "results.csv"), ("report", "report.md")):
        if (result.path / name).is_file():  # not yet, where another process runs the study
            print(f"{label:<14}{result.path / name}")


def _facts(result: StudyResult) -> dict[str, Any]:
    import attrs

    failed = {str(key): outcome.reason for key, outcome in result.failed.items()}
    summary = None if result.summary is None else attrs.asdict(result.summary)
    return {"path": str(result.path), "runs": len(result.cells), "failed": failed, "summary": summary}
