"""Each key of the plan of passes does what its table says: passes, rows, schedules, supervision, weights."""

import attrs
import pytest
import torch

from auxlearn import Arrangement, Moment
from auxlearn.errors import PluginError
from auxlearn.learning import LossKey, View
from auxlearn.spec.models import Ramp
from auxlearn.testing.fakes import TinyPretext, TinyPrimary, tiny_batch

NOW = Moment(step=0)


def passes(looks):
    return [(look.rows, look.shape[-1]) for look in looks]


@pytest.mark.parametrize(
    ("views", "wanted"),
    [
        ({}, [("clean", 8)]),
        ({"a": "shared"}, [("shared", 8)]),
        ({"a": "own"}, [("clean", 8), ("a/0", 8)]),
        ({"a": "clean"}, [("clean", 8)]),
        ({"a": "shared", "b": "shared"}, [("shared", 8)]),
        ({"a": "own", "b": "shared"}, [("shared", 8), ("a/0", 8)]),
        ({"a": "clean", "b": "shared"}, [("shared", 8), ("clean", 8)]),
        ({"a": "clean", "b": "clean", "c": "own", "d": "own"}, [("clean", 8), ("c/0", 8), ("d/0", 8)]),
    ],
)
def test_passes_of_each_view(build, watch, views, wanted):
    learner = build({n: TinyPretext() for n in views}, {n: Arrangement(view=v) for n, v in views.items()})
    looks = watch(learner)
    plan = learner.plan(tiny_batch(), NOW)
    result = learner.step(tiny_batch(), NOW)
    assert [(p.name, len(p)) for p in plan.passes] == wanted
    assert result.passes == tuple(name for name, _ in wanted)
    assert passes(looks) == [(rows, 8) for _, rows in wanted]
    assert result.samples == 8
    assert {key.task for key in result.losses} == {"kind", *views}


def test_own_views_each_have_a_pass(build, watch):
    learner = build({"a": TinyPretext(views=3)}, {"a": Arrangement(view="own")})
    looks = watch(learner)
    result = learner.step(tiny_batch(), NOW)
    assert result.passes == ("clean", "a/0", "a/1", "a/2")
    assert len(looks) == 4


@pytest.mark.parametrize(("portion", "rows"), [(1.0, 8), (0.5, 4), (0.25, 2), (0.3, 2), (0.32, 3), (0.01, 1)])
def test_portion_of_own_and_clean_views(build, watch, portion, rows):
    assert rows == max(1, round(portion * 8))
    own = build({"a": TinyPretext()}, {"a": Arrangement(view="own", portion=portion)})
    looks = watch(own)
    own.step(tiny_batch(), NOW)
    assert passes(looks) == [(8, 8), (rows, 8)]
    clean = build({"a": TinyPretext()}, {"a": Arrangement(view="clean", portion=portion)})
    plan = clean.plan(tiny_batch(), NOW)
    ask = plan.asks[-1]
    assert (8 if ask.rows is None else len(ask.rows)) == rows
    assert len(ask.views[0].inputs["image"]) == rows


def test_portion_is_drawn_anew_in_every_step_by_each_task(build):
    how = Arrangement(view="own", portion=0.25)
    learner = build({"a": TinyPretext(), "b": TinyPretext()}, {"a": how, "b": how})
    drawn = [[tuple(a.views[0].rows.tolist()) for a in learner.plan(tiny_batch(), Moment(step=s)).asks[1:]]
             for s in range(8)]  # fmt: skip
    assert len({rows for rows, _ in drawn}) > 2
    assert any(one != other for one, other in drawn)


def test_own_pass_shows_the_chosen_rows(build, watch, shift):
    task = shift(by=5.0)
    learner = build({"a": task}, {"a": Arrangement(view="own", portion=0.5)})
    looks = watch(learner)
    batch = tiny_batch()
    learner.step(batch, NOW)
    rows = learner.plan(batch, NOW).asks[-1].views[0].rows
    torch.testing.assert_close(looks[1].image, looks[0].image[rows] + 5)


@pytest.mark.parametrize(("resolution", "side"), [(1.0, 8), (0.5, 4), (0.75, 6)])
def test_resolution_scales_own_views_only(build, watch, resolution, side):
    learner = build({"a": TinyPretext()}, {"a": Arrangement(view="own", resolution=resolution)})
    looks = watch(learner)
    learner.step(tiny_batch(), NOW)
    assert passes(looks) == [(8, 8), (8, side)]


def test_resolution_keeps_the_picture(build, watch, shift):
    learner = build({"a": shift(by=0.0)}, {"a": Arrangement(view="own", resolution=0.5)})
    looks = watch(learner)
    learner.step(tiny_batch(), NOW)
    reference = torch.nn.functional.interpolate(looks[0].image, size=(4, 4), mode="bilinear", antialias=True)
    torch.testing.assert_close(looks[1].image, reference)


def test_every_and_start_epoch(build):
    arrange = {"a": Arrangement(view="own", every=3), "b": Arrangement(view="shared", start_epoch=2)}
    learner = build({"a": TinyPretext(), "b": TinyPretext()}, arrange)
    on = [[p.name for p in learner.plan(tiny_batch(), Moment(step=s)).passes] for s in range(7)]
    assert on == [["clean", "a/0"] if step % 3 == 0 else ["clean"] for step in range(7)]
    shown = [learner.plan(tiny_batch(), Moment(step=1, epoch=epoch)).passes[0].name for epoch in (0, 1.99, 2, 2.5)]
    assert shown == ["clean", "clean", "shared", "shared"]


def test_weight_ramp(build):
    ramp = Ramp(start=0.0, end=0.8, begin=1.0, until=3.0)
    learner = build({"a": TinyPretext()}, {"a": Arrangement(view="own", weight=ramp)})
    key = LossKey("a", "pretext", "a")
    found = {e: learner.plan(tiny_batch(), Moment(epoch=e)).weights.get(key) for e in (0, 1, 1.5, 2, 2.5, 3, 9)}
    assert found == pytest.approx({0: None, 1: None, 1.5: 0.2, 2: 0.4, 2.5: 0.6, 3: 0.8, 9: 0.8})
    down = Arrangement(weight=Ramp(start=1.0, end=0.0, begin=0.0, until=2.0))
    assert [down.weight_at(e) for e in (0, 1, 2)] == [1.0, 0.5, 0.0]
    assert [down.active(0, e) for e in (0, 1, 2)] == [True, True, False]
    assert Ramp(start=1.0, end=2.0, begin=3.0, until=3.0).at(3.0) == 2.0


def test_shared_portion_is_put_back_where_it_was(build, watch, shift):
    task = shift(by=3.0)
    learner = build({"a": task}, {"a": Arrangement(view="shared", portion=0.5)})
    looks = watch(learner)
    batch = tiny_batch()
    plan = learner.plan(batch, NOW)
    learner.step(batch, NOW)
    ask = plan.asks[-1]
    expected = batch.image.float() / 255
    expected[ask.rows] += 3
    torch.testing.assert_close(looks[0].image, expected)
    assert torch.equal(ask.rows, ask.views[0].rows)
    assert len(ask.views[0].answers["by"]) == 4


def test_shared_tasks_chain_in_the_order_of_the_spec(build, watch, shift):
    first, second = shift(by=1.0), shift(by=10.0)
    how = {"a": Arrangement(view="shared"), "b": Arrangement(view="shared", portion=0.5)}
    learner = build({"a": first, "b": second}, how)
    looks = watch(learner)
    batch = tiny_batch()
    learner.step(batch, NOW)
    clean = batch.image.float() / 255
    torch.testing.assert_close(first.saw[0].image, clean)
    rows = learner.plan(batch, NOW).asks[-1].rows
    torch.testing.assert_close(second.saw[0].image, clean[rows] + 1)
    expected = clean + 1
    expected[rows] += 10
    torch.testing.assert_close(looks[0].image, expected)


def test_each_shared_loss_sees_exactly_its_rows(build, shift):
    task = shift(spread=1.0)
    learner = build({"a": task}, {"a": Arrangement(view="shared", portion=0.25)}, norm=False)
    batch = tiny_batch()
    plan = learner.plan(batch, NOW)
    result = learner.step(batch, NOW)
    with torch.no_grad():
        features = learner.backbone(plan.passes[0].inputs)
    torch.testing.assert_close(result.carry["a"]["pooled"], features.only.pooled[plan.asks[-1].rows])


def test_clean_pass_has_only_rows_that_are_read(build, watch):
    how = Arrangement(view="clean", portion=0.25)
    alone = build({"a": TinyPretext()}, {"a": how}, primary={})
    looks = watch(alone)
    alone.step(tiny_batch(), NOW)
    assert passes(looks) == [(2, 8)]
    two = build({"a": TinyPretext(), "b": TinyPretext()}, {"a": how, "b": how}, primary={})
    batch = tiny_batch()
    plan = two.plan(batch, NOW)
    chosen = [ask.views[0].rows for ask in plan.asks]
    assert plan.rows == len(torch.cat(chosen).unique())
    image = batch.image.float() / 255
    for ask, rows in zip(plan.asks, chosen, strict=True):
        shown = plan.passes[0].inputs["image"]
        torch.testing.assert_close(shown if ask.rows is None else shown[ask.rows], image[rows])
    with_shared = build({"a": TinyPretext(), "b": TinyPretext()}, {"a": how, "b": Arrangement(view="shared")})
    assert [(p.name, len(p)) for p in with_shared.plan(batch, NOW).passes] == [("shared", 8), ("clean", 2)]


def supervised(plan, task="kind"):
    return [ask for ask in plan.asks if ask.key.task == task and ask.key.role == "primary"]


@pytest.mark.parametrize(
    ("view", "supervise", "wanted"),
    [
        ("own", None, ["clean"]),
        ("own", False, ["clean"]),
        ("own", True, ["clean", "a/0"]),
        ("own", ("kind",), ["clean", "a/0"]),
        ("own", ("other",), ["clean"]),
        ("shared", None, ["shared"]),
        ("shared", True, ["shared"]),
        ("shared", ("kind",), ["shared"]),
        ("shared", ("other",), []),
        ("shared", False, []),
    ],
)
def test_supervise_says_who_learns_from_the_view(build, view, supervise, wanted):
    how = Arrangement(view=view, supervise=supervise)
    primary = {"kind": TinyPrimary(), "other": TinyPrimary()}
    learner = build({"a": TinyPretext()}, {"a": how}, primary=primary)
    plan = learner.plan(tiny_batch(), NOW)
    assert [ask.key.view for ask in supervised(plan)] == wanted
    learner.step(tiny_batch(), NOW).total.backward()
    assert (learner.primary["kind"].head.weight.grad is not None) == bool(wanted)


def test_primary_weight_is_shared_by_the_views(build):
    arrange = {"a": Arrangement(view="own", supervise=True), "b": Arrangement(view="own", supervise=("kind",))}
    primary = {"kind": TinyPrimary(), "other": TinyPrimary()}
    pretext = {"a": TinyPretext(), "b": TinyPretext()}
    learner = build(pretext, arrange, primary=primary, weights={"kind": 0.6, "other": 3.0})
    weights = learner.plan(tiny_batch(), NOW).weights
    kind = {key.view: w for key, w in weights.items() if key.task == "kind"}
    other = {key.view: w for key, w in weights.items() if key.task == "other"}
    assert kind == pytest.approx({"clean": 0.2, "a/0": 0.2, "b/0": 0.2})
    assert other == pytest.approx({"clean": 1.5, "a/0": 1.5})


def test_shared_rows_that_do_not_supervise_have_no_label(build):
    how = Arrangement(view="shared", portion=0.25, supervise=False)
    learner = build({"a": TinyPretext()}, {"a": how})
    plan = learner.plan(tiny_batch(), NOW)
    (ask,) = supervised(plan)
    rows = plan.asks[-1].rows
    assert sorted((~ask.batch.has("kind")).nonzero().flatten().tolist()) == rows.tolist()
    assert int(learner.counts(plan)[ask.key]) == 6


def spots(batch):
    points = torch.stack([torch.arange(8.0), torch.arange(8.0) / 2], 1)
    return attrs.evolve(batch, targets={**batch.targets, "spot": points})


@pytest.mark.parametrize("view", ["own", "shared"])
@pytest.mark.parametrize("portion", [1.0, 0.5])
def test_targets_move_with_the_view(build, spot, view, portion):
    how = Arrangement(view=view, portion=portion, supervise=True)
    learner = build({"a": TinyPretext(motion=True)}, {"a": how}, primary={"spot": spot(), "kind": TinyPrimary()})
    batch = spots(tiny_batch())
    plan = learner.plan(batch, NOW)
    pretext = plan.asks[-1]
    moved = supervised(plan, "spot")[-1].batch.targets["spot"]
    rows = torch.arange(8) if pretext.views[0].rows is None else pretext.views[0].rows
    turned = torch.zeros(8, dtype=torch.bool)
    turned[rows] = pretext.views[0].answers["turned"].bool()
    expected = batch.targets["spot"].clone()
    expected[turned, 1] = 7 - expected[turned, 1]
    torch.testing.assert_close(moved, expected[rows] if view == "own" else expected)
    assert turned.any()
    assert torch.equal(supervised(plan, "kind")[-1].batch.targets["kind"], batch.targets["kind"][rows]
                       if view == "own" else batch.targets["kind"])  # fmt: skip


def test_targets_of_a_scaled_view_are_in_its_pixels(build, spot):
    how = Arrangement(view="own", resolution=0.5, supervise=True)
    learner = build({"a": TinyPretext(motion=True)}, {"a": how}, primary={"spot": spot()})
    batch = spots(tiny_batch())
    plan = learner.plan(batch, NOW)
    turned = plan.asks[-1].views[0].answers["turned"].bool()
    expected = (batch.targets["spot"] + 0.5) / 2 - 0.5
    expected[turned, 1] = 3 - expected[turned, 1]
    torch.testing.assert_close(supervised(plan, "spot")[-1].batch.targets["spot"], expected)


def test_motions_of_a_chain_are_composed(build, spot):
    how = Arrangement(view="shared")
    tasks = {"a": TinyPretext(motion=True), "b": TinyPretext(motion=True)}
    learner = build(tasks, {"a": how, "b": how}, primary={"spot": spot()})
    batch = spots(tiny_batch())
    plan = learner.plan(batch, NOW)
    turned = plan.asks[-1].views[0].answers["turned"] ^ plan.asks[-2].views[0].answers["turned"]
    expected = batch.targets["spot"].clone()
    expected[turned.bool(), 1] = 7 - expected[turned.bool(), 1]
    torch.testing.assert_close(supervised(plan, "spot")[0].batch.targets["spot"], expected)


@pytest.mark.parametrize(
    ("view", "portion", "supervise", "wanted"),
    [
        ("own", 1.0, True, {"clean": 8}),
        ("own", 1.0, ("spot",), {"clean": 8, "a/0": 8}),
        ("shared", 1.0, True, {}),
        ("shared", 0.25, True, {"shared": 6}),
        ("shared", 1.0, ("spot",), {"shared": 8}),
        ("shared", 0.25, ("spot",), {"shared": 8}),
    ],
)
def test_destroyed_geometry_leaves_out_who_needs_it(build, spot, view, portion, supervise, wanted):
    how = Arrangement(view=view, portion=portion, supervise=supervise)
    learner = build({"a": TinyPretext(motion=False)}, {"a": how}, primary={"spot": spot(), "kind": TinyPrimary()})
    batch = spots(tiny_batch())
    plan = learner.plan(batch, NOW)
    counts = {key.view: int(count) for key, count in learner.counts(plan).items() if key.task == "spot"}
    assert counts == wanted
    for ask in supervised(plan, "spot"):
        assert torch.equal(ask.batch.targets["spot"], batch.targets["spot"])


def test_rows_left_out_stay_left_out_along_a_chain(build, spot):
    arrange = {"a": Arrangement(view="shared", portion=0.5), "b": Arrangement(view="shared", portion=0.5)}
    tasks = {"a": TinyPretext(motion=False), "b": TinyPretext(motion=True)}
    learner = build(tasks, arrange, primary={"spot": spot()})
    plan = learner.plan(spots(tiny_batch()), NOW)
    left_out = plan.asks[1].rows
    has = supervised(plan, "spot")[0].batch.has("spot")
    assert sorted((~has).nonzero().flatten().tolist()) == left_out.tolist()


class Bad(TinyPretext):
    def __init__(self, make):
        super().__init__()
        self.make = make

    def views(self, batch, draws):
        return self.make(batch)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda b: (), "pretext task a: `views` should return at least one view, it returned none"),
        (lambda b: (View(inputs=b.inputs),) * 2, "a shared view is exactly one view, it returned 2"),
        (lambda b: (View(inputs={"image": b.image[..., :4]}),), "a shared view keeps its shape .*8, 8.*it returned"),
        (
            lambda b: (View(inputs={**b.inputs, "more": b.image}),),
            "should show inputs of the batch, image, view 0 .*`more`",
        ),
    ],
)
def test_a_shared_view_that_cannot_be_put_back_names_its_task(build, make, message):
    learner = build({"a": Bad(make)}, {"a": Arrangement(view="shared")})
    with pytest.raises(PluginError, match=message):
        learner.plan(tiny_batch(), NOW)


def test_a_step_without_any_task_that_is_on(build):
    learner = build({"a": TinyPretext()}, {"a": Arrangement(view="own", every=2)}, primary={})
    result = learner.step(tiny_batch(), Moment(step=1))
    assert result.passes == ()
    assert result.losses == {}
    assert result.total == 0
    assert not result.total.requires_grad
