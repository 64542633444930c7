"""The names of facial expressions, and which target of a data set is about them. No torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import attrs

from auxlearn.errors import Problem, SpecError, escape, nearest

__all__ = ["EXPRESSIONS", "Chosen", "canonical", "choose_expressions"]

EXPRESSIONS = ("neutral", "happiness", "sadness", "surprise", "fear", "disgust", "anger", "contempt")
"""The eight expressions in AffectNet's order ("AffectNet", arXiv 1708.03985, table 1: labels 0 to 7)."""

_USUAL_TARGETS = ("expression", "emotion")

_ALIASES = {
    "neutrality": "neutral",
    "happy": "happiness",
    "joy": "happiness",
    "sad": "sadness",
    "surprised": "surprise",
    "afraid": "fear",
    "fearful": "fear",
    "scared": "fear",
    "disgusted": "disgust",
    "angry": "anger",
    "contemptuous": "contempt",
}

# AffectNet's labels 8 to 10 say that there is no such expression; its protocol leaves these rows out.
_NO_EXPRESSION = ("none", "uncertain", "non-face", "no-face")


@attrs.frozen
class Chosen:
    """What a data set has to say about expressions.

    Attributes:
        target: The target.
        names: The expressions to learn, in AffectNet's order.
        index: For each class of the target, its place in `names`, or None if its rows are left out.
    """

    target: str
    names: tuple[str, ...]
    index: tuple[int | None, ...]


def canonical(name: str) -> str | None:
    """Return AffectNet's name of an expression, or None if `name` means none.

    >>> [canonical(name) for name in ("Happy", "anger", "joyful")]
    ['happiness', 'anger', None]
    """
    plain = name.strip().lower()
    return plain if plain in EXPRESSIONS else _ALIASES.get(plain)


def choose_expressions(asked: str | None, targets: Mapping[str, Sequence[str]], exclude: Sequence[str] = ()) -> Chosen:
    """Return the target that is about expressions, and those that it has.

    Args:
        asked: The target that the spec names, or None: `expression` or `emotion` if the data has one of them, else
            the only target whose classes are expressions.
        targets: The classes of each class target.
        exclude: Expressions to leave out.

    Raises:
        SpecError: If there is no such target, or its classes are no expressions, or fewer than two are left.

    Examples:
        >>> from auxlearn_faces.expressions import choose_expressions
        >>> choose_expressions(None, {"emotion": ("angry", "happy", "neutral"), "sex": ("f", "m")})
        Chosen(target='emotion', names=('neutral', 'happiness', 'anger'), index=(2, 1, 0))
    """
    target = _target(asked, targets)
    found = [canonical(name) for name in targets[target]]
    _check_names(target, targets[target], found)
    names = tuple(name for name in EXPRESSIONS if name in found and name not in exclude)
    if len(names) < 2:
        raise SpecError(
            Problem(
                where="/exclude" if exclude else "/target",
                what=f'target "{escape(target)}" has {len(names)} expressions to learn',
                allowed="2 or more",
            )
        )
    places = {name: place for place, name in enumerate(names)}
    return Chosen(target, names, tuple(None if name is None else places.get(name) for name in found))


def _target(asked: str | None, targets: Mapping[str, Sequence[str]]) -> str:
    """Return the target to learn."""
    if asked is not None:
        if asked in targets:
            return asked
        raise SpecError(
            Problem(
                where="/target",
                what=f'the data has no class target "{escape(asked)}"',
                allowed=", ".join(targets) or None,
                meant=nearest(asked, targets),
            )
        )
    usual = [name for name in _USUAL_TARGETS if name in targets]
    if usual:
        return usual[0]
    fitting = [name for name, names in targets.items() if not _strange(names)]
    if len(fitting) == 1:
        return fitting[0]
    what = (
        f"several targets have expressions as classes: {', '.join(fitting)}"
        if fitting
        else (
            "no target has expressions as classes; the data has "
            + ("; ".join(f"{name} ({_list(names)})" for name, names in targets.items()) or "no class targets")
        )
    )
    raise SpecError(Problem(where="/target", what=what, allowed=_list(EXPRESSIONS), fix="name the target to learn"))


def _strange(names: Sequence[str]) -> list[str]:
    """Return those of `names` that are neither expressions nor say that there is none."""
    return [name for name in names if canonical(name) is None and name.strip().lower() not in _NO_EXPRESSION]


def _check_names(target: str, names: Sequence[str], found: Sequence[str | None]) -> None:
    """Raise a SpecError if a class is no expression, or two classes are the same one."""
    strange = _strange(names)
    if strange:
        raise SpecError(
            Problem(
                where="/target",
                what=f'target "{escape(target)}" has classes that are no expressions: {_list(strange)}',
                allowed=_list(EXPRESSIONS),
                meant=nearest(strange[0].lower(), [*EXPRESSIONS, *_ALIASES]),
                fix="rename the classes, or use the task `classification`",
            )
        )
    for name in EXPRESSIONS:
        same = [one for one, other in zip(names, found, strict=True) if other == name]
        if len(same) > 1:
            what = f'target "{escape(target)}" has several classes for {name}: {_list(same)}'
            raise SpecError(Problem(where="/target", what=what, fix="join them in the data"))


def _list(names: Sequence[str]) -> str:
    return ", ".join(escape(name) for name in names)
