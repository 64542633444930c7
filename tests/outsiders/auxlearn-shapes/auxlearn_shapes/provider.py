"""What the plugin offers, told without torch."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import attrs
from auxlearn.registry import DataFacts, Provider, hookimpl, option

__all__ = ["ShapesParams", "auxlearn_data_sources"]

SPLITS = ("train", "val", "test")
CLASSES = ("circle", "square", "triangle")
SIDE = 64


@attrs.frozen(kw_only=True)
class ShapesParams:
    """Settings of the data source `shapes`."""

    rows: int = option(600, ge=3, le=1_000_000, help="Drawings to train on; val and test have a quarter as many each.")


def describe(params: ShapesParams) -> DataFacts:
    """Tell what the data hold."""
    return DataFacts(inputs={"image": (3, SIDE, SIDE)}, targets={"shape": CLASSES}, splits=SPLITS)


def build(params: ShapesParams, context: Any) -> Any:
    """Make the data source, with images of the size that `context` asks for."""
    from auxlearn_shapes.source import shapes_source

    return shapes_source(params.rows, context.size)


@hookimpl
def auxlearn_data_sources() -> Iterable[Provider]:
    """Offer `shapes`."""
    yield Provider(
        name="shapes",
        summary="Drawings of circles, squares and triangles.",
        params=ShapesParams,
        build=build,
        describe=describe,
    )
