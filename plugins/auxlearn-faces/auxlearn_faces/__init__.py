"""Faces for auxlearn: facial expression recognition.

This module loads no torch: the tasks are imported when something is built.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal

import attrs

from auxlearn.errors import Problem
from auxlearn.registry import CheckContext, Provider, hookimpl, option
from auxlearn_faces.expressions import EXPRESSIONS as EXPRESSIONS

__all__ = ["EXPRESSIONS", "FerParams"]


@attrs.frozen(kw_only=True)
class FerParams:
    """Params of `fer`."""

    target: str | None = option(
        None,
        help="The target to learn; null: `expression` or `emotion`, or the only one whose classes are expressions.",
    )
    exclude: tuple[str, ...] = option(
        (),
        choices=EXPRESSIONS,
        help='Expressions to leave out, with their rows; `["contempt"]` is the seven-class variant of AffectNet.',
    )
    label_smoothing: float = option(0.0, ge=0, lt=1, help="Part of each label that is spread over all classes.")
    class_weights: Literal["balanced"] | Mapping[str, float] | None = option(
        None,
        ge=0,
        help="Factor of each expression's rows in the loss, by name (1 for those not named); `balanced`: rows / "
        "(classes * rows of the class), from the training split.",
    )
    dropout: float = option(0.0, ge=0, lt=1, help="Dropout on the pooled feature before the head.")


def _check(params: FerParams, context: CheckContext) -> Iterable[Problem]:
    from auxlearn_faces.expressions import choose_expressions
    from auxlearn_supervised.targets import class_weights, problems_of

    if context.data is None:
        return ()
    targets = {name: names for name, names in context.data.targets.items() if names}

    def check() -> None:
        chosen = choose_expressions(params.target, targets, params.exclude)
        class_weights(params.class_weights, chosen.names, (1,) * len(chosen.names))

    return problems_of(check)


@hookimpl
def auxlearn_primary_tasks() -> Iterable[Provider]:
    """Offer facial expression recognition."""

    def fer(params: FerParams, context: Any) -> Any:
        from auxlearn_faces.fer import build_fer

        return build_fer(params, context)

    yield Provider(
        name="fer",
        summary="Facial expression recognition, AffectNet's classes.",
        params=FerParams,
        build=fer,
        check=_check,
    )
