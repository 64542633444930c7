"""What the plugin offers, told without torch."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

import attrs
from auxlearn.errors import Problem, SpecError
from auxlearn.registry import Provider, hookimpl, option

__all__ = ["ResNetParams", "auxlearn_backbones"]


@attrs.frozen(kw_only=True)
class ResNetParams:
    """Settings of the backbone `torchvision_resnet`."""

    model: Literal["resnet18", "resnet34", "resnet50"] = option("resnet18", help="Which one, by torchvision's name.")


def build(params: ResNetParams, context: Any) -> Any:
    """Make the network for the inputs of `context`."""
    from auxlearn_torchvision.backbone import TorchvisionResNet

    shape = context.inputs.get("image")
    if shape is None or shape.shape[0] != 3:
        inputs = ", ".join(f'"{name}" {one.shape}' for name, one in context.inputs.items())
        raise SpecError(Problem(what=f"found the inputs {inputs}", allowed='"image" with three channels'))
    return TorchvisionResNet(params.model)


def trial() -> Any:
    """Return the conditions of conformance: at 1 x 1 pixels, BatchNorm has no statistics of a single image."""
    from auxlearn.testing import Trial

    return Trial(least_rows=2, compiles=True)


@hookimpl
def auxlearn_backbones() -> Iterable[Provider]:
    """Offer `torchvision_resnet`."""
    yield Provider(
        name="torchvision_resnet",
        summary="A ResNet of torchvision, from scratch, with four feature maps.",
        params=ResNetParams,
        build=build,
        trial=trial,
    )
