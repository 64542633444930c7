"""Every setting of the engine and of the installed plugins is declared in a way that holds."""

import attrs
import pytest
from jsonschema import Draft202012Validator

from auxlearn.registry import discover
from auxlearn.registry.forms import record_of
from auxlearn.spec.schema import params_schema
from auxlearn.spec.sections import COMPONENTS, PLAIN
from auxlearn.spec.structure import structure, unstructure
from auxlearn.spec.validation import describe, problems_of, validator_for

REGISTRY = discover()
CLASSES = {
    **{f"{found.kind} {found.full_name}": found.provider.params for found in REGISTRY.found},
    **{section.name: section.keys for section in COMPONENTS},
    **{f"{section.name}.{inner.name}": inner.keys for section in COMPONENTS for inner in section.inside},
    **PLAIN,
}


def test_no_installed_plugin_is_broken():
    assert [str(broken) for broken in REGISTRY.broken] == []


@pytest.mark.parametrize("name", CLASSES)
def test_a_declaration_holds(name):
    params = CLASSES[name]
    schema = params_schema(params)
    Draft202012Validator.check_schema(schema)
    for field, option in schema["properties"].items():
        assert option["description"].strip().endswith("."), f"`{field}`: {option['description']}"
        assert describe(option), f"nothing is said of what `{field}` may be"


@pytest.mark.parametrize("name", CLASSES)
def test_defaults_are_values_that_a_spec_may_have(name):
    params = CLASSES[name]
    fields = record_of(params).fields
    given = {f.name: unstructure(f.default) for f in fields if f.default is not attrs.NOTHING}
    schema = {**params_schema(params), "required": []}
    assert [str(problem) for _, problem in problems_of(validator_for(schema), given)] == []
    for field in fields:
        if field.name in given:
            assert structure(field.form, given[field.name]) == field.default
