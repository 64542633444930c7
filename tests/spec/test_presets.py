"""`"preset": name`: plain keys in the resolved spec, the user's own over the preset's, and messages that say whose."""

import json

import pytest

from auxlearn.errors import AuxlearnError, PluginError, SpecError
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


class Strange:
    """A plugin with presets that are none, and one with stages."""

    __name__ = "strange"

    @hookimpl
    def auxlearn_presets(self):
        def fail(_params, _context):
            raise KeyError("lost")

        yield Provider(name="fails", summary="Fails.", build=fail)
        yield Provider(name="listed", summary="Is a list.", build=lambda _params, _context: [RECIPE])
        for key in ("name", "seed", "preset", "plugins", "auxlearn"):
            content = {**RECIPE, key: 1}
            yield Provider(name=f"has-{key}", summary="Says too much.", build=lambda _p, _c, content=content: content)
        stages = [{"name": "first", "seed": 4}, {"name": "second", "train": {"epochs": 2}}]
        staged = {**RECIPE, "stages": stages}
        yield Provider(name="staged", summary="Has stages.", build=lambda _params, _context: staged)


def strange(document, overrides=(), **options):
    document = {"auxlearn": 1, "data": {"type": "tiny"}, **document}
    return load_spec(document, overrides, plugins=[tiny, Strange()], **options)


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("fails", "KeyError: 'lost'"),
        ("listed", "instead of an object"),
        ("has-name", 'has "name"'),
        ("has-seed", 'has "seed"'),
        ("has-preset", 'has "preset"'),
        ("has-plugins", 'has "plugins"'),
        ("has-auxlearn", 'has "auxlearn"'),
    ],
)
def test_a_preset_that_is_no_part_of_a_spec_is_the_fault_of_its_plugin(name, fault):
    with pytest.raises(PluginError) as caught:
        strange({"preset": name})
    (problem,) = caught.value.problems
    assert problem.where == "/preset"
    assert f'the preset "{name}" of strange' in problem.what
    assert fault in problem.what


def test_overrides_and_the_seed_reach_the_stages_of_a_preset():
    overrides = ["stages.second.train.epochs=1", "stages.0.optimizer.lr=0.5", "train.batch_size=16"]
    spec = strange({"preset": "staged"}, overrides, seed=9)
    first, second = spec.stages
    assert (first.train.epochs, second.train.epochs, second.train.batch_size) == (7, 1, 16)
    assert (first.seed, second.seed, first.optimizer.keys.lr) == (9, 9, 0.5)
    assert spec.given["preset"] == "staged"
    assert strange(spec.given).resolved == spec.resolved
    assert strange({}, ["stages.second.train.epochs=1", "preset=staged"]).stages[1].train.epochs == 1
    assert [stage.seed for stage in strange({"preset": "staged"}).stages] == [4, 0]
    with pytest.raises(SpecError, match='no entry "third"; allowed: first, second'):
        strange({"preset": "staged"}, ["stages.third.train.epochs=1"])
    with pytest.raises(SpecError, match="no entry"):
        strange({"preset": "staged"}, [f"stages.{'9' * 5000}.train.epochs=1"])


def test_what_takes_back_the_epochs_of_a_preset_is_said():
    with pytest.raises(SpecError, match='"epochs": null takes back'):
        load({"preset": "tiny-flip", "train": {"steps": 5}})
    assert load({"preset": "tiny-flip", "train": {"steps": 5, "epochs": None}}).train.steps == 5
