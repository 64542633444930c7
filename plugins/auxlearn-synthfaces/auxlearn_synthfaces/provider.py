"""What the plugin offers, told without torch."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

import attrs

from auxlearn.errors import Problem
from auxlearn.registry import CheckContext, DataFacts, Provider, hookimpl, option
from auxlearn_synthfaces.names import EXPRESSIONS, MORPHOLOGIES, SPLITS

__all__ = ["SynthFacesParams", "auxlearn_data_sources"]

_SIZE = 64

Expression = Literal["neutral", "happiness", "sadness", "surprise", "fear", "disgust", "anger", "contempt"]


@attrs.frozen(kw_only=True)
class SynthFacesParams:
    """Settings of the data source `synthfaces`.

    Examples:
        >>> from auxlearn_synthfaces import SynthFacesParams
        >>> len(SynthFacesParams().expressions), SynthFacesParams(expressions=("fear", "anger")).expressions
        (8, ('fear', 'anger'))
    """

    expressions: tuple[Expression, ...] = option(
        EXPRESSIONS,
        min_items=2,
        help="Expressions to use, in the order of their class indices; images with any other are left out.",
    )


def describe(params: SynthFacesParams) -> DataFacts:
    """Tell what the data hold."""
    return DataFacts(
        inputs={"image": (3, _SIZE, _SIZE)},
        targets={
            "expression": params.expressions,
            "morphology": MORPHOLOGIES,
            "age": (),
            "yaw": (),
            "pitch": (),
            "roll": (),
            "pose": (),
        },
        splits=SPLITS,
    )


def check(params: SynthFacesParams, context: CheckContext) -> Iterable[Problem]:  # noqa: ARG001 (every check has both)
    """Find what the schema cannot say: an expression named twice."""
    for index, name in enumerate(params.expressions):
        if name in params.expressions[:index]:
            yield Problem(where=f"/expressions/{index}", what=f'"{name}" is named twice', fix="name each once")


def build(params: SynthFacesParams, context: Any) -> Any:
    """Make the data source, with images of the size that `context` asks for."""
    from auxlearn_synthfaces.source import SynthFaces

    return SynthFaces(expressions=params.expressions, size=context.size)


@hookimpl
def auxlearn_data_sources() -> Iterable[Provider]:
    """Offer `synthfaces`."""
    return [
        Provider(
            name="synthfaces",
            summary="4,000 rendered faces of 300 made-up people, 64 px, with exact labels; inside the package.",
            params=SynthFacesParams,
            build=build,
            describe=describe,
            check=check,
        )
    ]
