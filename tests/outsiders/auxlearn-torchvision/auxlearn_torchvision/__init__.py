"""A ResNet of torchvision, from scratch, with four feature maps.

Importing this module loads no torch.
"""

from auxlearn_torchvision.provider import ResNetParams as ResNetParams
from auxlearn_torchvision.provider import auxlearn_backbones as auxlearn_backbones

__all__ = ["ResNetParams", "auxlearn_backbones"]
