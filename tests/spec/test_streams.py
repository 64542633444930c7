"""The second stream of rows in a spec: a component inside of `data`; and what an epoch is."""

import attrs
import pytest
from jsonschema import Draft202012Validator

from auxlearn.errors import AuxlearnError, SpecError
from auxlearn.registry import discover
from auxlearn.spec import load_spec
from auxlearn.spec.frame import spec_schema
from auxlearn.spec.models import UnlabelledKeys
from auxlearn.testing import plugin

REGISTRY = discover(plugins=[plugin])
VALIDATOR = Draft202012Validator(spec_schema(REGISTRY))


def document(unlabelled, **changes):
    data = {"type": "tiny", "fraction": 0.25, "unlabelled": unlabelled} | changes.pop("data", {})
    return {
        "auxlearn": 1,
        "name": "tiny",
        "data": data,
        "backbone": {"type": "tiny"},
        "primary": {"kind": {"type": "tiny"}},
        "pretext": {"flip": {"type": "tiny"}},
        "train": {"epochs": 2, "batch_size": 8} | changes.pop("train", {}),
        **changes,
    }


def read(given, *overrides):
    return load_spec(given, overrides, registry=REGISTRY)


def problems(given, *overrides):
    with pytest.raises(AuxlearnError) as caught:
        read(given, *overrides)
    return [(problem.where, problem.what) for problem in caught.value.problems]


def test_none_is_the_default_and_stands_in_the_resolved_spec():
    given = document(None)
    del given["data"]["unlabelled"]
    loaded = read(given)
    assert loaded.unlabelled is None
    assert loaded.resolved["data"]["unlabelled"] is None
    assert loaded.resolved["train"]["epoch"] == {"by": "labelled", "steps": None}
    assert loaded.rows_per_step == 8


@pytest.mark.parametrize("given", ["rest", {"type": "rest"}, {"type": "auxlearn:rest"}])
def test_the_rest_by_its_name_alone(given):
    loaded = read(document(given))
    name = given if isinstance(given, str) else given["type"]
    assert loaded.resolved["data"]["unlabelled"] == {"type": name, "split": "train", "ratio": 1.0}
    assert loaded.unlabelled.keys == UnlabelledKeys()
    assert loaded.unlabelled.provider.build(loaded.unlabelled.params, None) is None
    assert loaded.resolved["plugins"]["auxlearn"] == loaded.unlabelled.version != ""


def test_another_source_with_its_own_settings():
    loaded = read(document({"type": "tiny", "rows": 30, "ratio": 2.5, "split": "val"}))
    stream = loaded.unlabelled
    assert (stream.params.rows, stream.params.side) == (30, 8)
    assert (stream.keys.split, stream.keys.ratio, stream.keys.rows(8)) == ("val", 2.5, 20)
    assert stream.pointer == "/data/unlabelled"
    assert loaded.rows_per_step == 28


@pytest.mark.parametrize("given", [None, "rest", {"type": "rest", "ratio": 4}, {"type": "tiny", "side": 8}])
def test_the_resolved_spec_is_a_spec_and_resolves_to_itself(given):
    loaded = read(document(given))
    assert read(dict(loaded.resolved)).resolved == loaded.resolved


@pytest.mark.parametrize(
    ("given", "fits"),
    [
        (None, True),
        ("rest", True),
        ("tiny", True),
        ("rset", False),
        (5, False),
        ({"type": "rest", "ratio": 4}, True),
        ({"type": "rest", "ratio": 0}, False),
        ({"type": "rest", "rows": 4}, False),
        ({"type": "tiny", "rows": 4}, True),
        ({"type": "tiny", "rows": "4"}, False),
        ({"ratio": 4}, False),
    ],
)
def test_the_editors_schema_knows_it(given, fits):
    assert VALIDATOR.is_valid(document(given)) == fits


def test_the_editors_schema_is_one():
    VALIDATOR.check_schema(VALIDATOR.schema)


def test_the_rest_is_nothing_to_train_on_alone():
    given = {**document(None), "data": {"type": "rest"}}
    assert not VALIDATOR.is_valid(given)
    ((where, what),) = problems(given)
    assert where == "/data/type"
    assert 'no data source "rest"' in what


@pytest.mark.parametrize(
    ("given", "changes", "where", "what"),
    [
        ("rset", {}, "/data/unlabelled/type", 'no data source "rset" is installed'),
        (5, {}, "/data/unlabelled", "found 5"),
        ({"ratio": 1}, {}, "/data/unlabelled", 'lacks the key "type"'),
        ({"type": "tiny", "rwos": 1}, {}, "/data/unlabelled/rwos", "unknown key"),
        ({"type": "rest", "ratio": "4"}, {}, "/data/unlabelled/ratio", 'found "4"'),
        ({"type": "rest", "split": "val"}, {}, "/data/unlabelled/split", 'of no split "val"'),
        ("rest", {"data": {"fraction": 1.0}}, "/data/unlabelled", "there is no rest"),
        ("rest", {"pretext": {}}, "/data/unlabelled", "nothing learns from unlabelled rows"),
        ({"type": "rest", "ratio": 0.01}, {}, "/data/unlabelled/ratio", "makes 0 unlabelled rows"),
        (
            {"type": "rest", "ratio": 1.25},
            {"train": {"devices": 2, "accumulate": 2}},
            "/data/unlabelled/ratio",
            "makes 10 unlabelled rows, which cannot be divided evenly among 4",
        ),
        (None, {"train": {"epoch": {"by": "step"}}}, "/train/epoch/by", 'found "step"'),
        (None, {"train": {"epoch": {"by": "steps"}}}, "/train/epoch", "needs the number of its steps"),
        (None, {"train": {"epoch": {"by": "all", "steps": 5}}}, "/train/epoch/steps", "has as many steps as its rows"),
    ],
)
def test_what_is_wrong_is_told_where_it_stands(given, changes, where, what):
    ((found, told),) = problems(document(given, **changes))
    assert found == where
    assert what in told


def test_the_error_names_ratios_that_fit():
    given = document({"type": "rest", "ratio": 1.25}, train={"devices": 2, "accumulate": 2})
    with pytest.raises(SpecError) as caught:
        read(given)
    (problem,) = caught.value.problems
    assert problem.allowed.startswith("1 or 1.5,")
    for ratio in (1, 1.5):
        assert read(given, f"data.unlabelled.ratio={ratio}").unlabelled.keys.ratio == ratio


def test_checks_of_components_know_all_rows_of_a_step():
    seen = []

    def check(_params, context):
        seen.append((context.batch_size, context.rows))
        return ()

    found = tuple(
        attrs.evolve(one, provider=attrs.evolve(one.provider, check=check))
        if (one.kind, one.provider.name) == ("pretext_task", "tiny")
        else one
        for one in REGISTRY.found
    )
    load_spec(document({"type": "rest", "ratio": 3}), registry=attrs.evolve(REGISTRY, found=found))
    assert seen == [(32, 32)]
