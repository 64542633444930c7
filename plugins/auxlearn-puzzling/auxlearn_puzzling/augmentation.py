"""`RandomTileShuffle`: the tile shuffle as a kornia augmentation."""

from __future__ import annotations

from typing import Any, NoReturn

import torch
from kornia.augmentation import GeometricAugmentationBase2D
from kornia.augmentation.random_generator.base import RandomGeneratorBase
from kornia.constants import Resample
from torch import Tensor

from auxlearn_puzzling.tiles import invert_order, puzzle

__all__ = ["RandomTileShuffle"]


class _OrderGenerator(RandomGeneratorBase):
    """Draws the orders of all rows at once."""

    def __init__(self, grid: int) -> None:
        super().__init__()
        self.grid = grid

    def __repr__(self) -> str:
        return f"grid={self.grid}"

    def make_samplers(self, device: torch.device, dtype: torch.dtype) -> None:
        """Do nothing: the sampler is `torch.rand`."""

    def forward(self, batch_shape: tuple[int, ...], same_on_batch: bool = False) -> dict[str, Tensor]:
        rows = min(1, batch_shape[0]) if same_on_batch else batch_shape[0]
        order = torch.rand(rows, self.grid**2, device=self.device, dtype=torch.float32).argsort(1)
        return {"order": order.expand(batch_shape[0], -1)}


class RandomTileShuffle(GeometricAugmentationBase2D):
    """Cut each image into a grid of tiles and shuffle them.

    Unlike kornia's `RandomJigsaw`, it numbers tiles *and* positions row by row, so an order is its own label and the
    identity leaves the image alone; it may draw the identity; it works for any image size (see `puzzle`); it draws
    for all rows at once and reads nothing back from the device. Masks are shuffled along with the image, and `inverse`
    puts the tiles back. No matrix describes the transform: `transform_matrix` is NaN for images that were shuffled,
    and boxes and key points raise NotImplementedError.

    Args:
        grid: Tiles along each side.
        p: Probability of shuffling an image.
        same_on_batch: Use one order for the whole batch.
        keepdim: Return a single image without batch dimension as such.

    Shape:
        [N, C, H, W] or [C, H, W], float, to the same (with a batch dimension unless `keepdim`).

    Examples:
        >>> import torch
        >>> from kornia.augmentation import AugmentationSequential, RandomHorizontalFlip
        >>> from auxlearn_puzzling import RandomTileShuffle
        >>> shuffle = RandomTileShuffle(grid=3, p=0.5)
        >>> pipeline = AugmentationSequential(RandomHorizontalFlip(), shuffle, data_keys=["input"])
        >>> images = torch.rand(4, 3, 96, 96)
        >>> puzzled = pipeline(images)
        >>> torch.equal(puzzled, pipeline(images, params=pipeline._params))
        True
        >>> shuffle.order.shape  # which tile stands where: the labels
        torch.Size([4, 9])
    """

    _compute_matrix_lazily = True

    def __init__(self, grid: int = 3, p: float = 0.5, same_on_batch: bool = False, keepdim: bool = False) -> None:
        if grid < 2:
            raise ValueError(f"Parameter `grid` should be at least 2, found {grid}.")
        super().__init__(p=p, same_on_batch=same_on_batch, keepdim=keepdim)
        self._param_generator = _OrderGenerator(grid)
        self.flags = {"grid": grid, "resample": Resample.BILINEAR}

    @property
    def order(self) -> Tensor:
        """The order of the last call, int64 [N, grid * grid]: the identity for images that were left alone."""
        if "order" not in self._params:
            raise ValueError("`order` should be read after a call, found none.")
        drawn: Tensor = self._params["order"]
        applied = self._applied(self._params).to(drawn.device).unsqueeze(1)
        return torch.where(applied, drawn, torch.arange(drawn.shape[1], device=drawn.device))

    def _applied(self, params: dict[str, Tensor]) -> Tensor:
        """Return which images are shuffled, as kornia decides it: with `p=1` all, whatever the parameters say."""
        gate = params["batch_prob"] > 0.5
        return torch.ones_like(gate) if self.p == 1 else gate

    def apply_transform(
        self,
        input: Tensor,  # noqa: A002
        params: dict[str, Tensor],
        flags: dict[str, Any],
        transform: Tensor | None = None,
    ) -> Tensor:
        """Shuffle every image, or mask; kornia then keeps those that `p` selects."""
        return self._puzzle(input, params["order"], flags)

    def inverse_inputs(
        self,
        input: Tensor,  # noqa: A002
        params: dict[str, Tensor],
        flags: dict[str, Any],
        transform: Tensor | None = None,
        **kwargs: Any,
    ) -> Tensor:
        """Put the tiles back where `p` selected the image."""
        restored = self._puzzle(input, invert_order(params["order"]), {**flags, **kwargs})
        applied = self._applied(params).to(input.device, non_blocking=True).view(-1, 1, 1, 1)
        return torch.where(applied, restored, input)

    def compute_transformation(self, input: Tensor, params: dict[str, Tensor], flags: dict[str, Any]) -> Tensor:  # noqa: A002
        """Return NaN: no affine map says where the pixels went."""
        return torch.full_like(self.identity_matrix(input), torch.nan)

    def compute_inverse_transformation(self, transform: Tensor) -> Tensor:
        """Return `transform`: NaN where the image was shuffled, the identity elsewhere."""
        return transform

    def apply_transform_box(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Refuse boxes: a shuffle tears them apart."""
        raise NotImplementedError("RandomTileShuffle moves images and masks; a box has no place among shuffled tiles.")

    def apply_transform_keypoint(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Refuse key points."""
        raise NotImplementedError("RandomTileShuffle moves images and masks, no key points.")

    @staticmethod
    def _puzzle(images: Tensor, order: Tensor, flags: dict[str, Any]) -> Tensor:
        mode = "nearest-exact" if flags["resample"] == Resample.NEAREST else "bilinear"
        return puzzle(images, order.to(images.device, non_blocking=True), flags["grid"], mode)
