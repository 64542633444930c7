"""The pictures of a study: metric against label fraction, and gain against cost. By matplotlib, the extra `[study]`."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from auxlearn.files import write_atomically, writing_in
from auxlearn.studies.summary import Summary

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["draw", "remove_pictures"]

_NAMES = ("metric", "gain")

# Okabe and Ito's colours, which people of every kind of colour vision tell apart; shapes and dashes say it again.
_COLOURS = ("#000000", "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7F7F7F")
_MARKERS = "osD^vP*X"
_DASHES = ("-", "--", "-.", ":")


def draw(summary: Summary, folder: Path) -> list[str]:
    """Write the pictures as PNG and SVG into `folder`; return the names of the PNG files.

    Earlier pictures that do not follow from `summary` are removed.

    Args:
        summary: What the runs say.
        folder: Made if it is not there.
    """
    pictures = dict(zip(_NAMES, (_metric(summary), _gain(summary)), strict=True))
    drawn = {name: figure for name, figure in pictures.items() if figure is not None}
    with writing_in(folder):
        remove_pictures(folder, [name for name in pictures if name not in drawn])
        for name, figure in drawn.items():
            write_atomically(folder / f"{name}.png", _file(figure, format="png", dpi=150))
            # Without the date, so that the same numbers give the same file.
            write_atomically(folder / f"{name}.svg", _file(figure, format="svg", metadata={"Date": None}))
    return [f"{name}.png" for name in drawn]


def remove_pictures(folder: Path, names: Sequence[str] = _NAMES) -> None:
    """Remove pictures that were drawn into `folder`; those of other names stay."""
    for name in names:
        for ending in ("png", "svg"):
            (folder / f"{name}.{ending}").unlink(missing_ok=True)


def _file(figure: Figure, **how: Any) -> bytes:
    """Return the content of a picture file."""
    import matplotlib

    content = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "auxlearn"}):  # instead of random names in SVG
        figure.savefig(content, **how)
    return content.getvalue()


def _styles(summary: Summary) -> dict[str, dict[str, Any]]:
    """Return how each arm is drawn; the baseline, as the first, in black."""
    arms = sorted(dict.fromkeys(row.arm for row in summary.rows), key=lambda arm: arm != summary.baseline)
    rounds = len(_COLOURS) - 1  # of the others, black stays the baseline's
    return {
        arm: {
            "color": _COLOURS[1 + (index - 1) % rounds] if index else _COLOURS[0],
            "marker": _MARKERS[index % len(_MARKERS)],
            "linestyle": _DASHES[(index - 1) // rounds % len(_DASHES)] if index else _DASHES[0],
            "capsize": 2.5,
            "markersize": 5,
            "linewidth": 1.4,
            "elinewidth": 1,
        }
        for index, arm in enumerate(arms)
    }


def _figure(width: float, height: float, panels: int = 1) -> tuple[Figure, list[Axes]]:
    """Return a figure, and its panels in rows of two, which share their axes."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    columns = min(2, panels)
    grid = figure.subplots(-(-panels // columns), columns, sharex=True, sharey=True, squeeze=False).flatten()
    for empty in grid[panels:]:
        empty.set_visible(False)
    for axes in grid[:panels]:
        axes.grid(visible=True, color="#DDDDDD", linewidth=0.6)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
    return figure, list(grid[:panels])


def _metric(summary: Summary) -> Figure | None:
    """Draw the metric against the label fraction, a line for each arm; with one fraction, a point for each arm."""
    styles = _styles(summary)
    if len({row.fraction for row in summary.rows}) == 1:
        return _points(summary, styles)
    figure, (axes,) = _figure(7, 4.5)
    axes.set_xscale("log")
    for index, (arm, style) in enumerate(styles.items()):
        rows = [row for row in summary.rows if row.arm == arm and row.estimate is not None]
        shift = 1 + 0.018 * (index - (len(styles) - 1) / 2)  # so that intervals do not hide each other
        places = [100 * (row.fraction or 1) * shift for row in rows]
        means = [row.estimate.mean for row in rows if row.estimate]
        axes.errorbar(places, means, yerr=_reaches([row.estimate for row in rows]), label=arm, **style)
    ticks = sorted({100 * (row.fraction or 1) for row in summary.rows})
    axes.set_xticks(ticks, labels=[f"{tick:g}" for tick in ticks])
    axes.minorticks_off()
    axes.set_xlabel("labels used (%)")
    axes.set_ylabel(summary.metric)
    _legend(figure, [axes])
    return figure


def _points(summary: Summary, styles: dict[str, dict[str, Any]]) -> Figure | None:
    rows = [row for row in summary.rows if row.estimate is not None]
    figure, (axes,) = _figure(7, 1.2 + 0.35 * len(rows))
    for place, row in enumerate(rows):
        style = {**styles[row.arm], "linestyle": "none"}
        mean = row.estimate.mean if row.estimate else 0.0
        axes.errorbar([mean], [place], xerr=_reaches([row.estimate]), **style)
    axes.set_yticks(range(len(rows)), labels=[row.arm for row in rows])
    axes.invert_yaxis()
    axes.set_xlabel(f"{summary.metric} (mean, 95 % interval)")
    return figure


def _gain(summary: Summary) -> Figure | None:
    """Draw the paired difference from the baseline against the time of training, a panel for each label fraction."""
    rows = [row for row in summary.rows if row.difference is not None and row.cost.time is not None]
    if not rows:
        return None
    styles = _styles(summary)
    fractions = list(dict.fromkeys(row.fraction for row in rows))
    figure, panels = _figure(8 if len(fractions) > 1 else 7, 1 + 3.2 * -(-len(fractions) // 2), len(fractions))
    for axes, fraction in zip(panels, fractions, strict=True):
        axes.axhline(0, color="#000000", linewidth=0.8)
        axes.axvline(1, color="#000000", linewidth=0.8, linestyle=":")
        if fraction is not None:
            axes.set_title(f"{100 * fraction:g} % of the labels", fontsize=9)
        for row in rows:
            if row.fraction == fraction and row.difference is not None and row.cost.time is not None:
                style = {**styles[row.arm], "linestyle": "none", "label": row.arm}
                axes.errorbar([row.cost.time], [row.difference.mean], yerr=_reaches([row.difference]), **style)
    figure.supxlabel(f"time of the whole training (multiple of {summary.baseline})", fontsize=10)
    direction = "" if summary.mode == "max" else ", less is better"
    figure.supylabel(f"{summary.metric}: difference from {summary.baseline}{direction}", fontsize=10)
    _legend(figure, panels)
    return figure


def _reaches(found: Sequence[Any]) -> list[float]:
    """Return how far each interval reaches to either side; not at all for a single value."""
    return [0.0 if one is None or one.high is None else one.high - one.mean for one in found]


def _legend(figure: Figure, panels: Sequence[Axes]) -> None:
    """Name each arm once, beside the panels, and say what the bars are."""
    entries: dict[str, Artist] = {}
    for axes in panels:
        entries |= {label: handle for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)}
    how: dict[str, Any] = {"frameon": False, "fontsize": 8, "title_fontsize": 8, "title": "mean, 95 % interval"}
    figure.legend(list(entries.values()), list(entries), loc="outside right upper", **how)
