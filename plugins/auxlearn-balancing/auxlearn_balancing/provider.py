"""What the plugin offers, told without torch."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

import attrs

from auxlearn.errors import Problem, SpecError, nearest
from auxlearn.registry import Provider, hookimpl, option

__all__ = ["CosineGateParams", "DwaParams", "GradNormParams", "UncertaintyParams", "auxlearn_balancers"]


@attrs.frozen(kw_only=True)
class UncertaintyParams:
    """Settings of the balancer `uncertainty`.

    Examples:
        >>> from auxlearn_balancing import UncertaintyParams
        >>> UncertaintyParams().regression, UncertaintyParams(regression=("age",)).initial
        ((), 0.0)
    """

    regression: tuple[str, ...] = option(
        (), help="Tasks whose loss is a squared error (Gaussian likelihood); the others count as cross entropies."
    )
    initial: float = option(0.0, help="Log variance of every task at the start; 0 gives cross entropies the weight 1.")


@attrs.frozen(kw_only=True)
class DwaParams:
    """Settings of the balancer `dwa`.

    Examples:
        >>> from auxlearn_balancing import DwaParams
        >>> DwaParams().temperature
        2.0
    """

    temperature: float = option(2.0, gt=0, help="The paper's T: the higher, the more equal the weights.")


@attrs.frozen(kw_only=True)
class GradNormParams:
    """Settings of the balancer `gradnorm`.

    Examples:
        >>> from auxlearn_balancing import GradNormParams
        >>> GradNormParams().alpha
        1.5
    """

    alpha: float = option(1.5, ge=0, help="Strength by which tasks that train slower get larger gradients; 0: equal.")


@attrs.frozen(kw_only=True)
class CosineGateParams:
    """Settings of the balancer `cosine_gate`.

    Examples:
        >>> from auxlearn_balancing import CosineGateParams
        >>> CosineGateParams().mode
        'weighted'
    """

    mode: Literal["weighted", "unweighted"] = option(
        "weighted", help="Auxiliary gradients count by their cosine, or wholly; in both only where it is above 0."
    )


def build_uncertainty(params: UncertaintyParams, context: Any) -> Any:
    """Make the balancer for the tasks of `context`."""
    from auxlearn_balancing.uncertainty import Uncertainty

    problems = [
        Problem(
            where=f"/regression/{number}",
            what=f'there is no task "{name}"',
            allowed=", ".join(context.tasks),
            meant=nearest(name, context.tasks),
        )
        for number, name in enumerate(params.regression)
        if name not in context.tasks
    ]
    if problems:
        raise SpecError(problems)
    return Uncertainty(context.tasks, regression=params.regression, initial=params.initial)


def build_dwa(params: DwaParams, context: Any) -> Any:
    """Make the balancer for the tasks of `context`."""
    from auxlearn_balancing.dwa import DynamicWeightAverage

    return DynamicWeightAverage(context.tasks, temperature=params.temperature)


def build_gradnorm(params: GradNormParams, context: Any) -> Any:
    """Make the balancer for the tasks of `context`."""
    from auxlearn_balancing.gradnorm import GradNorm

    return GradNorm(context.tasks, alpha=params.alpha)


def build_cosine_gate(params: CosineGateParams, _context: Any) -> Any:
    """Make the balancer."""
    from auxlearn_balancing.cosine_gate import CosineGate

    return CosineGate(params.mode)


def build_pcgrad(_params: Any, _context: Any) -> Any:
    """Make the balancer."""
    from auxlearn_balancing.pcgrad import PCGrad

    return PCGrad()


@hookimpl
def auxlearn_balancers() -> Iterable[Provider]:
    """Offer the five balancers."""
    yield Provider(
        name="uncertainty",
        summary="Weights by the learned uncertainty of each task (Kendall, Gal, Cipolla, arXiv 1705.07115).",
        params=UncertaintyParams,
        build=build_uncertainty,
    )
    yield Provider(
        name="dwa",
        summary="Dynamic Weight Average: weights by how fast each loss fell in the last epochs (arXiv 1803.10704).",
        params=DwaParams,
        build=build_dwa,
    )
    yield Provider(
        name="gradnorm",
        summary="GradNorm: learned weights that let all tasks train at similar rates (arXiv 1711.02257).",
        params=GradNormParams,
        build=build_gradnorm,
        needs="gradients",
    )
    yield Provider(
        name="cosine_gate",
        summary="Auxiliary gradients count where they agree with the primary tasks' (Du et al., arXiv 1812.02224).",
        params=CosineGateParams,
        build=build_cosine_gate,
        needs="gradients",
    )
    yield Provider(
        name="pcgrad",
        summary="PCGrad: each task's gradient loses what conflicts with another's (arXiv 2001.06782).",
        build=build_pcgrad,
        needs="gradients",
    )
