"""`TorchvisionResNet`: the backbone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torchvision  # type: ignore[import-untyped]
from auxlearn.learning import Backbone, Feature, Features, FeatureShape, MapShape
from torch import Tensor, nn

__all__ = ["TorchvisionResNet"]

_STAGES = ("layer1", "layer2", "layer3", "layer4")


class TorchvisionResNet(Backbone):
    """A ResNet of torchvision without its classifier, with the feature map of each of its four stages.

    "Deep Residual Learning for Image Recognition" (He, Zhang, Ren, Sun, CVPR 2016, https://arxiv.org/abs/1512.03385).
    Images are normalised by the mean and deviation of ImageNet, as the weights that torchvision offers expect it.
    Parameters have torchvision's names behind `network.`.

    Args:
        model: `"resnet18"`, `"resnet34"` or `"resnet50"`.
    """

    mean = (0.485, 0.456, 0.406)
    std = (0.229, 0.224, 0.225)
    shift: Tensor
    scale: Tensor

    def __init__(self, model: str = "resnet18") -> None:
        super().__init__()
        self.network = getattr(torchvision.models, model)(weights=None)
        width = self.network.fc.in_features
        self.network.fc = nn.Identity()
        maps = tuple(MapShape(channels=width >> 3 - level, reduction=4 << level) for level in range(4))
        self.shapes = {"image": FeatureShape(pooled=width, maps=maps)}
        self.register_buffer("shift", torch.tensor(self.mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("scale", torch.tensor(self.std).view(1, 3, 1, 1), persistent=False)

    def forward(self, inputs: Mapping[str, Tensor]) -> Features:
        """Return the features of `inputs["image"]`, images in [0, 1]."""
        network = self.network
        found = (inputs["image"] - self.shift) / self.scale
        found = network.maxpool(network.relu(network.bn1(network.conv1(found))))
        maps = []
        for stage in _STAGES:
            found = network.get_submodule(stage)(found)
            maps.append(found)
        return Features({"image": Feature(pooled=found.mean((2, 3)), maps=tuple(maps))})

    def layers(self) -> Sequence[Sequence[str]]:
        """Return the parameters of the stem, and of each block of the stages."""
        blocks = [
            f"{stage}.{name}" for stage in _STAGES for name, _ in self.network.get_submodule(stage).named_children()
        ]
        names = [name for name, _ in self.named_parameters()]
        stem = [name for name in names if name.startswith(("network.conv1.", "network.bn1."))]
        return [stem, *([name for name in names if name.startswith(f"network.{block}.")] for block in blocks)]
