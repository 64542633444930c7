"""What the perceptual losses need besides the plugin, told without importing any of it."""

from __future__ import annotations

import importlib.util

from auxlearn.errors import Problem, escape, nearest
from auxlearn_inpainting.params import PerceptualParams

__all__ = ["LPIPS_NETS", "PACKAGED", "PUBLISHED", "missing"]

PACKAGED, PUBLISHED = "packaged", "published"
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
    return _absent("timm", "/perceptual/network")


def _lpips(params: PerceptualParams) -> Problem | None:
    if params.model is not None and params.model not in LPIPS_NETS:
        return Problem(
            where="/perceptual/model",
            what=f'LPIPS has no network "{escape(params.model)}"',
            allowed=", ".join(f'"{net}"' for net in LPIPS_NETS),
            meant=nearest(params.model, LPIPS_NETS),
        )
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
