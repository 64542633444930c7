"""The tasks that this plugin offers, told without torch."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from auxlearn.errors import Problem
from auxlearn.registry import CheckContext, DataFacts, Provider, hookimpl
from auxlearn_faces.choosing import name_targets
from auxlearn_faces.expressions import EXPRESSIONS, choose_expressions
from auxlearn_faces.genders import choose_gender, choose_groups
from auxlearn_faces.params import AFFECT, ANGLES, FerParams, GenderParams, HeadPoseParams
from auxlearn_supervised.targets import class_weights, problems_of

__all__ = ["auxlearn_primary_tasks"]


@hookimpl
def auxlearn_primary_tasks() -> Iterable[Provider]:
    """Offer facial expression recognition, head pose and gender."""
    return [
        Provider(
            name="fer",
            summary="Facial expression recognition, AffectNet's classes; valence and arousal beside them.",
            params=FerParams,
            build=_build_fer,
            check=_check_fer,
            trial=_trial,
        ),
        Provider(
            name="head_pose",
            summary="Yaw, pitch and roll of a head, through the 6D representation or as angles.",
            params=HeadPoseParams,
            build=_build_head_pose,
            check=_check_head_pose,
            trial=_trial,
            needs_geometry=True,
        ),
        Provider(
            name="gender",
            summary="One of two classes, with the accuracy of each group.",
            params=GenderParams,
            build=_build_gender,
            check=_check_gender,
            trial=_trial,
        ),
    ]


def _build_fer(params: FerParams, context: Any) -> Any:
    from auxlearn_faces.fer import build_fer

    return build_fer(params, context)


def _build_head_pose(params: HeadPoseParams, context: Any) -> Any:
    from auxlearn_faces.head_pose import HeadPose

    return HeadPose.build(params, context)


def _build_gender(params: GenderParams, context: Any) -> Any:
    from auxlearn_faces.gender import Gender

    return Gender.build(params, context)


def _trial() -> Any:
    """Return the conditions of the checks: data that has what these tasks learn."""
    from auxlearn.data import TargetInfo
    from auxlearn.testing import Trial

    targets = {
        "expression": TargetInfo(kind="class", names=EXPRESSIONS),
        "pose": TargetInfo(kind="continuous", names=ANGLES, shape=(len(ANGLES),), unit="degree"),
        "gender": TargetInfo(kind="class", names=("female", "male")),
    }
    return Trial(targets=targets)


def _check_fer(params: FerParams, context: CheckContext) -> Iterable[Problem]:
    data = context.data
    if data is None:
        return

    def expressions() -> None:
        chosen = choose_expressions(params.target, _classes(data), params.exclude)
        class_weights(params.class_weights, chosen.names, (1,) * len(chosen.names))

    yield from problems_of(expressions)
    asked = params.valence_arousal
    if not isinstance(asked, bool) and asked:
        yield from problems_of(lambda: name_targets(asked, AFFECT, _others(data), "/valence_arousal"))


def _check_head_pose(params: HeadPoseParams, context: CheckContext) -> Iterable[Problem]:
    if params.representation == "6d" and params.error != "geodesic":
        what = f'the loss "{params.loss}" compares angles, and the representation is "6d"'
        yield Problem(where="/loss", what=what, allowed="geodesic", fix='`"representation": "euler"`')
    data, asked = context.data, params.target
    if data is not None and asked is not None:
        yield from problems_of(lambda: name_targets(asked, ANGLES, _others(data), "/target"))


def _check_gender(params: GenderParams, context: CheckContext) -> Iterable[Problem]:
    data = context.data
    if data is None:
        return

    def gender() -> None:
        names = _classes(data)[choose_gender(params.target, _classes(data))]
        class_weights(params.class_weights, names, (1,) * len(names))

    yield from problems_of(gender)
    yield from problems_of(lambda: choose_groups(params.groups, _classes(data)))


def _classes(data: DataFacts) -> dict[str, tuple[str, ...]]:
    """Return the class targets."""
    return {name: names for name, names in data.targets.items() if names}


def _others(data: DataFacts) -> list[str]:
    """Return the targets that are no classes."""
    return [name for name, names in data.targets.items() if not names]
