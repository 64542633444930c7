"""Supervised tasks for auxlearn: classification, multi-label classification and regression.

This module loads no torch: the tasks are imported when something is built.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal

import attrs

from auxlearn.errors import Problem
from auxlearn.registry import CheckContext, Provider, hookimpl, option

__all__ = ["ClassificationParams", "MultilabelParams", "RegressionParams"]

# What is equal in all three tasks.
_TARGET_HELP = "The target to learn; null: the only one of its kind that the data has."
_DROPOUT_HELP = "Dropout on the pooled feature before the head."
_MODALITIES_HELP = "The modalities that the head reads; null: all that the backbone gives."
_FUSION_HELP = "How the pooled features of several modalities become one: side by side, sorted by name, or their mean."
_HIDDEN_HELP = "Width of a hidden layer with ReLU in the head; null: the head is linear."


@attrs.frozen(kw_only=True)
class ClassificationParams:
    """Params of `classification`."""

    target: str | None = option(None, help=_TARGET_HELP)
    label_smoothing: float = option(0.0, ge=0, lt=1, help="Part of each label that is spread over all classes.")
    class_weights: Literal["balanced"] | Mapping[str, float] | None = option(
        None,
        ge=0,
        help="Factor of each class's rows in the loss, by name (1 for those not named); `balanced`: rows / (classes * "
        "rows of the class), from the training split.",
    )
    dropout: float = option(0.0, ge=0, lt=1, help=_DROPOUT_HELP)
    hidden: int | None = option(None, ge=1, help=_HIDDEN_HELP)
    modalities: tuple[str, ...] | None = option(None, help=_MODALITIES_HELP)
    fusion: Literal["concat", "mean"] = option("concat", help=_FUSION_HELP)


@attrs.frozen(kw_only=True)
class MultilabelParams:
    """Params of `multilabel`."""

    target: str | None = option(None, help=_TARGET_HELP)
    pos_weights: Literal["balanced"] | Mapping[str, float] | None = option(
        None,
        gt=0,
        help="Factor of the positive rows of each label in the loss, by name (1 for those not named); `balanced`: rows "
        "without the label / rows with it, of the training rows that have labels.",
    )
    threshold: float = option(0.5, gt=0, lt=1, help="Probability from which a label is predicted and counted as such.")
    dropout: float = option(0.0, ge=0, lt=1, help=_DROPOUT_HELP)
    hidden: int | None = option(None, ge=1, help=_HIDDEN_HELP)
    modalities: tuple[str, ...] | None = option(None, help=_MODALITIES_HELP)
    fusion: Literal["concat", "mean"] = option("concat", help=_FUSION_HELP)


@attrs.frozen(kw_only=True)
class RegressionParams:
    """Params of `regression`."""

    target: str | None = option(None, help=_TARGET_HELP)
    loss: Literal["l1", "l2", "smooth_l1"] = option("smooth_l1", help="Absolute error, squared error, or Huber's mix.")
    beta: float = option(1.0, gt=0, help="Error, in the target's unit, at which `smooth_l1` turns straight.")
    initial: float = option(0.0, help="What the untrained head predicts on average; best about the target's mean.")
    concordance: bool = option(False, help="Also score Lin's concordance correlation coefficient (ccc).")
    dropout: float = option(0.0, ge=0, lt=1, help=_DROPOUT_HELP)
    hidden: int | None = option(None, ge=1, help=_HIDDEN_HELP)
    modalities: tuple[str, ...] | None = option(None, help=_MODALITIES_HELP)
    fusion: Literal["concat", "mean"] = option("concat", help=_FUSION_HELP)


def _check_classification(params: ClassificationParams, context: CheckContext) -> Iterable[Problem]:
    from auxlearn_supervised.targets import choose_target, class_weights, problems_of

    if context.data is None:
        return ()
    known = context.data.targets

    def check() -> None:
        target = choose_target(params.target, [name for name in known if known[name]], list(known), "class target")
        class_weights(params.class_weights, known[target], (1,) * len(known[target]))

    return problems_of(check)


def _check_target(params: MultilabelParams | RegressionParams, context: CheckContext) -> Iterable[Problem]:
    from auxlearn_supervised.targets import choose_target, problems_of

    if context.data is None or params.target is None:
        return ()
    known = list(context.data.targets)
    return problems_of(lambda: choose_target(params.target, known, known, "target"))


@hookimpl
def auxlearn_primary_tasks() -> Iterable[Provider]:
    """Offer the three tasks."""

    def classification(params: ClassificationParams, context: Any) -> Any:
        from auxlearn_supervised.classification import Classification

        return Classification.build(params, context)

    def multilabel(params: MultilabelParams, context: Any) -> Any:
        from auxlearn_supervised.multilabel import Multilabel

        return Multilabel.build(params, context)

    def regression(params: RegressionParams, context: Any) -> Any:
        from auxlearn_supervised.regression import Regression

        return Regression.build(params, context)

    yield Provider(
        name="classification",
        summary="One of several classes.",
        params=ClassificationParams,
        build=classification,
        check=_check_classification,
    )
    yield Provider(
        name="multilabel",
        summary="Any of several labels at once.",
        params=MultilabelParams,
        build=multilabel,
        check=_check_target,
    )
    yield Provider(
        name="regression",
        summary="One or several numbers.",
        params=RegressionParams,
        build=regression,
        check=_check_target,
    )
