"""Settings of the pretext task `inpainting`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import attrs

from auxlearn.registry import option

__all__ = [
    "REGIONS",
    "BlocksParams",
    "DecoderParams",
    "FaceParams",
    "FreeformParams",
    "GridParams",
    "InpaintingParams",
    "PerceptualParams",
]

REGIONS: Mapping[str, tuple[float, ...]] = {
    "brows": (0.15, 0.2, 0.85, 0.36),
    "eyes": (0.15, 0.32, 0.85, 0.5),
    "nose": (0.34, 0.38, 0.66, 0.68),
    "mouth": (0.26, 0.64, 0.74, 0.88),
}
"""Boxes of a roughly aligned face that fills the picture, as left, top, right and bottom in parts of the sides.

A reading of face crops with the eyes at two fifths of the height; other crops need boxes of their own.
"""


@attrs.frozen(kw_only=True)
class BlocksParams:
    """Settings of the masks `blocks`: rectangles."""

    number: tuple[int, ...] = option((1, 3), ge=1, le=16, min_items=2, max_items=2, help="Fewest and most rectangles.")
    area: tuple[float, ...] = option(
        (0.1, 0.4),
        gt=0,
        le=1,
        min_items=2,
        max_items=2,
        help="Least and greatest part of the image that the rectangles have together; they may overlap.",
    )
    aspect: float = option(2.0, ge=1, le=10, help="Greatest ratio of a rectangle's longer side to its shorter one.")


@attrs.frozen(kw_only=True)
class GridParams:
    """Settings of the masks `grid`: cells of a regular grid."""

    cells: int = option(8, ge=2, le=64, help="Cells along each side of the image.")
    portion: float = option(0.4, gt=0, le=1, help="Part of the cells that is masked, the same in every image.")


@attrs.frozen(kw_only=True)
class FreeformParams:
    """Settings of the masks `freeform`: strokes of a brush."""

    strokes: tuple[int, ...] = option((1, 3), ge=1, le=16, min_items=2, max_items=2, help="Fewest and most strokes.")
    segments: tuple[int, ...] = option(
        (3, 8), ge=1, le=32, min_items=2, max_items=2, help="Fewest and most straight lines in a stroke."
    )
    length: tuple[float, ...] = option(
        (0.05, 0.35), gt=0, le=1.5, min_items=2, max_items=2, help="Shortest and longest line, in parts of the side."
    )
    width: tuple[float, ...] = option(
        (0.08, 0.2), gt=0, le=1, min_items=2, max_items=2, help="Thinnest and thickest brush, in parts of the side."
    )


@attrs.frozen(kw_only=True)
class FaceParams:
    """Settings of the masks `face`: boxes of the parts of a roughly aligned face."""

    number: tuple[int, ...] = option((1, 2), ge=1, min_items=2, max_items=2, help="Fewest and most regions.")
    jitter: float = option(0.03, ge=0, le=0.5, help="How far each edge of a box may move, in parts of the side.")
    regions: Mapping[str, tuple[float, ...]] = option(
        attrs.Factory(lambda: dict(REGIONS)),
        ge=0,
        le=1,
        min_items=4,
        max_items=4,
        help="Left, top, right and bottom of each region, in parts of the sides.",
    )


@attrs.frozen(kw_only=True)
class DecoderParams:
    """Settings of the decoder."""

    width: int = option(
        128, ge=8, le=2048, help="Channels at the coarsest scale; each doubling of the size halves them."
    )
    narrowest: int = option(16, ge=4, le=2048, help="Fewest channels at the finer scales.")
    separable: bool = option(
        True, help="Depthwise-separable convolutions; false: full 3 x 3 convolutions, several times as costly."
    )


@attrs.frozen(kw_only=True)
class PerceptualParams:
    """Settings of the perceptual loss."""

    network: Literal["timm", "ema", "lpips"] = option(
        help="What compares the images: a timm model, the moving average of the run's own backbone, or LPIPS."
    )
    model: str | None = option(
        None,
        help='Of "timm": name of the model; null with packaged weights: tf_efficientnet_lite0. Of "lpips": "alex", '
        '"squeeze" or "vgg"; null: alex.',
    )
    weights: str | None = option(
        None,
        help='Of "timm": "published" (downloaded on first use), "packaged" (ImageNet, from an installed package), or a '
        "file.",
    )
    levels: tuple[int, ...] | None = option(
        None, min_items=1, help="Which feature maps are compared: 0 the finest, -1 the coarsest; null: all of them."
    )
    distance: Literal["unit", "l1", "l2"] = option(
        "unit",
        help="Between feature maps: squared difference of unit vectors at each place, or the mean absolute or squared "
        "difference; LPIPS has its own.",
    )
    weight: float = option(0.1, ge=0, help="Factor of the perceptual loss beside the loss on pixels.")
    on: Literal["composed", "prediction"] = option(
        "composed", help="Compare the image with its masked part predicted, or the whole prediction, with the original."
    )


@attrs.frozen(kw_only=True)
class InpaintingParams:
    """Settings of the pretext task `inpainting`; the paper does not tell its own.

    Examples:
        >>> from auxlearn_inpainting import InpaintingParams
        >>> InpaintingParams().mask, InpaintingParams().blocks.area
        ('blocks', (0.1, 0.4))
    """

    mask: Literal["blocks", "grid", "freeform", "face"] = option(
        "blocks", help="Shape of the masks; each shape has its settings under its own name."
    )
    blocks: BlocksParams = option(BlocksParams(), help="Rectangles.")
    grid: GridParams = option(GridParams(), help="Cells of a grid.")
    freeform: FreeformParams = option(FreeformParams(), help="Strokes of a brush.")
    face: FaceParams = option(FaceParams(), help="Parts of a face.")
    fill: Literal["mean", "zero", "noise"] = option(
        "mean", help="What stands in the masked part: the image's mean colour, black, or uniform noise."
    )
    decoder: DecoderParams = option(DecoderParams(), help="What draws the image from the feature map.")
    level: int = option(-1, help="Feature map that the decoder reads: 0 the finest, -1 the coarsest.")
    loss: Literal["l1", "l2", "charbonnier", "ssim"] = option("l1", help="Loss on pixels.")
    epsilon: float = option(1e-3, gt=0, help="Where the Charbonnier loss turns from square to absolute difference.")
    unmasked: float = option(0.1, ge=0, help="Factor of the loss on pixels that were not masked.")
    perceptual: PerceptualParams | None = option(None, help="A perceptual loss besides; null: none.")
    modality: str = option("image", help="Which of the inputs is masked.")
