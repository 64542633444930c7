"""Settings and shapes that nobody thought of, drawn by hypothesis."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from auxlearn.errors import AuxlearnError
from auxlearn.registry import Kind
from auxlearn.registry.forms import record_of
from auxlearn.spec.schema import params_schema
from auxlearn.spec.structure import structure, unstructure
from auxlearn.spec.validation import problems_of, validator_for
from auxlearn.testing.asking import require_finite, require_images
from auxlearn.testing.checking import Fault, NotApplicable, check
from auxlearn.testing.subject import Refused, Subject
from auxlearn.testing.working import draws_at, given_to, work

__all__ = ["any_settings_work", "any_shapes_work"]

_EXAMPLES = 12
_OF_DATA = 3  # since each reads files
_LARGEST_BATCH, _LEAST_SIDE, _LARGEST_SIDE = 6, 6, 48
_WORKING: tuple[Kind, ...] = ("pretext_task", "primary_task", "backbone", "augmentation", "balancer")


@check(fix="bound the options (`ge`, `le`, `choices`), or yield a Problem from the provider's `check`", asks="limits")
def any_settings_work(subject: Subject) -> None:
    """Whatever settings the schema allows work, or are refused with a message: nobody meets a traceback."""
    from auxlearn.testing.drawing import settings_of

    if not record_of(subject.provider.params).fields:
        raise NotApplicable("has no settings")

    def attempt(settings: dict[str, Any]) -> None:
        try:
            _try(subject, json.loads(json.dumps(settings)))
        except Exception as error:
            changed = {name: value for name, value in settings.items() if value != subject.settings[name]}
            raise Fault(f"settings {json.dumps(changed)}: {_told(error)}") from error

    examples = _OF_DATA if subject.kind == "data_source" else _EXAMPLES
    _for_all(settings_of(subject.provider.params, subject.settings), attempt, examples)


def _try(subject: Subject, settings: dict[str, Any]) -> None:
    params = subject.provider.params
    wrong = [problem for _, problem in problems_of(validator_for(params_schema(params)), settings)]
    if wrong:
        raise Fault(f"the schema refuses what the options allow: {wrong[0]}")
    try:
        object_ = structure(params, settings)
    except ValueError:  # a validator of the class, whose message becomes that of the spec
        return
    if json.loads(json.dumps(unstructure(object_))) != settings:
        raise Fault(f"reads back as {unstructure(object_)}")
    drawn = subject.changed(params=settings)
    if subject.kind in _WORKING:
        _work(drawn)
    elif subject.kind == "data_source":
        try:
            drawn.bench()
        except (Refused, AuxlearnError):
            return


@check(
    *("pretext_task", "primary_task", "backbone", "augmentation"),
    fix="make it work, or refuse in advance",
    asks="limits",
)
def any_shapes_work(subject: Subject) -> None:
    """Whatever number of rows and size of images it accepts works."""
    from hypothesis import strategies as st

    require_images(subject)
    rows = st.integers(subject.trial.least_rows, max(_LARGEST_BATCH, subject.trial.least_rows))
    sides = st.integers(_LEAST_SIDE, _LARGEST_SIDE)

    def attempt(shape: tuple[int, int]) -> None:
        try:
            _work(subject.changed(rows=shape[0]).sized(shape[1], shape[1]))
        except Exception as error:
            raise Fault(f"{shape[0]} rows of {shape[1]} px: {_told(error)}") from error

    _for_all(st.tuples(rows, sides), attempt)


def _work(subject: Subject) -> None:
    try:
        bench = subject.bench().eval()
    except Refused:
        return
    require_finite(work(subject, bench, given_to(subject), draws_at()))


def _told(error: Exception) -> str:
    return str(error) if isinstance(error, Fault) else f"raised {type(error).__name__}: {error}"


def _for_all(strategy: Any, attempt: Callable[[Any], None], examples: int = _EXAMPLES) -> None:
    """Try examples, the same in every run, and raise the fault of the simplest that fails."""
    from hypothesis import HealthCheck, given, settings

    same_every_time = settings(
        max_examples=examples,
        deadline=None,
        derandomize=True,
        database=None,
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
        print_blob=False,
    )
    tried: Callable[[], None] = same_every_time(given(strategy)(attempt))  # type: ignore[no-untyped-call]
    tried()
