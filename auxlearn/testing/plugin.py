"""A plugin of tiny components called `tiny` (`tiny_features` for several modalities): runs in milliseconds.

Give it to the calls that take plugins: `auxlearn.run(spec, plugins=[auxlearn.testing.plugin])`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import attrs

from auxlearn.registry import DataFacts, Provider, hookimpl, option

__all__ = ["TinyBackboneParams", "TinyDataParams", "TinyEncodersParams", "TinyFeaturesParams", "TinyPretextParams"]


@attrs.frozen(kw_only=True)
class TinyDataParams:
    """Params of the data source."""

    rows: int = option(48, ge=1, help="Rows of each split.")
    side: int = option(8, ge=4, help="Side of the images in pixels.")
    lacking: int = option(0, ge=0, help="Every n-th row has no label; 0 for none.")


@attrs.frozen(kw_only=True)
class TinyFeaturesParams:
    """Params of the data source of several modalities."""

    rows: int = option(48, ge=1, help="Rows of each split.")
    lacking: int = option(0, ge=0, help="Every n-th row lacks `audio`; 0 for none.")
    side: int = option(0, ge=0, help="Side of images in pixels, as a third modality; 0 for none.")


@attrs.frozen(kw_only=True)
class TinyEncodersParams:
    """Params of the backbone of several modalities."""

    width: int = option(8, ge=1, help="Width of each pooled feature.")


@attrs.frozen(kw_only=True)
class TinyBackboneParams:
    """Params of the backbone."""

    width: int = option(8, ge=1, help="Width of the pooled feature.")
    norm: bool = option(True, help="Use BatchNorm.")
    dropout: float = option(0.0, ge=0, lt=1, help="Dropout on the pooled feature.")


@attrs.frozen(kw_only=True)
class TinyPretextParams:
    """Params of the pretext task."""

    copies: int = option(1, ge=1, help="How many views it makes.")


@hookimpl
def auxlearn_data_sources() -> Iterable[Provider]:
    """Offer images whose brightness tells their class."""

    def describe(params: TinyDataParams) -> DataFacts:
        splits = ("train", "val", "test")
        return DataFacts(
            inputs={"image": (3, params.side, params.side)}, targets={"kind": ("dark", "bright")}, splits=splits
        )

    def build(params: TinyDataParams, _context: Any) -> Any:
        from auxlearn.testing.fakes import TinySource

        return TinySource(rows=params.rows, side=params.side, unlabelled=params.lacking)

    def features(params: TinyFeaturesParams, _context: Any) -> Any:
        from auxlearn.testing.modalities import TinyFeatures

        return TinyFeatures(params.rows, lacking=params.lacking, side=params.side)

    yield Provider(name="tiny", summary="Dark and bright noise.", params=TinyDataParams, build=build, describe=describe)
    yield Provider(
        name="tiny_features", summary="Vectors of two modalities.", params=TinyFeaturesParams, build=features
    )


@hookimpl
def auxlearn_backbones() -> Iterable[Provider]:
    """Offer two convolutions."""

    def build(params: TinyBackboneParams, _context: Any) -> Any:
        from auxlearn.testing.fakes import TinyBackbone

        return TinyBackbone(params.width, norm=params.norm, dropout=params.dropout)

    def encoders(params: TinyEncodersParams, context: Any) -> Any:
        from auxlearn.testing.modalities import TinyEncoders

        return TinyEncoders(context.inputs, params.width)

    yield Provider(name="tiny", summary="Two convolutions.", params=TinyBackboneParams, build=build)
    yield Provider(
        name="tiny_features", summary="A layer for each modality.", params=TinyEncodersParams, build=encoders
    )


@hookimpl
def auxlearn_primary_tasks() -> Iterable[Provider]:
    """Offer a classification of `kind`."""

    def build(_params: Any, context: Any) -> Any:
        from auxlearn.testing.fakes import TinyPrimary

        width = sum(shape.pooled for shape in context.features.values())
        return TinyPrimary(width, len(context.targets["kind"].names))

    yield Provider(name="tiny", summary="A linear classification.", build=build)


@hookimpl
def auxlearn_pretext_tasks() -> Iterable[Provider]:
    """Offer the question whether the image is upside down."""

    def build(params: TinyPretextParams, context: Any) -> Any:
        from auxlearn.testing.fakes import TinyPretext

        return TinyPretext(context.feature.pooled, views=params.copies)

    yield Provider(name="tiny", summary="Upside down or not.", params=TinyPretextParams, build=build, moves_pixels=True)
