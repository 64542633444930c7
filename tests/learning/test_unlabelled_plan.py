"""Unlabelled rows in the plan of passes: pretext tasks see them, primary tasks do not, and nobody pays twice."""

import attrs
import pytest
import torch

from auxlearn import Arrangement, Moment
from auxlearn.data import Batch
from auxlearn.learning import LossKey
from auxlearn.testing.fakes import TinyPretext, TinyPrimary, tiny_batch

LABELLED, UNLABELLED = 4, 6
NOW = Moment(step=0)


def mixed(labelled=LABELLED, unlabelled=UNLABELLED, **targets):
    """Return a batch whose first rows are those of `known`."""
    known, other = known_rows(labelled, **targets), tiny_batch(unlabelled, seed=1)
    return attrs.evolve(
        known,
        inputs={"image": torch.cat([known.image, other.image])},
        ids=torch.cat([known.ids, 100 + other.ids]),
        labelled=labelled,
    )


def known_rows(labelled=LABELLED, **targets):
    batch = tiny_batch(labelled)
    return attrs.evolve(batch, targets={**batch.targets, **targets})


def own(**more):
    return Arrangement(view="own", **more)


@pytest.mark.parametrize(
    ("arrange", "wanted"),
    [
        ({}, {"clean": 4}),
        ({"a": own()}, {"clean": 4, "a/0": 10}),
        ({"a": own(weight=0.0)}, {"clean": 4}),
        ({"a": own(portion=0.5)}, {"clean": 4, "a/0": 5}),
        ({"a": own(portion=0.01)}, {"clean": 4, "a/0": 1}),
        ({"a": Arrangement(view="clean")}, {"clean": 10}),
        ({"a": Arrangement(view="clean", portion=0.5)}, {"clean": 4 + 3}),
        ({"a": Arrangement(view="shared")}, {"shared": 10}),
        ({"a": Arrangement(view="shared", portion=0.5)}, {"shared": 4 + 3}),
        ({"a": Arrangement(view="shared"), "b": Arrangement(view="shared", portion=0.5)}, {"shared": 10}),
        ({"a": Arrangement(view="shared", portion=0.5), "b": own()}, {"shared": 7, "b/0": 10}),
        ({"a": Arrangement(view="shared"), "b": Arrangement(view="clean", portion=0.5)}, {"shared": 10, "clean": 5}),
    ],
)
def test_no_pass_is_paid_for_rows_that_nobody_reads(build, watch, arrange, wanted):
    learner = build({name: TinyPretext() for name in arrange}, arrange)
    looks = watch(learner)
    result = learner.step(mixed(), NOW)
    assert dict(zip(result.passes, [look.rows for look in looks], strict=True)) == wanted
    assert result.samples == 10
    result.total.backward()


@pytest.mark.parametrize("portion", [1.0, 0.5])
@pytest.mark.parametrize("view", ["shared", "clean"])
def test_without_a_primary_task_only_the_rows_that_are_read_run(build, watch, view, portion):
    learner = build({"a": TinyPretext()}, {"a": Arrangement(view=view, portion=portion)}, primary={})
    looks = watch(learner)
    learner.step(mixed(), NOW)
    assert [look.rows for look in looks] == [round(10 * portion)]


@pytest.mark.parametrize(
    "how",
    [
        own(weight=0.0),
        own(),
        own(supervise=True),
        own(supervise=True, portion=0.5),
        own(supervise=("spot",), resolution=0.5),
        Arrangement(view="shared"),
        Arrangement(view="shared", portion=0.5),
        Arrangement(view="shared", portion=0.5, supervise=False),
        Arrangement(view="clean", portion=0.5),
    ],
)
@pytest.mark.parametrize("motion", [True, False])
def test_the_primary_tasks_learn_as_if_there_were_no_other_rows(build, gradients, spot, how, motion):
    place = torch.arange(2.0 * LABELLED).view(LABELLED, 2)

    def learner():
        return build(
            {"a": TinyPretext(motion=motion)}, {"a": how}, primary={"kind": TinyPrimary(), "spot": spot()}, norm=False
        )

    for step in range(3):
        moment = Moment(step=step)
        alone, among = known_rows(spot=place), mixed(spot=place)
        before, after = learner().step(alone, moment).losses, learner().step(among, moment).losses
        assert before.keys() == after.keys()
        torch.testing.assert_close(*({k: v for k, v in x.items() if k.role == "primary"} for x in (after, before)))
        one, other = gradients(learner(), alone, moment), gradients(learner(), among, moment)
        names = [n for n in one if n.startswith("primary.") or (how.weight == 0 and one[n] is not None)]
        assert any(n.startswith("backbone.") for n in names) == (how.weight == 0)
        torch.testing.assert_close({n: other[n] for n in names}, {n: one[n] for n in names})


@pytest.mark.parametrize(
    ("how", "wanted"),
    [
        (own(), {"a/0": 10, "probe": 4}),
        (Arrangement(view="shared"), {"shared": 10, "probe": 4}),
        (Arrangement(view="clean"), {"clean": 10}),
        (Arrangement(view="clean", portion=0.5), {"clean": 5, "probe": 4}),
    ],
)
def test_a_probe_watches_the_labelled_rows(build, watch, how, wanted):
    learner = build({"a": TinyPretext()}, {"a": how}, probes=["kind"], norm=False)
    looks = watch(learner)
    result = learner.step(mixed(), NOW)
    assert dict(zip(result.passes, [look.rows for look in looks], strict=True)) == wanted
    alone = build(probes=["kind"], norm=False).step(known_rows(), NOW).losses
    (loss,) = (loss for key, loss in result.losses.items() if key.task == "kind")
    torch.testing.assert_close(loss, next(iter(alone.values())))


@pytest.mark.parametrize("view", ["shared", "own", "clean"])
def test_a_pretext_task_sees_all_rows_the_labelled_ones_first(build, shift, view):
    task = shift(by=0.0 if view == "clean" else 1.0)
    learner = build({"a": task}, {"a": Arrangement(view=view)})
    batch = mixed()
    result = learner.step(batch, NOW)
    (saw,) = task.saw
    assert saw.ids.tolist() == batch.ids.tolist()
    assert saw.labelled == LABELLED
    assert saw.targets["kind"].tolist() == batch.targets["kind"].tolist()
    assert len(result.carry["a"]["pooled"]) == 10


@pytest.mark.parametrize("view", ["shared", "own", "clean"])
@pytest.mark.parametrize("portion", [0.5, 0.3])
def test_a_portion_is_one_of_either_stream_in_every_step(build, shift, view, portion):
    task = shift()
    learner = build({"a": task}, {"a": Arrangement(view=view, portion=portion)})
    batch = mixed()
    for step in range(8):
        learner.step(batch, Moment(step=step))
    known, total = round(portion * LABELLED), round(portion * 10)
    assert {(saw.labelled, len(saw)) for saw in task.saw} == {(known, total)}
    assert all((saw.ids[:known] < 100).all() and (saw.ids[known:] >= 100).all() for saw in task.saw)
    assert len({tuple(saw.ids.tolist()) for saw in task.saw}) > 2
    assert all(torch.equal(saw.targets["kind"], batch.targets["kind"][saw.ids[:known]]) for saw in task.saw)


def test_the_loss_reads_the_features_of_its_rows(build, shift):
    for view in ("shared", "clean"):
        task = shift(by=0.0)
        learner = build({"a": task}, {"a": Arrangement(view=view, portion=0.5)}, norm=False)
        batch = mixed()
        carried = learner.step(batch, NOW).carry["a"]["pooled"]
        places = [batch.ids.tolist().index(i) for i in task.saw[0].ids.tolist()]
        torch.testing.assert_close(carried, learner.features(batch.inputs).only.pooled[places])


def test_rows_of_a_view_that_does_not_supervise_are_left_out_of_the_labelled_ones(build):
    how = Arrangement(view="shared", portion=0.5, supervise=False)
    learner = build({"a": TinyPretext()}, {"a": how})
    plan = learner.plan(mixed(), NOW)
    (primary,) = (ask for ask in plan.asks if ask.key.role == "primary")
    rows = plan.asks[-1].views[0].rows
    assert primary.rows == slice(0, LABELLED)
    assert len(primary.batch) == LABELLED
    left = [row not in rows.tolist() for row in range(LABELLED)]
    assert primary.batch.has("kind").tolist() == left
    assert sum(left) == LABELLED - 2


def test_primary_tasks_get_plain_batches(build):
    plan = build({"a": TinyPretext()}, {"a": own(supervise=True)}).plan(mixed(), NOW)
    for ask in plan.asks:
        if ask.batch is not None:
            assert (len(ask.batch), ask.batch.labelled, dict(ask.batch.present)) == (LABELLED, None, {})
    counts = build({"a": TinyPretext()}, {"a": own()}).counts(plan)
    assert counts[LossKey("kind", "primary", "clean")] == LABELLED  # a number, nothing to read from a device
    assert counts[LossKey("a", "pretext", "a")] == 10


def test_micro_batches_add_up_to_the_batch(build):
    learner = build({"a": TinyPretext()}, {"a": own(weight=0.0)}, norm=False)
    batch = mixed()
    whole = learner.step(batch, NOW).losses
    parts = [learner.step(part, NOW).losses for part in batch.split(2)]
    for key, loss in whole.items():
        torch.testing.assert_close(torch.stack([part[key] for part in parts]).mean(), loss)


def test_rows_without_the_modality_keep_their_mask(build, shift):
    task = shift()
    learner = build({"a": task}, {"a": own(portion=0.5)})
    given = torch.arange(10) % 2 == 0
    batch = attrs.evolve(mixed(), present={"inputs/image": given, "targets/kind": given[:LABELLED]})
    result = learner.step(batch, NOW)
    saw: Batch = task.saw[0]
    places = [batch.ids.tolist().index(i) for i in saw.ids.tolist()]
    assert saw.present["inputs/image"].tolist() == given[places].tolist()
    assert len(saw.has("kind")) == saw.labelled
    assert result.total.isfinite()
