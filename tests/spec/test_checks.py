import pytest

from auxlearn.errors import SpecError
from auxlearn.registry import Provider
from auxlearn.spec import load_spec
from auxlearn.spec.parts import PARTS


def problems(document, registry):
    with pytest.raises(SpecError) as caught:
        load_spec(document, registry=registry)
    return {problem.where: problem for problem in caught.value.problems}


def test_no_task(small, registry):
    del small["primary"]
    assert problems(small, registry)[""].what == "there is no task to train"
    small["pretext"] = {"puzzle": {"type": "puzzle"}}
    assert load_spec(small, registry=registry).primary == {}


@pytest.mark.parametrize("section", ["primary", "pretext"])
def test_a_task_that_is_called_like_something_of_torch(section, small, registry):
    small[section] = {"values": {"type": "emotion" if section == "primary" else "puzzle"}}
    problem = problems(small, registry)[f"/{section}/values"]
    assert problem.what == 'a task cannot be called "values": torch uses this name itself'


def test_all_weights_zero(small, registry):
    small["primary"]["emotion"]["weight"] = 0
    small["pretext"] = {"puzzle": {"type": "puzzle", "weight": {"start": 0, "end": 0}}}
    assert "every task has weight 0" in problems(small, registry)[""].what
    small["pretext"]["puzzle"]["weight"] = {"start": 0, "end": 0.1}
    load_spec(small, registry=registry)


def test_epochs_and_steps(small, registry):
    small["train"] = {"epochs": 3, "steps": 5}
    assert list(problems(small, registry)) == ["/train/steps"]
    del small["train"]["epochs"]
    train = load_spec(small, registry=registry).train
    assert (train.epochs, train.steps) == (None, 5)


def test_the_batch_is_divided_evenly(small, registry):
    small["train"] = {"batch_size": 50, "devices": 2, "nodes": 2, "accumulate": 3}
    problem = problems(small, registry)["/train/batch_size"]
    assert problem.allowed == "a multiple of 12, such as 48 or 60"
    small["train"]["batch_size"] = 48
    load_spec(small, registry=registry)


def test_a_balancer_that_needs_all_losses_goes_with_one_backward_pass(small, registry):
    small |= {"train": {"backward": "accumulate"}, "balance": {"type": "fixed"}}
    load_spec(small, registry=registry)
    small["balance"] = {"type": "geometric"}
    assert problems(small, registry)["/train/backward"].allowed == '"together"'
    small["train"] = {}
    load_spec(small, registry=registry)


def test_gradients_are_not_watched_in_float16(small, registry):
    small |= {"train": {"precision": "16-mixed"}, "log": {"gradients_every": 10}}
    assert "bf16-mixed" in problems(small, registry)["/log/gradients_every"].fix
    small["train"]["precision"] = "bf16-mixed"
    load_spec(small, registry=registry)


def test_a_warm_up_longer_than_the_run(small, registry):
    small |= {"train": {"epochs": 2}, "schedule": {"warmup_epochs": 3}}
    assert list(problems(small, registry)) == ["/schedule/warmup_epochs"]


def test_splits_and_folds(small, registry):
    small["data"] |= {"split": {"val": 0.6, "test": 0.4}, "folds": {"count": 3, "index": 3}}
    assert list(problems(small, registry)) == ["/data/split", "/data/folds/index"]


@pytest.mark.parametrize(("metric", "meant"), [("emotoin/accuracy", "emotion"), ("x/y", None)])
def test_the_monitor_names_a_task(small, registry, metric, meant):
    small["evaluate"] = {"monitor": {"metric": metric}}
    assert problems(small, registry)["/evaluate/monitor/metric"].meant == meant


def test_every_part_of_a_network_has_a_learning_rate(small, registry):
    small["optimizer"] = {"lr_scale": dict.fromkeys(PARTS, 0.1) | {"shared.queue": 2.0}}
    assert load_spec(small, registry=registry).optimizer.keys.lr_scale["norms"] == 0.1


def test_parts_of_the_learning_rate(small, registry):
    small["optimizer"] = {"lr_scale": {"backbon": 1, "primary.emotion": 1, "primary.other": 1, "shared.queue": 1}}
    found = problems(small, registry)
    assert {where: problem.meant for where, problem in found.items()} == {
        "/optimizer/lr_scale/backbon": "backbone",
        "/optimizer/lr_scale/primary.other": "primary.emotion",
    }


def test_supervise_names_primary_tasks(small, registry):
    small["pretext"] = {"puzzle": {"type": "puzzle", "supervise": ["emotion", "emotoin"]}}
    problem = problems(small, registry)["/pretext/puzzle/supervise/1"]
    assert (problem.allowed, problem.meant) == ("emotion", "emotion")


@pytest.mark.parametrize("view", ["shared", "clean"])
@pytest.mark.parametrize(("key", "value"), [("resolution", 0.5), ("statistics", "frozen")])
def test_keys_of_an_own_pass(small, registry, view, key, value):
    small["pretext"] = {"puzzle": {"type": "puzzle", "view": view, "supervise": True, key: value}}
    assert list(problems(small, registry)) == [f"/pretext/puzzle/{key}"]
    small["pretext"]["puzzle"]["view"] = "own"
    load_spec(small, registry=registry)


def test_a_task_that_moves_pixels_needs_a_view_that_shows_it(small, registry):
    small["pretext"] = {"mix": {"type": "shuffle", "view": "clean"}}
    problem = problems(small, registry)["/pretext/mix/view"]
    assert problem.allowed == '"own", "shared"'
    for view in ("own", "shared"):
        small["pretext"]["mix"]["view"] = view
        load_spec(small, registry=registry)


def test_a_ramp_that_ends_before_it_begins(small, registry):
    small["pretext"] = {"puzzle": {"type": "puzzle", "weight": {"begin": 3, "until": 2}}}
    assert list(problems(small, registry)) == ["/pretext/puzzle/weight/until"]


@pytest.mark.parametrize(("train", "fits"), [({}, 29), ({"epochs": 5}, 4), ({"steps": 5}, 1000)])
def test_a_task_that_would_never_start(small, registry, train, fits):
    small |= {"train": train, "pretext": {"puzzle": {"type": "puzzle", "start_epoch": fits}}}
    load_spec(small, registry=registry)
    if train != {"steps": 5}:
        small["pretext"]["puzzle"]["start_epoch"] = fits + 1
        assert list(problems(small, registry)) == ["/pretext/puzzle/start_epoch"]


def test_a_task_that_moves_pixels_comes_before_one_that_asks_where_they_are(small, registry):
    small["pretext"] = {"fill": {"type": "fill"}, "mix": {"type": "shuffle"}}
    problem = problems(small, registry)["/pretext/mix"]
    assert '"mix" before "fill"' in problem.fix
    small["pretext"] = dict(reversed(small["pretext"].items()))
    load_spec(small, registry=registry)


@pytest.mark.parametrize("change", [{"fill": {"view": "own"}}, {"mix": {"view": "own"}}, {"fill": {"weight": 0}}])
def test_only_shared_views_that_are_computed_have_an_order(small, registry, change):
    small["pretext"] = {"fill": {"type": "fill"}, "mix": {"type": "shuffle"}}
    for name, keys in change.items():
        small["pretext"][name] |= keys
    load_spec(small, registry=registry)


def test_a_task_that_asks_about_cells_stands_before_one_that_moves_pixels_within_them(small, with_offers):
    def build(_params, _context):
        return None

    def offers(within):
        return [
            ("pretext_task", Provider(name="tiles", summary="T.", build=build, view="shared", asks_cells=lambda _: 3)),
            (
                "pretext_task",
                Provider(
                    name="turns",
                    summary="T.",
                    build=build,
                    view="shared",
                    moves_pixels=True,
                    moves_within=lambda _: within,
                ),
            ),
        ]

    small["pretext"] = {"first": {"type": "tiles"}, "second": {"type": "turns"}}
    for within, fits in [(3, True), (6, True), (2, False), (None, False)]:
        registry = with_offers(*offers(within))
        if fits:
            load_spec(small, registry=registry)
        else:
            assert list(problems(small, registry)) == ["/pretext/second"]


def test_a_check_sees_the_size_of_the_view(small, with_offers):
    seen = []

    def check(_params, context):
        seen.append(context.size)
        return ()

    provider = Provider(name="sized", summary="S.", build=lambda _params, _context: None, check=check)
    small["augment"] = {"size": 33}
    small["pretext"] = {"one": {"type": "sized", "resolution": 0.5}}
    load_spec(small, registry=with_offers(("pretext_task", provider)))
    assert seen == [16]


HIDES = {"type": "shuffle", "supervise": False}


@pytest.mark.parametrize(
    "pretext",
    [
        {"mix": HIDES},
        {"mix": HIDES, "own": {"type": "puzzle"}},
        {"mix": {**HIDES, "supervise": []}},
        {"mix": {**HIDES, "portion": 0.999}},
        {"a": {"type": "fill"}, "mix": HIDES},
        {"mix": HIDES, "own": {"type": "puzzle", "supervise": True, "weight": 0}},
    ],
)
def test_a_primary_that_no_row_supervises(small, registry, pretext):
    small["pretext"] = pretext
    problem = problems(small, registry)["/primary/emotion"]
    assert "no image supervises it" in problem.what
    assert 'in "mix" add it to "supervise", set "view": "own", or lower "portion"' in problem.fix


@pytest.mark.parametrize(
    "pretext",
    [
        {"mix": {"type": "shuffle"}},
        {"mix": {**HIDES, "supervise": ["emotion"]}},
        {"mix": {**HIDES, "portion": 0.5}},
        {"mix": {**HIDES, "view": "own"}},
        {"mix": {**HIDES, "type": "cluster"}},
        {"mix": {**HIDES, "every": 2}},
        {"mix": {**HIDES, "start_epoch": 1}},
        {"mix": {**HIDES, "weight": 0}},
        {"mix": HIDES, "own": {"type": "puzzle", "supervise": True}},
        {"mix": HIDES, "own": {"type": "puzzle", "supervise": ["emotion"]}},
    ],
)
def test_a_primary_that_some_row_supervises(small, registry, pretext):
    small["pretext"] = pretext
    load_spec(small, registry=registry)


def test_a_primary_of_weight_zero_needs_no_supervision(small, registry):
    small["primary"]["emotion"]["weight"] = 0
    small["pretext"] = {"mix": HIDES}
    load_spec(small, registry=registry)


def test_a_component_checks_its_own_params(small, registry):
    small["pretext"] = {"puzzle": {"type": "puzzle", "grid": 5}}
    problem = problems(small, registry)["/pretext/puzzle/grid"]
    assert problem.what == "48 pixels cannot be divided into 5 tiles"


def test_a_pretext_task_is_told_how_it_is_arranged(small, with_offers):
    seen = []
    offers = [
        (
            kind,
            Provider(name=name, summary="", build=print, view="shared", check=lambda _, told: seen.append(told) or ()),
        )
        for kind, name in (("pretext_task", "told"), ("primary_task", "untold"))
    ]
    small["primary"]["other"] = {"type": "untold"}
    small["pretext"] = {"a": {"type": "told"}, "b": {"type": "told", "view": "own", "portion": 0.3}}
    small["train"] = {"batch_size": 80, "devices": 2, "accumulate": 4}
    load_spec(small, registry=with_offers(*offers))
    assert [(told.view, told.rows, told.batch_size) for told in seen] == [
        (None, None, 80), ("shared", 10, 80), ("own", 3, 80)
    ]  # fmt: skip


def test_mistakes_of_every_sort_come_together(small, registry):
    small |= {"train": {"batch_size": 3, "accumulate": 2}, "wrong": 1}
    small["pretext"] = {"puzzle": {"type": "puzzle", "grid": 5}, "other": {"type": "puzzle", "gird": 2}}
    assert set(problems(small, registry)) == {
        "/train/batch_size",
        "/wrong",
        "/pretext/puzzle/grid",
        "/pretext/other/gird",
    }
