"""Pretext task `inpainting`: fill in what was masked out of the image.

Offered to auxlearn through `auxlearn_pretext_tasks`. The pieces are of use without it, too: `RandomMasking` in a
kornia pipeline, the masks, the decoder and the perceptual loss anywhere. Importing this module loads no torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from auxlearn_inpainting.params import BlocksParams as BlocksParams
from auxlearn_inpainting.params import DecoderParams as DecoderParams
from auxlearn_inpainting.params import FaceParams as FaceParams
from auxlearn_inpainting.params import FreeformParams as FreeformParams
from auxlearn_inpainting.params import GridParams as GridParams
from auxlearn_inpainting.params import InpaintingParams as InpaintingParams
from auxlearn_inpainting.params import PerceptualParams as PerceptualParams
from auxlearn_inpainting.provider import auxlearn_pretext_tasks as auxlearn_pretext_tasks

if TYPE_CHECKING:
    from auxlearn_inpainting.augmentation import RandomMasking as RandomMasking
    from auxlearn_inpainting.decoder import Decoder as Decoder
    from auxlearn_inpainting.losses import pixel_loss as pixel_loss
    from auxlearn_inpainting.masks import BlockMask as BlockMask
    from auxlearn_inpainting.masks import FaceMask as FaceMask
    from auxlearn_inpainting.masks import GridMask as GridMask
    from auxlearn_inpainting.masks import Mask as Mask
    from auxlearn_inpainting.masks import fill_masked as fill_masked
    from auxlearn_inpainting.perceptual import LpipsLoss as LpipsLoss
    from auxlearn_inpainting.perceptual import PerceptualLoss as PerceptualLoss
    from auxlearn_inpainting.strokes import FreeformMask as FreeformMask
    from auxlearn_inpainting.task import Inpainting as Inpainting

# Where each public name with torch behind it lives. There is no `__dir__` beside it on purpose: pluggy reads every
# name that `dir` lists, which would import torch as soon as the plugin is registered.
_HOMES = {
    "BlockMask": "auxlearn_inpainting.masks",
    "Decoder": "auxlearn_inpainting.decoder",
    "FaceMask": "auxlearn_inpainting.masks",
    "FreeformMask": "auxlearn_inpainting.strokes",
    "GridMask": "auxlearn_inpainting.masks",
    "Inpainting": "auxlearn_inpainting.task",
    "LpipsLoss": "auxlearn_inpainting.perceptual",
    "Mask": "auxlearn_inpainting.masks",
    "PerceptualLoss": "auxlearn_inpainting.perceptual",
    "RandomMasking": "auxlearn_inpainting.augmentation",
    "fill_masked": "auxlearn_inpainting.masks",
    "pixel_loss": "auxlearn_inpainting.losses",
}

__all__ = [
    "BlockMask",
    "BlocksParams",
    "Decoder",
    "DecoderParams",
    "FaceMask",
    "FaceParams",
    "FreeformMask",
    "FreeformParams",
    "GridMask",
    "GridParams",
    "Inpainting",
    "InpaintingParams",
    "LpipsLoss",
    "Mask",
    "PerceptualLoss",
    "PerceptualParams",
    "RandomMasking",
    "auxlearn_pretext_tasks",
    "fill_masked",
    "pixel_loss",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
