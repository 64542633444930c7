"""`Standardise`: feature vectors by their statistics, as images are normalised by mean and std."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from auxlearn.data import InputShape

__all__ = ["Standardise"]


class Standardise(nn.Module):
    """Bring each component of a feature vector to mean 0 and standard deviation 1 of the training rows.

    The statistics are persistent buffers, `mean` and `std`, float32 [width]: they travel with the weights. A component
    that is constant in training is only centred. Rows that lack the modality hold its mean, and become zeros.

    Args:
        mean: The mean of each component.
        std: The standard deviation of each component.

    Examples:
        >>> import torch
        >>> from auxlearn.learning import Standardise
        >>> Standardise((1.0, 5.0), (2.0, 0.0))(torch.tensor([[3.0, 6.0]]))
        tensor([[1., 1.]])
    """

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        if len(mean) != len(std):
            raise ValueError(f"`mean` and `std` should be of equal length, found {len(mean)} and {len(std)}.")
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float64).float())
        self.register_buffer("std", torch.tensor([one or 1.0 for one in std], dtype=torch.float64).float())

    @classmethod
    def of(cls, shape: InputShape) -> Standardise:
        """Return the module for a modality of this form; where its statistics are not known, one that changes nothing.

        Raises:
            ValueError: If there are statistics for another number of components.
        """
        width = shape.shape[-1]
        if not shape.mean and not shape.std:
            return cls((0.0,) * width, (1.0,) * width)
        if len(shape.mean) != width:
            raise ValueError(f"`mean` should have a number for each of {width} components, found {len(shape.mean)}.")
        return cls(shape.mean, shape.std)

    def forward(self, vectors: Tensor) -> Tensor:
        """Return `vectors` [..., width], standardised, in the precision of the module."""
        return ((vectors - self.mean) / self.std).to(self.mean.dtype)
