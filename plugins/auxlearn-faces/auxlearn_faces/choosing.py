"""Which targets of the data hold the numbers that a task learns, such as the three angles of a pose. No torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import attrs

from auxlearn.errors import Problem, SpecError, escape, nearest

if TYPE_CHECKING:
    from auxlearn.data import TargetInfo

__all__ = ["Chosen", "choose_numbers", "name_targets"]


@attrs.frozen
class Chosen:
    """Where numbers stand in the data.

    Attributes:
        targets: One target that holds them all, or one for each.
        places: For one target, the place of each number among its components.
    """

    targets: tuple[str, ...]
    places: tuple[int, ...] = ()


def name_targets(asked: str | Sequence[str], names: Sequence[str], known: Sequence[str], where: str) -> tuple[str, ...]:
    """Return the targets that a spec names: one for all numbers, or one for each of `names`.

    Args:
        asked: What the spec says.
        names: The numbers.
        known: The continuous targets of the data.
        where: Pointer to the setting.

    Raises:
        SpecError: If a target does not exist, or there are not as many as numbers.
    """
    chosen = (asked,) if isinstance(asked, str) else tuple(asked)
    if len(chosen) not in (1, len(names)):
        allowed = f"one target with {', '.join(names)}, or one for each, in this order"
        raise SpecError(Problem(where=where, what=f"{len(chosen)} targets", allowed=allowed))
    problems = [
        Problem(
            where=where if isinstance(asked, str) else f"{where}/{place}",
            what=f'the data has no continuous target "{escape(name)}"',
            allowed=", ".join(known) or None,
            meant=nearest(name, known),
        )
        for place, name in enumerate(chosen)
        if name not in known
    ]
    if problems:
        raise SpecError(problems)
    return chosen


def choose_numbers(
    asked: str | Sequence[str] | None, targets: Mapping[str, TargetInfo], names: Sequence[str], where: str
) -> Chosen:
    """Return where the numbers `names` stand.

    Args:
        asked: What the spec names, or None: the only target whose components are called so, or else the targets that
            are called so themselves.
        targets: What is known about each target of the data.
        names: The numbers, in the order in which the task learns them.
        where: Pointer to the setting.

    Raises:
        SpecError: If the data does not have them, or the choice is open.

    Examples:
        >>> from auxlearn.data import TargetInfo
        >>> from auxlearn_faces.choosing import choose_numbers
        >>> pose = TargetInfo(kind="continuous", names=("pitch", "yaw", "roll"), shape=(3,))
        >>> choose_numbers(None, {"pose": pose}, ("yaw", "pitch", "roll"), "/target")
        Chosen(targets=('pose',), places=(1, 0, 2))
    """
    numbers = {name: info for name, info in targets.items() if info.kind == "continuous"}
    chosen = _found(numbers, names, where) if asked is None else name_targets(asked, names, list(numbers), where)
    if len(chosen) == 1:
        return Chosen(chosen, _places(chosen[0], numbers[chosen[0]], names, where))
    for name in chosen:
        if numbers[name].shape != ():
            what = f'target "{escape(name)}" has shape {numbers[name].shape}'
            raise SpecError(Problem(where=where, what=what, allowed="a single number"))
    return Chosen(chosen)


def _found(numbers: Mapping[str, TargetInfo], names: Sequence[str], where: str) -> tuple[str, ...]:
    """Return the targets that are meant where the spec names none."""
    whole = [name for name, info in numbers.items() if sorted(info.names) == sorted(names)]
    if len(whole) == 1:
        return (whole[0],)
    if not whole and all(name in numbers for name in names):
        return tuple(names)
    listed = ", ".join(names)
    what = f"several targets have {listed}: {', '.join(whole)}" if whole else f"no target of the data has {listed}"
    known = ", ".join(numbers) or "none"
    raise SpecError(
        Problem(where=where, what=f"{what}; its continuous targets: {known}", fix="name the target, or one for each")
    )


def _places(target: str, info: TargetInfo, names: Sequence[str], where: str) -> tuple[int, ...]:
    """Return the place of each number among the components of `target`."""
    if info.shape != (len(names),):
        what = f'target "{escape(target)}" has shape {info.shape}'
        raise SpecError(Problem(where=where, what=what, allowed=f"({len(names)},): {', '.join(names)}"))
    if not info.names:
        return tuple(range(len(names)))
    if sorted(info.names) != sorted(names):
        what = f'the components of target "{escape(target)}" are {", ".join(map(escape, info.names))}'
        raise SpecError(Problem(where=where, what=what, allowed=", ".join(names)))
    return tuple(info.names.index(name) for name in names)
