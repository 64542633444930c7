"""Which target a task learns and how its classes are weighted: the questions that need no torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal

from auxlearn.errors import Problem, SpecError, escape, nearest, pointer

__all__ = ["choose_target", "class_weights", "factors_by_name", "positive_weights", "problems_of"]


def problems_of(check: Callable[[], object]) -> tuple[Problem, ...]:
    """Return the problems that `check` raises as a SpecError, if any."""
    try:
        check()
    except SpecError as error:
        return error.problems
    return ()


def choose_target(asked: str | None, fitting: Sequence[str], known: Sequence[str], kind: str) -> str:
    """Return the target that a task shall learn.

    Args:
        asked: What the spec says, or None for the only fitting one.
        fitting: The targets of the right kind.
        known: All targets of the data.
        kind: How to call the right kind in a message.

    Raises:
        SpecError: If there is no such target, it is of another kind, or the choice is open.

    Examples:
        >>> from auxlearn_supervised.targets import choose_target
        >>> choose_target(None, ["emotion"], ["emotion", "age"], "class target")
        'emotion'
    """
    if asked is None:
        if len(fitting) == 1:
            return fitting[0]
        what = f"the data has several: {', '.join(fitting)}" if fitting else f"the data has no {kind}"
        fix = "name the one to learn" if fitting else "choose other data, or another task"
        raise SpecError(Problem(where="/target", what=what, fix=fix))
    if asked in fitting:
        return asked
    shown = f'"{escape(asked)}"'
    what = f"{shown} is no {kind}" if asked in known else f"the data has no target {shown}"
    allowed = ", ".join(fitting) or None
    raise SpecError(Problem(where="/target", what=what, allowed=allowed, meant=nearest(asked, fitting)))


def factors_by_name(given: Mapping[str, float] | None, names: Sequence[str], where: str) -> tuple[float, ...] | None:
    """Return a factor for each of `names`, 1 where none is given; None if none is given at all.

    Raises:
        SpecError: If a factor is given for something else.
    """
    if given is None:
        return None
    problems = [
        Problem(
            where=where + pointer(name),
            what=f'the target has no class "{escape(name)}"',
            allowed=", ".join(names),
            meant=nearest(name, names),
        )
        for name in given
        if name not in names
    ]
    if problems:
        raise SpecError(problems)
    return tuple(float(given.get(name, 1.0)) for name in names)


def class_weights(
    given: Literal["balanced"] | Mapping[str, float] | None, names: Sequence[str], counts: Sequence[int]
) -> tuple[float, ...] | None:
    """Return the weight of each class in the loss, or None if all are 1.

    Args:
        given: The setting: weights by name, or `"balanced"`: all rows / (number of classes * rows of the class), so
            that each class weighs the same in total and a training row weighs 1 on average. A class without rows
            gets 1, and does not count as one of the classes.
        names: The classes.
        counts: Training rows of each class.

    Raises:
        SpecError: If a weight is given for a class that does not exist, or no class has one above 0.

    Examples:
        >>> from auxlearn_supervised.targets import class_weights
        >>> class_weights("balanced", ("joy", "fear"), (30, 10))
        (0.6666666666666666, 2.0)
    """
    if given == "balanced":
        present = sum(count > 0 for count in counts)
        return tuple(sum(counts) / (present * count) if count else 1.0 for count in counts)
    weights = factors_by_name(given, names, "/class_weights")
    if weights is not None and not any(weights):
        raise SpecError(Problem(where="/class_weights", what="every class has weight 0", fix="give one class a weight"))
    return weights


def positive_weights(
    given: Literal["balanced"] | Mapping[str, float] | None, names: Sequence[str], rows: int, positives: Sequence[int]
) -> tuple[float, ...] | None:
    """Return the factor of each label's positive rows in the loss, or None if all are 1.

    Args:
        given: The setting: factors by name, or `"balanced"`: rows without the label / rows with it, so that both weigh
            the same in total. A label that all rows have, or none, gets 1.
        names: The labels.
        rows: Training rows that have labels.
        positives: How many of them have each label; empty if that is not known, and all factors are 1 then.

    Raises:
        SpecError: If a factor is given for a label that does not exist.

    Examples:
        >>> from auxlearn_supervised.targets import positive_weights
        >>> positive_weights("balanced", ("happy", "fear", "calm"), 100, (50, 10, 0))
        (1.0, 9.0, 1.0)
    """
    if given == "balanced":
        return tuple((rows - count) / count if 0 < count < rows else 1.0 for count in positives or (0,) * len(names))
    return factors_by_name(given, names, "/pos_weights")
