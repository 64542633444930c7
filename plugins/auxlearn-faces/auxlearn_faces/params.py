"""The settings of the tasks about faces."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import attrs

from auxlearn.registry import option
from auxlearn_faces.expressions import EXPRESSIONS

__all__ = ["AFFECT", "ANGLES", "FerParams", "GenderParams", "HeadPoseParams"]

ANGLES = ("yaw", "pitch", "roll")
"""The angles of a head pose, in the order in which they are learned and given."""

AFFECT = ("valence", "arousal")
"""The two dimensions of affect, in the order in which they are learned and given."""

Weights = Literal["balanced"] | Mapping[str, float] | None

_DROPOUT = "Dropout on the pooled feature before the head."
_HIDDEN = "Width of a hidden layer with ReLU in the head; null: the head is linear."
_SMOOTHING = "Part of each label that is spread over all classes."


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
    label_smoothing: float = option(0.0, ge=0, lt=1, help=_SMOOTHING)
    class_weights: Weights = option(
        None,
        ge=0,
        help="Factor of each expression's rows in the loss, by name (1 for those not named); `balanced`: rows / "
        "(classes * rows of the class), from the training split.",
    )
    valence_arousal: bool | str | tuple[str, ...] = option(
        False,
        help="Also learn valence and arousal: the target that has both, or the two targets; true: the one whose "
        "components, or those that themselves, are called so.",
    )
    affect_loss: Literal["ccc", "mse"] = option(
        "ccc", help="Of valence and arousal: 1 - Lin's concordance correlation of the batch, or the squared error."
    )
    affect_weight: float = option(1.0, ge=0, help="Factor of the loss of valence and arousal beside the expression's.")
    dropout: float = option(0.0, ge=0, lt=1, help=_DROPOUT)
    hidden: int | None = option(None, ge=1, help=_HIDDEN)


@attrs.frozen(kw_only=True)
class HeadPoseParams:
    """Params of `head_pose`."""

    target: str | tuple[str, ...] | None = option(
        None,
        help="The target with yaw, pitch and roll in degrees, or the three targets in this order; null: the one whose "
        "components, or those that themselves, are called so.",
    )
    representation: Literal["6d", "euler"] = option(
        "6d", help="What the head gives: two columns of the rotation matrix, as 6DRepNet, or the three angles."
    )
    loss: Literal["geodesic", "l1", "l2", "smooth_l1"] | None = option(
        None, help="The error; null: geodesic, the only one for `6d`, and l1 for `euler`."
    )
    beta: float = option(5.0, gt=0, help="Error in degrees at which `smooth_l1` turns straight.")
    dropout: float = option(0.0, ge=0, lt=1, help=_DROPOUT)
    hidden: int | None = option(None, ge=1, help=_HIDDEN)

    @property
    def error(self) -> Literal["geodesic", "l1", "l2", "smooth_l1"]:
        """The loss that is meant."""
        return self.loss or ("geodesic" if self.representation == "6d" else "l1")


@attrs.frozen(kw_only=True)
class GenderParams:
    """Params of `gender`."""

    target: str | None = option(
        None, help="The target to learn, with two classes; null: `gender`, `sex`, or the only one that is about it."
    )
    groups: tuple[str, ...] = option(
        (), help="Class targets, e.g. `race`, by whose classes the accuracy is also given; they are not learned."
    )
    label_smoothing: float = option(0.0, ge=0, lt=1, help=_SMOOTHING)
    class_weights: Weights = option(
        None, ge=0, help="Factor of each class's rows in the loss, by name, or `balanced`, as in `classification`."
    )
    dropout: float = option(0.0, ge=0, lt=1, help=_DROPOUT)
    hidden: int | None = option(None, ge=1, help=_HIDDEN)
