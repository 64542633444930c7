"""What the plugin offers, told without torch."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import attrs

from auxlearn.errors import Problem
from auxlearn.registry import CheckContext, Provider, hookimpl, option
from auxlearn_kornia import SimCLRParams as AugmentParams
from auxlearn_kornia.provider import check_simclr

__all__ = ["BarlowTwinsParams", "SimCLRParams", "auxlearn_pretext_tasks"]


@attrs.frozen(kw_only=True)
class TwinsParams:
    """Settings that both tasks have."""

    hidden: int = option(2048, ge=1, help="Width of each hidden layer of the projector.")
    modality: str = option("image", help="Which of the inputs is compared: images.")
    augment: AugmentParams = option(
        AugmentParams(),
        help="How a view is made: settings of the augmentation `simclr` of auxlearn-kornia; `eval_crop` has no effect.",
    )


@attrs.frozen(kw_only=True)
class SimCLRParams(TwinsParams):
    """Settings of the pretext task `simclr`.

    Examples:
        >>> from auxlearn_joint_embedding import SimCLRParams
        >>> SimCLRParams().temperature, SimCLRParams().augment.hue
        (0.1, 0.2)
    """

    temperature: float = option(0.1, gt=0, help="By which cosine similarities are divided.")
    out: int = option(128, ge=1, help="Width of the embedding.")
    layers: int = option(1, ge=0, help="Hidden layers of the projector.")
    norm: bool = option(False, help="BatchNorm in the projector, before each ReLU.")


@attrs.frozen(kw_only=True)
class BarlowTwinsParams(TwinsParams):
    """Settings of the pretext task `barlow_twins`.

    The paper's projector is three linear layers of 8192, for which it tuned lambda; here it is three of 2048, as fits
    an auxiliary task, with the same lambda.

    Examples:
        >>> from auxlearn_joint_embedding import BarlowTwinsParams
        >>> BarlowTwinsParams().redundancy
        0.005
    """

    redundancy: float = option(
        5e-3, ge=0, help="The paper's lambda: weight of what components say of one another, against their agreement."
    )
    out: int = option(2048, ge=2, help="Width of the embedding.")
    layers: int = option(2, ge=0, help="Hidden layers of the projector.")
    norm: bool = option(True, help="BatchNorm in the projector, before each ReLU.")


def check(params: Any, context: CheckContext) -> Iterable[Problem]:
    """Find what the schema cannot say: too few rows, a view that shows one image only, an unknown modality."""
    if context.view == "shared":
        what = "compares two views of an image, and a shared view shows one"
        yield Problem(where="/view", what=what, allowed='"own"')
    if context.rows is not None and context.rows < 2:
        yield Problem(
            what=f"compares images with one another, but gets {context.rows} of them at a time",
            fix="raise `train.batch_size` or `portion`, or lower `train.accumulate`",
        )
    for problem in check_simclr(params.augment, context):
        yield attrs.evolve(problem, where=f"/augment{problem.where}")
    yield from context.missing_input(params.modality)


def _parts(params: Any, context: Any) -> tuple[Any, Any]:
    """Return augmentation and projector of a task."""
    from auxlearn_joint_embedding.twins import projector
    from auxlearn_kornia import SimCLR as Augmentation

    # Views are as large as what the task gets, which may have been scaled down for its pass.
    augmentation = Augmentation(params.augment, size=None, modalities=(params.modality,))
    sizes = {"hidden": params.hidden, "out": params.out, "layers": params.layers, "norm": params.norm}
    return augmentation, projector(context.width_of(params.modality), **sizes)


def build_simclr(params: SimCLRParams, context: Any) -> Any:
    """Make SimCLR for the features of `context`."""
    from auxlearn_joint_embedding.simclr import SimCLR

    return SimCLR(*_parts(params, context), temperature=params.temperature, modality=params.modality)


def build_barlow_twins(params: BarlowTwinsParams, context: Any) -> Any:
    """Make Barlow Twins for the features of `context`."""
    from auxlearn_joint_embedding.barlow_twins import BarlowTwins

    return BarlowTwins(*_parts(params, context), weight=params.redundancy, modality=params.modality)


def trial() -> Any:
    """Return the conditions of the checks: a small projector, since that of the paper takes seconds a step."""
    from auxlearn.testing import Trial

    return Trial(params={"hidden": 32, "out": 16}, least_rows=2)


@hookimpl
def auxlearn_pretext_tasks() -> Iterable[Provider]:
    """Offer `simclr` and `barlow_twins`."""
    yield Provider(
        name="simclr",
        summary="Find the other view of the same image among all views (SimCLR, arXiv 2002.05709).",
        params=SimCLRParams,
        build=build_simclr,
        check=check,
        view="own",
        moves_pixels=True,
        trial=trial,
    )
    yield Provider(
        name="barlow_twins",
        summary="Views of an image agree in each component, components say different things (arXiv 2103.03230).",
        params=BarlowTwinsParams,
        build=build_barlow_twins,
        check=check,
        view="own",
        moves_pixels=True,
        trial=trial,
    )
