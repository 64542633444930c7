r"""Changes to the values of pixels, each row its own: colours, blur, cutout.

With weights $w$ for luma, let $G = 1 w^T$ take a colour to its grey, $I - G$ to the rest, and $Q$ turn that rest by a
quarter of the colour circle (in YIQ). Brightness $b$, contrast $c$ about the grey mean $\mu$, saturation $s$ and a
turn of the hue by $\theta$, in this order, are then one affine map:

$$ x \mapsto bc\,[G + s \cos\theta\,(I - G) + s \sin\theta\,Q]\,x + (1 - c)\,b\mu. $$

kornia's `ColorJitter` computes the steps one after the other, with clamping between them and the hue in HSV: 12 to 20
times slower on a CPU. For the same reason `blur` adds shifted images instead of kornia's convolution with a group for
every row and channel (2 to 4 times slower for small kernels).
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["blur", "colour_basis", "cutout", "recolour"]

# Luma and the two colour axes of NTSC's YIQ; the first row are the weights of ITU-R BT.601.
_YIQ = ((0.299, 0.587, 0.114), (0.5959, -0.2746, -0.3213), (0.2115, -0.5227, 0.3112))


def colour_basis() -> Tensor:
    """Return the matrices G, I - G and Q, each as a row: float [3, 9]."""
    yiq = torch.tensor(_YIQ, dtype=torch.float64)
    turn = torch.tensor([[0.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, -1.0, 0.0]], dtype=torch.float64)
    grey = yiq[:1].expand(3, 3)
    rest = torch.eye(3, dtype=torch.float64) - grey
    return torch.stack([grey, rest, yiq.inverse() @ turn @ yiq]).view(3, 9).float()


def recolour(
    images: Tensor, basis: Tensor, *, brightness: Tensor, contrast: Tensor, saturation: Tensor, hue: Tensor
) -> Tensor:
    """Return the images with other colours, clamped to [0, 1] once, at the end.

    Images without three channels have no colours: for them, brightness and contrast count.

    Args:
        images: Float [N, C, H, W].
        basis: What `colour_basis` returns, on the device of the images.
        brightness: Factor of all channels, [N].
        contrast: Factor of the distance to the grey mean, [N].
        saturation: Factor of the distance to a pixel's grey, [N].
        hue: Turn as part of the colour circle, [N].
    """
    count, channels = images.shape[:2]
    gain = brightness * contrast
    means = images.mean((2, 3))
    lift = (1 - contrast) * brightness
    if channels != 3:
        lift = (lift * means.mean(1)).view(count, 1, 1, 1)
        return (images * gain.view(count, 1, 1, 1) + lift).clamp_(0, 1)
    basis = basis.to(images.dtype)  # a run in a "true" precision converts the buffers of all modules
    angle = 2 * math.pi * hue
    parts = torch.stack([gain, gain * saturation * angle.cos(), gain * saturation * angle.sin()], 1)
    matrix = (parts.unsqueeze(2) * basis).sum(1).view(count, 3, 3)
    lift = (lift * (means * basis[0, :3]).sum(1)).view(count, 1, 1)
    return torch.bmm(matrix, images.flatten(2)).add_(lift).clamp_(0, 1).view(images.shape)


def blur(images: Tensor, kernels: Tensor) -> Tensor:
    """Return the images filtered along both sides with a kernel for each row; edges are mirrored.

    Args:
        images: Float [N, C, H, W], with sides above half the kernel's.
        kernels: Odd, adding up to 1: [N, K].
    """
    taps = kernels.shape[1]
    weights = kernels.view(-1, taps, 1, 1, 1).unbind(1)
    half = taps // 2
    for side, padding in ((2, [0, 0, half, half]), (3, [half, half, 0, 0])):
        padded = F.pad(images, padding, mode="reflect")
        length = images.shape[side]
        images = padded.narrow(side, 0, length) * weights[0]
        for shift in range(1, taps):
            images.addcmul_(padded.narrow(side, shift, length), weights[shift])
    return images


def cutout(images: Tensor, x: Tensor, y: Tensor, side: int) -> Tensor:
    """Set a square of each image to black, in place; what lies beyond the edge is cut off.

    Args:
        images: [N, C, H, W].
        x: Where the square's centre is, as part of the width, [N].
        y: The same for the height, [N].
        side: Its side in pixels.
    """
    height, width = images.shape[-2:]
    rows = _within(y * height, side, height, images.device)
    columns = _within(x * width, side, width, images.device)
    return images.masked_fill_((rows.unsqueeze(2) & columns.unsqueeze(1)).unsqueeze(1), 0)


def _within(centre: Tensor, side: int, length: int, device: torch.device) -> Tensor:
    """Return which of `length` pixels lie in the run of `side` pixels around each centre: bool [N, length]."""
    first = (centre.floor() - side // 2).unsqueeze(1)
    places = torch.arange(length, device=device)
    return (places >= first) & (places < first + side)
