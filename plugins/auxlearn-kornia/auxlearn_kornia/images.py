"""`ImageAugmentation`: what the augmentations here have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor

from auxlearn.learning import Augmentation, Draws, Motion, Preprocess, scale_pixels
from auxlearn_kornia.geometry import Window

__all__ = ["ImageAugmentation", "signed"]


def signed(unit: Tensor) -> Tensor:
    """Return numbers in [0, 1) as numbers in [-1, 1)."""
    return 2 * unit - 1


class ImageAugmentation(Augmentation, ABC):
    """An augmentation of images that draws first and then computes, with nothing read back from the device.

    All numbers of a row are drawn at once, in the order of `names`, whether or not they are used: setting a
    magnitude to zero leaves the other draws as they were. Several image modalities of a row get the same draws, so
    they stay aligned; the motion is that of the first. Other modalities pass unchanged.

    Args:
        size: Side in pixels of the result, or None for the shorter side of the image.
        eval_crop: Side of the central square that evaluation sees, as part of the shorter side.
        modalities: Names of the image modalities.

    Attributes:
        names: What is drawn for each row, each uniform in [0, 1).
    """

    names: ClassVar[tuple[str, ...]]

    def __init__(self, *, size: int | None, eval_crop: float, modalities: tuple[str, ...]) -> None:
        super().__init__()
        self.size, self.modalities = size, modalities
        self.preprocess = Preprocess(size=size, crop=eval_crop, modalities=modalities)

    @abstractmethod
    def transform(self, images: Tensor, units: Mapping[str, Tensor], noise: Tensor | None) -> tuple[Tensor, Window]:
        """Return the images changed as the draws say, and which part of the source they show.

        Args:
            images: Float [N, C, H, W] in [0, 1], not to be written to.
            units: The draws by name, each [N].
            noise: What `noise` returned.
        """

    def noise(self, images: Tensor, draws: Draws) -> Tensor | None:
        """Return standard normal noise of the shape of `images`, if it is needed. Default: none."""
        return None

    @torch.no_grad()
    def forward(self, inputs: Mapping[str, Tensor], draws: Draws) -> tuple[Mapping[str, Tensor], Motion]:
        """Return the inputs with their images augmented, [0, 1], and the motion of the images."""
        rows = len(next(iter(inputs.values())))
        units = dict(zip(self.names, draws.uniform(rows, len(self.names)).unbind(1), strict=True))
        changed, motions = dict(inputs), []
        for name in self.modalities:
            if name in inputs:
                noise = self.noise(inputs[name], draws.child(name))
                with torch.autocast(inputs[name].device.type, enabled=False):
                    changed[name], window = self.transform(scale_pixels(inputs[name]), units, noise)
                    motions.append(window.motion())
        return changed, motions[0] if motions else Motion.still(rows, draws.device)
