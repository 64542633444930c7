"""The studies of `benchmarks/studies`: they can be run, and their tables follow from their runs."""

from __future__ import annotations

import csv
import itertools
import json
import math
import re
import statistics
from pathlib import Path

import pytest
from scipy import stats

from auxlearn.registry import discover
from auxlearn.spec import load_spec
from auxlearn.studies.loading import load_study
from auxlearn.studies.statistics import paired

HOME = Path(__file__).parents[2]
FILES = sorted((HOME / "benchmarks" / "studies").glob("*.json"))
TELLING = ("explanation/does-it-help", "how-to/which-arrangement")
INTERVAL = re.compile(r"[+-]?\d+\.\d+ (?:(?:points|degrees) )?\[[^\]]*\d, [^\]]*\d\]")
RUN = [file for file in FILES if file.with_suffix("").is_dir()]


@pytest.fixture(params=RUN, ids=lambda file: file.stem)
def results(request):
    """The study, the summary that was committed, and the scores of its runs by arm, fraction and seed."""
    folder = request.param.with_suffix("")
    study = load_study(request.param, [], discover())
    summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    with (folder / "results.csv").open(encoding="utf-8", newline="") as lines:
        rows = list(csv.DictReader(lines))
    scores = {
        (row["arm"], float(row["fraction"]) if row["fraction"] else None, int(row["seed"])): float(
            row[summary["metric"]]
        )
        for row in rows
    }
    return study, summary, scores


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_each_can_be_run(file):
    assert load_study(file, [], discover()).cells


def test_every_run_of_the_study_is_there(results):
    study, _, scores = results
    assert {(key.arm, key.fraction, key.seed) for key in study.cells} == set(scores)


def test_the_table_follows_from_the_runs(results):
    study, summary, scores = results
    for row in summary["rows"]:
        mine = [scores[row["arm"], row["fraction"], seed] for seed in study.keys.seeds]
        assert row["estimate"]["mean"] == pytest.approx(sum(mine) / len(mine))
        if row["arm"] == summary["baseline"]:
            continue
        base = [scores[summary["baseline"], row["fraction"], seed] for seed in study.keys.seeds]
        gains = [one - other for one, other in zip(mine, base, strict=True)]
        reach = stats.t.ppf(0.975, len(gains) - 1) * statistics.stdev(gains) / math.sqrt(len(gains))
        mean, found = statistics.fmean(gains), row["difference"]
        assert [found["mean"], found["low"], found["high"]] == pytest.approx([mean, mean - reach, mean + reach])


def test_the_preset_is_the_arm_that_helped():
    study = load_study(HOME / "benchmarks" / "studies" / "deciding.json", [], discover())
    chosen = study.specs["puzzle-shared-quarter"].resolved
    document = {key: value for key, value in chosen.items() if key != "pretext"} | {"preset": "puzzling-quarter"}
    assert load_spec(document).resolved == chosen


def test_the_picture_of_the_page_is_that_of_the_study():
    study = HOME / "benchmarks" / "studies" / "fractions" / "figures" / "metric.png"
    assert (HOME / "docs" / "pages" / "explanation" / "labels.png").read_bytes() == study.read_bytes()


def told_differences():
    """Return every difference of two arms of a study, as pages write it: `1.9 [0.8, 3.0]`."""
    found = set()
    for file in RUN:
        summary = json.loads((file.with_suffix("") / "summary.json").read_text(encoding="utf-8"))
        factor, form = (100, ".1f") if summary["mode"] == "max" else (1, ".2f")
        with (file.with_suffix("") / "results.csv").open(encoding="utf-8", newline="") as lines:
            arms: dict[tuple[str, str], dict[int, float]] = {}
            for row in csv.DictReader(lines):
                arms.setdefault((row["fraction"], row["arm"]), {})[int(row["seed"])] = float(row[summary["metric"]])
        for (share, one), (other_share, other) in itertools.permutations(arms, 2):
            if share == other_share:
                change = paired(arms[share, one], arms[share, other])
                mean, low, high = (f"{factor * value:{form}}" for value in (change.mean, change.low, change.high))
                found |= {f"{mean} [{low}, {high}]", f"+{mean} [{low}, {high}]"}
    return found


@pytest.mark.parametrize("page", ["README.md", *(f"docs/pages/{name}.md" for name in TELLING)])
def test_every_interval_that_a_page_tells_follows_from_the_runs(page):
    text = (HOME / page).read_text(encoding="utf-8").partition("## All numbers")[0]
    told = [" ".join(re.sub(" (points|degrees)", "", one).split()) for one in INTERVAL.findall(" ".join(text.split()))]
    assert told
    assert set(told) <= told_differences()
