"""What the plugin offers, told without torch."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

import attrs
from auxlearn.errors import Problem
from auxlearn.registry import CheckContext, Provider, hookimpl, option

from auxlearn_patches.layout import LEAST_PATCH, Layout

__all__ = ["PatchesParams", "auxlearn_pretext_tasks"]


@attrs.frozen(kw_only=True)
class PatchesParams:
    """Settings of the pretext task `patches`; the defaults are the paper's, but for `hidden`."""

    gap: float = option(0.5, ge=0, le=4, help="Space between two patches, as part of a patch's side.")
    jitter: float = option(7 / 96, ge=0, le=0.5, help="How far each patch is moved at most, as part of its side.")
    colours: Literal["drop", "project", "keep"] = option(
        "drop", help="Against chromatic aberration: drop two channels of each patch, or project green-magenta out."
    )
    hidden: int = option(512, ge=1, help="Width of the hidden layer; the paper has two of 4096.")
    modality: str = option("image", help="Which of the inputs is cut.")


def check(params: PatchesParams, context: CheckContext) -> Iterable[Problem]:
    """Find what the schema cannot say: another view, patches of too few pixels, a modality that the data lacks."""
    if context.view not in (None, "own"):
        what = f"patches are smaller than the image, so they need a pass of their own, found {context.view}"
        yield Problem(where="/view", what=what, allowed="own")
    if context.size is not None:
        patch = Layout.of(context.size, gap=params.gap, jitter=params.jitter).patch
        if patch < LEAST_PATCH:
            what = f"images of {context.size} px give patches of {patch} px"
            fix = "use larger images (augment.size) or a smaller gap"
            yield Problem(where="/gap", what=what, allowed=f"patches of at least {LEAST_PATCH} px", fix=fix)
    yield from context.missing_input(params.modality)


def build(params: PatchesParams, context: Any) -> Any:
    """Make the task for the features of `context`."""
    from auxlearn_patches.task import Patches

    return Patches(
        context.width_of(params.modality),
        gap=params.gap,
        jitter=params.jitter,
        colours=params.colours,
        hidden=params.hidden,
        modality=params.modality,
    )


@hookimpl
def auxlearn_pretext_tasks() -> Iterable[Provider]:
    """Offer `patches`."""
    yield Provider(
        name="patches",
        summary="Tell where a patch lies, seen from another one (arXiv 1505.05192).",
        params=PatchesParams,
        build=build,
        check=check,
        view="own",
        moves_pixels=True,
    )
