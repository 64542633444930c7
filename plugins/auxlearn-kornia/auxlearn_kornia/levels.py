"""`Level`: the augmentation levels of HMTL."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from kornia.filters import get_gaussian_kernel1d
from torch import Tensor

from auxlearn.learning import Draws
from auxlearn_kornia.geometry import Window, resample
from auxlearn_kornia.images import ImageAugmentation, signed
from auxlearn_kornia.pixels import blur, cutout
from auxlearn_kornia.provider import LevelParams

__all__ = ["Level"]


class Level(ImageAugmentation):
    r"""Contrast, brightness, noise, blur, rotation, central zoom, mirroring and cutout, in this order.

    The levels `none`, `weak` and `strong` of "Using Self-Supervised Co-Training to Improve Facial Representation"
    (Pourmirzaei, Montazer, Esmaili, [arXiv 2105.06421](https://arxiv.org/abs/2105.06421)) with the magnitudes of the
    first author's code. With $m_c$ the mean of channel $c$ of an image,

    $$ x_c \mapsto [\,[g\,(x_c - m_c) + m_c + b\,] + \sigma\epsilon\,],
       \quad g \sim U[1 - \mathrm{contrast}, 1 + \mathrm{contrast}],
       \quad b \sim U[-\mathrm{brightness}, \mathrm{brightness}],
       \quad \sigma \sim U[0, U[0, \mathrm{noise}]], $$

    where the brackets clamp to [0, 1]. Rotation, zoom, mirroring and resizing are one resampling.

    Differences from the paper's code: there, the cutout comes after the puzzle, here before it, as all pretext tasks
    get the same augmented image; a zoomed crop has any size, not one of few; the one resampling is bilinear, where the
    code rotates to the nearest pixel and then crops and resizes; images of more than twice the result's size are shrunk
    with antialiasing, which the code never does.

    Args:
        params: The magnitudes.
        size: Side in pixels of the result, or None for the shorter side of the image.
        modalities: Names of the image modalities.

    Examples:
        >>> import torch
        >>> from auxlearn.learning import Draws
        >>> from auxlearn_kornia import Level, WeakParams
        >>> weak = Level(WeakParams(), size=64)
        >>> faces = {"image": torch.randint(256, (8, 3, 80, 80), dtype=torch.uint8)}
        >>> augmented, motion = weak(faces, Draws(seed=0, name="augment", step=0))
        >>> augmented["image"].shape, augmented["image"].dtype, motion.matrix.shape
        (torch.Size([8, 3, 64, 64]), torch.float32, torch.Size([8, 2, 3]))
    """

    names = (
        "contrast",
        "brightness",
        "noise_bound",
        "noise",
        "blur",
        "rotation",
        "crop",
        "flip",
        "cutout_x",
        "cutout_y",
    )

    def __init__(self, params: LevelParams, *, size: int | None, modalities: tuple[str, ...] = ("image",)) -> None:
        super().__init__(size=size, eval_crop=params.eval_crop, modalities=modalities)
        if params.crop_min > params.crop_max:
            raise ValueError(f"`crop_min` should be at most `crop_max`, found {params.crop_min} > {params.crop_max}.")
        self.params = params

    def noise(self, images: Tensor, draws: Draws) -> Tensor | None:
        """Return standard normal noise, drawn on the device, if the level has noise."""
        if not self.params.noise:
            return None
        return draws.on_device(len(images), lambda joint: torch.randn(joint, *images.shape[1:], device=images.device))

    def transform(self, images: Tensor, units: Mapping[str, Tensor], noise: Tensor | None) -> tuple[Tensor, Window]:
        """Return the images changed as the draws say, and which part of the source they show."""
        window = self._window(images, units)
        result = resample(self._pixels(images, units, noise), window, self.params.padding)
        if self.params.cutout:
            result = cutout(result, units["cutout_x"], units["cutout_y"], round(self.params.cutout * window.size))
        return result, window

    def _window(self, images: Tensor, units: Mapping[str, Tensor]) -> Window:
        """Return the turned central square that the result shows."""
        params, (height, width) = self.params, images.shape[-2:]
        side = min(height, width)
        kept = (params.crop_min + (params.crop_max - params.crop_min) * units["crop"]) * side
        still = torch.zeros_like(kept)
        return Window(
            width=kept,
            height=kept,
            x=still,
            y=still,
            angle=signed(units["rotation"]) * math.radians(params.rotation),
            mirror=1 - 2 * (units["flip"] < params.flip).float(),
            source=(height, width),
            size=self.size or side,
        )

    def _pixels(self, images: Tensor, units: Mapping[str, Tensor], noise: Tensor | None) -> Tensor:
        """Return the images with other values and everything in its place."""
        params = self.params
        rows = (-1, 1, 1, 1)
        if params.contrast or params.brightness:
            gain = (1 + params.contrast * signed(units["contrast"])).view(rows)
            shift = (params.brightness * signed(units["brightness"])).view(rows)
            images = (images * gain).add_(images.mean((2, 3), keepdim=True) * (1 - gain) + shift).clamp_(0, 1)
        if noise is not None:
            strength = (params.noise * units["noise_bound"] * units["noise"]).view(rows)
            images = torch.addcmul(images, noise, strength).clamp_(0, 1)
        if params.blur:
            sigma = params.blur_sigma * (units["blur"] < params.blur)
            images = blur(images, get_gaussian_kernel1d(3, sigma.unsqueeze(1)))
        return images
