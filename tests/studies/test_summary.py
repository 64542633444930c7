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
from auxlearn.studies.cells import Cell, CellKey
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
    assert any("smallest possible p-value is 0.062" in note and "6 seeds could" in note for note in few)
    enough = summarise(cells_of(seeds=6), baseline="plain").notes
    assert not any("could" in note for note in enough)


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


def test_what_was_selected_and_scored_on_is_told():
    assert "scores on `test`" in " ".join(summarise(cells_of(), baseline="plain").notes)
    on_val = [attrs.evolve(one, scored_on="val") for one in cells_of()]
    assert "There is no `test` split" in " ".join(summarise(on_val, baseline="plain").notes)
    unselected = [attrs.evolve(one, selected={"step": 3, "metric": None, "value": None}) for one in cells_of()]
    notes = " ".join(summarise(unselected, baseline="plain").notes)
    assert "last weights" in notes
    assert "selected on" not in notes
    assert "Some runs" in " ".join(summarise([*cells_of()[:-1], on_val[-1]], baseline="plain").notes)


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
        ({"data": {"type": "d", "fraction": 0.5, "unlabelled": {"type": "rest"}}}, None),
    ],
)
def test_what_breaks_a_pair_is_told(changes, said):
    notes = pairing_notes({"plain": spec(), "other": spec(**changes)}, "plain", [])
    assert (said is None and not notes) or said in notes[0]


def test_other_rows_of_a_pair_are_told():
    rows = [cell(arm, 0, 0.5, fingerprints={"test": arm}) for arm in ("plain", "other")]
    assert "not the same rows of test" in pairing_notes({"plain": spec(), "other": spec()}, "plain", rows)[0]


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
    assert any("over seeds" in line for line in explanation(alone))
