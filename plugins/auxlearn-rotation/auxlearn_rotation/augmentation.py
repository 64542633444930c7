"""`RandomQuarterTurn`: the rotation by multiples of 90 degrees as a kornia augmentation."""

from __future__ import annotations

from typing import Any

import torch
from kornia.augmentation import GeometricAugmentationBase2D
from kornia.augmentation.random_generator.base import RandomGeneratorBase
from kornia.constants import Resample
from kornia.geometry.boxes import Boxes
from kornia.geometry.keypoints import Keypoints
from torch import Tensor

from auxlearn_rotation.turns import quarter_turn, turn_motion

__all__ = ["RandomQuarterTurn"]


class _TurnGenerator(RandomGeneratorBase):
    """Draws the turns of all rows at once."""

    def __init__(self, tiles: int) -> None:
        super().__init__()
        self.tiles = tiles

    def __repr__(self) -> str:
        return f"tiles={self.tiles}"

    def make_samplers(self, device: torch.device, dtype: torch.dtype) -> None:
        """Do nothing: the sampler is `torch.randint`."""

    def forward(self, batch_shape: tuple[int, ...], same_on_batch: bool = False) -> dict[str, Tensor]:
        rows = min(1, batch_shape[0]) if same_on_batch else batch_shape[0]
        turns = torch.randint(4, (rows, self.tiles**2), device=self.device)
        return {"turns": turns.expand(batch_shape[0], -1)}


class RandomQuarterTurn(GeometricAugmentationBase2D):
    """Turn each image, or each tile of it, counterclockwise by 0, 90, 180 or 270 degrees, all alike probable.

    Pixels are moved, not interpolated. Masks, boxes and key points are turned along, and `inverse` turns everything
    back. For tiles there is no matrix: `transform_matrix` is then NaN for images that were changed, and boxes and key
    points raise NotImplementedError. Nothing is read back from the device.

    Args:
        tiles: Tiles along each side that are turned on their own, where they are; 1 for the whole image.
        p: Probability of turning an image; with 0 turns among the draws.
        same_on_batch: Use the same turns for the whole batch.
        keepdim: Return a single image without batch dimension as such.

    Shape:
        [N, C, S, S] or [C, S, S], float and square, to the same (with a batch dimension unless `keepdim`).

    Examples:
        >>> import torch
        >>> from kornia.augmentation import AugmentationSequential
        >>> from auxlearn_rotation import RandomQuarterTurn
        >>> rotate = RandomQuarterTurn(p=0.5)
        >>> pipeline = AugmentationSequential(rotate, data_keys=["input"])
        >>> images = torch.rand(4, 3, 96, 96)
        >>> torch.equal(pipeline.inverse(pipeline(images)), images)
        True
        >>> rotate.turns.shape  # how often each was turned: the labels
        torch.Size([4, 1])
    """

    _compute_matrix_lazily = True

    def __init__(self, tiles: int = 1, p: float = 0.5, same_on_batch: bool = False, keepdim: bool = False) -> None:
        if tiles < 1:
            raise ValueError(f"Parameter `tiles` should be at least 1, found {tiles}.")
        super().__init__(p=p, same_on_batch=same_on_batch, keepdim=keepdim)
        self._param_generator = _TurnGenerator(tiles)
        self.flags = {"tiles": tiles, "resample": Resample.BILINEAR}

    @property
    def turns(self) -> Tensor:
        """The turns of the last call, int64 [N, tiles * tiles]: 0 for images that were left alone."""
        if "turns" not in self._params:
            raise ValueError("`turns` should be read after a call, found none.")
        drawn: Tensor = self._params["turns"]
        return drawn * self._applied(self._params).to(drawn.device).unsqueeze(1)

    def _applied(self, params: dict[str, Tensor]) -> Tensor:
        """Return which images are turned, as kornia decides it: with `p=1` all, whatever the parameters say."""
        gate = params["batch_prob"] > 0.5
        return torch.ones_like(gate) if self.p == 1 else gate

    def apply_transform(
        self,
        input: Tensor,  # noqa: A002
        params: dict[str, Tensor],
        flags: dict[str, Any],
        transform: Tensor | None = None,
    ) -> Tensor:
        """Turn every image, or mask; kornia then keeps those that `p` selects."""
        return self._turn(input, params["turns"], flags)

    def inverse_inputs(
        self,
        input: Tensor,  # noqa: A002
        params: dict[str, Tensor],
        flags: dict[str, Any],
        transform: Tensor | None = None,
        **kwargs: Any,
    ) -> Tensor:
        """Turn back what was turned."""
        applied = self._applied(params).to(params["turns"].device).unsqueeze(1)
        return self._turn(input, -params["turns"] * applied, {**flags, **kwargs})

    def compute_transformation(self, input: Tensor, params: dict[str, Tensor], flags: dict[str, Any]) -> Tensor:  # noqa: A002
        """Return the rotation about the image's centre: [N, 3, 3]; NaN for turned tiles, which no matrix describes."""
        matrix: Tensor = self.identity_matrix(input)
        if flags["tiles"] > 1:
            return torch.full_like(matrix, torch.nan)
        turned = turn_motion(params["turns"][:, 0], input.shape[-1]).matrix
        return torch.cat([turned.to(matrix, non_blocking=True), matrix[:, 2:]], 1)

    def compute_inverse_transformation(self, transform: Tensor) -> Tensor:
        """Return the matrices that turn back: in closed form, as a matrix inverse would read from the device."""
        linear = transform[:, :2, :2].transpose(1, 2)
        return torch.cat([torch.cat([linear, -linear @ transform[:, :2, 2:]], 2), transform[:, 2:]], 1)

    def apply_transform_box(
        self,
        input: Boxes,  # noqa: A002
        params: dict[str, Tensor],
        flags: dict[str, Any],
        transform: Tensor | None = None,
    ) -> Boxes:
        """Turn boxes along; refuse them where tiles are turned, which tears boxes apart."""
        self._refuse_tiles("boxes", flags)
        return super().apply_transform_box(input, params, flags, transform)

    def apply_transform_keypoint(
        self,
        input: Keypoints,  # noqa: A002
        params: dict[str, Tensor],
        flags: dict[str, Any],
        transform: Tensor | None = None,
    ) -> Keypoints:
        """Turn key points along; refuse them where tiles are turned."""
        self._refuse_tiles("key points", flags)
        return super().apply_transform_keypoint(input, params, flags, transform)

    @staticmethod
    def _refuse_tiles(what: str, flags: dict[str, Any]) -> None:
        if flags["tiles"] > 1:
            raise NotImplementedError(f"RandomQuarterTurn moves images and masks, no {what}, where it turns tiles.")

    @staticmethod
    def _turn(images: Tensor, turns: Tensor, flags: dict[str, Any]) -> Tensor:
        mode = "nearest-exact" if flags["resample"] == Resample.NEAREST else "bilinear"
        return quarter_turn(images, turns.to(images.device, non_blocking=True), flags["tiles"], mode)
