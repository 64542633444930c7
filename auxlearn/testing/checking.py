"""`Check`: one rule for components of some kinds, and the list of all rules."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal, get_args

import attrs

from auxlearn.registry import Kind
from auxlearn.testing.report import Level

if TYPE_CHECKING:
    from auxlearn.testing.subject import Subject

__all__ = ["Asks", "Check", "Fault", "NotApplicable", "check", "checks_of"]

Asks = Literal["declaration", "form", "result", "conduct", "limits"]
# These come first, in this order.
_EARLY: tuple[Asks, ...] = ("declaration", "form", "result")

_CHECKS: dict[str, Check] = {}


class Fault(Exception):  # noqa: N818 (what a check found, not what went wrong with it)
    """What a check found wrong; the message says what was found."""


class NotApplicable(Exception):  # noqa: N818 (nothing went wrong)
    """A check has nothing to ask of this component; the message says why."""


@attrs.frozen(kw_only=True)
class Check:
    """One rule.

    Attributes:
        id: Its stable name.
        kinds: What it is asked of.
        level: Whether a component has to pass it, or should.
        asks: About the `"declaration"`, what the provider says; about the `"form"` of what the component's methods
            return, and of the `"result"` of all of them, without which nothing else can be asked; about its
            `"conduct"` under plain conditions; or about its `"limits"`: other conditions, where an exception is a
            finding like any other.
        reason: What it asks, and why: one line.
        fix: What to do if it fails.
        run: Asks it; raises if the component does not pass.
    """

    id: str
    kinds: tuple[Kind, ...]
    level: Level
    asks: Asks
    reason: str
    fix: str
    run: Callable[[Subject], None]

    @property
    def basic(self) -> bool:
        """Whether nothing else can be asked of a component that fails it."""
        return self.asks in ("form", "result")


def check(
    *kinds: Kind, fix: str, level: Level = "required", asks: Asks = "conduct"
) -> Callable[[Callable[[Subject], None]], Callable[[Subject], None]]:
    """Add a function to the list of checks: its name is the id, the first line of its docstring the reason.

    Args:
        *kinds: What it is asked of; all kinds if none is named.
        fix: What to do if it fails.
        level: Whether a component has to pass it.
        asks: What it is about.
    """

    def add(run: Callable[[Subject], None]) -> Callable[[Subject], None]:
        name = run.__name__.replace("_", "-")
        if name in _CHECKS:
            raise ValueError(f"Checks should differ in their ids, found two of {name}.")
        reason = (inspect.getdoc(run) or "").partition("\n")[0]
        _CHECKS[name] = Check(
            id=name, kinds=kinds or get_args(Kind), level=level, asks=asks, reason=reason, fix=fix, run=run
        )
        return run

    return add


def checks_of(kind: Kind) -> tuple[Check, ...]:
    """Return the checks that components of `kind` are asked, in the order in which they run: those of form early.

    Examples:
        >>> from auxlearn.testing import checks_of
        >>> "batch-of-one" in [check.id for check in checks_of("pretext_task")]
        True
    """
    import auxlearn.testing.checks  # noqa: F401 (its modules fill the list)

    asked = [one for one in _CHECKS.values() if kind in one.kinds]
    return tuple(sorted(asked, key=lambda one: _EARLY.index(one.asks) if one.asks in _EARLY else len(_EARLY)))
