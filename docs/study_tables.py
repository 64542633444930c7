"""Tables of the studies in `benchmarks/studies`, for the page that tells what they found."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

HELPED = ("puzzle-shared-quarter", "quarter")  # what the arm of the preset `puzzling-quarter` is called


def studies(folder: Path) -> str:
    """Return a table of what the preset did everywhere, and one for each study that has been run."""
    paths = sorted(folder.glob("*/summary.json"))
    found = {path.parent.name: json.loads(path.read_text(encoding="utf-8")) for path in paths}
    parts = [_everywhere(found), *(_study(name, summary) for name, summary in found.items())]
    return "\n\n".join(parts) + "\n"


def _everywhere(found: Mapping[str, Mapping[str, Any]]) -> str:
    lines = [
        "### The preset in every study\n",
        "`longer` is plain training for a quarter more epochs (`screening`: twice as many). Points, or degrees of "
        "`pose`, where less is better.\n",
        "| study | labels | seeds | supervised | with `puzzling-quarter` | `longer` |",
        "|---|---|---|---|---|---|",
    ]
    for name, summary in found.items():
        lines += _lines(name, summary)
    return "\n".join(lines)


def _lines(name: str, summary: Mapping[str, Any]) -> Iterator[str]:
    factor, form = _scale(summary)
    by_arm = {(row["fraction"], row["arm"]): row for row in summary["rows"]}
    for (fraction, arm), row in by_arm.items():
        if arm in HELPED:
            base, longer = (by_arm.get((fraction, other)) for other in (summary["baseline"], "longer"))
            mean = f"{factor * base['estimate']['mean']:{form}}" if base else ""
            cells = (name, _labels(row), str(len(row["seeds"])), mean, _change(row, factor, form))
            yield f"| {' | '.join(cells)} | {_change(longer, factor, form) if longer else ''} |"


def _study(name: str, summary: Mapping[str, Any]) -> str:
    seeds = {len(row["seeds"]) for row in summary["rows"]}
    unit = "in per cent" if summary["mode"] == "max" else "less is better"
    lines = [
        f"### {name}\n",
        f"`{summary['metric']}` on `test`, {unit}, of {'/'.join(map(str, seeds))} seeds; differences from "
        f"{summary['baseline']}.\n",
        "| labels | arm | mean | difference, 95 % interval | p | p (Holm) | time |",
        "|---|---|---|---|---|---|---|",
        *(_row(row, *_scale(summary)) for row in summary["rows"]),
    ]
    return "\n".join(lines)


def _row(row: Mapping[str, Any], factor: int, form: str) -> str:
    mean, change, time = row["estimate"], row["difference"], row["cost"]["time"]
    told = [_labels(row), row["arm"], f"{factor * mean['mean']:{form}} ± {factor * mean['error']:{form}}"]
    told += [_change(row, factor, form), f"{change['p']:.2g}", f"{change['p_holm']:.2g}"] if change else [""] * 3
    return f"| {' | '.join(told)} | {time:.2f} |"


def _scale(summary: Mapping[str, Any]) -> tuple[int, str]:
    """Return the factor and the format of scores: accuracies in per cent, errors in their own unit."""
    return (100, ".1f") if summary["mode"] == "max" else (1, ".2f")


def _labels(row: Mapping[str, Any]) -> str:
    return "" if row["fraction"] is None else f"{100 * row['fraction']:g} %"


def _change(row: Mapping[str, Any], factor: int, form: str) -> str:
    mean, low, high = (f"{factor * row['difference'][name]:+{form}}" for name in ("mean", "low", "high"))
    return f"{mean} [{low}, {high}]"
