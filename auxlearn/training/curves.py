"""A figure of how the gradients of the tasks stood to each other over the training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

__all__ = ["draw_interplay"]

_KINDS = {"cosine": "cosine of the gradients", "norm_ratio": "ratio of their norms"}


def draw_interplay(history: Sequence[Mapping[str, Any]], folder: Path) -> Path | None:
    """Write `gradients.png`: the cosine of each pair of tasks, and below it the ratio of their norms, over the steps.

    Args:
        history: The lines of `metrics.jsonl`.
        folder: Where to write.

    Returns:
        The file, None if nothing was measured.

    Raises:
        ModuleNotFoundError: If something was measured and matplotlib is not installed.
    """
    series = {kind: _series(history, kind) for kind in _KINDS}
    if not series["cosine"]:
        return None
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 5), layout="constrained")
    FigureCanvasAgg(figure)
    above, below = figure.subplots(2, 1, sharex=True)
    for axis, (kind, label) in zip((above, below), _KINDS.items(), strict=True):
        for pair, points in series[kind].items():
            axis.plot(*zip(*points, strict=True), label=pair, linewidth=1.2)
        axis.set_ylabel(label)
        axis.grid(alpha=0.3)
    above.axhline(0, color="black", linewidth=0.8)
    largest = max(abs(value) for points in series["cosine"].values() for _, value in points)
    above.set_ylim(-max(1.1 * largest, 0.2), max(1.1 * largest, 0.2))
    above.legend(fontsize="small")
    below.set_yscale("log")
    below.yaxis.set_major_formatter("{x:g}")
    below.yaxis.set_minor_formatter("{x:g}")
    below.set_xlabel("step")
    folder.mkdir(parents=True, exist_ok=True)
    figure.savefig(folder / "gradients.png", dpi=120)
    return folder / "gradients.png"


def _series(history: Sequence[Mapping[str, Any]], kind: str) -> dict[str, list[tuple[int, float]]]:
    """Return the points of each pair, `<task> to <other>`."""
    found: dict[str, list[tuple[int, float]]] = {}
    for line in history:
        for name, value in line.items():
            task, slash, other = name.partition(f"/{kind}/")
            if slash and value is not None:
                found.setdefault(f"{task} to {other}", []).append((line["step"], value))
    return found
