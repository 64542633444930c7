"""What the plugin offers, told without torch."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

import attrs

from auxlearn.errors import Problem
from auxlearn.registry import CheckContext, Provider, hookimpl, option

__all__ = ["PuzzlingParams", "auxlearn_presets", "auxlearn_pretext_tasks"]

_SMALLEST_TILE = 2


@attrs.frozen(kw_only=True)
class PuzzlingParams:
    """Settings of the pretext task `puzzling`; the defaults are those of the paper's authors.

    Examples:
        >>> from auxlearn_puzzling import PuzzlingParams
        >>> PuzzlingParams().grid, PuzzlingParams(grid=2).reduction
        (3, 'sum')
    """

    grid: int = option(3, ge=2, le=16, help="Tiles along each side of the image; the authors' code has 3, at first 2.")
    dropout: float = option(0.2, ge=0, lt=1, help="Dropout on the feature before the heads.")
    reduction: Literal["sum", "mean"] = option(
        "sum", help="Over the tiles of an image: the authors' sum, or a mean that does not grow with the grid."
    )
    hidden: int = option(
        0, ge=0, help="Width of a hidden ReLU layer before the heads; 0, as in the authors' code, for none."
    )
    level: int | None = option(
        None, help="Feature map to pool for the heads: 0 the finest, -1 the coarsest; null for the pooled feature."
    )
    modality: str = option("image", help="Which of the inputs is puzzled.")
    sizes: tuple[int | tuple[int, int], ...] | None = option(
        None,
        min_items=1,
        help="Show the puzzle once for each size: its side in pixels, or the least and greatest of a random one.",
    )


def check(params: PuzzlingParams, context: CheckContext) -> Iterable[Problem]:
    """Find what the schema cannot say: an image too small for the grid, a modality that the data lacks."""
    if context.size is not None and context.size < _SMALLEST_TILE * params.grid:
        yield Problem(
            where="/grid",
            what=f"images of {context.size} px give tiles of less than {_SMALLEST_TILE} px, found grid {params.grid}",
            allowed=f"2 to {context.size // _SMALLEST_TILE}" if context.size >= 2 * _SMALLEST_TILE else None,
            fix="use larger images (augment.size) or fewer tiles",
        )
    yield from _check_sizes(params, context)
    yield from context.missing_input(params.modality)


def _check_sizes(params: PuzzlingParams, context: CheckContext) -> Iterable[Problem]:
    if params.sizes is not None and context.view not in (None, "own"):
        yield Problem(
            where="/sizes",
            what=f"each size needs a pass of its own, but the view is {context.view}",
            fix='set "view": "own", or leave `sizes` out',
        )
    for index, size in enumerate(params.sizes or ()):
        low, high = (size, size) if isinstance(size, int) else size
        if low > high:
            what = f"the least size, {low}, is above the greatest, {high}"
            yield Problem(where=f"/sizes/{index}", what=what, fix=f"write [{high}, {low}]")
        elif low < _SMALLEST_TILE * params.grid:
            what = f"{low} px give tiles of less than {_SMALLEST_TILE} px with grid {params.grid}"
            yield Problem(where=f"/sizes/{index}", what=what, allowed=f"at least {_SMALLEST_TILE * params.grid}")


def build(params: PuzzlingParams, context: Any) -> Any:
    """Make the task for the features of `context`."""
    from auxlearn_puzzling.task import Puzzling

    return Puzzling(
        width=context.width_of(params.modality, params.level),
        grid=params.grid,
        dropout=params.dropout,
        reduction=params.reduction,
        hidden=params.hidden,
        level=params.level,
        modality=params.modality,
        sizes=params.sizes,
    )


@hookimpl
def auxlearn_pretext_tasks() -> Iterable[Provider]:
    """Offer `puzzling`."""
    return [
        Provider(
            name="puzzling",
            summary="Solve a jigsaw puzzle: which tile of the image stands where (HMTL, arXiv 2105.06421).",
            params=PuzzlingParams,
            build=build,
            check=check,
            view="shared",
            moves_pixels=True,
            asks_cells=lambda params: params.grid,
        )
    ]


_QUARTER = {"type": "puzzling", "grid": 2, "reduction": "mean", "view": "shared", "portion": 0.25, "weight": 0.3}


@hookimpl
def auxlearn_presets() -> Iterable[Provider]:
    """Offer `puzzling-quarter`, the arrangement that `benchmarks/studies` found to help with few labels."""
    return [
        Provider(
            name="puzzling-quarter",
            summary="2 x 2 puzzles of a quarter of the images on the shared view, beside any primary task.",
            build=lambda _params, _context: {"pretext": {"puzzle": _QUARTER}},
        )
    ]
