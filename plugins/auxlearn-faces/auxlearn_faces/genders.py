"""Which target of a data set is about gender, and which make groups. No torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from auxlearn.errors import Problem, SpecError, escape, nearest

__all__ = ["choose_gender", "choose_groups"]

_USUAL_TARGETS = ("gender", "sex")
_WORDS = frozenset(
    ["female", "male", "f", "m", "woman", "man", "women", "men", "girl", "boy", "female_morph", "male_morph"]
)


def choose_gender(asked: str | None, targets: Mapping[str, Sequence[str]]) -> str:
    """Return the target to learn.

    Args:
        asked: What the spec names, or None: `gender` or `sex` if the data has one of them, else the only target with
            two classes that are words for it.
        targets: The classes of each class target.

    Raises:
        SpecError: If there is no such target, it does not have two classes, or the choice is open.

    Examples:
        >>> from auxlearn_faces.genders import choose_gender
        >>> choose_gender(None, {"age": ("young", "old"), "morphology": ("female_morph", "male_morph")})
        'morphology'
    """
    target = _named(asked, targets, "/target") if asked is not None else _found(targets)
    if len(targets[target]) != 2:
        what = f'target "{escape(target)}" has {len(targets[target])} classes: {_list(targets[target])}'
        raise SpecError(Problem(where="/target", what=what, allowed="2", fix="use the task `classification`"))
    return target


def choose_groups(asked: Sequence[str], targets: Mapping[str, Sequence[str]]) -> dict[str, tuple[str, ...]]:
    """Return the classes of the targets that make groups; SpecError with each that does not exist."""
    problems: list[Problem] = []
    groups: dict[str, tuple[str, ...]] = {}
    for place, name in enumerate(asked):
        try:
            groups[name] = tuple(targets[_named(name, targets, f"/groups/{place}")])
        except SpecError as error:
            problems += error.problems
    if problems:
        raise SpecError(problems)
    return groups


def _named(asked: str, targets: Mapping[str, Sequence[str]], where: str) -> str:
    if asked in targets:
        return asked
    what, allowed = f'the data has no class target "{escape(asked)}"', ", ".join(targets) or None
    raise SpecError(Problem(where=where, what=what, allowed=allowed, meant=nearest(asked, targets)))


def _found(targets: Mapping[str, Sequence[str]]) -> str:
    usual = [name for name in _USUAL_TARGETS if name in targets]
    if usual:
        return usual[0]
    fitting = [name for name, names in targets.items() if names and {n.strip().lower() for n in names} <= _WORDS]
    if len(fitting) == 1:
        return fitting[0]
    known = "; ".join(f"{name} ({_list(names)})" for name, names in targets.items()) or "none"
    what = f"several targets are about gender: {', '.join(fitting)}" if fitting else "no target is about gender"
    raise SpecError(Problem(where="/target", what=what, allowed=known, fix="name the target to learn"))


def _list(names: Sequence[str]) -> str:
    return ", ".join(escape(name) for name in names)
