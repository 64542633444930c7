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
    parser.add_argument("path", metavar="RUN", help="the run folder, or that of one of its stages (default: the last)")
    parser.add_argument("--split", default="test", help="the split to score (default: test)")
    parser.add_argument("--which", default="best", metavar="best|last|STEP", help="which weights (default: best)")
    parser.add_argument(
        "--knn",
        action="append",
        default=[],
        metavar="TARGET",
        help="also score the features by nearest neighbours among the training rows (may be repeated)",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    from auxlearn import api
    from auxlearn.spec.models import Knn
    from auxlearn.training.devices import keep_freed_memory
    from auxlearn.training.recorder import finite_json

    keep_freed_memory()
    loaded = api.load_run(args.path, which=args.which, registry=args.registry())
    known = loaded.spec["evaluate"]["knn"]
    scores = loaded.score(args.split, knn={target: Knn() for target in args.knn if target not in known})
    if args.json:
        facts = {"path": str(loaded.path), "step": loaded.step, "split": args.split, "scores": scores}
        print(json.dumps(finite_json(facts), allow_nan=False))
        return 0
    print(f"step {loaded.step} of {loaded.path}, {args.split}")
    print(_table({name: value for name, value in scores.items() if not isinstance(value, list)}))
    for name, value in scores.items():
        if isinstance(value, list):
            classes = dict(loaded.model.tasks())[name.partition("/")[0]].describe().get("classes", range(len(value)))
            print(f"\n{name}\n{_rows(value, list(map(str, classes)))}")
    return 0


def _table(scores: Mapping[str, Any]) -> str:
    from auxlearn.cli.tables import table

    rows = []
    for name, value in scores.items():
        task, _, metric = name.rpartition("/")
        rows.append((task, metric, f"{value:.4f}" if isinstance(value, float) else str(value)))
    return table(rows, ("TASK", "METRIC", "VALUE"))


def _rows(values: list[Any], classes: list[str]) -> str:
    """Return a vector or matrix with a line for each class: in a confusion matrix, the true one."""
    wide = max(map(len, classes))
    shown = [[f"{v:g}" for v in (value if isinstance(value, list) else [value])] for value in values]
    cell = max(len(text) for line in shown for text in line)
    lines = zip(classes, shown, strict=True)
    return "\n".join(f"  {name:{wide}}  {' '.join(text.rjust(cell) for text in line)}" for name, line in lines)
