"""What the plugin offers, told without torch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import attrs

from auxlearn.errors import Problem, SpecError
from auxlearn.registry import CheckContext, Provider, hookimpl
from auxlearn_inpainting.extras import missing
from auxlearn_inpainting.params import InpaintingParams

__all__ = ["auxlearn_pretext_tasks"]

_RANGES = ("blocks.number", "blocks.area", "freeform.strokes", "freeform.segments", "freeform.length", "freeform.width")
_LEAST_FOR_SSIM = 6  # half of its window of 11 pixels is mirrored at each border
_LEAST_FOR_LPIPS = 32


def check(params: InpaintingParams, context: CheckContext) -> Iterable[Problem]:
    """Find what the schema cannot say."""
    if context.view == "clean":
        what = "the backbone would see what it should fill in: a clean view is shown as it is"
        yield Problem(where="/view", what=what, allowed='"own", "shared"')
    yield from _check_unused(params)
    yield from _check_masks(params)
    yield from _check_size(params, context.size)
    if params.perceptual is not None:
        problem = missing(params.perceptual)
        if problem is not None:
            yield problem
    yield from context.missing_input(params.modality)


def _check_unused(params: InpaintingParams) -> Iterator[Problem]:
    """Find settings that would have no effect."""
    default = InpaintingParams()
    for shape in ("blocks", "grid", "freeform", "face"):
        if shape != params.mask and getattr(params, shape) != getattr(default, shape):
            what = f'the masks are "{params.mask}", so `{shape}` has no effect'
            yield Problem(where=f"/{shape}", what=what, fix=f'set "mask": "{shape}", or leave it out')
    if params.loss != "charbonnier" and params.epsilon != default.epsilon:
        what = f'`epsilon` belongs to the loss "charbonnier", and has no effect on "{params.loss}"'
        yield Problem(where="/epsilon", what=what, fix="leave it out")


def _check_masks(params: InpaintingParams) -> Iterator[Problem]:
    for name in (*_RANGES, "face.number"):
        shape, _, setting = name.partition(".")
        low, high = getattr(getattr(params, shape), setting)
        if low > high:
            what = f"the least should come first, found [{low:g}, {high:g}]"
            yield Problem(where=f"/{shape}/{setting}", what=what, fix=f"[{high:g}, {low:g}]")
    regions = params.face.regions
    if params.face.number[1] > len(regions):
        what = f"there are {len(regions)} regions, found {params.face.number[1]}"
        yield Problem(where="/face/number", what=what, allowed=f"at most {len(regions)}" if regions else None)
    for name, (left, top, right, bottom) in regions.items():
        if left >= right or top >= bottom:
            what = f'region "{name}" has no area: left {left:g}, top {top:g}, right {right:g}, bottom {bottom:g}'
            yield Problem(where="/face/regions", what=what, allowed="left below right, and top below bottom")


def _check_size(params: InpaintingParams, size: int | None) -> Iterator[Problem]:
    if size is None:
        return
    if params.mask == "grid" and size < params.grid.cells:
        yield Problem(
            where="/grid/cells",
            what=f"images of {size} px have no {params.grid.cells} cells along a side",
            allowed=f"2 to {size}",
            fix="use larger images (augment.size) or fewer cells",
        )
    if params.loss == "ssim" and size < _LEAST_FOR_SSIM:
        yield Problem(where="/loss", what=f"images of {size} px are too small for ssim", allowed="l1, l2, charbonnier")
    lpips = params.perceptual is not None and params.perceptual.network == "lpips"
    if lpips and size < _LEAST_FOR_LPIPS:
        what = f"images of {size} px are too small for lpips, which takes {_LEAST_FOR_LPIPS} px and more"
        yield Problem(where="/perceptual/network", what=what, fix="use larger images (augment.size)")


def build(params: InpaintingParams, context: Any) -> Any:
    """Make the task for the features of `context`."""
    from auxlearn_inpainting.decoder import Decoder
    from auxlearn_inpainting.masks import BlockMask, FaceMask, GridMask
    from auxlearn_inpainting.networks import make_perceptual
    from auxlearn_inpainting.strokes import FreeformMask
    from auxlearn_inpainting.task import Inpainting

    shape = _map_shape(params, context)
    masks = {"blocks": BlockMask, "grid": GridMask, "freeform": FreeformMask, "face": FaceMask}
    settings = attrs.asdict(getattr(params, params.mask), recurse=False)
    # Before the perceptual network, so that its random numbers, if it uses any, do not change the decoder.
    decoder = Decoder(
        shape.channels,
        shape.reduction,
        image_channels=context.inputs[params.modality].shape[0],
        **attrs.asdict(params.decoder),
    )
    perceptual = params.perceptual
    return Inpainting(
        decoder,
        mask=masks[params.mask](**settings),
        fill=params.fill,
        level=params.level,
        loss=params.loss,
        epsilon=params.epsilon,
        unmasked=params.unmasked,
        perceptual=None if perceptual is None else make_perceptual(perceptual, context, params.modality),
        perceptual_weight=0.0 if perceptual is None else perceptual.weight,
        perceptual_on="composed" if perceptual is None else perceptual.on,
        modality=params.modality,
    )


def _map_shape(params: InpaintingParams, context: Any) -> Any:
    """Return the form of the feature map that the decoder reads; SpecError if there is none."""
    shape = context.map_of(params.modality, params.level)
    image = context.inputs.get(params.modality)
    if image is None or image.kind != "image":
        raise SpecError(Problem(where="/modality", what=f'"{params.modality}" is no image, and only images are masked'))
    return shape


@hookimpl
def auxlearn_pretext_tasks() -> Iterable[Provider]:
    """Offer `inpainting`."""
    return [
        Provider(
            name="inpainting",
            summary="Fill in what was masked out of the image, also with a perceptual loss (HMTL, arXiv 2105.06421).",
            params=InpaintingParams,
            build=build,
            check=check,
            view="shared",
            spatial_answers=True,
        )
    ]
