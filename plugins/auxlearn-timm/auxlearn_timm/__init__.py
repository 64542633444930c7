"""timm for auxlearn: its models as backbones and as exports, its optimizers, and the schedules that torch has not.

This module loads neither timm nor torch: they are imported when something is built.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

import attrs

from auxlearn.registry import Provider, hookimpl, option

__all__ = ["TimmCosineParams", "TimmOptimizerParams", "TimmParams", "TimmWsdParams"]


@attrs.frozen(kw_only=True)
class TimmParams:
    """Params of the backbone `timm`."""

    model: str = option(
        help='Name of a timm model, with the tag of its weights if wanted: "efficientnet_b0", "resnet18.a1_in1k".'
    )
    pretrained: bool = option(False, help="Start from timm's published weights; they are downloaded on first use.")
    weights: Literal["published", "packaged"] = option(
        "published",
        help="Where pretrained weights come from: timm's download, or an installed package of ImageNet weights, which "
        "there is for tf_efficientnet_lite0, 1 and 2.",
    )
    checkpoint: str | None = option(
        None, help="Start from the weights in this file: safetensors, or a torch file without code in it."
    )
    drop_rate: float | None = option(None, ge=0, lt=1, help="Dropout before the pooled feature; null: the model's own.")
    drop_path_rate: float | None = option(
        None, ge=0, lt=1, help="Stochastic depth (arXiv 1603.09382) in the last block; null: the model's own."
    )
    levels: tuple[int, ...] | None = option(
        None, ge=0, help="Which feature maps to give, counted from the input; null: the deepest of each resolution."
    )
    mean: tuple[float, ...] | None = option(
        None, min_items=1, help="Mean of each channel, pixels in [0, 1]; null: what the model was published with."
    )
    std: tuple[float, ...] | None = option(
        None, gt=0, min_items=1, help="Standard deviation of each channel; null: what the model was published with."
    )


@attrs.frozen(kw_only=True)
class TimmOptimizerParams:
    """Params of the optimizer `timm`."""

    name: str = option(help='Name of a timm optimizer: "adabelief", "lamb", "lion", "nadamw", ...')
    momentum: float | None = option(None, ge=0, lt=1, help="Momentum; null: 0.9 where the optimizer has one.")
    betas: tuple[float, ...] | None = option(
        None, ge=0, lt=1, min_items=1, help="Decay of the moving averages; null: the optimizer's own."
    )
    eps: float | None = option(None, gt=0, help="Added to the denominator; null: the optimizer's own.")
    lookahead: bool = option(False, help="Wrap it in Lookahead (arXiv 1907.08610).")
    lookahead_steps: int = option(6, ge=1, help="Steps between two updates of Lookahead's slow weights.")
    lookahead_rate: float = option(0.5, gt=0, le=1, help="How far the slow weights move towards the fast ones.")


@attrs.frozen(kw_only=True)
class TimmCosineParams:
    """Params of the schedule `timm_cosine`."""

    final: float = option(0.0, ge=0, le=1, help="Learning rate at the end of a cycle, as a part of the highest.")
    cycles: int = option(1, ge=1, help="Cycles in the whole training.")
    cycle_mul: float = option(1.0, gt=0, help="Length of each cycle as a multiple of the one before.")
    cycle_decay: float = option(1.0, gt=0, le=1, help="Height of each cycle as a part of the one before.")
    k_decay: float = option(1.0, gt=0, help="Exponent of k-decay (arXiv 2004.05909): above 1 stays high for longer.")
    noise: tuple[float, ...] | None = option(
        None,
        ge=0,
        le=1,
        min_items=2,
        max_items=2,
        help="Add noise between these two parts of the training; null: none.",
    )
    noise_std: float = option(1.0, gt=0, help="Standard deviation of the noise, as a part of the learning rate.")
    noise_limit: float = option(0.67, gt=0, lt=1, help="Largest noise, as a part of the learning rate.")
    noise_seed: int = option(42, ge=0, help="Seed of the noise.")


@attrs.frozen(kw_only=True)
class TimmWsdParams:
    """Params of the schedule `timm_wsd`."""

    final: float = option(0.0, ge=0, le=1, help="Learning rate at the end, as a part of the highest.")
    decay: float = option(0.2, gt=0, le=1, help="Part of the training over which the learning rate falls.")
    shape: Literal["1-sqrt", "linear", "cosine", "exp"] = option("1-sqrt", help="How it falls.")


@hookimpl
def auxlearn_backbones() -> Iterable[Provider]:
    """Offer every model of timm."""

    def build(params: TimmParams, context: Any) -> Any:
        from auxlearn_timm.backbone import TimmBackbone

        return TimmBackbone.build(params, context)

    def trial() -> Any:
        from auxlearn.testing import Trial

        return Trial(params={"model": "test_resnet"}, compiles=True)

    yield Provider(
        name="timm",
        summary="Any timm model: pooled and multi-scale features.",
        params=TimmParams,
        build=build,
        trial=trial,
    )


@hookimpl
def auxlearn_optimizers() -> Iterable[Provider]:
    """Offer timm's optimizers."""

    def build(params: TimmOptimizerParams, groups: list[dict[str, Any]]) -> Any:
        from auxlearn_timm.optimizers import build_optimizer

        return build_optimizer(params, groups)

    def trial() -> Any:
        from auxlearn.testing import Trial

        return Trial(params={"name": "lamb"})

    yield Provider(
        name="timm",
        summary="Any timm optimizer, also with Lookahead.",
        params=TimmOptimizerParams,
        build=build,
        trial=trial,
    )


@hookimpl
def auxlearn_schedules() -> Iterable[Provider]:
    """Offer those of timm's schedules that torch has not."""

    def cosine(params: TimmCosineParams, context: Any) -> Any:
        from auxlearn_timm.schedules import cosine as make

        return make(params, context)

    def wsd(params: TimmWsdParams, context: Any) -> Any:
        from auxlearn_timm.schedules import warmup_stable_decay as make

        return make(params, context)

    yield Provider(
        name="timm_cosine", summary="Cosine with cycles, k-decay and noise.", params=TimmCosineParams, build=cosine
    )
    yield Provider(
        name="timm_wsd",
        summary="Constant, then a fall at the end (warm-up, stable, decay).",
        params=TimmWsdParams,
        build=wsd,
    )


@hookimpl
def auxlearn_exporters() -> Iterable[Provider]:
    """Offer the format that plain timm loads."""

    def build(_params: Any, _context: Any) -> Any:
        from auxlearn_timm.exporter import TimmExporter

        return TimmExporter()

    yield Provider(name="timm", summary="Weights for timm.create_model(..., checkpoint_path=...).", build=build)
