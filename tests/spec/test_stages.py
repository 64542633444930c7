"""Stages of a spec: what each expands to, and where its mistakes are reported."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auxlearn.errors import SpecError
from auxlearn.registry import discover
from auxlearn.spec import load_spec
from auxlearn.spec.frame import spec_schema
from auxlearn.spec.merge import merge
from auxlearn.spec.stages import expand_stages
from auxlearn.spec.validation import problems_of, validator_for
from auxlearn.testing import plugin

REGISTRY = discover([plugin])


def chain(*stages: dict[str, Any], **changes: Any) -> dict[str, Any]:
    base = {
        "auxlearn": 1,
        "name": "chain",
        "data": {"type": "tiny"},
        "backbone": {"type": "tiny"},
        "primary": {"kind": {"type": "tiny"}},
        "pretext": {"flip": {"type": "tiny"}},
        "train": {"epochs": 3, "batch_size": 8},
    }
    return {**base, **changes, "stages": list(stages)}


PRETRAIN, FINETUNE = {"name": "pretrain", "primary": None}, {"name": "finetune", "pretext": None}


def load(document: dict[str, Any], *overrides: str, **options: Any) -> Any:
    return load_spec(copy.deepcopy(document), overrides, registry=REGISTRY, **options)


def problems(document: dict[str, Any], *overrides: str) -> list[tuple[str, str]]:
    with pytest.raises(SpecError) as caught:
        load(document, *overrides)
    return [(problem.where, problem.what) for problem in caught.value.problems]


def test_each_stage_is_a_plain_spec() -> None:
    spec = load(chain(PRETRAIN, {**FINETUNE, "train": {"epochs": 5}}))
    one, two = spec.stages
    assert (one.name, one.stage, two.name, two.stage) == ("chain-pretrain", "pretrain", "chain-finetune", "finetune")
    assert (list(one.primary), list(one.pretext)) == ([], ["flip"])
    assert (list(two.primary), list(two.pretext)) == (["kind"], [])
    assert (one.train.epochs, two.train.epochs, two.train.batch_size) == (3, 5, 8)
    assert one.init_from is None
    assert (two.init_from.stage, two.init_from.parts, two.init_from.which) == ("pretrain", ("backbone",), "best")
    for stage in (one, two):
        again = load_spec({**stage.given, "name": stage.name}, registry=REGISTRY, recorded=True)
        assert again.resolved == stage.resolved
    assert (spec.name, spec.train, list(spec.primary)) == ("chain", two.train, ["kind"])


def test_the_resolved_spec_of_all_stages_is_a_spec_and_the_same() -> None:
    document = chain({**PRETRAIN, "checkpoint": {"every_epochs": None}}, {**FINETUNE, "init_from": None}, seed=4)
    spec = load(document)
    again = load(json.loads(json.dumps(spec.resolved)))
    assert again.resolved == spec.resolved
    assert [stage.resolved for stage in again.stages] == [stage.resolved for stage in spec.stages]
    assert spec.stages[0].checkpoint.every_epochs is None
    assert spec.stages[1].init_from is None


@pytest.mark.parametrize(
    ("begin", "expected"),
    [
        ({"parts": ["backbone", "primary"]}, ("two", None, ("backbone", "primary"), "best")),
        ({"stage": "one", "which": "last"}, ("one", None, ("backbone",), "last")),
        ({"path": "runs/other"}, (None, "runs/other", ("backbone",), "best")),
    ],
)
def test_a_stage_may_begin_from_another(begin: dict[str, Any], expected: tuple[Any, ...]) -> None:
    spec = load(chain({"name": "one"}, {"name": "two"}, {"name": "three", "init_from": begin}))
    found = spec.stages[2].init_from
    assert (found.stage, found.path, found.parts, found.which) == expected


def test_weights_from_elsewhere_are_for_the_first_stage() -> None:
    spec = load(chain({"name": "one"}, {"name": "two"}, init_from={"path": "runs/other"}))
    assert [(s.init_from.path, s.init_from.stage) for s in spec.stages] == [("runs/other", None), (None, "one")]


def test_mistakes_are_reported_where_they_were_written_and_all_at_once() -> None:
    document = chain(
        {"name": "one", "train": {"epohcs": 3}},
        {"name": "two", "optimizer": {"lr": -1}},
        {"name": "three", "pretext": {"flip": {"supervise": ["kidn"]}}, "primary": {"kind": {"weight": "x"}}},
        train={"epochs": 3, "batch_size": 0},
    )
    assert problems(document) == [
        ("/train/batch_size", "found 0"),
        ("/stages/0/train/epohcs", 'unknown key "epohcs"'),
        ("/stages/1/optimizer/lr", "found -1"),
        ("/stages/2/primary/kind/weight", 'found "x"'),
    ]


def test_a_mistake_of_the_base_that_only_some_stages_have_names_them() -> None:
    document = chain(
        PRETRAIN,
        {"name": "two"},
        evaluate={"monitor": {"metric": "kind/accuracy"}},
        optimizer={"lr_scale": {"primary.kind": 2}},
    )
    monitor, scale = problems(document)
    two = chain(
        PRETRAIN, {"name": "again", "primary": None}, {"name": "last"}, optimizer={"lr_scale": {"primary.kind": 2}}
    )
    assert problems(two) == [
        ("/optimizer/lr_scale/primary.kind", 'there is no part "primary.kind" (in the stages "pretrain" and "again")')
    ]
    assert monitor == ("/evaluate/monitor/metric", 'there is no task "kind" (in the stage "pretrain")')
    assert scale == ("/optimizer/lr_scale/primary.kind", 'there is no part "primary.kind" (in the stage "pretrain")')


def test_what_all_stages_lack_is_said_once() -> None:
    document = chain({"name": "one"}, {"name": "two"})
    del document["backbone"]
    assert problems(document) == [("", 'lacks the key "backbone"')]
    document = chain({"name": "one"}, {"name": "two", "backbone": None})
    assert problems(document) == [("/stages/1", 'lacks the key "backbone"')]


@pytest.mark.parametrize(
    ("stages", "where", "what"),
    [
        ([], "/stages", "found []"),
        ([{}], "/stages/0", 'lacks the key "name"'),
        ([{"name": "a/b"}], "/stages/0/name", 'found "a/b"'),
        ([3], "/stages/0", "found 3"),
        ([{"name": "one"}, {"name": "one"}], "/stages/1/name", 'an earlier stage is called "one" too'),
        ([{"name": "export"}], "/stages/0/name", 'a folder of every run is called "export"'),
        ([{"name": "one", "stages": []}], "/stages/0/stages", '"stages" concerns the whole spec'),
        ([{"name": "one", "preset": "x"}], "/stages/0/preset", '"preset" concerns the whole spec'),
        ([{"name": "one", "trian": {}}], "/stages/0/trian", 'unknown key "trian"'),
        (
            [{"name": "one", "init_from": {"stage": "one"}}],
            "/stages/0/init_from/stage",
            'there is no earlier stage "one"',
        ),
        ([{"name": "one", "init_from": {}}], "/stages/0/init_from", "lacks the run to begin from"),
        (
            [{"name": "one"}, {"name": "two", "init_from": {"stage": "one", "path": "x"}}],
            "/stages/1/init_from",
            "both `path` and `stage` are given",
        ),
        (
            [{"name": "one"}, {"name": "two", "train": {"devices": 2}}],
            "/stages/1/train/devices",
            'the stage "two" has another `devices` than the first',
        ),
    ],
)
def test_mistakes_in_the_stages_themselves(stages: list[Any], where: str, what: str) -> None:
    assert (where, what) in problems(chain(*stages))


@pytest.mark.parametrize("stage", ["pretrain", "elsewhere", "../../elsewhere"])
def test_a_run_without_one_before_it_begins_from_no_stage(stage: str) -> None:
    begin = {"init_from": {"stage": stage}}
    plain = {key: value for key, value in chain().items() if key != "stages"} | begin
    where = "/init_from/stage"
    for document in (plain, chain(PRETRAIN, FINETUNE, **begin)):
        assert {place for place, _ in problems(document)} == {where}
    if "/" not in stage:
        assert problems(plain) == [(where, "this spec has no stages")]
        assert problems(chain(PRETRAIN, **begin)) == [(where, "the first stage has none before it")]
        assert load(plain, recorded=True).init_from.stage == stage
    assert load(chain(PRETRAIN, FINETUNE, init_from={"path": "x"})).stages[0].init_from.path == "x"


def test_the_best_weights_that_the_next_stage_begins_with_are_kept() -> None:
    document = chain({**PRETRAIN, "checkpoint": {"keep_best": False}}, FINETUNE)
    found = problems(document)
    assert found == [("/stages/1/init_from", 'the best weights of the stage "pretrain" are not kept')]
    assert load(document, "stages.finetune.init_from.which=last").stages[1].init_from.stage == "pretrain"


def test_names_that_are_near_are_named() -> None:
    with pytest.raises(SpecError) as caught:
        load(chain(PRETRAIN, {"name": "two", "init_from": {"stage": "pretrian"}}))
    assert [p.meant for p in caught.value.problems] == ["pretrain"]


def test_overrides_reach_the_base_and_each_stage() -> None:
    document = chain(PRETRAIN, {**FINETUNE, "train": {"epochs": 5}})
    spec = load(document, "train.epochs=1", "stages.0.seed=3", "stages.finetune.train.batch_size=4")
    assert [(s.train.epochs, s.seed, s.train.batch_size) for s in spec.stages] == [(1, 3, 8), (5, 0, 4)]
    ((where, what),) = problems(document, "stages.finetnue.seed=1")
    assert (where, what) == ("/stages", 'there is no entry "finetnue"')


def test_a_seed_is_the_seed_of_every_stage() -> None:
    spec = load(chain(PRETRAIN, {**FINETUNE, "seed": 7}), seed=3)
    assert [stage.seed for stage in spec.stages] == [3, 3]
    assert [stage.seed for stage in load(chain(PRETRAIN, {**FINETUNE, "seed": 7})).stages] == [0, 7]


def test_the_schema_for_editors_accepts_stages() -> None:
    validator = validator_for(spec_schema(REGISTRY))
    document = chain(PRETRAIN, {"name": "probe", "backbone": {"type": "tiny", "freeze": True}})
    del document["backbone"]
    assert list(problems_of(validator, document)) == []
    assert [str(p.where) for _, p in problems_of(validator, {**document, "stages": [{}]})] == ["/stages/0"]


KEYS = st.sampled_from(["a", "b", "train"])
VALUES = st.recursive(st.integers() | st.none(), lambda inner: st.dictionaries(KEYS, inner, max_size=3), max_leaves=6)


@given(
    st.dictionaries(KEYS, VALUES, max_size=3),
    st.lists(st.dictionaries(KEYS, VALUES, max_size=3), min_size=1, max_size=3),
)
def test_a_stage_is_the_base_merged_with_its_changes(base: dict[str, Any], patches: list[dict[str, Any]]) -> None:
    document = {**base, "stages": [{"name": f"s{i}", **patch} for i, patch in enumerate(patches)]}
    before = copy.deepcopy(document)
    parts, found = expand_stages(document)
    assert found == []
    assert document == before
    for part, patch in zip(parts, patches, strict=True):
        expected = merge(base, patch)
        assert {k: v for k, v in part.document.items() if k != "init_from"} == expected


@given(st.dictionaries(KEYS, VALUES, max_size=3), st.dictionaries(KEYS, VALUES, max_size=3), st.lists(KEYS, max_size=4))
def test_every_place_is_found_where_it_was_written(base: Any, patch: Any, path: list[str]) -> None:
    ((part,), _) = expand_stages({**base, "stages": [{"name": "one", **patch}]})
    here: Any = part.document
    for step in path:
        if not isinstance(here, dict) or step not in here:
            return
        here = here[step]
    place = part.place(tuple(path))
    there: Any = {**base, "stages": [{"name": "one", **patch}]}
    for step in place:
        there = there[step]
    if not isinstance(here, dict):
        assert there == here


def test_targets_of_neighbours_are_checked_without_the_data() -> None:
    document = chain({"name": "one", "evaluate": {"knn": {"kind": {}, "kidn": {}}}})
    with pytest.raises(SpecError) as caught:
        load(document)
    assert [(p.where, p.meant) for p in caught.value.problems] == [("/stages/0/evaluate/knn/kidn", "kind")]


def test_a_probe_needs_something_that_learns_and_reads_clean_images_only() -> None:
    document = chain({"name": "one", "pretext": None}, primary={"kind": {"type": "tiny", "probe": True}})
    ((where, what),) = problems(document)
    assert where == "/primary"
    assert what.startswith("every task is a probe")
    assert load(document, "backbone.freeze=true").stages[0].primary["kind"].keys.probe
    document = chain(
        {"name": "one", "primary": {"kind": {"probe": True}}}, pretext={"flip": {"type": "tiny", "supervise": ["kind"]}}
    )
    ((where, what),) = problems(document)
    assert (where, what) == (
        "/pretext/flip/supervise/0",
        '"kind" is a probe, which reads clean images only',
    )
