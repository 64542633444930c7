"""Train `fer` with and without puzzling, on rendered and on real faces: `python -m benchmarks.faces`.

Each spec of this folder runs once for each seed; the table has the mean and the standard deviation over the seeds of
the scores on `test`, which are taken once, with the weights that were best on `val`. A run that is done is not
repeated.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks.machine import describe

HERE = Path(__file__).parent
SCORES = ("emotion/accuracy", "emotion/balanced_accuracy", "emotion/macro_f1")


def main() -> None:
    """Run what is missing, then print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("specs", nargs="*", help="names of specs, default: all")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--out", type=Path, default=Path("runs/faces"))
    parser.add_argument("--table", action="store_true", help="run nothing, show what is there")
    args = parser.parse_args()
    specs = [HERE / f"{name}.json" for name in args.specs] or sorted(HERE.glob("*.json"))
    for seed in args.seeds:
        for spec in specs:
            folder = args.out / f"{spec.stem}-{seed}"
            if not args.table and not is_done(folder):
                command = ["run", str(spec), "--seed", str(seed), "--out", str(folder), "--overwrite", "--quiet"]
                subprocess.run([sys.executable, "-m", "auxlearn", *command], check=True)
    print("\n".join(f"{name}: {value}" for name, value in describe().items()))
    print()
    print("\n".join(table(specs, args.seeds, args.out)))


def is_done(folder: Path) -> bool:
    """Return whether the run in `folder` came to its end."""
    status = folder / "status.json"
    return status.is_file() and json.loads(status.read_text())["state"] == "done"


def test_scores(folder: Path) -> dict[str, Any]:
    """Return the scores on `test`."""
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return next(line for line in lines if line["kind"] == "test")


def table(specs: list[Path], seeds: list[int], out: Path) -> list[str]:
    """Return the lines of a Markdown table."""
    lines = ["| spec | seeds | accuracy | balanced accuracy | macro F1 |", "|---|---|---|---|---|"]
    for spec in specs:
        folders = [out / f"{spec.stem}-{seed}" for seed in seeds]
        scores = [test_scores(folder) for folder in folders if is_done(folder)]
        cells = [cell([score[name] for score in scores]) for name in SCORES]
        lines.append(f"| {spec.stem} | {len(scores)} | {' | '.join(cells)} |")
    return lines


def cell(values: list[float]) -> str:
    """Return mean and standard deviation in percent."""
    if not values:
        return "-"
    spread = f" ± {100 * statistics.stdev(values):.1f}" if len(values) > 1 else ""
    return f"{100 * statistics.mean(values):.1f}{spread}"


if __name__ == "__main__":
    main()
