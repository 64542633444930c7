"""Train `fer` with and without puzzling, on rendered and on real faces: `python -m benchmarks.faces`.

Each spec of this folder runs once for each seed; the table has the mean and the standard deviation over the seeds of
the scores on `test`, which are taken once, with the weights that were best on `val`. A run that is done is not
repeated.
"""

from __future__ import annotations

import argparse
import statistics
from pathlib import Path

from benchmarks.machine import describe
from benchmarks.runs import is_done, run_missing, scores

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
    if not args.table:
        wanted = [(spec, args.out / f"{spec.stem}-{seed}", seed) for seed in args.seeds for spec in specs]
        print("\n".join(run_missing(wanted)))
    print("\n".join(f"{name}: {value}" for name, value in describe().items()))
    print()
    print("\n".join(table(specs, args.seeds, args.out)))


def table(specs: list[Path], seeds: list[int], out: Path) -> list[str]:
    """Return the lines of a Markdown table."""
    lines = ["| spec | seeds | accuracy | balanced accuracy | macro F1 |", "|---|---|---|---|---|"]
    for spec in specs:
        folders = [out / f"{spec.stem}-{seed}" for seed in seeds]
        found = [scores(folder) for folder in folders if is_done(folder)]
        cells = [cell([score[name] for score in found]) for name in SCORES]
        lines.append(f"| {spec.stem} | {len(found)} | {' | '.join(cells)} |")
    return lines


def cell(values: list[float]) -> str:
    """Return mean and standard deviation in percent."""
    if not values:
        return "-"
    spread = f" ± {100 * statistics.stdev(values):.1f}" if len(values) > 1 else ""
    return f"{100 * statistics.mean(values):.1f}{spread}"


if __name__ == "__main__":
    main()
