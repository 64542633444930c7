"""`auxlearn eval`: score a split again, with the saved weights."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Mapping, Sequence
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
    from auxlearn.evaluation import main_scores, score_names
    from auxlearn.spec.models import Knn
    from auxlearn.training.memory import keep_freed_memory
    from auxlearn.training.recorder import finite_json

    keep_freed_memory()
    loaded = api.load_run(args.path, which=args.which, registry=args.registry())
    known = loaded.spec["evaluate"]["knn"]
    scores = loaded.score(args.split, knn={target: Knn() for target in args.knn if target not in known})
    classes = {name: [*score_names(task)] for name, task in loaded.model.tasks()}
    if args.json:
        facts = {"path": str(loaded.path), "step": loaded.step, "split": args.split, "scores": scores}
        facts["classes"] = {name: names for name, names in classes.items() if names}
        print(json.dumps(finite_json(facts), allow_nan=False))
        return 0
    print(f"step {loaded.step} of {loaded.path}, {args.split}")
    print(_table(main_scores(scores)))
    for task, names in classes.items():
        if own := _by_class(scores, task):
            print(f"\n{own}")
        for name, value in scores.items():
            if isinstance(value, list) and name.startswith(f"{task}/"):
                print(f"\n{name}\n{_rows(value, names if len(names) == len(value) else range(len(value)))}")
    return 0


def _table(scores: Mapping[str, float]) -> str:
    from auxlearn.cli.tables import table

    rows = [(*name.rsplit("/", 1), f"{value:.4f}") for name, value in scores.items()]
    return table(rows, ("TASK", "METRIC", "VALUE"))


def _by_class(scores: Mapping[str, Any], task: str) -> str | None:
    """Return the scores of the classes of a task, a line for each class; None if it has none."""
    from auxlearn.cli.tables import table

    lines: dict[str, dict[str, str]] = {}
    for name, value in scores.items():
        if name.startswith(f"{task}/") and name.count("/") > 1 and isinstance(value, int | float):
            _, metric, one = name.split("/", 2)
            lines.setdefault(one, {})[metric] = f"{value:.4f}"
    metrics = list(dict.fromkeys(metric for line in lines.values() for metric in line))
    rows = [(one, *(line.get(metric, "") for metric in metrics)) for one, line in lines.items()]
    return table(rows, (task.upper(), *metrics)) if rows else None


def _rows(values: Sequence[Sequence[float]], names: Iterable[Any]) -> str:
    """Return a matrix with a line for each class: in a confusion matrix, the true one."""
    classes = [str(name) for name in names]
    wide = max(map(len, classes))
    shown = [[f"{v:g}" for v in line] for line in values]
    cell = max(len(text) for line in shown for text in line)
    lines = zip(classes, shown, strict=True)
    return "\n".join(f"  {name:{wide}}  {' '.join(text.rjust(cell) for text in line)}" for name, line in lines)
