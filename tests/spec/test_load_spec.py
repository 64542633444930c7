import copy
import json
import math

import attrs
import pytest

from auxlearn import Arrangement
from auxlearn.data.opening import read_section
from auxlearn.errors import PluginError, Problem, SpecError
from auxlearn.registry import Broken, Provider, Registry, option
from auxlearn.spec import load_spec
from auxlearn.spec.extraction import load_extraction
from auxlearn.spec.models import Ramp


def problems(document, registry, *overrides):
    with pytest.raises((SpecError, PluginError)) as caught:
        load_spec(document, overrides, registry=registry)
    return caught.value.problems


def wrong(document, registry):
    return {problem.where: problem for problem in problems(document, registry)}


def test_a_whole_spec(spec, registry):
    loaded = load_spec(spec, registry=registry)
    assert (loaded.name, loaded.seed, loaded.train.batch_size) == ("test", 3, 32)
    assert loaded.backbone.params == attrs.evolve(
        loaded.backbone.params, model="tiny", levels=(0, 2), drop=0.1, widths={"stem": 8}
    )
    puzzle = loaded.pretext["puzzle"]
    assert puzzle.params.crop.mode == "near"
    assert puzzle.keys == Arrangement(
        view="own",
        portion=0.25,
        weight=Ramp(start=0.0, end=0.5, until=3.0),
        supervise=("emotion",),
        statistics="frozen",
    )
    assert (puzzle.pointer, puzzle.distribution, puzzle.version) == ("/pretext/puzzle", "fakes", "1.0")
    assert type(loaded.primary["emotion"].keys.weight) is float
    assert loaded.given == spec


def test_defaults_are_filled_in(small, registry):
    loaded = load_spec(small, registry=registry)
    assert (loaded.name, loaded.seed, loaded.train.epochs, loaded.init_from) == ("run", 0, 30, None)
    assert [getattr(loaded, s).provider.name for s in ("augment", "balance", "optimizer", "schedule")] == [
        "identity",
        "fixed",
        "adamw",
        "cosine",
    ]
    assert loaded.resolved["plugins"] == {"fakes": "1.0", "auxlearn": loaded.augment.version}


@pytest.mark.parametrize(
    ("type_", "view", "supervise"), [("puzzle", "own", False), ("shuffle", "shared", True), ("cluster", "clean", False)]
)
def test_view_and_supervise_come_from_the_task(small, registry, type_, view, supervise):
    small["pretext"] = {"task": {"type": type_}}
    keys = load_spec(small, registry=registry).pretext["task"].keys
    assert (keys.view, keys.supervise) == (view, supervise)


@pytest.mark.parametrize("which", ["spec", "small"])
def test_a_resolved_spec_resolves_to_itself(which, registry, request):
    document = request.getfixturevalue(which)
    first = load_spec(document, registry=registry)
    text = json.dumps(first.resolved, allow_nan=False)
    second = load_spec(text.encode(), registry=registry)
    assert second.resolved == first.resolved
    assert attrs.evolve(second, given=first.given) == first


def test_a_section_with_a_default_component_needs_no_type(small, registry):
    small["optimizer"] = {"lr": 0.1}
    loaded = load_spec(small, registry=registry)
    assert (loaded.optimizer.provider.name, loaded.optimizer.keys.lr) == ("adamw", 0.1)


def test_the_name_is_that_of_the_file(tmp_path, small, registry):
    path = tmp_path / "my first (run).json"
    path.write_text(json.dumps(small))
    loaded = load_spec(path, registry=registry)
    assert (loaded.name, loaded.root) == ("my-first-run", str(tmp_path))


def test_a_seed_from_outside_wins(spec, registry):
    loaded = load_spec(spec, registry=registry, seed=7)
    assert (loaded.seed, loaded.given["seed"], loaded.resolved["seed"]) == (7, 7, 7)


def test_the_spec_that_was_handed_over_stays_as_it_is(spec, registry):
    before = copy.deepcopy(spec)
    load_spec(spec, ["train.epochs=3", "pretext.puzzle.grid=2"], registry=registry, seed=1)
    assert spec == before


def test_a_registry_and_plugins_cannot_both_be_given(small, registry):
    with pytest.raises(ValueError, match="`plugins` should be empty"):
        load_spec(small, registry=registry, plugins=[math])


def test_an_unknown_key_is_told_with_the_nearest(spec, registry):
    spec["pretext"]["puzzle"]["gird"] = 2
    (problem,) = problems(spec, registry)
    assert (problem.where, problem.what, problem.meant) == ("/pretext/puzzle/gird", 'unknown key "gird"', "grid")
    assert "portion" in problem.allowed
    assert "grid" in problem.allowed
    assert "model" not in problem.allowed


def test_an_unknown_type_names_what_is_installed(spec, registry):
    spec["pretext"]["puzzle"]["type"] = "puzle"
    (problem,) = problems(spec, registry)
    assert (problem.where, problem.meant, problem.exit_code) == ("/pretext/puzzle/type", "puzzle", 2)
    assert "puzzle (fakes), shuffle (fakes)" in problem.allowed


def test_a_broken_plugin_that_the_spec_needs_is_a_plugin_error(small, registry):
    broken = Broken(
        distribution="auxlearn-timm", version="0.1", entry_point="timm", reason="failed to import: no torch"
    )
    small["backbone"] = {"type": "timm", "model": "a"}
    with pytest.raises(PluginError, match=r"/backbone/type: .*failed to import: no torch"):
        load_spec(small, registry=Registry(registry.found, (broken,)))


@pytest.mark.parametrize(
    ("path", "value", "allowed"),
    [
        ("/train/batch_size", "7", "an integer, at least 1"),
        ("/train/batch_size", True, "an integer, at least 1"),
        ("/train/batch_size", 3.9, "an integer, at least 1"),
        ("/train/batch_size", 0, "an integer, at least 1"),
        ("/train/batch_size", None, "an integer, at least 1"),
        ("/train/ema", 1, "a number, above 0, below 1, or null"),
        ("/train/compile", "no", "true or false"),
        ("/train/compile", 0, "true or false"),
        ("/optimizer/lr", "0.1", "a number, above 0"),
        ("/seed", -1, "an integer, at least 0, at most 9223372036854775807"),
        ("/name", "../up", "a string that matches"),
        ("/name", "a\n", "a string that matches"),
        ("/data/split/by", "class", '"stratum", "group", "random"'),
        ("/data/split", [], "an object with val, test, by, target, seed, or null"),
        ("/backbone/levels/1", 9, "an integer, at least 0, at most 4"),
        ("/backbone/levels", [1, 1, 1, 1], "a list of at most 3, each an integer, at least 0, at most 4"),
        ("/backbone/widths/stem", 0, "an integer, at least 1"),
        ("/backbone/model", "Tiny", "a string that matches ^(?:[a-z0-9_]+)$"),
        ("/pretext/puzzle/order", "randm", 'an integer or "random", "fixed"'),
        ("/pretext/puzzle/order", 1.5, 'an integer or "random", "fixed"'),
        ("/pretext/puzzle/crop/mode", "cubic", '"near", "linear"'),
        ("/pretext/puzzle/weight", [], "a number, at least 0 or an object with start, end, begin, until"),
        ("/pretext/puzzle/weight/until", -1, "a number, at least 0"),
        ("/pretext/puzzle/supervise", "emotion", "true or false or a list, each a string, or null"),
        ("/pretext/puzzle/supervise/0", 3, "a string"),
        ("/pretext/puzzle/view", "onw", '"shared", "own", "clean", null'),
        ("/log/to/0", "cvs", '"csv", "tensorboard", "wandb", "mlflow"'),
        ("/auxlearn", 2, "1"),
        ("/auxlearn", True, "1"),
        ("/data", [], "an object"),
        ("/primary", [], "an object"),
        ("/primary/emotion", 3, "an object"),
        ("/data/type", 3, "a string"),
    ],
)
def test_a_wrong_value_is_told_with_its_place_and_what_is_allowed(spec, registry, path, value, allowed):
    *steps, last = path.split("/")[1:]
    here = spec
    for step in steps:
        here = here[step]
    here[int(last) if isinstance(here, list) else last] = value
    (problem,) = problems(spec, registry)
    assert problem.where == path
    assert allowed in problem.allowed
    shown = json.dumps(value)
    assert shown in problem.what or isinstance(value, list)


def test_equal_numbers_are_taken(spec, registry):
    spec["train"]["batch_size"] = 32.0
    spec["backbone"]["drop"] = 0
    spec["seed"] = 5.0
    loaded = load_spec(spec, registry=registry)
    for value, expected in (
        (loaded.train.batch_size, 32),
        (loaded.resolved["seed"], 5),
        (loaded.backbone.params.drop, 0.0),
    ):
        assert (value, type(value)) == (expected, type(expected))


def test_missing_keys(registry):
    found = wrong({"data": {}, "backbone": {"type": "net"}, "primary": {"a": {}}}, registry)
    assert found[""].what == 'lacks the key "auxlearn"'
    assert found["/data"].what == 'lacks the key "type"'
    assert found["/data"].allowed == "faces, files"
    assert found["/backbone"].what == 'lacks the key "model"'
    assert found["/primary/a"].allowed == "emotion"


def test_all_problems_come_at_once_in_document_order(spec, registry):
    spec["log"]["to"] = ["x"]
    spec["train"]["epochs"] = 0
    spec["pretext"]["puzzle"]["grid"] = 1
    spec["pretext"]["group"]["nothing"] = 1
    spec["data"]["type"] = "fcaes"
    spec["data"]["fraction"] = 2
    spec["wrong"] = 1
    assert [problem.where for problem in problems(spec, registry)] == [
        "/data/type",
        "/data/fraction",
        "/pretext/puzzle/grid",
        "/pretext/group/nothing",
        "/train/epochs",
        "/log/to/0",
        "/wrong",
    ]


def test_more_than_twenty_problems_are_counted(small, registry):
    small |= {f"key{number}": 1 for number in range(30)}
    with pytest.raises(SpecError) as caught:
        load_spec(small, registry=registry)
    assert len(caught.value.problems) == 30
    assert str(caught.value).splitlines()[-1] == "... and 10 more"


def test_pointers_are_escaped(small, registry):
    small["a/b~c"] = 1
    assert problems(small, registry)[0].where == "/a~1b~0c"


def test_nothing_of_a_spec_reaches_the_terminal_raw(small, registry):
    small["\x1b[31m"] = 1
    small["data"]["type"] = "\x1b[2J\n\x07"
    small["backbone"]["model"] = "x" * 5000 + "\u202e"
    small["primary"]["\x1b"] = {}
    with pytest.raises(SpecError) as caught:
        load_spec(small, registry=registry)
    text = str(caught.value)
    assert text.replace("\n", "").isprintable()
    assert all(len(line) < 500 for line in text.splitlines())


def test_names_of_tasks(small, registry):
    small["pretext"] = {"My Task": {"type": "puzzle"}, "emotion": {"type": "puzzle"}}
    found = wrong(small, registry)
    assert "lower case" in found["/pretext/My Task"].allowed
    assert found["/pretext/emotion"].what == "a primary task has the same name"


def test_ambiguous_names_are_an_error_that_a_full_name_mends(small, with_offers):
    registry = with_offers(("primary_task", Provider(name="emotion", summary="", build=print)), distribution="others")
    (problem,) = problems(small, registry)
    assert problem.exit_code == 3
    assert problem.allowed == '"fakes:emotion" or "others:emotion"'
    small["primary"]["emotion"]["type"] = "others:emotion"
    loaded = load_spec(small, registry=registry)
    assert loaded.primary["emotion"].distribution == "others"
    assert loaded.resolved["primary"]["emotion"]["type"] == "others:emotion"


def test_plugins_of_a_resolved_spec_must_be_there(small, registry):
    small["plugins"] = {"fakes": "0.1", "auxlearn-gone": "2"}
    (problem,) = problems(small, registry)
    assert (problem.where, problem.fix) == ("/plugins/auxlearn-gone", "pip install auxlearn-gone")


@attrs.frozen
class Picky:
    low: int = option(0, help="")
    high: int = option(1, help="")

    def __attrs_post_init__(self):
        if self.low > self.high:
            raise ValueError(f"`low` should be at most `high`, found {self.low}")


def test_a_params_class_may_refuse_values(small, with_offers):
    registry = with_offers(("pretext_task", Provider(name="picky", summary="", build=print, params=Picky)))
    small["pretext"] = {"one": {"type": "picky", "low": 3}}
    (problem,) = problems(small, registry)
    assert (problem.where, problem.what) == ("/pretext/one", "`low` should be at most `high`, found 3")


def iterates(params, context):
    yield Problem(what="first", where="/a")
    raise KeyError("oops")


@pytest.mark.parametrize(
    ("check", "told"),
    [
        (lambda *_: None, r"should return Problems \(an iterable\), it returned None"),
        (lambda *_: "bad", r"should return Problems \(an iterable\), it returned str 'bad'"),
        (lambda *_: [3], "should give Problem objects, it gave int 3"),
        (lambda *_: [Problem(what="x", where=3)], "should say where as a JSON Pointer, as /grid, it gave 3"),
        (lambda: [], r"failed: TypeError: .*"),
        (lambda *_: 1 / 0, r"failed: ZeroDivisionError: division by zero \(spec/test_load_spec.py, line \d+\)"),
        (
            iterates,
            rf"failed: KeyError: 'oops' \(spec/test_load_spec.py, line {iterates.__code__.co_firstlineno + 2}\)",
        ),
    ],
)
def test_a_check_that_breaks_is_the_plugins_fault(small, with_offers, check, told):
    registry = with_offers(("pretext_task", Provider(name="bad", summary="", build=print, check=check)))
    small["pretext"] = {"one": {"type": "bad"}}
    with pytest.raises(PluginError, match=rf'^/pretext/one: `check` of "bad" \(fakes 1\.0\) {told}$'):
        load_spec(small, registry=registry)


@pytest.mark.parametrize("function", ["asks_cells", "moves_within"])
def test_a_grid_is_a_number(small, with_offers, function):
    grids = {"asks_cells": lambda _: 2, "moves_within": lambda _: 4, function: lambda _: "4"}
    offer = Provider(name="bad", summary="", build=print, view="shared", moves_pixels=True, **grids)
    small["pretext"] = {"one": {"type": "bad"}, "two": {"type": "bad"}}
    with pytest.raises(PluginError, match=rf"`{function}` of .* should return an int or None, it returned str '4'"):
        load_spec(small, registry=with_offers(("pretext_task", offer)))


def test_a_description_is_data_facts(small, with_offers):
    offer = Provider(name="bad", summary="", build=print, describe=lambda _: "x")
    small["data"] = {"type": "bad"}
    told = r"^/data: `describe` of \"bad\" \(fakes 1\.0\) should return DataFacts or None, it returned str 'x'$"
    with pytest.raises(PluginError, match=told):
        load_spec(small, registry=with_offers(("data_source", offer)))


@pytest.mark.parametrize("function", ["asks_cells", "moves_within"])
def test_a_grid_that_breaks_is_the_plugins_fault(small, with_offers, function):
    def breaks(_):
        raise SystemExit(3)

    grids = {"asks_cells": lambda _: 2, "moves_within": lambda _: 4, function: breaks}
    offer = Provider(name="bad", summary="", build=print, view="shared", moves_pixels=True, **grids)
    small["pretext"] = {"one": {"type": "bad"}, "two": {"type": "bad"}}
    with pytest.raises(
        PluginError, match=rf'/pretext/(one|two): `{function}` of "bad" \(fakes 1\.0\) failed: SystemExit'
    ):
        load_spec(small, registry=with_offers(("pretext_task", offer)))


def test_a_check_that_breaks_is_told_by_other_commands_too(with_offers):
    offer = Provider(name="bad", summary="", build=print, check=lambda *_: 1 / 0)
    registry = with_offers(("data_source", offer), ("backbone", offer))
    with pytest.raises(PluginError, match=r'/data: `check` of "bad" \(fakes 1\.0\) failed: ZeroDivisionError'):
        read_section("bad", [], registry)
    spec = {"auxlearn": 1, "data": {"type": "faces"}, "extract": {"image": {"type": "bad"}}}
    with pytest.raises(PluginError, match=r'/extract/image: `check` of "bad"'):
        load_extraction(spec, (), registry)


def test_a_describe_that_breaks_is_the_plugins_fault(small, with_offers):
    registry = with_offers(("data_source", Provider(name="bad", summary="", build=print, describe=lambda _: 1 / 0)))
    small["data"] = {"type": "bad"}
    with pytest.raises(PluginError, match=r'/data: `describe` of "bad"'):
        load_spec(small, registry=registry)


@pytest.mark.parametrize("where", ["/a/0", "a/0"])
def test_a_check_sees_the_data_the_size_and_the_batch(small, with_offers, where):
    seen = []

    def check(params, context):
        seen.append(context)
        return [Problem(what="no", where=where, exit_code=4)]

    registry = with_offers(("pretext_task", Provider(name="looks", summary="", build=print, check=check)))
    small["pretext"] = {"one": {"type": "looks"}}
    (problem,) = problems_of_data(small, registry)
    assert problem.where == "/pretext/one/a/0"
    assert (seen[0].size, seen[0].batch_size, seen[0].data.splits) == (48, 64, ("train", "val"))
    small["data"]["size"] = 32
    small["train"] = {"batch_size": 7}
    problems_of_data(small, registry)
    assert (seen[1].size, seen[1].batch_size) == (32, 7)
    small["augment"] = {"size": 24}
    problems_of_data(small, registry)
    assert seen[2].size == 24


def problems_of_data(document, registry):
    from auxlearn.errors import DataError

    with pytest.raises(DataError) as caught:
        load_spec(document, registry=registry)
    return caught.value.problems


def test_overrides(spec, registry):
    loaded = load_spec(
        spec,
        [
            "train.epochs=3",
            "name=other",
            "pretext.puzzle.weight=0.3",
            "pretext.puzzle.crop.scale=0.9",
            'log.to=["csv", "wandb"]',
            "/optimizer/lr_scale/pretext.puzzle=0.5",
            "evaluate.monitor=null",
            "data.folds.count=3",
            "schedule.warmup_epochs=0",
        ],
        registry=registry,
    )
    assert (loaded.train.epochs, loaded.name, loaded.pretext["puzzle"].keys.weight) == (3, "other", 0.3)
    assert loaded.pretext["puzzle"].params.crop.scale == 0.9
    assert loaded.log.to == ("csv", "wandb")
    assert loaded.optimizer.keys.lr_scale["pretext.puzzle"] == 0.5
    assert loaded.evaluate.monitor is None
    assert loaded.data.keys.folds.count == 3


def test_overrides_make_what_is_missing(small, registry):
    loaded = load_spec(small, ["pretext.new.type=puzzle", "pretext.new.grid=2", "optimizer.lr=1"], registry=registry)
    assert loaded.pretext["new"].params.grid == 2
    assert loaded.optimizer.keys.lr == 1.0


@pytest.mark.parametrize(
    ("override", "where", "meant"),
    [
        ("train.epohs=3", "/train/epohs", "epochs"),
        ("trian.epochs=3", "/trian", "train"),
        ("pretext.puzle.weight=0.3", "/pretext/puzle", "puzzle"),
        ("pretext.puzzle.grdi=2", "/pretext/puzzle/grdi", "grid"),
        ("train.epochs=NaN", "/train/epochs", None),
        ("train.epochs=", "/train/epochs", None),
        ("seed.x=1", "/seed", None),
        ("epochs", "epochs", None),
        ("=3", "=3", None),
        ("a..b=3", "a..b=3", None),
    ],
)
def test_wrong_overrides(spec, registry, override, where, meant):
    (problem,) = problems(spec, registry, override)
    assert (problem.where, problem.meant) == (where, meant)
