"""`auxlearn run`: train as a spec says."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from auxlearn.api import RunResult

__all__ = ["add", "report", "run"]


def add(subparsers: Any) -> None:
    """Add the command to the parser."""
    parser = subparsers.add_parser("run", help="train as a spec says", description="Train as a spec says.")
    parser.add_argument("spec", help="a JSON file")
    parser.add_argument("overrides", nargs="*", metavar="a.b=c", help="changes to the spec, e.g. train.epochs=5")
    parser.add_argument("--out", metavar="DIR", help="the run folder (default: runs/NAME)")
    parser.add_argument("--overwrite", action="store_true", help="replace an earlier run in that folder")
    parser.add_argument("--seed", type=int, help="instead of the spec's seed")
    parser.add_argument("--locked", metavar="RUN", help="only with the plugins that this run used, file for file")
    parser.add_argument("--json", action="store_true", help="end with one JSON object on stdout")
    parser.add_argument("--quiet", action="store_true", help="no progress")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    from auxlearn import api
    from auxlearn.training.memory import keep_freed_memory
    from auxlearn.training.progress import make_reporter

    keep_freed_memory()
    result = api.run(
        args.spec,
        args.overrides,
        out=args.out,
        overwrite=args.overwrite,
        seed=args.seed,
        locked=args.locked,
        registry=args.registry(),
        reporter=make_reporter(quiet=args.quiet),
    )
    if result.rank == 0:
        report(result, as_json=args.json)
    return 0


def report(result: RunResult, *, as_json: bool) -> None:
    """Print where everything lies, and the scores."""
    if as_json:
        facts = _facts(result)
        if result.stages:
            facts["stages"] = {name: _facts(part) for name, part in result.stages.items()}
        print(json.dumps(_finite(facts), allow_nan=False))
        return
    for name, part in (result.stages or {"": result}).items():
        if name:
            print(f"stage {name}")
        for line in _lines(part):
            print(line)
    print(f"next              auxlearn export {result.path} --format state_dict")


def _facts(result: RunResult) -> dict[str, Any]:
    last: Mapping[str, Any] = next((line for line in reversed(result.history) if line["kind"] == "val"), {})
    scores = {name: value for name, value in last.items() if name not in ("kind", "step", "epoch")}
    return {"path": str(result.path), "best": result.best, "val": scores, "test": result.test}


def _lines(result: RunResult) -> Iterator[str]:
    from auxlearn.evaluation import main_scores

    best = result.best
    chosen = f"step {best['step']}" + (f", {best['metric']} {best['value']:.4f} on val" if best["metric"] else "")
    yield f"selected weights  {chosen}"
    for name, value in main_scores(result.test).items():
        yield f"test              {name} {value:.4f}"
    yield f"run folder        {result.path}"
    yield f"numbers           {result.path / 'metrics.jsonl'}"
    yield f"checkpoints       {result.path / 'checkpoints'}"
    if (result.path / "figures").is_dir():
        yield f"figures           {result.path / 'figures'}"


def _finite(value: Any) -> Any:
    from auxlearn.training.recorder import finite_json

    return finite_json(value)
