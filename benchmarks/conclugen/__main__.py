"""Study ConCluGen's losses on two real tables of features: `python -m benchmarks.conclugen`.

The specs in `full/` are those of the paper's data sets; those in `small/` are the same systems on RAVDESS and MOSI.
Each of the latter runs with every seed; a run that is done is not repeated. The tables give the accuracy on `test`: of
linear and non-linear probes on frozen features and of the whole network trained, with all labels and with a tenth. They
are means over seeds with their standard errors, and paired differences from `random`, the same network without
pre-training, with 95 % intervals of Student's t.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from scipy import stats

from benchmarks.machine import describe
from benchmarks.runs import is_done, run_missing, scores

HERE = Path(__file__).parent
DATA = {"ravdess": "emotion/accuracy", "mosi": "sentiment/accuracy"}
STAGES = ("linear", "nonlinear", "finetune", "linear10", "finetune10")


def main() -> None:
    """Run what is missing, then print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("specs", nargs="*", help="names of specs in small/, default: all")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--jobs", type=int, default=2, help="runs at once")
    parser.add_argument("--out", type=Path, default=Path("runs/conclugen"))
    parser.add_argument("--table", action="store_true", help="run nothing, show what is there")
    args = parser.parse_args()
    specs = [HERE / "small" / f"{name}.json" for name in args.specs] or sorted(HERE.glob("small/*.json"))
    failed = []
    if not args.table:
        wanted = [(spec, folder(args.out, spec.stem, seed), seed) for seed in range(args.seeds) for spec in specs]
        failed = run_missing(wanted, jobs=args.jobs)
    print("\n".join(f"{name}: {value}" for name, value in describe().items()))
    for data, metric in DATA.items():
        names = [spec.stem for spec in specs if spec.stem.startswith(f"{data}-")]
        print("\n".join(["", f"## {data}", "", *table(names, f"{data}-random", metric, args.out, args.seeds)]))
    print("\n".join(failed))
    raise SystemExit(bool(failed))


def folder(out: Path, name: str, seed: int) -> Path:
    """Return the folder of a run."""
    return out / f"{name}-{seed}"


def table(names: Sequence[str], baseline: str, metric: str, out: Path, seeds: int) -> Iterator[str]:
    """Yield the lines of a Markdown table: a row for each spec, a column for each stage."""
    yield f"| | {' | '.join(STAGES)} |"
    yield "|---" * (len(STAGES) + 1) + "|"
    for name in sorted(names, key=lambda name: (name != baseline, "joint" in name, name)):
        # What sees two modalities only is compared with what sees the same two.
        same = name.replace("contrast-", "random-", 1)
        against = same if same != name and same in names else baseline
        cells = [cell(name, against, stage, metric, out, seeds) for stage in STAGES]
        yield f"| {name.partition('-')[2]} | {' | '.join(cells)} |"


def cell(name: str, against: str, stage: str, metric: str, out: Path, seeds: int) -> str:
    """Return mean and standard error in per cent, and the paired difference from another spec with its interval."""
    found, base = ([_score(folder(out, one, seed) / stage, metric) for seed in range(seeds)] for one in (name, against))
    own = 100 * np.array([value for value in found if value is not None])
    if not len(own):
        return ""
    text = f"{own.mean():.1f} ± {stats.sem(own):.1f}" if len(own) > 1 else f"{own[0]:.1f}"
    pairs = [100 * (a - b) for a, b in zip(found, base, strict=True) if a is not None and b is not None]
    if name == against or len(pairs) < 2 or not np.ptp(pairs):
        return text
    low, high = stats.t.interval(0.95, len(pairs) - 1, loc=np.mean(pairs), scale=stats.sem(pairs))
    return f"{text} ({np.mean(pairs):+.1f}: {low:+.1f} to {high:+.1f})"


def _score(stage: Path, metric: str) -> float | None:
    return float(scores(stage)[metric]) if is_done(stage) else None


if __name__ == "__main__":
    main()
