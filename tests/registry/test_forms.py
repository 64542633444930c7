from collections.abc import Mapping
from typing import Literal

import attrs
import pytest
from jsonschema import Draft202012Validator

from auxlearn.registry import option
from auxlearn.registry.forms import Array, Enum, Null, OneOf, Record, Scalar, Table, form_of, json_types, record_of
from auxlearn.spec.schema import params_schema
from auxlearn.spec.structure import structure, unstructure
from auxlearn.spec.validation import validator_for


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
        (tuple[int, int], Array(Scalar(int), 2), {"array"}),
        (tuple[int | tuple[int, int], ...], Array(OneOf((Scalar(int), Array(Scalar(int), 2)))), {"array"}),
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
    [
        list[int],
        tuple[int, str],
        tuple[()],
        set,
        Mapping[int, str],
        int | float,
        str | Literal["a"],
        object,
        Literal[b"a"],
        type,
    ],
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


def test_an_array_of_numbers_and_pairs_is_checked_at_every_depth():
    @attrs.frozen
    class Params:
        sizes: tuple[int | tuple[int, int], ...] | None = option(None, ge=2, min_items=1, help="Sizes.")

    schema = params_schema(Params)
    Draft202012Validator.check_schema(schema)
    fits = validator_for(schema).is_valid
    for value in (None, [112], [[113, 127], 112, [64, 110]]):
        assert fits({"sizes": value})
    for value in (112, [], [1], [[113]], [[113, 127, 130]], [[113, 1]], [["a", 3]], [[[2, 3], 4]], [None], [2.5]):
        assert not fits({"sizes": value}), value
    made = structure(Params, {"sizes": [[113, 127.0], 112]})
    assert made == Params(sizes=((113, 127), 112))
    assert unstructure(made) == {"sizes": [[113, 127], 112]}
