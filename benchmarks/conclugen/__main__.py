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

from auxlearn.studies.statistics import estimate, paired
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
    found, base = (_scores(one, stage, metric, out, seeds) for one in (name, against))
    if not found:
        return ""
    own, change = estimate(list(found.values())), paired(found, base)
    text = f"{own.mean:.1f}" if own.error is None else f"{own.mean:.1f} ± {own.error:.1f}"
    if name == against or change is None or not change.error:
        return text
    return f"{text} ({change.mean:+.1f}: {change.low:+.1f} to {change.high:+.1f})"


def _scores(name: str, stage: str, metric: str, out: Path, seeds: int) -> dict[int, float]:
    """Return the scores of the runs that are done, in per cent, by seed."""
    values = {seed: _score(folder(out, name, seed) / stage, metric) for seed in range(seeds)}
    return {seed: 100 * value for seed, value in values.items() if value is not None}


def _score(stage: Path, metric: str) -> float | None:
    return float(scores(stage)[metric]) if is_done(stage) else None


if __name__ == "__main__":
    main()
