"""Settings as hypothesis draws them from a params class: its bounds, its choices, its types."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from auxlearn.registry import Option
from auxlearn.registry.forms import Array, Enum, Field, Form, Null, OneOf, Record, Scalar, Table, record_of
from auxlearn.spec.structure import unstructure

__all__ = ["settings_of"]

_WIDE = 8  # how far numbers without a bound are drawn beyond the other bound or the default
_LONG = 3  # members of a list without a bound
_INSIDE = 0.05  # how far from an excluded bound, as a part of the range: next to it there is only rounding


def settings_of(params: type, base: Mapping[str, Any]) -> SearchStrategy[dict[str, Any]]:
    """Return a strategy for settings as JSON.

    Names, paths and tables keep their values of `base`: what they may be, only their component knows.

    Args:
        params: The params class.
        base: Settings that work, as JSON with every default.
    """
    return _record(record_of(params), base)


def _record(form: Record, base: Mapping[str, Any]) -> SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({field.name: _either(field, base) for field in form.fields})


def _either(field: Field, base: Mapping[str, Any]) -> SearchStrategy[Any]:
    """Return a strategy for one setting, for which what works is as likely as all else."""
    if field.name not in base and field.required:
        return _drawn(field.form, field.option, None)
    working = base[field.name] if field.name in base else unstructure(field.default)
    return st.just(working) | _drawn(field.form, field.option, working)


def _drawn(form: Form, option: Option, base: Any) -> SearchStrategy[Any]:
    if isinstance(form, Record):
        return _record(form, base if isinstance(base, Mapping) else {})
    if isinstance(form, OneOf):
        return st.one_of(*(_drawn(member, option, base) for member in form.members))
    if isinstance(form, Null | Enum):
        return st.sampled_from((None,) if isinstance(form, Null) else form.values)
    if isinstance(form, Array):
        return _array(form, option, base)
    if isinstance(form, Scalar):
        return _scalar(form, option, base)
    return st.just(base) if isinstance(base, Mapping) else st.nothing()


def _array(form: Array, option: Option, base: Any) -> SearchStrategy[Any]:
    known = base if isinstance(base, list) else []
    named = isinstance(form.item, Scalar) and form.item.type is str and option.choices is None
    if named or isinstance(form.item, Record | Table):
        return st.just(base) if isinstance(base, list) else st.nothing()
    least = form.length if form.length is not None else option.min_items or 0
    most = form.length if form.length is not None else option.max_items or max(least, _LONG)
    return st.lists(_drawn(form.item, option, known[0] if known else None), min_size=least, max_size=most)


def _scalar(form: Scalar, option: Option, base: Any) -> SearchStrategy[Any]:
    if option.choices is not None:
        return st.sampled_from(option.choices)
    if form.type is bool:
        return st.booleans()
    if form.type is str:
        return st.just(base) if isinstance(base, str) else st.nothing()
    low, high = _range(option, base if isinstance(base, int | float) else 1)
    if form.type is int:
        return st.integers(math.ceil(low), math.floor(high))
    return st.floats(low, high, allow_subnormal=False)


def _range(option: Option, middle: float) -> tuple[float, float]:
    """Return bounds of the numbers to draw, a little inside of those that the option excludes."""
    low = next((bound for bound in (option.ge, option.gt) if bound is not None), min(-1, 2 * middle))
    high = next((bound for bound in (option.le, option.lt) if bound is not None), max(low + _WIDE, middle))
    inside = min(1.0, high - low) * _INSIDE
    return low + (inside if option.gt is not None else 0), high - (inside if option.lt is not None else 0)
