"""`RandomMasking`: the masks as a kornia augmentation."""

from __future__ import annotations

from typing import Any, Literal

import torch
from kornia.augmentation import IntensityAugmentationBase2D
from kornia.augmentation.random_generator.base import RandomGeneratorBase
from torch import Tensor

from auxlearn_inpainting.masks import BlockMask, Mask, fill_masked

__all__ = ["RandomMasking"]


class _MaskGenerator(RandomGeneratorBase):
    """Draws the masks of all rows at once, and the noise that fills them."""

    def __init__(self, mask: Mask, *, noise: bool) -> None:
        super().__init__()
        self.mask, self.noise = mask, noise

    def __repr__(self) -> str:
        return f"mask={self.mask}"

    def make_samplers(self, device: torch.device, dtype: torch.dtype) -> None:
        """Do nothing: the sampler is `torch.rand`."""

    def forward(self, batch_shape: tuple[int, ...], same_on_batch: bool = False) -> dict[str, Tensor]:
        count, channels, height, width = batch_shape
        rows = min(1, count) if same_on_batch else count
        numbers = torch.rand(rows, self.mask.numbers, device=self.device, dtype=torch.float32)
        params = {"mask": self.mask.draw(numbers, height, width).expand(count, -1, -1, -1)}
        if self.noise:
            noise = torch.rand(rows, channels, height, width, device=self.device, dtype=torch.float32)
            params["noise"] = noise.expand(count, -1, -1, -1)
        return params


class RandomMasking(IntensityAugmentationBase2D):
    """Hide a random part of each image.

    Beyond kornia's `RandomErasing`, it has several shapes of masks and fills, keeps the mask for a loss to use, and
    draws for all rows at once without reading anything back from the device.

    Args:
        mask: Which pixels to hide; default: `BlockMask()`.
        fill: What stands in the masked part: `"mean"` (of each image), `"zero"` or `"noise"` (uniform in [0, 1]).
        p: Probability of masking an image.
        same_on_batch: Use one mask for the whole batch.
        keepdim: Return a single image without batch dimension as such.

    Shape:
        [N, C, H, W] or [C, H, W], float, to the same (with a batch dimension unless `keepdim`).

    Examples:
        >>> import torch
        >>> from kornia.augmentation import AugmentationSequential, RandomHorizontalFlip
        >>> from auxlearn_inpainting import GridMask, RandomMasking
        >>> masking = RandomMasking(GridMask(cells=4, portion=0.25), p=0.5)
        >>> pipeline = AugmentationSequential(RandomHorizontalFlip(), masking, data_keys=["input"])
        >>> images = torch.rand(4, 3, 32, 32)
        >>> masked = pipeline(images)
        >>> torch.equal(masked, pipeline(images, params=pipeline._params))
        True
        >>> masking.mask.shape  # where to look for what is missing
        torch.Size([4, 1, 32, 32])
    """

    def __init__(
        self,
        mask: Mask | None = None,
        fill: Literal["mean", "zero", "noise"] = "mean",
        p: float = 0.5,
        same_on_batch: bool = False,
        keepdim: bool = False,
    ) -> None:
        if fill not in {"mean", "zero", "noise"}:
            raise ValueError(f"Parameter `fill` should be 'mean', 'zero' or 'noise', found {fill!r}.")
        super().__init__(p=p, same_on_batch=same_on_batch, keepdim=keepdim)
        self._param_generator = _MaskGenerator(mask or BlockMask(), noise=fill == "noise")
        self.flags = {"fill": fill}

    @property
    def mask(self) -> Tensor:
        """The masks of the last call, bool [N, 1, H, W]: all false for images that were left alone."""
        if "mask" not in self._params:
            raise ValueError("`mask` should be read after a call, found none.")
        drawn: Tensor = self._params["mask"]
        applied = self._params["batch_prob"] > 0.5
        applied = torch.ones_like(applied) if self.p == 1 else applied  # kornia's rule, whatever the parameters say
        return drawn & applied.to(drawn.device).view(-1, 1, 1, 1)

    def apply_transform(
        self,
        input: Tensor,  # noqa: A002
        params: dict[str, Tensor],
        flags: dict[str, Any],
        transform: Tensor | None = None,
    ) -> Tensor:
        """Mask every image; kornia then keeps those that `p` selects."""
        mask = params["mask"].to(input.device, non_blocking=True)
        noise = params["noise"].to(input.device, non_blocking=True) if flags["fill"] == "noise" else None
        return fill_masked(input, mask, flags["fill"], noise)
