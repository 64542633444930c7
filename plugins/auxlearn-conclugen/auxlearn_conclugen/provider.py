"""What the plugin offers, told without torch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from typing import Any

import attrs

from auxlearn.errors import Problem, SpecError, nearest, pointer
from auxlearn.registry import CheckContext, Provider, hookimpl
from auxlearn_conclugen.joins import wrong_joins
from auxlearn_conclugen.params import (
    ClusteringParams,
    ContrastiveParams,
    FeatureSimCLRParams,
    GatedMultimodalParams,
    ReconstructionParams,
)
from auxlearn_conclugen.presets import PRESETS
from auxlearn_conclugen.trials import trial_of_backbone, trial_of_clustering, trial_of_simclr, trial_of_task

__all__ = ["auxlearn_backbones", "auxlearn_presets", "auxlearn_pretext_tasks"]


def check_backbone(params: GatedMultimodalParams, context: CheckContext) -> Iterator[Problem]:
    """Find what the schema cannot say: names that are no inputs, or stand for two things."""
    known = [name for name, shape in context.data.inputs.items() if len(shape) < 3] if context.data else []
    yield from wrong_joins(params.join, known)
    names = [*known, *params.join] if known else []
    if known and params.modalities is None:
        joined = {part for parts in params.join.values() for part in parts}
        names = [name for name in names if name not in joined]
    yield from _twice(params.modalities)
    for place, name in enumerate(params.modalities or ()):
        if names and name not in names:
            yield _unknown(f"/modalities/{place}", name, names, "neither the data nor `join` has a modality")
    for name in params.units:
        of = list(params.modalities or names)
        if of and name not in of:
            yield _unknown(pointer("units", name), name, of, "the backbone has no modality")


def check_task(params: Any, context: CheckContext) -> Iterator[Problem]:
    """Find what the schema cannot say about a task that asks about inputs as they are."""
    if context.view in ("own", "shared"):
        what = "asks about the inputs as they are, and a view of its own would show the same"
        yield Problem(where="/view", what=what, allowed='"clean"')
    yield from _twice(params.modalities)


def check_contrastive(params: ContrastiveParams, context: CheckContext) -> Iterator[Problem]:
    """Find too few modalities, and too few rows to tell apart."""
    yield from check_task(params, context)
    yield from _two(params, context, "compares modalities")
    yield from _rows(context)


def check_clustering(params: ClusteringParams, context: CheckContext) -> Iterator[Problem]:
    """Find more clusters than rows."""
    yield from check_task(params, context)
    rows = context.batch_size if context.rows_together is None else context.rows_together
    if params.clusters > rows:
        what = f"there are {params.clusters} clusters, but {rows} rows in a micro-batch, which is clustered on its own"
        fix = "lower `clusters` or `train.accumulate`, or raise `train.batch_size` or `portion`"
        yield Problem(where="/clusters", what=what, allowed=f"at most {rows}", fix=fix)


def check_reconstruction(params: ReconstructionParams, context: CheckContext) -> Iterator[Problem]:
    """Find too few modalities to tell one from another."""
    yield from check_task(params, context)
    if params.targets != "own":
        yield from _two(params, context, "tells a modality from another")


def check_simclr(params: FeatureSimCLRParams, context: CheckContext) -> Iterator[Problem]:
    """Find a view that shows each row once, and too few rows to tell apart."""
    if context.view in ("clean", "shared"):
        what = f"compares two views of a row, and a {context.view} view shows one"
        yield Problem(where="/view", what=what, allowed='"own"')
    yield from _twice(params.modalities)
    yield from _rows(context)


def _unknown(where: str, name: str, known: Iterable[str], what: str) -> Problem:
    known = list(known)
    return Problem(where=where, what=f'{what} "{name}"', allowed=", ".join(known), meant=nearest(name, known))


def _twice(modalities: tuple[str, ...] | None) -> Iterator[Problem]:
    for place, name in enumerate(modalities or ()):
        if name in (modalities or ())[:place]:
            yield Problem(where=f"/modalities/{place}", what=f'"{name}" is there twice')


def _two(params: Any, context: CheckContext, why: str) -> Iterator[Problem]:
    """Yield a problem if there are fewer than two modalities for a task that needs more."""
    inputs = list(context.data.inputs) if context.data else []
    names = inputs if params.modalities is None else list(params.modalities)
    if len(names) == 1:
        where = "" if params.modalities is None else "/modalities"
        yield Problem(where=where, what=f"{why}, and gets one: {names[0]}", allowed="at least two modalities")


def _rows(context: CheckContext) -> Iterator[Problem]:
    if context.rows is not None and context.rows < 2:
        what = f"compares rows with one another, but gets {context.rows} of them at a time"
        yield Problem(what=what, fix="raise `train.batch_size` or `portion`, or lower `train.accumulate`")


def build_backbone(params: GatedMultimodalParams, context: Any) -> Any:
    """Make the backbone for the inputs of `context`."""
    from auxlearn_conclugen.building import build_gated_multimodal

    return build_gated_multimodal(params, context)


def _shapes(params: Any, context: Any) -> dict[str, Any]:
    """Return the form of the features of each modality that the task is about; SpecError for an unknown one."""
    chosen = list(context.features) if params.modalities is None else params.modalities
    for place, name in enumerate(chosen):
        if name not in context.features:
            raise SpecError(_unknown(f"/modalities/{place}", name, context.features, "the backbone gives no feature"))
    return {name: context.features[name] for name in chosen}


def _at_least_two(shapes: Mapping[str, Any], why: str) -> None:
    if len(shapes) < 2:
        what = f"{why}, and the backbone gives one: {', '.join(shapes)}"
        raise SpecError(Problem(what=what, fix="choose a backbone and data with at least two modalities"))


def _inputs(shapes: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    return {name: shape.inputs or (name,) for name, shape in shapes.items()}


def build_contrastive(params: ContrastiveParams, context: Any) -> Any:
    """Make the task for the features of `context`."""
    from auxlearn_conclugen.contrastive import MultimodalContrastive
    from auxlearn_conclugen.projection import shared_projection

    shapes = _shapes(params, context)
    _at_least_two(shapes, "compares modalities")
    projection = shared_projection(params.projection, context, shapes)
    return MultimodalContrastive(projection, _inputs(shapes), temperature=params.temperature, margin=params.margin)


def build_clustering(params: ClusteringParams, context: Any) -> Any:
    """Make the task for the features of `context`."""
    from auxlearn_conclugen.clustering import MultimodalClustering
    from auxlearn_conclugen.projection import shared_projection

    shapes = _shapes(params, context)
    projection = shared_projection(params.projection, context, shapes)
    settings = attrs.asdict(params, recurse=False)
    del settings["modalities"], settings["projection"]
    return MultimodalClustering(projection, _inputs(shapes), width=params.projection.width, **settings)


def build_reconstruction(params: ReconstructionParams, context: Any) -> Any:
    """Make the task for the features of `context`."""
    from auxlearn_conclugen.reconstruction import MultimodalReconstruction

    shapes = _shapes(params, context)
    if params.targets != "own":
        _at_least_two(shapes, "tells a modality from another")
    lacking = [name for name, shape in shapes.items() if shape.source is None]
    if lacking:
        what = f"the backbone gives no input feature to reconstruct for {', '.join(lacking)}"
        fix = "choose a backbone of features, or leave them out of `modalities`"
        raise SpecError(Problem(where="/modalities", what=what, fix=fix))
    return MultimodalReconstruction(shapes, targets=params.targets, hidden=params.hidden, final_relu=params.final_relu)


def build_simclr(params: FeatureSimCLRParams, context: Any) -> Any:
    """Make the task for the features of `context`."""
    from auxlearn_conclugen.simclr import FeatureSimCLR

    shapes = _shapes(params, context)
    for name, inputs in _inputs(shapes).items():
        if any(context.inputs[one].kind != "feature" for one in inputs if one in context.inputs):
            what = f'"{name}" is no feature vector'
            raise SpecError(Problem(where="/modalities", what=what, fix="for images, there is the task `simclr`"))
    return FeatureSimCLR(
        shapes,
        temperature=params.temperature,
        corruption=params.corruption,
        hidden=params.hidden,
        width=params.width,
    )


def _given(spec: Mapping[str, Any], _params: Any, _context: Any) -> Mapping[str, Any]:
    return spec


@hookimpl
def auxlearn_backbones() -> Iterable[Provider]:
    """Offer `gated_multimodal`."""
    yield Provider(
        name="gated_multimodal",
        summary="A gated embedding unit for each modality of precomputed features (ConCluGen, arXiv 2404.10904).",
        params=GatedMultimodalParams,
        build=build_backbone,
        check=check_backbone,
        trial=trial_of_backbone,
    )


@hookimpl
def auxlearn_pretext_tasks() -> Iterable[Provider]:
    """Offer the three losses of ConCluGen, and SimCLR on features."""
    yield Provider(
        name="multimodal_contrastive",
        summary="Find the row of another modality that belongs to a row (ConCluGen, arXiv 2404.10904).",
        params=ContrastiveParams,
        build=build_contrastive,
        check=check_contrastive,
        trial=trial_of_task,
        view="clean",
    )
    yield Provider(
        name="multimodal_clustering",
        summary="Be near the centroid of the cluster that all modalities of a row make out (arXiv 2404.10904).",
        params=ClusteringParams,
        build=build_clustering,
        check=check_clustering,
        trial=trial_of_clustering,
        view="clean",
    )
    yield Provider(
        name="multimodal_reconstruction",
        summary="Tell the input features from the representation, own or of other modalities (arXiv 2404.10904).",
        params=ReconstructionParams,
        build=build_reconstruction,
        check=check_reconstruction,
        trial=trial_of_task,
        view="clean",
    )
    yield Provider(
        name="feature_simclr",
        summary="Find the other view of the same feature vector (SimCLR, arXiv 2002.05709; SCARF, arXiv 2106.15147).",
        params=FeatureSimCLRParams,
        build=build_simclr,
        check=check_simclr,
        trial=trial_of_simclr,
        view="own",
    )


@hookimpl
def auxlearn_presets() -> Iterable[Provider]:
    """Offer the presets."""
    for name, (summary, spec) in PRESETS.items():
        yield Provider(name=name, summary=summary, build=partial(_given, spec))
