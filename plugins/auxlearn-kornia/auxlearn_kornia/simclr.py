"""`SimCLR`: the augmentation of contrastive learning."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from kornia.filters import get_gaussian_kernel1d
from torch import Tensor

from auxlearn_kornia.geometry import Window, resample
from auxlearn_kornia.images import ImageAugmentation, signed
from auxlearn_kornia.pixels import blur, colour_basis, recolour
from auxlearn_kornia.provider import SimCLRParams

__all__ = ["SimCLR"]

_ATTEMPTS = 10


class SimCLR(ImageAugmentation):
    """Random resized crop, mirroring, colour jitter, greyscale and blur, in this order.

    "A Simple Framework for Contrastive Learning of Visual Representations" (Chen, Kornblith, Norouzi, Hinton,
    [arXiv 2002.05709](https://arxiv.org/abs/2002.05709)), appendix A, with its magnitudes for ImageNet.

    Differences: the steps of the colour jitter have a fixed order (brightness, contrast, saturation, hue) and no
    clamping between them; the hue turns in YIQ, not in HSV (see `auxlearn_kornia.pixels`); a crop has any position
    and size, not whole pixels only; the blur's kernel, a tenth of the image, ends at three standard deviations.

    Args:
        params: The magnitudes.
        size: Side in pixels of the result, or None for the shorter side of the image.
        modalities: Names of the image modalities.

    Examples:
        >>> import torch
        >>> from auxlearn.learning import Draws
        >>> from auxlearn_kornia import SimCLR, SimCLRParams
        >>> simclr = SimCLR(SimCLRParams(), size=64)
        >>> faces = {"image": torch.randint(256, (8, 3, 80, 80), dtype=torch.uint8)}
        >>> simclr(faces, Draws(seed=0, name="augment", step=0))[0]["image"].shape
        torch.Size([8, 3, 64, 64])
    """

    names = (
        *(f"area/{k}" for k in range(_ATTEMPTS)),
        *(f"ratio/{k}" for k in range(_ATTEMPTS)),
        *("x", "y", "flip", "jitter", "brightness", "contrast", "saturation", "hue", "grayscale", "blur", "blur_sigma"),
    )

    basis: Tensor

    def __init__(self, params: SimCLRParams, *, size: int | None, modalities: tuple[str, ...] = ("image",)) -> None:
        super().__init__(size=size, eval_crop=params.eval_crop, modalities=modalities)
        for low, high in (("scale_min", "scale_max"), ("blur_sigma_min", "blur_sigma_max")):
            if getattr(params, low) > getattr(params, high):
                raise ValueError(f"`{low}` should be at most `{high}`, found {getattr(params, low)}.")
        self.params = params
        self.register_buffer("basis", colour_basis(), persistent=False)

    def transform(self, images: Tensor, units: Mapping[str, Tensor], noise: Tensor | None) -> tuple[Tensor, Window]:
        """Return the images changed as the draws say, and which part of the source they show."""
        window = self._window(images, units)
        result = self._colours(resample(images, window), units)
        if self.params.blur:
            low, high = self.params.blur_sigma_min, self.params.blur_sigma_max
            sigma = (low + (high - low) * units["blur_sigma"]) * (units["blur"] < self.params.blur)
            half = max(1, min(window.size // 10 // 2, math.ceil(3 * high)))
            result = blur(result, get_gaussian_kernel1d(2 * half + 1, sigma.unsqueeze(1)))
        return result, window

    def _window(self, images: Tensor, units: Mapping[str, Tensor]) -> Window:
        """Return the crop: the first of ten draws that fits into the image, or else the largest central one."""
        params, (height, width) = self.params, images.shape[-2:]
        area = torch.stack([units[f"area/{k}"] for k in range(_ATTEMPTS)], 1)
        area = (params.scale_min + (params.scale_max - params.scale_min) * area) * (height * width)
        ratio = torch.stack([units[f"ratio/{k}"] for k in range(_ATTEMPTS)], 1)
        ratio = (signed(ratio) * math.log(params.ratio)).exp()
        across, down = (area * ratio).sqrt(), (area / ratio).sqrt()
        fits = (across <= width) & (down <= height)
        first = fits.float().argmax(1, keepdim=True)
        fitting = fits.any(1)
        whole = min(max(width / height, 1 / params.ratio), params.ratio)
        across = across.gather(1, first).squeeze(1).where(fitting, min(width, height * whole))
        down = down.gather(1, first).squeeze(1).where(fitting, min(height, width / whole))
        return Window(
            width=across,
            height=down,
            x=(units["x"] - 0.5) * (width - across) * fitting,
            y=(units["y"] - 0.5) * (height - down) * fitting,
            angle=torch.zeros_like(across),
            mirror=1 - 2 * (units["flip"] < params.flip).float(),
            source=(height, width),
            size=self.size or min(height, width),
        )

    def _colours(self, images: Tensor, units: Mapping[str, Tensor]) -> Tensor:
        """Return the images with other colours, those that are not drawn unchanged."""
        params = self.params
        jitter = (units["jitter"] < params.jitter).float()
        saturation = 1 + jitter * params.saturation * signed(units["saturation"])
        return recolour(
            images,
            self.basis.to(images.device, non_blocking=True),
            brightness=1 + jitter * params.brightness * signed(units["brightness"]),
            contrast=1 + jitter * params.contrast * signed(units["contrast"]),
            saturation=saturation * (units["grayscale"] >= params.grayscale),
            hue=jitter * params.hue * signed(units["hue"]),
        )
