"""Losses on pixels."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from kornia.losses import charbonnier_loss, ssim_loss
from torch import Tensor

__all__ = ["PixelLoss", "masked_mean", "pixel_loss"]

PixelLoss = Literal["l1", "l2", "charbonnier", "ssim"]

_WINDOW = 11


def pixel_loss(prediction: Tensor, target: Tensor, kind: PixelLoss = "l1", *, epsilon: float = 1e-3) -> Tensor:
    r"""Return the loss of each pixel, the mean over its channels.

    With $d$ the difference of prediction and target:

    - `"l1"`: $|d|$;
    - `"l2"`: $d^2$;
    - `"charbonnier"`: $\sqrt{d^2 + \epsilon^2} - \epsilon$, as in "Deep Laplacian Pyramid Networks" ([arXiv
      1710.01992](https://arxiv.org/abs/1710.01992)), shifted so that it is zero where nothing differs;
    - `"ssim"`: $(1 - \mathrm{SSIM}) / 2$ by kornia, with a Gaussian window of 11 pixels ("Image quality assessment:
      from error visibility to structural similarity", Wang et al. 2004, [doi
      10.1109/TIP.2003.819861](https://doi.org/10.1109/TIP.2003.819861)). A pixel near the edge of a mask is judged
      together with the prediction on the other side of that edge.

    Args:
        prediction: [N, C, H, W] in [0, 1].
        target: Like `prediction`.
        kind: Which loss.
        epsilon: Of the Charbonnier loss.

    Returns:
        [N, 1, H, W], at least float32.

    Examples:
        >>> import torch
        >>> from auxlearn_inpainting import pixel_loss
        >>> pixel_loss(torch.full((1, 3, 1, 1), 0.75), torch.zeros(1, 3, 1, 1), "l2").item()
        0.5625
    """
    dtype = torch.promote_types(torch.promote_types(prediction.dtype, target.dtype), torch.float32)
    prediction, target = prediction.to(dtype), target.to(dtype)
    if kind == "l1":
        loss = F.l1_loss(prediction, target, reduction="none")
    elif kind == "l2":
        loss = F.mse_loss(prediction, target, reduction="none")
    elif kind == "charbonnier":  # kornia's has an epsilon of 1
        loss = charbonnier_loss(prediction / epsilon, target / epsilon, reduction="none") * epsilon
    elif kind == "ssim":
        loss = ssim_loss(prediction, target, _WINDOW, reduction="none")
    else:
        raise ValueError(f"Parameter `kind` should be 'l1', 'l2', 'charbonnier' or 'ssim', found {kind!r}.")
    return loss.mean(1, keepdim=True)


def masked_mean(loss: Tensor, mask: Tensor) -> Tensor:
    """Return the mean over the pixels of each row where the mask is true, 0 for a row without any: [N].

    Args:
        loss: [N, 1, H, W].
        mask: Bool [N, 1, H, W].
    """
    chosen = torch.where(mask, loss, torch.zeros_like(loss)).sum((1, 2, 3))
    return chosen / mask.sum((1, 2, 3)).clamp(min=1)
