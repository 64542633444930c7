"""From cells to rows, notes and files."""

from __future__ import annotations

import csv
import json
import random

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from auxlearn.errors import SpecError
from auxlearn.studies.cells import Cell, CellKey, read_cell
from auxlearn.studies.pairing import pairing_notes
from auxlearn.studies.plots import draw
from auxlearn.studies.report import explanation, rows_of, write_report, write_results
from auxlearn.studies.summary import summarise


def cell(arm, seed, score, *, fraction=None, seconds=1.0, **more):
    facts = {"selected": {"step": 3, "metric": "a/accuracy", "value": 0.5}, "scored_on": "test", "memory": 1000}
    return Cell(
        key=CellKey(arm=arm, fraction=fraction, seed=seed),
        state="done",
        scores={"a/accuracy": score, "a/loss": 1 - score},
        seconds_per_step=seconds,
        seconds=10 * seconds,
        **{**facts, **more},
    )


def cells_of(gain=0.1, seeds=6):
    return [
        cell(arm, seed, 0.5 + 0.01 * seed + helps * (gain + 0.002 * (seed % 3)), seconds=1 + helps)
        for seed in range(seeds)
        for helps, arm in enumerate(("plain", "turned"))
    ]


def test_a_row_has_the_mean_the_paired_difference_and_the_cost():
    summary = summarise(cells_of(), baseline="plain")
    plain, turned = summary.rows
    assert (summary.metric, summary.mode, summary.comparisons) == ("a/accuracy", "max", 1)
    assert (plain.difference, plain.cost.step, plain.estimate.mean) == (None, 1.0, pytest.approx(0.525))
    assert turned.difference.mean == pytest.approx(0.102)
    assert turned.difference.p == turned.difference.p_holm == 2 / 2**6
    assert attrs.astuple(turned.cost) == (2.0, 2.0, 1.0)
    assert "better" in rows_of(summary)[1][5]


def test_less_may_be_better():
    cells = [attrs.evolve(one, modes={"a/accuracy": "min"}) for one in cells_of()]
    assert "worse" in rows_of(summarise(cells, baseline="plain"))[1][5]
    assert "better" in rows_of(summarise(cells, baseline="plain", mode="max"))[1][5]
    assert "better" in rows_of(summarise(cells_of(), baseline="plain", metric="a/loss"))[1][5]


def test_of_an_entry_of_a_vector_as_much_is_better_as_of_the_vector():
    cells = [attrs.evolve(one, scores={"pose/mae/yaw": one.scores["a/accuracy"]}) for one in cells_of()]
    cells = [attrs.evolve(one, modes={"pose": "max", "pose/mae": "min"}, selected={}) for one in cells]
    assert summarise(cells, baseline="plain").mode == "min"
    # The entry itself comes first, and what only begins with the same letters says nothing.
    cells = [attrs.evolve(one, modes={"pose/mae": "min", "pose/mae/yaw": "max"}) for one in cells]
    assert summarise(cells, baseline="plain").mode == "max"
    cells = [attrs.evolve(one, modes={"pose/ma": "min"}) for one in cells]
    assert summarise(cells, baseline="plain").mode == "max"


def test_every_comparison_counts_in_the_correction():
    cells = [attrs.evolve(one, key=attrs.evolve(one.key, fraction=f)) for f in (0.5, 1.0) for one in cells_of()]
    summary = summarise(cells, baseline="plain")
    assert [row.difference.p_holm for row in summary.rows if row.difference] == [4 / 2**6, 4 / 2**6]
    assert [(row.fraction, row.arm) for row in summary.rows][:2] == [(0.5, "plain"), (0.5, "turned")]


@given(st.randoms())
def test_the_order_of_runs_changes_no_bit_of_the_numbers(generator: random.Random):
    cells = cells_of()
    shuffled = list(cells)
    generator.shuffle(shuffled)
    one, other = (summarise(cells, baseline="plain") for cells in (cells, shuffled))
    assert {row.arm: row for row in one.rows} == {row.arm: row for row in other.rows}


def test_too_few_seeds_are_told():
    few = summarise(cells_of(seeds=5), baseline="plain").notes
    assert any(
        "p-value is 0.062: however" in note and "no p-value can be" in note and "6 seeds" in note for note in few
    )
    enough = summarise(cells_of(seeds=6), baseline="plain").notes
    assert not any("however" in note for note in enough)


def test_that_the_correction_makes_seeds_too_few_is_told():
    cells = [attrs.evolve(one, key=attrs.evolve(one.key, fraction=f)) for f in (0.5, 1.0) for one in cells_of()]
    (note,) = (note for note in summarise(cells, baseline="plain").notes if "however" in note)
    assert "p-value is 0.031, and corrected for 2 comparisons 0.062: however" in note
    assert "no corrected p-value can be 0.05 or less. With 7 seeds it could." in note


def test_the_test_is_called_exact_where_it_is():
    assert "of the exact permutation test of signs, and" in explanation(summarise(cells_of(), baseline="plain"))[1]
    many = explanation(summarise(cells_of(seeds=17), baseline="plain"))[1]
    assert "of the permutation test of signs (exact up to 16 pairs; of more, 65536 choices" in many


def test_runs_that_are_not_done_are_counted_and_left_out():
    cells = cells_of(seeds=3)
    cells[-1] = Cell(key=cells[-1].key, state="failed", reason="no memory")
    summary = summarise(cells, baseline="plain")
    assert summary.rows[1].seeds == (0, 1)
    assert rows_of(summary)[1][2] == "2 of 3"
    assert "Of 6 runs 1 failed; the numbers are of the others." in summary.notes
    assert summary.rows[1].difference.count == 2


def test_runs_without_the_metric_are_counted_and_left_out():
    cells = cells_of(seeds=3)
    cells[0] = attrs.evolve(cells[0], scores={"a/loss": 0.3}, selected={"step": 3, "metric": None, "value": None})
    cells.append(attrs.evolve(cells[1], key=attrs.evolve(cells[1].key, arm="bare"), scores={"b/accuracy": 0.9}))
    summary = summarise(cells, baseline="plain")
    assert summary.metric == "a/accuracy"
    assert [(row.arm, row.seeds) for row in summary.rows] == [("plain", (1, 2)), ("turned", (0, 1, 2)), ("bare", ())]
    assert (summary.rows[1].difference.count, summary.rows[2].estimate, summary.comparisons) == (2, None, 1)
    assert [cells[2] for cells in rows_of(summary)] == ["2 of 3", "3", "0 of 1"]
    left_out = "Done, but left out, as they have no number for `a/accuracy`: 1 run of `plain`, 1 run of `bare`."
    assert left_out in summary.notes
    assert not any("left out" in note for note in summarise(cells_of(), baseline="plain").notes)


def test_no_difference_is_formed_between_scores_on_different_splits():
    cells = [attrs.evolve(one, scored_on="val") if one.key.arm == "turned" else one for one in cells_of(seeds=3)]
    summary = summarise(cells, baseline="plain")
    assert (summary.rows[1].estimate.count, summary.rows[1].difference, summary.comparisons) == (3, None, 0)
    assert any("Without scores on `test`: 3 runs of `turned`." in note for note in summary.notes)
    some = summarise([*cells_of()[:-1], attrs.evolve(cells_of()[-1], scored_on="val")], baseline="plain")
    assert (some.rows[1].estimate.count, some.rows[1].difference.count) == (6, 5)


def test_what_was_selected_and_scored_on_is_told():
    assert "scores on `test`" in " ".join(summarise(cells_of(), baseline="plain").notes)
    on_val = [attrs.evolve(one, scored_on="val") for one in cells_of()]
    assert "No run was scored on `test`" in " ".join(summarise(on_val, baseline="plain").notes)
    unselected = [attrs.evolve(one, selected={"step": 3, "metric": None, "value": None}) for one in cells_of()]
    notes = " ".join(summarise(unselected, baseline="plain").notes)
    assert "last weights" in notes
    assert "selected on" not in notes


def test_a_metric_that_is_not_there_is_an_error_with_the_nearest():
    with pytest.raises(SpecError, match='did you mean "a/accuracy"'):
        summarise(cells_of(), baseline="plain", metric="a/acuracy")
    with pytest.raises(SpecError, match="no run is done"):
        summarise([Cell(key=CellKey(arm="a", fraction=None, seed=0), state="missing")], baseline="a")


def spec(**changes):
    plain = {"data": {"type": "d", "fraction": 1}, "augment": {}, "backbone": {"width": 8}, "train": {"batch_size": 4}}
    return {**plain, **changes}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"train": {"batch_size": 8}}, "8 rows instead of 4"),
        ({"backbone": {"width": 9}}, "other initial weights"),
        ({"data": {"type": "e", "fraction": 1}}, "other rows"),
        ({"augment": {"turn": 3}}, "augments otherwise"),
        ({"init_from": {"path": "runs/other"}}, "it may begin with other weights"),
        ({"stages": [spec(name="first"), spec(name="last")]}, "it has other stages."),
        ({"data": {"type": "d", "fraction": 0.5, "unlabelled": {"type": "rest"}}}, None),
    ],
)
def test_what_breaks_a_pair_is_told(changes, said):
    notes = pairing_notes({"plain": spec(), "other": spec(**changes)}, "plain", [])
    assert (said is None and not notes) or said in notes[0]


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"pretext": {"turned": {"weight": 1}}}, True),
        ({"data": {"type": "d", "fraction": 1, "unlabelled": {"type": "rest"}}}, True),
        ({"data": {"type": "d", "fraction": 0.5, "workers": 2}, "log": {"every": 3}}, False),
    ],
)
def test_other_stages_before_the_last_are_told(changes, told):
    last = spec(name="last", init_from={"stage": "first"})
    arms = {arm: {"stages": [spec(name="first", **more), last]} for arm, more in (("plain", {}), ("other", changes))}
    notes = pairing_notes(arms, "plain", [])
    assert [("its earlier stages differ" in note, "init_from" in note) for note in notes] == [(True, False)] * told


def test_other_rows_of_a_pair_are_told():
    rows = [cell(arm, 0, 0.5, fingerprints={"test": arm}) for arm in ("plain", "other")]
    assert "not the same rows of test" in pairing_notes({"plain": spec(), "other": spec()}, "plain", rows)[0]
    notes = pairing_notes({"plain": spec(), "other": spec(augment={"turn": 3})}, "plain", rows)
    assert ["in part only" in notes[0], "not the same rows of test" in notes[1]] == [True, True]


def test_pairs_of_other_machines_are_told():
    machine = {"device": "cpu", "threads": 1, "torch": "2.15.0"}
    runs = [cell(arm, seed, 0.5, machine=machine) for seed in (0, 1) for arm in ("plain", "other")]
    assert not pairing_notes({"plain": spec(), "other": spec()}, "plain", runs)
    runs[3] = attrs.evolve(runs[3], machine={"device": "A100", "threads": 2})
    (note,) = pairing_notes({"plain": spec(), "other": spec()}, "plain", runs)
    assert "Runs of `other` and `plain` differ in device (A100, cpu), threads (2, 1), which" in note


@pytest.mark.parametrize(
    ("manifest", "machine"),
    [
        ({}, {}),
        ({"device": "cpu", "gpus": [], "threads": 2}, {"device": "cpu", "threads": 2}),
        ({"device": "cpu", "gpus": ["A100"]}, {"device": "cpu"}),
        ({"device": "cuda:1", "gpus": ["A100", "H100"]}, {"device": "H100"}),
        ({"device": "mps:0", "packages": {"torch": "2.15.0"}}, {"device": "mps", "torch": "2.15.0"}),
    ],
)
def test_what_a_manifest_says_of_the_machine(manifest, machine, tmp_path):
    (tmp_path / "status.json").write_text('{"state": "done"}')
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    assert read_cell(tmp_path, CellKey(arm="a", fraction=None, seed=0)).machine == machine


@pytest.mark.parametrize(
    ("monitor", "mode"),
    [(None, "max"), ({"metric": "a/b", "mode": "min"}, "min"), ({"metric": "a/c", "mode": "min"}, "max")],
)
def test_what_the_monitor_says_of_a_metric_counts_too(monitor, mode, tmp_path):
    (tmp_path / "status.json").write_text('{"state": "done", "selected": {"step": 2}, "modes": {"a/b": "max"}}')
    (tmp_path / "resolved.json").write_text(json.dumps({"evaluate": {"monitor": monitor}}))
    (tmp_path / "metrics.jsonl").write_text('{"kind": "test", "step": 2, "a/b": 0.5}\n')
    found = read_cell(tmp_path, CellKey(arm="a", fraction=None, seed=0))
    assert summarise([found], baseline="a").mode == mode


def test_files_and_pictures(tmp_path):
    cells = [attrs.evolve(one, key=attrs.evolve(one.key, fraction=f)) for f in (0.5, 1.0) for one in cells_of()]
    failed = Cell(key=CellKey(arm="plain", fraction=1.0, seed=9), state="failed", reason="no\nmemory")
    summary = summarise([*cells, failed], baseline="plain")
    write_results(tmp_path, [*cells, failed])
    write_report(tmp_path, summary, "Faces", [*cells, failed])
    lines = list(csv.DictReader((tmp_path / "results.csv").read_text().splitlines()))
    assert (len(lines), lines[1]["arm"], float(lines[1]["a/accuracy"])) == (25, "turned", pytest.approx(0.6))
    assert lines[-1]["state"] == "failed"
    entries = json.loads((tmp_path / "results.json").read_text())
    assert (entries[0]["seconds_per_step"], entries[0]["selected"]["step"]) == (1.0, 3)
    assert json.loads((tmp_path / "summary.json").read_text())["rows"][1]["difference"]["count"] == 6
    text = (tmp_path / "report.md").read_text()
    assert "| turned | 50 % | 6 | " in text
    assert "- plain, 100 % of the labels, seed 9: no memory" in text
    for name in ("metric", "gain"):
        assert f"figures/{name}.png" in text
        assert (tmp_path / "figures" / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    svg = (tmp_path / "figures" / "gain.svg").read_bytes()
    draw(summary, tmp_path / "figures")
    assert (tmp_path / "figures" / "gain.svg").read_bytes() == svg


def test_pictures_without_fractions_costs_or_differences(tmp_path):
    alone = summarise([cell("plain", 0, 0.5)], baseline="plain")
    assert draw(alone, tmp_path / "alone") == ["metric.png"]
    compared = summarise(cells_of(), baseline="plain")
    assert draw(compared, tmp_path / "both") == ["metric.png", "gain.png"]
    (tmp_path / "both" / "mine.png").write_bytes(b"")
    draw(alone, tmp_path / "both")
    assert {path.name for path in (tmp_path / "both").iterdir()} == {"metric.png", "metric.svg", "mine.png"}
    assert any("over seeds" in line for line in explanation(alone))
