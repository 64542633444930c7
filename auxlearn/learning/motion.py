"""`Motion`: what a transform did to the geometry of each image."""

from __future__ import annotations

import attrs
import torch
from torch import Tensor

__all__ = ["Motion"]


@attrs.frozen(eq=False)
class Motion:
    """One affine map a row, from source to result, in pixel coordinates with y pointing down.

    Where a transform is no affine map (a puzzle), there is no `Motion` but None: the geometry is destroyed.

    Attributes:
        matrix: [N, 2, 3]; the pixel with its centre at (x, y) moves to `matrix @ (x, y, 1)`.

    Examples:
        >>> import torch
        >>> from auxlearn.learning import Motion
        >>> shift = torch.tensor([[[1.0, 0.0, 5.0], [0.0, 1.0, 0.0]]])
        >>> Motion(shift).then(Motion(shift)).matrix[0, 0].tolist()
        [1.0, 0.0, 10.0]
    """

    matrix: Tensor

    @classmethod
    def still(cls, rows: int, device: torch.device | str | None = None) -> Motion:
        """Return the motion that leaves every pixel where it is."""
        return cls(torch.eye(2, 3, device=device).expand(rows, 2, 3))

    @classmethod
    def resize(
        cls, rows: int, scale: float, *, left: float = 0.0, top: float = 0.0, device: torch.device | str | None = None
    ) -> Motion:
        """Return the motion of a crop that begins at the pixel (`left`, `top`) and is then resized by `scale`.

        Coordinates are those of pixel centres, so the left edge of an image is at -0.5 before and after.
        """
        shift = torch.tensor([[scale, 0.0, (0.5 - left) * scale - 0.5], [0.0, scale, (0.5 - top) * scale - 0.5]])
        return cls(shift.to(device, non_blocking=True).expand(rows, 2, 3))

    def then(self, following: Motion) -> Motion:
        """Return the motion that does this one first and `following` after it."""
        linear = following.matrix[:, :, :2] @ self.matrix
        return Motion(torch.cat([linear[:, :, :2], linear[:, :, 2:] + following.matrix[:, :, 2:]], dim=2))

    def take(self, rows: Tensor | slice) -> Motion:
        """Return the motion of these rows."""
        return Motion(self.matrix[rows])
