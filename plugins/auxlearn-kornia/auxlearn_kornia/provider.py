"""What the plugin offers, told without torch."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

import attrs

from auxlearn.errors import Problem
from auxlearn.registry import CheckContext, Provider, hookimpl, option

__all__ = ["LevelParams", "NoneParams", "SimCLRParams", "StrongParams", "WeakParams", "auxlearn_augmentations"]


@attrs.frozen(kw_only=True)
class LevelParams:
    """Settings that `none`, `weak` and `strong` have in common; each has its own defaults."""

    contrast: float = option(0.0, ge=0, le=1, help="Contrast is multiplied by 1 - contrast to 1 + contrast.")
    brightness: float = option(0.0, ge=0, le=1, help="Added to all pixels, up to this much of the range either way.")
    noise: float = option(0.0, ge=0, le=1, help="Largest standard deviation of Gaussian noise, as part of the range.")
    blur: float = option(0.0, ge=0, le=1, help="Probability of a Gaussian blur over 3 x 3 pixels.")
    blur_sigma: float = option(1.5, gt=0, help="Standard deviation of that blur in pixels.")
    rotation: float = option(0.0, ge=0, le=180, help="Largest rotation in degrees, either way.")
    crop_min: float = option(
        1.0, gt=0, le=1, help="Least side of the central square that is kept, as part of the image."
    )
    crop_max: float = option(1.0, gt=0, le=1, help="Largest side of the central square that is kept.")
    flip: float = option(0.0, ge=0, le=1, help="Probability of mirroring left and right.")
    cutout: float = option(0.0, ge=0, le=1, help="Side of a square set to black, as part of the image.")
    padding: Literal["zeros", "border", "reflection"] = option(
        "zeros", help="What is seen beyond the edge of a rotated image: black, the edge, or the mirrored image."
    )
    eval_crop: float = option(0.8, gt=0, le=1, help="Side of the central square that evaluation sees.")


def _default(field: str, value: float) -> Any:
    """Return the field of `LevelParams` with another default."""
    return attrs.field(default=value, metadata=getattr(attrs.fields(LevelParams), field).metadata)


@attrs.frozen(kw_only=True)
class NoneParams(LevelParams):
    """Settings of `none`: mirroring and a fixed central crop."""

    crop_min: float = _default("crop_min", 0.69)
    crop_max: float = _default("crop_max", 0.69)
    flip: float = _default("flip", 0.5)


@attrs.frozen(kw_only=True)
class WeakParams(LevelParams):
    """Settings of `weak`: contrast, rotation and central zoom."""

    contrast: float = _default("contrast", 0.4)
    rotation: float = _default("rotation", 15.0)
    crop_min: float = _default("crop_min", 0.69)
    crop_max: float = _default("crop_max", 0.99)


@attrs.frozen(kw_only=True)
class StrongParams(LevelParams):
    """Settings of `strong`: contrast, brightness, noise, blur, rotation, central zoom and cutout."""

    contrast: float = _default("contrast", 0.4)
    brightness: float = _default("brightness", 0.05)
    noise: float = _default("noise", 0.05)
    blur: float = _default("blur", 0.5)
    rotation: float = _default("rotation", 20.0)
    crop_min: float = _default("crop_min", 0.69)
    crop_max: float = _default("crop_max", 0.99)
    cutout: float = _default("cutout", 0.268)


@attrs.frozen(kw_only=True)
class SimCLRParams:
    """Settings of `simclr`; the defaults are the paper's for ImageNet."""

    scale_min: float = option(0.08, gt=0, le=1, help="Least area of the crop, as part of the image.")
    scale_max: float = option(1.0, gt=0, le=1, help="Largest area of the crop.")
    ratio: float = option(4 / 3, ge=1, help="Width over height of the crop lies between 1 / ratio and ratio.")
    flip: float = option(0.5, ge=0, le=1, help="Probability of mirroring left and right.")
    jitter: float = option(0.8, ge=0, le=1, help="Probability of changing the colours at all.")
    brightness: float = option(0.8, ge=0, le=1, help="Brightness is multiplied by 1 - brightness to 1 + brightness.")
    contrast: float = option(0.8, ge=0, le=1, help="Contrast is multiplied by 1 - contrast to 1 + contrast.")
    saturation: float = option(0.8, ge=0, le=1, help="Saturation is multiplied by 1 - saturation to 1 + saturation.")
    hue: float = option(0.2, ge=0, le=0.5, help="Largest turn of the hue either way, as part of the colour circle.")
    grayscale: float = option(0.2, ge=0, le=1, help="Probability of taking the colours away.")
    blur: float = option(0.5, ge=0, le=1, help="Probability of a Gaussian blur over a tenth of the image.")
    blur_sigma_min: float = option(0.1, gt=0, help="Least standard deviation of the blur in pixels.")
    blur_sigma_max: float = option(2.0, gt=0, help="Largest standard deviation of the blur in pixels.")
    eval_crop: float = option(0.875, gt=0, le=1, help="Side of the central square that evaluation sees.")


def _in_order(params: Any, *pairs: tuple[str, str]) -> Iterable[Problem]:
    """Find bounds that exclude everything."""
    for low, high in pairs:
        least, most = getattr(params, low), getattr(params, high)
        if least > most:
            yield Problem(
                where=f"/{low}", what=f"{low} is {least}, above {high}, which is {most}", allowed=f"at most {most}"
            )


def check_level(params: LevelParams, context: CheckContext) -> Iterable[Problem]:  # noqa: ARG001
    """Find what the schema cannot say: an empty range of crops."""
    return _in_order(params, ("crop_min", "crop_max"))


def check_simclr(params: SimCLRParams, context: CheckContext) -> Iterable[Problem]:  # noqa: ARG001
    """Find what the schema cannot say: empty ranges of crops and blurs."""
    return _in_order(params, ("scale_min", "scale_max"), ("blur_sigma_min", "blur_sigma_max"))


def _images(context: Any) -> tuple[str, ...]:
    """Return the names of the image modalities."""
    return tuple(name for name, shape in context.inputs.items() if shape.kind == "image")


def build_level(params: LevelParams, context: Any) -> Any:
    """Make one of the levels for the images of `context`."""
    from auxlearn_kornia.levels import Level

    return Level(params, size=context.size, modalities=_images(context))


def build_simclr(params: SimCLRParams, context: Any) -> Any:
    """Make the SimCLR augmentation for the images of `context`."""
    from auxlearn_kornia.simclr import SimCLR

    return SimCLR(params, size=context.size, modalities=_images(context))


@hookimpl
def auxlearn_augmentations() -> Iterable[Provider]:
    """Offer the three levels of HMTL, and SimCLR's augmentation."""
    levels = {
        "none": (NoneParams, "Mirroring and a fixed central crop (HMTL's level without augmentation)."),
        "weak": (WeakParams, "Contrast, rotation and central zoom (HMTL's weak level)."),
        "strong": (StrongParams, "Contrast, brightness, noise, blur, rotation, zoom and cutout (HMTL's strong level)."),
    }
    for name, (params, summary) in levels.items():
        yield Provider(name=name, summary=summary, params=params, build=build_level, check=check_level)
    yield Provider(
        name="simclr",
        summary="Random crops, mirroring, colour jitter, greyscale and blur (SimCLR, arXiv 2002.05709).",
        params=SimCLRParams,
        build=build_simclr,
        check=check_simclr,
    )
