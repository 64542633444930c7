"""What the plugin offers, told without torch."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

import attrs

from auxlearn.errors import Problem, SpecError
from auxlearn.registry import CheckContext, Provider, hookimpl, option

__all__ = ["RotationParams", "auxlearn_pretext_tasks"]

_SMALLEST_TILE = 2


@attrs.frozen(kw_only=True)
class RotationParams:
    """Settings of the pretext task `rotation`.

    Examples:
        >>> from auxlearn_rotation import RotationParams
        >>> RotationParams().tiles, RotationParams(tiles=3).reduction
        (None, 'sum')
    """

    tiles: int | None = option(
        None, ge=2, le=16, help="Tiles along each side, each rotated on its own; null rotates whole images."
    )
    dropout: float = option(0.2, ge=0, lt=1, help="Dropout on the feature before the heads.")
    reduction: Literal["sum", "mean"] = option(
        "sum", help="Over the tiles of an image: a sum, or a mean that does not grow with their number."
    )
    hidden: int = option(0, ge=0, help="Width of a hidden ReLU layer before the heads; 0 for none.")
    level: int | None = option(
        None, help="Feature map to pool for the heads: 0 the finest, -1 the coarsest; null for the pooled feature."
    )
    modality: str = option("image", help="Which of the inputs is rotated.")


def check(params: RotationParams, context: CheckContext) -> Iterable[Problem]:
    """Find what the schema cannot say: images that are too small or not square, a modality that the data lacks."""
    tiles = params.tiles or 1
    if context.size is not None and context.size < _SMALLEST_TILE * tiles:
        yield Problem(
            where="/tiles",
            what=f"images of {context.size} px give tiles of less than {_SMALLEST_TILE} px, found tiles {tiles}",
            allowed=f"2 to {context.size // _SMALLEST_TILE}" if context.size >= 2 * _SMALLEST_TILE else None,
            fix="use larger images (augment.size) or fewer tiles",
        )
    yield from context.missing_input(params.modality)
    shape = context.data.inputs.get(params.modality) if context.data is not None else None
    if shape is not None and context.size is None:
        yield from _not_square(shape)


def _not_square(shape: tuple[int, ...]) -> Iterable[Problem]:
    if shape[-2:] != shape[:-3:-1]:
        yield Problem(
            where="/modality",
            what=f"only square images can be rotated by 90 degrees, found {shape[-2]} x {shape[-1]} pixels",
            fix="set augment.size, to which images are cropped and resized",
        )


def build(params: RotationParams, context: Any) -> Any:
    """Make the task for the features of `context`."""
    from auxlearn_rotation.task import Rotation

    width = context.width_of(params.modality, params.level)
    crooked = list(_not_square(context.inputs[params.modality].shape))
    if crooked:
        raise SpecError(crooked)
    return Rotation(
        width=width,
        tiles=params.tiles,
        dropout=params.dropout,
        reduction=params.reduction,
        hidden=params.hidden,
        level=params.level,
        modality=params.modality,
    )


@hookimpl
def auxlearn_pretext_tasks() -> Iterable[Provider]:
    """Offer `rotation`."""
    return [
        Provider(
            name="rotation",
            summary="Tell by how many quarter turns the image, or each tile, was rotated (RotNet, arXiv 1803.07728).",
            params=RotationParams,
            build=build,
            check=check,
            view="shared",
            moves_pixels=True,
            moves_within=lambda params: params.tiles,
            # Which tile was turned is asked about places, so nothing may move them afterwards.
            spatial_answers=True,
        )
    ]
