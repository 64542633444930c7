"""The networks behind the perceptual loss, each with weights that mean something or a message why not."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import attrs
from torch import nn

from auxlearn.data import InputShape
from auxlearn.errors import AuxlearnError, EnvironmentProblem, Problem, SpecError, escape
from auxlearn.learning import Backbone, BuildContext, FrozenCopy
from auxlearn_inpainting.extras import PACKAGED, PUBLISHED, missing
from auxlearn_inpainting.params import PerceptualParams
from auxlearn_inpainting.perceptual import LpipsLoss, PerceptualLoss

__all__ = ["make_perceptual"]

_HOMES = {"/model": "/perceptual/model"} | dict.fromkeys(
    ("/checkpoint", "/pretrained", "/weights"), "/perceptual/weights"
)
_PACKAGED_MODEL = "tf_efficientnet_lite0"


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
        raise type(error)([_own(problem) for problem in error.problems]) from error


def _own(problem: Problem) -> Problem:
    """Return a problem of the backbone plugin in terms of the settings here."""
    fixes = {
        "/pretrained": f'connect to the network once, or give a file, "{PACKAGED}", or "network": "ema"',
        "/checkpoint": f'"{PUBLISHED}", "{PACKAGED}", or the path of a file',
    }
    return attrs.evolve(
        problem,
        where=_HOMES.get(problem.where, "/perceptual/network"),
        fix=fixes.get(problem.where, problem.fix),
    )


def _timm(params: PerceptualParams, image: InputShape, modality: str) -> Backbone:
    """Return a timm backbone with the weights that `params` name."""
    from auxlearn_timm import TimmParams
    from auxlearn_timm.backbone import TimmBackbone

    settings = TimmParams(
        model=params.model or _PACKAGED_MODEL,
        pretrained=params.weights in {PACKAGED, PUBLISHED},
        weights="packaged" if params.weights == PACKAGED else "published",
        checkpoint=None if params.weights in {PACKAGED, PUBLISHED} else params.weights,
    )
    context = BuildContext(inputs={modality: attrs.evolve(image, dtype="float32")}, size=image.shape[-1])
    return TimmBackbone.build(settings, context)


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
