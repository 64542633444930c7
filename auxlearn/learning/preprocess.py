"""`Preprocess`: what happens to a row without augmentation, in evaluation and in the hands of an export's user."""

from __future__ import annotations

from collections.abc import Mapping

import torch.nn.functional as F
from torch import Tensor, nn

from auxlearn.learning.motion import Motion

__all__ = ["Preprocess", "scale_pixels"]


def scale_pixels(images: Tensor) -> Tensor:
    """Return uint8 images [N, C, H, W] as floats in [0, 1]; floats stay as they are."""
    return images if images.is_floating_point() else images.float().div_(255.0)


class Preprocess(nn.Module):
    """Crop the central square of each image and resize it; other modalities pass unchanged.

    Args:
        size: Side in pixels of the result, or None not to resize; with `crop` 1 the shape is then left alone too.
        crop: Side of the central square that is kept, as a part of the shorter side.
        modalities: The names of the image modalities.

    Examples:
        >>> import torch
        >>> from auxlearn.learning import Preprocess
        >>> Preprocess(size=8, crop=0.8)({"image": torch.zeros(2, 3, 20, 20, dtype=torch.uint8)})["image"].shape
        torch.Size([2, 3, 8, 8])
    """

    def __init__(self, size: int | None = None, crop: float = 1.0, modalities: tuple[str, ...] = ("image",)) -> None:
        super().__init__()
        if not 0 < crop <= 1:
            raise ValueError(f"Parameter `crop` should be above 0 and at most 1, found {crop}.")
        self.size, self.crop, self.modalities = size, crop, modalities

    def forward(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the inputs, images [N, C, H, W] cropped, resized and scaled to [0, 1]."""
        return {name: self._image(t) if name in self.modalities else t for name, t in inputs.items()}

    def motion(self, images: Tensor) -> Motion:
        """Return what happens to the geometry of `images` [N, C, H, W]."""
        left, top, width, height = self._box(images)
        if (width, height) == images.shape[:-3:-1] and self.size in (None, width):
            return Motion.still(len(images), images.device)
        scale = 1.0 if self.size is None else self.size / width
        return Motion.resize(len(images), scale, left=left, top=top, device=images.device)

    def _box(self, images: Tensor) -> tuple[int, int, int, int]:
        """Return left, top, width and height of what is kept: a square, unless neither size nor crop ask for one."""
        height, width = images.shape[-2:]
        if self.size is None and self.crop == 1:
            return 0, 0, width, height
        side = max(1, round(self.crop * min(height, width)))
        return (width - side) // 2, (height - side) // 2, side, side

    def _image(self, images: Tensor) -> Tensor:
        left, top, width, height = self._box(images)
        images = scale_pixels(images[..., top : top + height, left : left + width])
        if self.size is None or width == self.size:
            return images
        return F.interpolate(images, size=(self.size, self.size), mode="bilinear", antialias=True, align_corners=False)
