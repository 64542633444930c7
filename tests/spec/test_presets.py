"""`"preset": name`: plain keys in the resolved spec, the user's own over the preset's, and messages that say whose."""

import json

import pytest

from auxlearn.errors import AuxlearnError, SpecError
from auxlearn.registry import Provider, discover, hookimpl
from auxlearn.spec import load_spec
from auxlearn.spec.frame import spec_schema
from auxlearn.spec.validation import validator_for
from auxlearn.testing import plugin as tiny

RECIPE = {
    "backbone": {"type": "tiny", "width": 16},
    "primary": {"kind": {"type": "tiny"}},
    "pretext": {"flip": {"type": "tiny", "weight": 0.3}},
    "train": {"epochs": 7, "ema": 0.9},
}


class Recipes:
    """A plugin with presets: one that works, one that sets an option that there is not."""

    __name__ = "recipes"

    @hookimpl
    def auxlearn_presets(self):
        yield Provider(name="tiny-flip", summary="Tell up from down.", build=lambda _params, _context: RECIPE)
        wrong = {**RECIPE, "backbone": {"type": "tiny", "widht": 16}}
        yield Provider(name="tiny-wrong", summary="Has a mistake.", build=lambda _params, _context: wrong)


def load(document, overrides=()):
    return load_spec({"auxlearn": 1, "data": {"type": "tiny"}, **document}, overrides, plugins=[tiny, Recipes()])


def test_it_expands_to_plain_keys():
    spec = load({"preset": "tiny-flip"})
    assert "preset" not in spec.resolved
    assert spec.resolved["backbone"]["width"] == 16
    assert spec.pretext["flip"].keys.weight == 0.3
    assert spec.given["preset"] == "tiny-flip"
    again = load_spec(spec.resolved, plugins=[tiny])
    assert again.resolved == spec.resolved


def test_it_is_the_spec_written_out():
    assert load({"preset": "tiny-flip"}).resolved == load(RECIPE).resolved


def test_what_the_spec_says_counts_more():
    own = {
        "preset": "tiny-flip",
        "pretext": {"flip": {"weight": 1}, "second": {"type": "tiny"}},
        "train": {"ema": None},
    }
    spec = load(own, ["train.epochs=2"])
    assert (spec.pretext["flip"].keys.weight, set(spec.pretext)) == (1, {"flip", "second"})
    assert (spec.train.ema, spec.train.epochs) == (None, 2)
    assert load({"preset": "tiny-flip", "pretext": None}).pretext == {}
    assert RECIPE["train"] == {"epochs": 7, "ema": 0.9}


def test_an_unknown_preset_names_the_nearest():
    with pytest.raises(SpecError) as caught:
        load({"preset": "tiny-flipp"})
    (problem,) = caught.value.problems
    assert (problem.where, problem.meant) == ("/preset", "tiny-flip")
    with pytest.raises(AuxlearnError, match="/preset"):
        load({"preset": ["tiny-flip"]})


def test_a_mistake_of_the_preset_is_called_one():
    with pytest.raises(SpecError) as caught:
        load({"preset": "tiny-wrong", "train": {"epochs": 0}})
    told = {problem.where: problem.what for problem in caught.value.problems}
    assert 'set by the preset "tiny-wrong"' in told["/backbone/widht"]
    assert "preset" not in told["/train/epochs"]


def test_the_editors_schema_knows_presets_and_asks_for_nothing_that_they_give():
    registry = discover([tiny, Recipes()])
    schema = json.loads(json.dumps(spec_schema(registry)))
    valid = validator_for(schema).is_valid
    assert valid({"auxlearn": 1, "preset": "tiny-flip", "data": {"type": "tiny"}})
    assert not valid({"auxlearn": 1, "preset": "unheard-of", "data": {"type": "tiny"}})
    assert not valid({"auxlearn": 1, "data": {"type": "tiny"}})
