from collections.abc import Mapping
from typing import Literal

import attrs
import pytest

from auxlearn.registry import option
from auxlearn.registry.forms import Array, Enum, Null, OneOf, Record, Scalar, Table, form_of, json_types, record_of


@attrs.frozen(kw_only=True)
class Inner:
    size: int = option(help="A size.")


@pytest.mark.parametrize(
    ("annotation", "form", "types"),
    [
        (bool, Scalar(bool), {"boolean"}),
        (int, Scalar(int), {"number"}),
        (None, Null(), {"null"}),
        (Literal["a", 2, None], Enum(("a", 2, None)), {"string", "number", "null"}),
        (tuple[int, ...], Array(Scalar(int)), {"array"}),
        (Mapping[str, float], Table(Scalar(float)), {"object"}),
        (dict[str, bool], Table(Scalar(bool)), {"object"}),
        (float | None, OneOf((Scalar(float), Null())), {"number", "null"}),
        (
            bool | tuple[str, ...] | None,
            OneOf((Scalar(bool), Array(Scalar(str)), Null())),
            {"boolean", "array", "null"},
        ),
    ],
)
def test_types_that_a_setting_can_have(annotation, form, types):
    assert form_of(annotation) == form
    assert json_types(form) == types


@pytest.mark.parametrize(
    "annotation",
    [list[int], tuple[int, int], set, Mapping[int, str], int | float, str | Literal["a"], object, Literal[b"a"], type],
)
def test_types_that_it_cannot_have(annotation):
    with pytest.raises(ValueError, match="should"):
        form_of(annotation)


def test_a_params_class_inside_another():
    form = form_of(Inner | None)
    assert isinstance(form, OneOf)
    record = form.members[0]
    assert isinstance(record, Record)
    assert record is record_of(Inner)
    assert record.fields[0].required


def test_a_default_is_made_once_and_shown():
    @attrs.frozen
    class Params:
        table: Mapping[str, float] = option(attrs.Factory(dict), help="")

    assert record_of(Params).fields[0].default == {}


def test_a_default_that_depends_on_other_fields_is_refused():
    @attrs.frozen
    class Params:
        size: int = option(attrs.Factory(lambda self: 3, takes_self=True), help="")

    with pytest.raises(ValueError, match="does not depend on other fields"):
        record_of(Params)
