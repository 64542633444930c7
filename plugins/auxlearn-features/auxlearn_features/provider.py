"""What this plugin offers, told without torch."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from auxlearn.errors import Problem, escape, nearest
from auxlearn.registry import CheckContext, DataFacts, Provider, hookimpl
from auxlearn_features.names import SYNTHETIC_TARGETS, synthetic_classes, synthetic_splits, wrong_names
from auxlearn_features.params import FeaturesBackboneParams, FeaturesParams, SynthFeaturesParams
from auxlearn_features.trials import trial_of_table, trial_of_vectors

__all__ = ["auxlearn_backbones", "auxlearn_data_sources"]


@hookimpl
def auxlearn_data_sources() -> Iterable[Provider]:
    """Offer `features` and `synthfeatures`."""
    return [
        Provider(
            name="features",
            summary="Precomputed feature vectors, one or several modalities a row: CSV, Parquet, .npz, .npy.",
            params=FeaturesParams,
            build=_build_features,
            describe=_describe_features,
            check=_check_features,
            trial=trial_of_table,
        ),
        Provider(
            name="synthfeatures",
            summary="Made-up feature vectors of several modalities, with labels of every kind; from a seed, no files.",
            params=SynthFeaturesParams,
            build=_build_synthetic,
            describe=_describe_synthetic,
            check=_check_synthetic,
        ),
    ]


@hookimpl
def auxlearn_backbones() -> Iterable[Provider]:
    """Offer `features`."""
    return [
        Provider(
            name="features",
            summary="No network: the feature vectors themselves, standardised.",
            params=FeaturesBackboneParams,
            build=_build_backbone,
            check=_check_backbone,
            trial=trial_of_vectors,
        )
    ]


def _build_features(params: FeaturesParams, context: Any) -> Any:
    from auxlearn_features.build import build_features

    return build_features(params, context)


def _describe_features(params: FeaturesParams) -> DataFacts | None:
    from auxlearn_features.facts import facts_of

    return facts_of(params)


def _check_features(params: FeaturesParams, context: CheckContext) -> Iterable[Problem]:  # noqa: ARG001
    from auxlearn_features.facts import problems_of

    return problems_of(params)


def _build_synthetic(params: SynthFeaturesParams, context: Any) -> Any:  # noqa: ARG001 (every build has both)
    from auxlearn_features.synthetic import synthetic_source

    return synthetic_source(params)


def _describe_synthetic(params: SynthFeaturesParams) -> DataFacts:
    """Tell what there will be."""
    shown = (params.copies,) if params.copies > 1 else ()
    return DataFacts(
        inputs={name: (*shown, width) for name, width in params.modalities.items()},
        targets={name: synthetic_classes(params.classes) if name == "label" else () for name in SYNTHETIC_TARGETS},
        splits=synthetic_splits(params),
    )


def _check_synthetic(params: SynthFeaturesParams, context: CheckContext) -> Iterable[Problem]:  # noqa: ARG001
    """Find settings that contradict each other."""
    yield from wrong_names("/modalities", params.modalities, SYNTHETIC_TARGETS)
    if not params.modalities:
        yield Problem(where="/modalities", what="there is none", fix='e.g. {"video": 32, "audio": 48}')
    if params.copies > params.available:
        what = f"{params.copies} copies cannot be shown of {params.available}"
        yield Problem(where="/copies", what=what, fix=f"`available` of at least {params.copies}")
    splits = synthetic_splits(params)
    if params.groups < len(splits):
        what = f"{params.groups} groups cannot be divided among {len(splits)} splits"
        yield Problem(where="/groups", what=what, allowed=f"at least {len(splits)}")


def _build_backbone(params: FeaturesBackboneParams, context: Any) -> Any:
    from auxlearn_features.backbone import FeaturesBackbone

    return FeaturesBackbone.build(params, context)


def _check_backbone(params: FeaturesBackboneParams, context: CheckContext) -> Iterable[Problem]:
    """Find modalities that the data is known not to have."""
    known = context.data.inputs if context.data is not None else {}
    for index, name in enumerate(params.modalities):
        if known and name not in known:
            what = f'the data has no input "{escape(name)}"'
            yield Problem(where=f"/modalities/{index}", what=what, allowed=", ".join(known), meant=nearest(name, known))
        if name in params.modalities[:index]:
            yield Problem(where=f"/modalities/{index}", what=f'"{escape(name)}" is named twice', fix="name each once")
