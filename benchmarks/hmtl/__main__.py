"""Run the systems of HMTL at a size for two CPU cores: `python -m benchmarks.hmtl`.

The specs in `full/` are those of the paper's tables, for the data sets that it uses and a GPU; those in `small/` are
the same systems on `synthfaces` and on small real sets. Each of the latter runs once; a run that is done is not
repeated.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from benchmarks.machine import describe
from benchmarks.runs import is_done, run_missing, scores

HERE = Path(__file__).parent
# The first of these that a run has is shown, in this unit.
SHOWN = {"pose/mae": "{:.1f} degrees", "emotion/accuracy": "{:.1%}", "gender/accuracy": "{:.1%}"}
BALANCED = ("emotion/balanced_accuracy", "gender/balanced_accuracy")


def main() -> None:
    """Run what is missing, then print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("specs", nargs="*", help="names of specs in small/, default: all")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=2, help="runs at once")
    parser.add_argument("--out", type=Path, default=Path("runs/hmtl"))
    parser.add_argument("--table", action="store_true", help="run nothing, show what is there")
    args = parser.parse_args()
    specs = [HERE / "small" / f"{name}.json" for name in args.specs] or sorted(HERE.glob("small/*.json"))
    failed = []
    if not args.table:
        failed = run_missing([(spec, args.out / spec.stem, args.seed) for spec in specs], jobs=args.jobs)
    print("\n".join(f"{name}: {value}" for name, value in describe().items()))
    print()
    print("\n".join(table(specs, args.out)))
    print("\n".join(failed))
    raise SystemExit(bool(failed))


def table(specs: list[Path], out: Path) -> list[str]:
    """Return the lines of a Markdown table."""
    lines = ["| spec | score | balanced |", "|---|---|---|"]
    for spec in specs:
        found = scores(out / spec.stem) if is_done(out / spec.stem) else {}
        score = next((form.format(found[name]) for name, form in SHOWN.items() if name in found), "-")
        balanced = next((f"{found[name]:.1%}" for name in BALANCED if name in found), "")
        lines.append(f"| {spec.stem} | {score} | {balanced} |")
    return lines


if __name__ == "__main__":
    main()
