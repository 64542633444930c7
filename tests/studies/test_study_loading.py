"""What a study file may say, and where each mistake in it is told."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from jsonschema import Draft202012Validator

from auxlearn.errors import AuxlearnError, PluginError
from auxlearn.registry import Provider, discover, hookimpl
from auxlearn.studies.loading import load_study
from auxlearn.studies.models import study_schema
from auxlearn.testing import plugin as tiny

BASE = {
    "auxlearn": 1,
    "data": {"type": "tiny", "rows": 20},
    "backbone": {"type": "tiny"},
    "primary": {"kind": {"type": "tiny"}},
    "train": {"epochs": 1},
}


@pytest.fixture(scope="module")
def registry():
    return discover([tiny])


def study_of(**keys):
    return {"auxlearn_study": 1, "base": BASE, "arms": {"plain": {}}, **keys}


def problems_of(registry, source, *overrides):
    with pytest.raises(AuxlearnError) as raised:
        load_study(source, overrides, registry)
    return {problem.where: problem for problem in raised.value.problems}


def test_an_arm_merges_sections_and_sets_paths(registry):
    arm = {"train": {"batch_size": 4}, "pretext.turned.type": "tiny", "pretext.turned.weight": 0.25}
    read = load_study(study_of(arms={"plain": {}, "turned": arm}, seeds=[3, 4], fractions=[0.5, 1]), (), registry)
    assert [str(cell) for cell in read.cells[:3]] == [
        "plain, 50 % of the labels, seed 3",
        "turned, 50 % of the labels, seed 3",
        "plain, 100 % of the labels, seed 3",
    ]
    assert (read.baseline, read.name, len(read.cells)) == ("plain", "run", 8)
    spec = read.spec(read.cells[1], registry)
    assert (spec.train.epochs, spec.train.batch_size, spec.pretext["turned"].keys.weight) == (1, 4, 0.25)
    assert (spec.seed, spec.data.keys.fraction, spec.data.params.rows, spec.name) == (3, 0.5, 20, "turned")
    assert read.spec(read.cells[0], registry).pretext == {}


def test_a_grid_is_one_arm_for_each_combination(registry):
    arm = {
        "pretext.turned.type": "tiny",
        "grid": {"pretext.turned.weight": [0.1, 1], "optimizer.type": ["sgd"], "train.epochs": [2]},
    }
    read = load_study(study_of(arms={"plain": {}, "turned": arm}), (), registry)
    assert list(read.arms) == [
        "plain",
        "turned-weight=0.1,type=sgd,epochs=2",
        "turned-weight=1,type=sgd,epochs=2",
    ]
    assert read.specs["turned-weight=1,type=sgd,epochs=2"].pretext["turned"].keys.weight == 1


def test_grids_of_keys_with_the_same_end_are_told_apart(registry):
    arm = {"pretext.turned.type": "tiny", "grid": {"pretext.turned.weight": [1], "primary.kind.weight": [2]}}
    read = load_study(study_of(arms={"turned": arm}), (), registry)
    assert list(read.arms) == ["turned-pretext.turned.weight=1,primary.kind.weight=2"]


def test_a_base_in_a_file_has_its_own_folder(registry, tmp_path):
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "base.json").write_text(json.dumps(BASE))
    (tmp_path / "faces.json").write_text(json.dumps(study_of(base="inner/base.json")))
    read = load_study(tmp_path / "faces.json", (), registry)
    assert (read.name, read.specs["plain"].root) == ("faces", str(tmp_path / "inner"))


def test_an_arm_can_change_another_spec(registry):
    read = load_study(study_of(arms={"plain": {}, "other": {"spec": {**BASE, "train": {"epochs": 9}}}}), (), registry)
    assert [spec.train.epochs for spec in read.specs.values()] == [1, 9]


def test_overrides_change_the_study(registry):
    read = load_study(study_of(), ["seeds=[7]", "base.train.epochs=3", "arms.plain.train.batch_size=2"], registry)
    spec = read.spec(read.cells[0], registry)
    assert (len(read.cells), spec.seed, spec.train.epochs, spec.train.batch_size) == (1, 7, 3, 2)


def test_stages_are_merged_and_one_of_them_can_count(registry):
    stages = [{"name": "pre", "primary": None, "pretext": {"turned": {"type": "tiny"}}}, {"name": "fine"}]
    arms = {"plain": {"stages.fine.train.epochs": 4}}
    read = load_study(study_of(base={**BASE, "stages": stages}, arms=arms, stage="fine"), (), registry)
    assert [stage.train.epochs for stage in read.specs["plain"].stages] == [1, 4]
    found = problems_of(registry, study_of(base={**BASE, "stages": stages}, stage="last"))
    assert found["/stage"].allowed == "pre, fine"


def test_every_mistake_is_told_at_its_place(registry):
    arms = {
        "plain": {},
        "merged": {"pretext": {"turned": {"type": "tiny", "wieght": 1}}},
        "path": {"trian.epochs": 3},
        "low": {"train.epochs": 0},
        "grid": {"grid": {"train.batch_size": [8, 0]}},
        "half": {"pretext.turned.weight": 0.5},
    }
    found = problems_of(registry, study_of(base={**BASE, "backbone": {"type": "tiny", "width": "x"}}, arms=arms))
    assert list(found) == [
        "/base/backbone/width",
        "/arms/merged/pretext/turned/wieght",
        "/arms/path/trian.epochs",
        "/arms/low/train.epochs",
        "/arms/grid/grid/train.batch_size",
        "/arms/half/pretext.turned.weight",
    ]
    assert found["/arms/path/trian.epochs"].meant == "train"
    assert found["/arms/merged/pretext/turned/wieght"].meant == "weight"


def test_mistakes_in_a_file_have_its_name(registry, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "base.json").write_text('{"auxlearn": 1, "seed": 1, "seed": 2, "data": {"type": "tinny"}}')
    found = problems_of(registry, study_of(base="base.json"))
    assert set(found) == {"base.json /seed", "base.json /data/type", "base.json"}
    assert set(problems_of(registry, study_of(base="absent.json"))) == {str(tmp_path / "absent.json")}


@pytest.mark.parametrize(
    ("keys", "where", "said"),
    [
        ({"seeds": [1, 1]}, "/seeds/1", "twice"),
        ({"seeds": []}, "/seeds", "at least 1"),
        ({"fractions": [0.5, 1.5]}, "/fractions/1", "at most 1"),
        ({"baseline": "plian"}, "/baseline", 'did you mean "plain"'),
        ({"metric": "knid/accuracy"}, "/metric", "kind/..."),
        ({"arms": {"a b": {}}}, "/arms/a b", "letters"),
        ({"arms": {}}, "/arms", "{}"),
        ({"arms": {"plain": {"seed": 3}}}, "/arms/plain/seed", "the study gives the seeds"),
        ({"arms": {"plain": {"name": "x"}}}, "/arms/plain/name", "called like its arm"),
        ({"arms": {"plain": {"data.fraction": 0.1}}, "fractions": [1]}, "/arms/plain/data.fraction", "fractions"),
        ({"arms": {"plain": {"data": {"fraction": 0.1}}}, "fractions": [1]}, "/arms/plain/data/fraction", "fractions"),
        ({"arms": {"plain": {"grid": {"seed": [1]}}}}, "/arms/plain/grid/seed", "the study gives the seeds"),
        (
            {"arms": {"plain": {"grid": {"backbone.type": ["auxlearn.testing.plugin:tiny"]}}}},
            "/arms/plain/grid/backbone.type",
            "part of the name of a folder",
        ),
        ({"arms": {"plain": {"train.devices": 2}}}, "/arms/plain/train.devices", "one device"),
        ({"arm": {}}, "/arm", 'did you mean "arms"'),
        ({"auxlearn_study": 2}, "/auxlearn_study", "allowed: 1"),
        ({"mode": "most"}, "/mode", '"max", "min"'),
        ({"arms": {"a": {"grid": {"train.epochs": [1, 1]}}}}, "/arms/a", "two arms"),
        ({"arms": {"plain": {}, "Plain": {}}}, "/arms/Plain", 'would be that of "plain"'),
        ({"arms": {"a": {}, "a..": {}}}, "/arms/a..", 'would be that of "a"'),
        ({"arms": {"a": {}, "A": {"grid": {"train.epochs": [1]}}, "a-Epochs=1": {}}}, "/arms/a-Epochs=1", "A-epochs=1"),
        ({"fractions": [0.1, 0.1000001]}, "/fractions/1", "0.1000001 is 0.1"),
    ],
)
def test_mistakes_of_a_study(registry, keys, where, said):
    found = problems_of(registry, study_of(**keys))
    assert where in found
    assert said in str(found[where])


@pytest.mark.parametrize(
    ("changes", "said"),
    [({}, "kind/..."), ({"primary.kind.probe": True}, "mood/..."), ({"evaluate.monitor.metric": "mood/f1"}, "mood/f1")],
)
def test_an_arm_without_that_by_which_the_baseline_selects_is_refused(registry, changes, said):
    tasks = {"kind": {"type": "tiny"}, "mood": {"type": "tiny"}}
    gone = said.split("/")[0]
    arms = {"plain": changes, "bare": {f"primary.{gone}": None}}
    found = problems_of(registry, study_of(base={**BASE, "primary": tasks}, arms=arms))
    assert f'the arm "bare" has no task that is scored as "{said}", by which the baseline' in str(found["/metric"])
    (other,) = tasks.keys() - {gone}
    arms["bare"] = {f"primary.{other}": None}
    assert load_study(study_of(base={**BASE, "primary": tasks}, arms=arms), (), registry).baseline == "plain"
    unscored = {"primary": None, "pretext.turned.type": "tiny"}
    assert load_study(study_of(arms={"plain": unscored, "other": {}}), (), registry).baseline == "plain"


def test_fractions_that_arms_set_themselves_are_fine_where_the_study_gives_none(registry):
    read = load_study(study_of(arms={"plain": {}, "less": {"data.fraction": 0.5}}), (), registry)
    assert [cell.path for cell in read.cells[:2]] == ["plain/given/0", "less/given/0"]


STAGES = [
    {"name": "pre", "primary": None, "pretext": {"turned": {"type": "tiny"}}, "data": {"fraction": 1}},
    {"name": "fine", "data": {"fraction": 0.5}},
]


@pytest.mark.parametrize("fractions", [[0.5, 1], [1, 0.5], [0.25]])
def test_a_fraction_of_the_scored_stage_itself_is_refused_under_fractions(registry, fractions):
    base = {**BASE, "stages": STAGES}
    found = problems_of(registry, study_of(base=base, fractions=fractions))
    assert list(found) == ["/base/stages/1/data/fraction"]
    assert 'the stage "fine" has the fraction 0.5 of its own' in str(found["/base/stages/1/data/fraction"])
    mine = problems_of(registry, study_of(arms={"own": {"stages": STAGES}}, fractions=fractions))
    assert list(mine) == ["/arms/own/stages/1/data/fraction"]


def test_stages_that_are_not_scored_may_have_a_fraction_of_their_own(registry):
    base = {**BASE, "stages": [STAGES[0], {"name": "fine"}]}
    read = load_study(study_of(base=base, fractions=[0.5, 1]), (), registry)
    spec = read.spec(read.cells[0], registry)
    assert [stage.data.keys.fraction for stage in spec.stages] == [1, 0.5]


class Presets:
    """A plugin with two presets."""

    @hookimpl
    def auxlearn_presets(self):
        one = {"pretext": {"one": {"type": "tiny"}}}
        other = {"pretext": {"other": {"type": "tiny", "weight": 0.5}}, "train": {"epochs": 7}}
        yield Provider(name="one", summary="One.", build=lambda *_: one)
        yield Provider(name="other", summary="Another.", build=lambda *_: other)


def test_a_preset_of_a_grid_replaces_that_of_the_base_as_one_of_an_arm_does():
    registry = discover([tiny, Presets()])
    base = {**{key: value for key, value in BASE.items() if key != "train"}, "preset": "one"}
    arms = {"plain": {}, "own": {"preset": "other"}, "grid": {"grid": {"preset": ["one", "other"]}}}
    specs = load_study(study_of(base=base, arms=arms), (), registry).specs
    assert {name: [*spec.pretext] for name, spec in specs.items()} == {
        "plain": ["one"],
        "own": ["other"],
        "grid-preset=one": ["one"],
        "grid-preset=other": ["other"],
    }
    assert specs["grid-preset=other"].train.epochs == 7
    wrong = problems_of(registry, study_of(base=base, arms={"a": {"grid": {"preset": ["otter"]}}}))
    assert wrong["/arms/a/grid/preset"].meant == "other"


@pytest.mark.parametrize("path", ["pretext.turned", "/pretext/turned", "pretext"])
def test_null_at_a_path_takes_a_task_away(registry, path):
    base = {**BASE, "pretext": {"turned": {"type": "tiny"}}}
    arms = {"with": {}, "without": {path: None}, "again": {path: None, "pretext.turned.type": "tiny"}}
    if path != "pretext":
        arms["grid"] = {"grid": {path: [None]}}
    specs = load_study(study_of(base=base, arms=arms), (), registry).specs
    assert [[*spec.pretext] for spec in specs.values()] == [["turned"], [], ["turned"], []][: len(arms)]


def test_null_is_a_value_where_no_section_is(registry):
    arms = {"plain": {"train.epochs": None, "train.steps": 3}, "ema": {"train.ema": None}}
    read = load_study(study_of(base={**BASE, "train": {"ema": 0.9}}, arms=arms), (), registry)
    assert (read.specs["plain"].train.steps, read.specs["ema"].train.ema) == (3, None)


def test_without_a_base_each_arm_needs_a_spec(registry):
    found = problems_of(registry, {"auxlearn_study": 1, "arms": {"a": {"spec": BASE}, "b": {}}})
    assert list(found) == ["/arms/b"]


def test_keys_that_stand_twice_are_told(registry):
    text = b'{"auxlearn_study": 1, "base": {}, "arms": {"a": {"train.epochs": 1, "train.epochs": 2}}}'
    assert "/arms/a/train.epochs" in problems_of(registry, text)


def test_a_plugin_that_is_missing_is_an_error_of_plugins(registry, monkeypatch):
    monkeypatch.setenv("AUXLEARN_PLUGINS", "")
    spec = {**BASE, "backbone": {"type": "timm", "model": "resnet18"}}
    with pytest.raises(PluginError, match="/base/backbone/type"):
        load_study(study_of(base=spec), (), discover([tiny]))


def test_the_schema_for_editors_takes_what_is_read(registry):
    validator = Draft202012Validator(study_schema(registry))
    arm = {"pretext.turned.type": "tiny", "grid": {"pretext.turned.weight": [0.1, 1]}}
    assert not list(validator.iter_errors(study_of(arms={"plain": {}, "turned": arm}, fractions=[0.5])))
    wrong = study_of(base={**BASE, "trian": {}}, seeds=["a"])
    assert sorted(error.json_path for error in validator.iter_errors(wrong)) == ["$.base", "$.seeds[0]"]


def test_reading_a_study_imports_no_torch():
    code = (
        "import sys, json; from auxlearn.registry import discover; from auxlearn.testing import plugin;"
        "from auxlearn.studies.running import study; from auxlearn.studies.loading import load_study;"
        f"load_study(json.loads({json.dumps(json.dumps(study_of()))}), (), discover([plugin]));"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
