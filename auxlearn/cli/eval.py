"""`auxlearn eval`: score a split again, with the saved weights."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from typing import Any

__all__ = ["add", "run"]


def add(subparsers: Any) -> None:
    """Add the command to the parser."""
    text = "Score a split of the data again, with the saved weights of a run."
    parser = subparsers.add_parser("eval", help="score a split again, with saved weights", description=text)
    parser.add_argument("path", metavar="RUN", help="the run folder")
    parser.add_argument("--split", default="test", help="the split to score (default: test)")
    parser.add_argument("--which", default="best", metavar="best|last|STEP", help="which weights (default: best)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    from auxlearn import api
    from auxlearn.training.devices import keep_freed_memory
    from auxlearn.training.recorder import finite_json

    keep_freed_memory()
    loaded = api.load_run(args.path, which=args.which, registry=args.registry())
    scores = loaded.score(args.split)
    if args.json:
        facts = {"path": str(loaded.path), "step": loaded.step, "split": args.split, "scores": scores}
        print(json.dumps(finite_json(facts), allow_nan=False))
        return 0
    print(f"step {loaded.step} of {loaded.path}, {args.split}")
    print(_table(scores))
    return 0


def _table(scores: Mapping[str, Any]) -> str:
    from auxlearn.cli.tables import table

    rows = []
    for name, value in scores.items():
        task, _, metric = name.partition("/")
        shown = f"{value:.4f}" if isinstance(value, float) else json.dumps(value)
        rows.append((task, metric, shown))
    return table(rows, ("TASK", "METRIC", "VALUE"))
