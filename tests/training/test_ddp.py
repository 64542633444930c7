"""Two real processes (gloo) take the steps of one process on the joint batch."""

from pathlib import Path

import pytest
import torch

from auxlearn.testing.processes import outcomes_of

pytestmark = pytest.mark.slow

WORKER = Path(__file__).parent / "ddp_worker.py"

# With BatchNorm in training, two processes normalise by their own rows: another model, equal only between the two.
NOT_AS_ALONE = {"batch statistics", "stops"}
SCENARIOS = [
    "supervised",
    "one rank without labels",
    "no labels",
    "own and shared",
    "fused",
    "geometric",
    "geometric, one rank without labels",
    "repeated rows",
    "watched",
    "a gradient of each loss",
    "a gradient of each loss, in micro-batches",
    "frozen statistics",
    "frozen backbone",
    "sometimes",
    "micro-batches",
    "backward in parts",
    "micro-batches in parts, sometimes",
    "gathered",
    "gathered micro-batches",
    "batch statistics",
    "unlabelled rows",
    "stops",
    "skips",
]


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    return outcomes_of(WORKER, tmp_path_factory.mktemp("ddp"), "-W", "error::FutureWarning")


def of(outcomes, scenario):
    return tuple(outcomes[name][scenario] for name in ("alone", "rank0", "rank1"))


def gradients_close(one, other):
    assert len(one) == len(other)
    for mine, theirs in zip(one, other, strict=True):
        assert {n for n, g in mine.items() if g is None} == {n for n, g in theirs.items() if g is None}
        torch.testing.assert_close(
            {n: g for n, g in mine.items() if g is not None}, {n: g for n, g in theirs.items() if g is not None}
        )


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_both_processes_hold_the_same_model(outcomes, scenario):
    alone, first, second = of(outcomes, scenario)
    assert alone["gradients"]
    for part in ("state", "scored", "losses", "kept"):
        torch.testing.assert_close(second[part], first[part], rtol=0, atol=0, equal_nan=True)
    gradients_close(second["gradients"], first["gradients"])
    assert (second["error"] == "") == (first["error"] == "")
    assert second["counters"] == first["counters"] == alone["counters"]


@pytest.mark.parametrize("scenario", [name for name in SCENARIOS if name not in NOT_AS_ALONE])
def test_two_processes_have_the_gradients_of_one(outcomes, scenario):
    alone, first, _ = of(outcomes, scenario)
    gradients_close(first["gradients"], alone["gradients"])
    for part in ("state", "scored", "losses"):
        torch.testing.assert_close(first[part], alone[part], equal_nan=True)


def test_the_worker_has_no_scenario_that_is_not_asked_about(outcomes):
    assert list(outcomes["alone"]) == SCENARIOS


def test_what_is_off_has_no_gradient_in_any_process(outcomes):
    for outcome in of(outcomes, "sometimes"):
        absent = [
            {n.split(".")[1] for n, g in step.items() if g is None and n.startswith("pretext.")}
            for step in outcome["gradients"]
        ]
        assert absent == [{"b"}, {"a", "b"}, set(), {"a"}]


def test_a_loss_that_counts_nothing_is_a_zero_gradient(outcomes):
    for outcome in of(outcomes, "no labels"):
        for step in outcome["gradients"]:
            assert step["primary.kind.head.weight"].eq(0).all()
            assert step["backbone.first.weight"].ne(0).any()


def test_carries_are_gathered_in_rank_order(outcomes):
    alone, first, _ = (outcome["kept"]["a"] for outcome in of(outcomes, "gathered"))
    assert [len(rows) for rows in alone] == [8, 8]
    torch.testing.assert_close(first, alone)
    alone, first, _ = (outcome["kept"]["a"] for outcome in of(outcomes, "gathered micro-batches"))
    # Alone, the rows of both ranks stand together in each micro-batch; of two, each brings its micro-batches.
    torch.testing.assert_close(first, [rows.view(2, 2, -1).transpose(0, 1).flatten() for rows in alone])
    assert [len(rows) for rows in alone] == [4, 4]


def test_statistics_are_shared_by_the_processes(outcomes):
    _, first, second = of(outcomes, "batch statistics")
    names = [name for name in first["state"] if "running_" in name]
    assert len(names) == 4  # those of the network and the separate ones
    for name in names:
        assert torch.equal(first["state"][name], second["state"][name])
    assert first["state"]["backbone.norm.num_batches_tracked"] == 4


def test_what_is_not_finite_in_one_process_stops_both_at_the_same_step(outcomes):
    for outcome in of(outcomes, "stops"):
        assert outcome["error"].startswith("step 1 is not finite (a@a: loss is nan")
        assert "b@b: loss" not in outcome["error"].split(";")[0]
        assert outcome["counters"] == [1, 1, 1]
        assert len(outcome["gradients"]) == 1
        assert all(t.isfinite().all() for t in outcome["state"].values())
        assert outcome["state"]["backbone.norm.num_batches_tracked"] == 3  # one step, three passes


def test_what_is_not_finite_in_one_process_is_skipped_by_both(outcomes):
    for outcome in of(outcomes, "skips"):
        assert outcome["error"] == ""
        assert outcome["counters"] == [3, 2, 0]
        assert len(outcome["gradients"]) == len(outcome["kept"]["a"]) == 2
