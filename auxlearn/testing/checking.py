"""`Check`: one rule for components of some kinds, and the list of all rules."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, get_args

import attrs

from auxlearn.registry import Kind
from auxlearn.testing.report import Level

if TYPE_CHECKING:
    from auxlearn.testing.subject import Subject

__all__ = ["Check", "Fault", "NotApplicable", "check", "checks_of"]

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
        reason: What it asks, and why: one line.
        fix: What to do if it fails.
        run: Asks it; raises if the component does not pass.
    """

    id: str
    kinds: tuple[Kind, ...]
    level: Level
    reason: str
    fix: str
    run: Callable[[Subject], None]


def check(
    *kinds: Kind, fix: str, level: Level = "required"
) -> Callable[[Callable[[Subject], None]], Callable[[Subject], None]]:
    """Add a function to the list of checks: its name is the id, the first line of its docstring the reason.

    Args:
        *kinds: What it is asked of; all kinds if none is named.
        fix: What to do if it fails.
        level: Whether a component has to pass it.
    """

    def add(run: Callable[[Subject], None]) -> Callable[[Subject], None]:
        name = run.__name__.replace("_", "-")
        if name in _CHECKS:
            raise ValueError(f"Checks should differ in their ids, found two of {name}.")
        reason = (inspect.getdoc(run) or "").partition("\n")[0]
        _CHECKS[name] = Check(id=name, kinds=kinds or get_args(Kind), level=level, reason=reason, fix=fix, run=run)
        return run

    return add


def checks_of(kind: Kind) -> tuple[Check, ...]:
    """Return the checks that components of `kind` are asked, in the order in which they run.

    Examples:
        >>> from auxlearn.testing import checks_of
        >>> "batch-of-one" in [check.id for check in checks_of("pretext_task")]
        True
    """
    import auxlearn.testing.checks  # noqa: F401 (its modules fill the list)

    return tuple(one for one in _CHECKS.values() if kind in one.kinds)
