"""The engine's own providers: a plugin like any other, only always there."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

import attrs

from auxlearn.registry import Provider, hookimpl, option

__all__ = ["Adam", "AdamW", "Cosine", "GeometricMean", "Linear", "Sgd", "Step"]


@attrs.frozen(kw_only=True)
class AdamW:
    """Params of `adamw` (Decoupled Weight Decay Regularization, arXiv 1711.05101)."""

    betas: tuple[float, float] = option((0.9, 0.999), ge=0, lt=1, help="Decay of the two moving averages.")
    eps: float = option(1e-8, gt=0, help="Added to the denominator.")


@attrs.frozen(kw_only=True)
class Adam(AdamW):
    """Params of `adam` (arXiv 1412.6980)."""


@attrs.frozen(kw_only=True)
class Sgd:
    """Params of `sgd`."""

    momentum: float = option(0.9, ge=0, lt=1, help="Momentum.")
    nesterov: bool = option(False, help="Nesterov's form of the momentum.")


@attrs.frozen(kw_only=True)
class Cosine:
    """Params of `cosine` (SGDR without restarts, arXiv 1608.03983)."""

    final: float = option(0.0, ge=0, le=1, help="Learning rate at the end, as a part of the highest.")


@attrs.frozen(kw_only=True)
class Linear(Cosine):
    """Params of `linear`."""


@attrs.frozen(kw_only=True)
class Step:
    """Params of `step`."""

    milestones: tuple[int, ...] = option(help="Epochs after which the learning rate falls.", ge=1)
    gamma: float = option(0.1, gt=0, le=1, help="Factor at each milestone.")


@attrs.frozen(kw_only=True)
class GeometricMean:
    """Params of `geometric` (arXiv 1904.08492)."""

    over: Literal["views", "tasks"] = option(
        "views", help="What the mean is taken over: the views of each task, or the tasks."
    )
    eps: float = option(1e-8, gt=0, help="Losses below this count as this much.")


@hookimpl
def auxlearn_optimizers() -> Iterable[Provider]:
    """Offer torch's optimizers that the field uses most."""

    def adamw(params: AdamW, groups: list[dict[str, Any]]) -> Any:
        from torch.optim import AdamW as TorchAdamW

        return TorchAdamW(groups, betas=params.betas, eps=params.eps, fused=True)

    def adam(params: Adam, groups: list[dict[str, Any]]) -> Any:
        from torch.optim import Adam as TorchAdam

        return TorchAdam(groups, betas=params.betas, eps=params.eps, fused=True)

    def sgd(params: Sgd, groups: list[dict[str, Any]]) -> Any:
        from torch.optim import SGD

        return SGD(groups, momentum=params.momentum, nesterov=params.nesterov, fused=True)

    yield Provider(name="adamw", summary="Adam with decoupled weight decay.", params=AdamW, build=adamw)
    yield Provider(name="adam", summary="Adam; weight decay is added to the gradient.", params=Adam, build=adam)
    yield Provider(name="sgd", summary="Stochastic gradient descent with momentum.", params=Sgd, build=sgd)


@hookimpl
def auxlearn_schedules() -> Iterable[Provider]:
    """Offer torch's schedules that the field uses most; the engine puts the warm-up before them."""

    def cosine(params: Cosine, context: Any) -> Any:
        from auxlearn.training.schedules import cosine as make

        return make(context, final=params.final)

    def linear(params: Linear, context: Any) -> Any:
        from auxlearn.training.schedules import linear as make

        return make(context, final=params.final)

    def step(params: Step, context: Any) -> Any:
        from auxlearn.training.schedules import multistep as make

        return make(context, milestones=params.milestones, gamma=params.gamma)

    def milestones() -> Any:
        from auxlearn.testing import Trial

        return Trial(params={"milestones": [2]})

    def constant(_params: Any, context: Any) -> Any:
        from auxlearn.training.schedules import linear as make

        return make(context, final=1.0)

    yield Provider(name="cosine", summary="Half a cosine down to `final`.", params=Cosine, build=cosine)
    yield Provider(name="linear", summary="A straight line down to `final`.", params=Linear, build=linear)
    yield Provider(
        name="step", summary="A fall by `gamma` at each milestone.", params=Step, build=step, trial=milestones
    )
    yield Provider(name="constant", summary="The same learning rate throughout.", build=constant)


@hookimpl
def auxlearn_balancers() -> Iterable[Provider]:
    """Offer the weighted sum and the geometric mean."""

    def fixed(_params: Any, _context: Any) -> Any:
        from auxlearn.learning.balancing import Fixed

        return Fixed()

    def geometric(params: GeometricMean, _context: Any) -> Any:
        from auxlearn.learning.balancing import Geometric

        return Geometric(params.over, eps=params.eps)

    yield Provider(name="fixed", summary="The sum of the losses by the weights of the spec.", build=fixed)
    yield Provider(
        name="geometric",
        summary="The geometric mean of each task's losses on several views, or of the tasks (arXiv 1904.08492).",
        params=GeometricMean,
        build=geometric,
        needs="losses",
    )


@hookimpl
def auxlearn_augmentations() -> Iterable[Provider]:
    """Offer the absence of augmentation."""

    def identity(_params: Any, context: Any) -> Any:
        from auxlearn.learning.identity import Identity

        return Identity.build(context)

    yield Provider(name="identity", summary="No augmentation: resize, scale to [0, 1].", build=identity)


@hookimpl
def auxlearn_exporters() -> Iterable[Provider]:
    """Offer the formats of safetensors, torch and ONNX."""

    def state_dict(_params: Any, context: Any) -> Any:
        from auxlearn.results.formats import StateDict

        return StateDict(context.registry)

    def torch_export(_params: Any, _context: Any) -> Any:
        from auxlearn.results.formats import TorchExport

        return TorchExport()

    def onnx(_params: Any, _context: Any) -> Any:
        from auxlearn.results.formats import Onnx

        return Onnx()

    yield Provider(name="state_dict", summary="Weights as safetensors, under the names of training.", build=state_dict)
    yield Provider(name="torch_export", summary="A program of torch.export, for any batch size.", build=torch_export)
    yield Provider(name="onnx", summary="An ONNX graph, for any batch size; needs auxlearn[onnx].", build=onnx)
