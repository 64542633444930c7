"""Studies as a whole: what pairs share, what the report tells apart, and that nothing is lost on the way."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import attrs
import pytest
import torch
from filelock import FileLock

import auxlearn
from auxlearn.building import build_from
from auxlearn.errors import CheckpointError, EnvironmentProblem, Interrupted, SpecError
from auxlearn.registry import discover
from auxlearn.studies.cells import CellKey
from auxlearn.studies.folder import StudyFolder
from auxlearn.studies.loading import load_study
from auxlearn.studies.report import write_results
from auxlearn.training.fit import Fit

WORKER = Path(__file__).with_name("study_worker.py")


def told(summary):
    """Return what of a summary is not measured time or memory."""
    return [attrs.evolve(row, cost=None) for row in summary.rows], summary.notes, summary.comparisons


def test_runs_of_one_seed_share_weights_subset_and_order(small, plugins):
    registry = discover(plugins)
    read = load_study({**small, "arms": {**small["arms"], "wide": {"train.epochs": 3}}}, (), registry)
    for seed in (0, 1):
        cells = [CellKey(arm=arm, fraction=0.5, seed=seed) for arm in read.arms]
        plain, *others = [build_from(read.spec(cell, registry)) for cell in cells]
        for other in others:
            ours, theirs = plain.learner, other.learner
            for part in ("backbone", "primary"):
                weights = getattr(theirs, part).state_dict()
                assert all(torch.equal(t, weights[n]) for n, t in getattr(ours, part).state_dict().items())
            assert plain.data.drawn == other.data.drawn is not None
            first, second = (built.data.train_order(4) for built in (plain, other))
            assert [first.at(step) for step in range(6)] == [second.at(step) for step in range(6)]


def test_other_seeds_draw_other_subsets_and_weights(small, plugins):
    registry = discover(plugins)
    read = load_study(small, (), registry)
    one, other = (build_from(read.spec(CellKey(arm="plain", fraction=0.5, seed=s), registry)) for s in (0, 1))
    assert one.data.drawn != other.data.drawn
    assert not torch.equal(one.learner.backbone.first.weight, other.learner.backbone.first.weight)


def test_every_cell_is_an_ordinary_run(done):
    assert [cell.state for cell in done.cells] == ["done"] * 8
    for cell in done.cells:
        folder = done.path / "cells" / cell.key.path
        resolved = json.loads((folder / "resolved.json").read_text())
        assert (resolved["seed"], resolved["data"]["fraction"]) == (cell.key.seed, cell.key.fraction)
        lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
        assert cell.scores["kind/accuracy"] == lines[-1]["kind/accuracy"]
        assert cell.seconds_per_step > 0
        assert cell.memory > 1e7


def test_the_same_study_gives_the_same_table(done, small, plugins, tmp_path):
    again = auxlearn.study(small, out=tmp_path / "again", plugins=plugins)
    assert told(again.summary) == told(done.summary)


def test_what_is_done_is_not_repeated_and_more_can_be_asked_for(small, plugins, tmp_path):
    first = auxlearn.study(small, ["seeds=[0]", "fractions=[1]"], out=tmp_path, plugins=plugins)
    written = {path: path.stat().st_mtime_ns for path in tmp_path.glob("cells/*/*/*/metrics.jsonl")}
    more = auxlearn.study(small, ["seeds=[0,1]", "fractions=[1]"], out=tmp_path, plugins=plugins)
    assert (len(first.cells), len(more.cells)) == (2, 4)
    assert {path: path.stat().st_mtime_ns for path in written} == written
    shown = auxlearn.study(small, ["fractions=[1]"], out=tmp_path, plugins=plugins, run=False)
    assert told(shown.summary) == told(more.summary)


def test_a_run_of_another_spec_is_not_taken_for_one_of_the_study(done, small, plugins):
    with pytest.raises(CheckpointError, match=r"turned/0\.5/0 /pretext/turned/weight.*0\.5.*0\.25") as raised:
        auxlearn.study(
            small,
            ['arms.turned={"pretext.turned.type": "tiny", "pretext.turned.weight": 0.25}'],
            out=done.path,
            plugins=plugins,
        )
    assert len(raised.value.problems) == 4
    free = auxlearn.study(small, ["base.data.workers=1"], out=done.path, plugins=plugins)  # cannot change a result
    assert told(free.summary) == told(done.summary)


def test_a_folder_of_something_else_is_refused(small, plugins, tmp_path):
    def refused(folder, said):
        before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
        with pytest.raises(SpecError, match=said):
            auxlearn.study(small, out=folder, plugins=plugins)
        assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before

    (tmp_path / "thesis.txt").write_text("mine")
    refused(tmp_path, "not that of a study")
    refused(tmp_path / "thesis.txt", "is a file")
    (tmp_path / "study.json").write_text(json.dumps({**small, "study": "mine"}))  # that of a person, not of a folder
    refused(tmp_path, r"study\.json: is not from a study that was run here")
    (tmp_path / "study.json").write_text("[]")
    refused(tmp_path, r"study\.json: is not from a study that was run here")


def test_a_folder_in_which_another_process_works_is_refused_and_can_be_read(done, small, plugins):
    before = {path: path.stat().st_mtime_ns for path in done.path.iterdir()}
    with FileLock(done.path / ".lock"):
        with pytest.raises(EnvironmentProblem, match="another process works here"):
            auxlearn.study(small, out=done.path, plugins=plugins)
        shown = auxlearn.study(small, out=done.path, plugins=plugins, run=False)
    assert told(shown.summary) == told(done.summary)
    assert {path: path.stat().st_mtime_ns for path in done.path.iterdir()} == before


def test_without_running_nothing_is_begun(small, plugins, tmp_path):
    with pytest.raises(SpecError, match="no run of the study is there yet"):
        auxlearn.study(small, out=tmp_path / "new", plugins=plugins, run=False)
    assert not (tmp_path / "new").exists()


def test_a_folder_that_was_killed_at_once_can_be_used(small, plugins, tmp_path):
    for name in (".lock", ".study.json.123"):
        (tmp_path / name).touch()
    few = {**small, "seeds": [0], "fractions": [1], "arms": {"plain": {}}}
    assert [cell.state for cell in auxlearn.study(few, out=tmp_path, plugins=plugins).cells] == ["done"]


def test_every_run_has_the_threads_with_which_the_study_was_begun(small, plugins, tmp_path):
    before = torch.get_num_threads()
    few = {**small, "fractions": [1], "arms": {"plain": {}}}
    try:
        torch.set_num_threads(2)
        auxlearn.study(few, ["seeds=[0]"], out=tmp_path, plugins=plugins)
        torch.set_num_threads(1)
        auxlearn.study(few, ["seeds=[0,1]"], out=tmp_path, plugins=plugins)
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)
    manifests = [json.loads(path.read_text()) for path in tmp_path.glob("cells/plain/1/*/manifest.json")]
    assert [manifest["threads"] for manifest in manifests] == [2, 2]
    assert StudyFolder(path=tmp_path).threads(4, here=False) == 2
    assert StudyFolder(path=tmp_path / "new").threads(1, here=False) >= 1


def test_a_run_that_was_done_meanwhile_is_left_as_it_is(done, small, plugins, tmp_path, monkeypatch):
    def elsewhere(folder):  # another process, which is waited for, does the run
        shutil.copytree(done.path / "cells" / folder.relative_to(tmp_path / "cells"), folder, dirs_exist_ok=True)

    monkeypatch.setattr("auxlearn.studies.work._wait_for", elsewhere)
    result = auxlearn.study(small, out=tmp_path, plugins=plugins)
    assert [cell.seconds for cell in result.cells] == [cell.seconds for cell in done.cells]


def test_a_reader_of_the_progress_who_leaves_is_not_the_folder(small, plugins, tmp_path, monkeypatch):
    def gone(*_words, **_where):
        raise BrokenPipeError

    monkeypatch.setattr("auxlearn.studies.live._line", gone)
    with pytest.raises(BrokenPipeError):
        auxlearn.study(small, out=tmp_path, plugins=plugins, quiet=False)


def test_a_folder_that_cannot_be_made_is_told(small, plugins, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(EnvironmentProblem, match="cannot be written: Not a directory"):
        auxlearn.study(small, out=tmp_path / "file" / "inner", plugins=plugins)


@pytest.mark.parametrize("wrong", [{"executor": "rya"}, {"jobs": 0}, {"threads": -1}])
def test_arguments_of_a_program_that_cannot_be(small, wrong):
    ((name, value),) = wrong.items()
    with pytest.raises(ValueError, match=rf"`{name}` should be .*, found {value!r}"):
        auxlearn.study(small, **wrong)


def test_a_report_of_other_runs_does_not_stay(small, plugins, tmp_path):
    few = {**small, "seeds": [0], "fractions": [1]}
    auxlearn.study({**few, "arms": {"plain": {}}}, out=tmp_path, plugins=plugins)
    assert (tmp_path / "report.md").is_file()
    assert (tmp_path / "figures" / "metric.png").is_file()
    hot = {"optimizer.lr": 1e30, "train.epochs": 3}
    assert auxlearn.study({**few, "arms": {"hot": hot}}, out=tmp_path, plugins=plugins).summary is None
    assert {path.name for path in tmp_path.glob("*.*")} == {".lock", "results.csv", "results.json", "study.json"}
    assert list((tmp_path / "figures").iterdir()) == []


def test_a_run_that_fails_is_listed_and_takes_no_other_along(small, plugins, tmp_path, capsys):
    arms = {**small["arms"], "hot": {"optimizer.lr": 1e30, "train.epochs": 3}}
    result = auxlearn.study(
        {**small, "arms": arms, "fractions": None, "seeds": [0]}, out=tmp_path, plugins=plugins, quiet=False
    )
    ((key, outcome),) = result.failed.items()
    assert (str(key), outcome.code) == ("hot, seed 0", 5)
    assert [(row.arm, len(row.seeds)) for row in result.summary.rows] == [("plain", 1), ("turned", 1), ("hot", 0)]
    assert "is not finite" in (tmp_path / "report.md").read_text()
    assert "hot, seed 0: failed" in capsys.readouterr().err


def test_a_planted_gain_and_a_planted_null_are_told_apart(base, plugins, tmp_path):
    study = {
        "auxlearn_study": 1,
        "base": {**base, "data": {"type": "noise"}, "train": {"epochs": 8, "batch_size": 8}},
        "arms": {"plain": {}, "null": {}, "leak": {"data.leak": True}},
        "seeds": [0, 1, 2, 3, 4, 5],
    }
    rows = {row.arm: row.difference for row in auxlearn.study(study, out=tmp_path, plugins=plugins).summary.rows}
    assert (rows["null"].mean, rows["null"].low, rows["null"].high, rows["null"].sign) == (0, 0, 0, 0)
    assert rows["null"].p == 1
    assert rows["leak"].low > 0.1
    assert (rows["leak"].sign, rows["leak"].p) == (1, 2 / 2**6)


@pytest.mark.parametrize(("at", "state", "number"), [(1, "interrupted", 0), (2, "done", 1)])
def test_ctrl_c_saves_and_the_same_call_goes_on(done, small, plugins, tmp_path, monkeypatch, at, state, number):
    # The second step is the last one: that run is done, and no other begins.
    step, calls = Fit._step, []

    def interrupted_once(fit, batches):
        calls.append(fit)
        if len(calls) == at:
            os.kill(os.getpid(), signal.SIGINT)
        step(fit, batches)

    monkeypatch.setattr(Fit, "_step", interrupted_once)
    with pytest.raises(Interrupted, match=f"{number} of 8 runs are done, the others saved; fix: the same") as stopped:
        auxlearn.study(small, out=tmp_path, plugins=plugins)
    assert stopped.value.code == 130
    assert json.loads((tmp_path / "cells/plain/0.5/0/status.json").read_text())["state"] == state
    assert f",{state}," in (tmp_path / "results.csv").read_text()
    assert told(auxlearn.study(small, out=tmp_path, plugins=plugins).summary) == told(done.summary)


@pytest.mark.parametrize(("during", "state"), [("finish", "interrupted"), ("tidy", "done")])
def test_ctrl_c_after_the_steps_is_no_failure(small, plugins, tmp_path, monkeypatch, during, state):
    few = {**small, "seeds": [0], "fractions": [1], "arms": {"plain": {}}}
    with monkeypatch.context() as patch:
        patch.setattr(Fit, during, lambda _: os.kill(os.getpid(), signal.SIGINT))
        with pytest.raises(Interrupted):
            auxlearn.study(few, out=tmp_path, plugins=plugins)
    status = json.loads((tmp_path / "cells/plain/1/0/status.json").read_text())
    assert (status["state"], "error" in status) == (state, False)
    assert f",{state}," in (tmp_path / "results.csv").read_text()
    result = auxlearn.study(few, out=tmp_path, plugins=plugins)
    assert [cell.state for cell in result.cells] == ["done"]


def test_ctrl_c_while_a_run_that_failed_is_tried_again_is_no_failure(small, plugins, tmp_path, monkeypatch):
    few = {**small, "seeds": [0], "fractions": [1], "arms": {"hot": {"optimizer.lr": 1e30, "train.epochs": 3}}}
    auxlearn.study(few, out=tmp_path, plugins=plugins)
    assert ",failed," in (tmp_path / "results.csv").read_text()
    monkeypatch.setattr("auxlearn.studies.work._wait_for", lambda _: os.kill(os.getpid(), signal.SIGINT))
    with pytest.raises(Interrupted):
        auxlearn.study(few, out=tmp_path, plugins=plugins)
    assert ",interrupted," in (tmp_path / "results.csv").read_text()


def test_results_are_written_whole_or_not_at_all(done, tmp_path, monkeypatch):
    write_results(tmp_path, done.cells)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def full(_handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(EnvironmentProblem, match="cannot be written: No space left"):
        write_results(tmp_path, done.cells[:1])
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.fixture
def begun(small, plugins, tmp_path, monkeypatch):
    """A study of one run, in `tmp_path`, that was stopped after its first step of two."""

    def begin(**base):
        study = {**small, "base": {**small["base"], **base}, "seeds": [0], "fractions": [1], "arms": {"plain": {}}}
        step = Fit._step

        def stopped(fit, batches):
            os.kill(os.getpid(), signal.SIGINT)
            step(fit, batches)

        with monkeypatch.context() as patch:
            patch.setattr(Fit, "_step", stopped)
            with pytest.raises(Interrupted):
                auxlearn.study(study, out=tmp_path, plugins=plugins)
        return study

    return begin


@pytest.mark.parametrize("stages", [None, ["pre", "fine"]])
def test_settings_that_cannot_change_a_result_hold_for_runs_that_were_begun(begun, plugins, tmp_path, stages):
    study = begun(**({} if stages is None else {"stages": [{"name": name} for name in stages]}))
    result = auxlearn.study(study, ["base.checkpoint.keep_last=9"], out=tmp_path, plugins=plugins)
    assert [cell.state for cell in result.cells] == ["done"]
    folder = tmp_path / "cells/plain/1/0" / (stages or [""])[0]
    kept = [path.name for path in (folder / "checkpoints").iterdir() if path.is_dir()]
    assert len(kept) == 2  # that of the first step, which was saved before, is not removed


def test_a_run_that_was_begun_with_other_versions_goes_on_if_bits_may_differ(begun, plugins, tmp_path):
    study, manifest = begun(), tmp_path / "cells/plain/1/0/manifest.json"
    content = json.loads(manifest.read_text())
    manifest.write_text(json.dumps({**content, "packages": {**content["packages"], "torch": "0.1"}}))
    (outcome,) = auxlearn.study(study, out=tmp_path, plugins=plugins).failed.values()
    assert "--allow-inexact" in outcome.reason
    result = auxlearn.study(study, out=tmp_path, plugins=plugins, allow_inexact=True)
    assert [cell.state for cell in result.cells] == ["done"]


def test_ctrl_c_is_told_before_a_metric_that_no_run_has_yet(small, plugins, tmp_path, monkeypatch):
    step = Fit._step

    def interrupted(fit, batches):
        os.kill(os.getpid(), signal.SIGINT)
        step(fit, batches)

    monkeypatch.setattr(Fit, "_step", interrupted)
    few = {**small, "base": {**small["base"], "train": {"steps": 1, "batch_size": 16}}, "metric": "kind/acuracy"}
    with pytest.raises(Interrupted, match="1 of 8 runs are done"):
        auxlearn.study(few, out=tmp_path, plugins=plugins)
    assert ",done," in (tmp_path / "results.csv").read_text()
    with pytest.raises(SpecError, match='did you mean "kind/accuracy"'):
        auxlearn.study(few, out=tmp_path, plugins=plugins, run=False)


def start(study, folder, jobs=2, executor="local"):
    command = [sys.executable, str(WORKER), json.dumps(study), str(folder), str(jobs), executor]
    env = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=env)


def until_done(process, number):
    """Read what the process says until so many runs are done."""
    for line in process.stderr:
        number -= ": done" in line
        if not number:
            return


@pytest.mark.slow
def test_stopped_and_killed_in_the_middle_the_table_is_the_same(done, small, plugins, tmp_path):
    with start(small, tmp_path) as process:
        until_done(process, 1)
        process.send_signal(signal.SIGINT)
        said = process.communicate(timeout=300)[1]
    assert process.returncode == 130, said
    assert "the same command goes on" in said
    with start(small, tmp_path) as process:
        until_done(process, 1)
        process.kill()
        process.communicate(timeout=300)
    result = auxlearn.study(small, out=tmp_path, plugins=plugins)
    assert told(result.summary) == told(done.summary)


@pytest.mark.slow
def test_a_process_that_dies_takes_no_other_run_along(base, plugins, tmp_path):
    study = {
        "auxlearn_study": 1,
        "base": {**base, "data": {"type": "noise"}},
        "arms": {"plain": {}, "dies": {"data.die": True}, "other": {}},
        "seeds": [0],
    }
    result = auxlearn.study(study, out=tmp_path, plugins=plugins, jobs=2)
    assert [(str(key), outcome.code) for key, outcome in result.failed.items()] == [("dies, seed 0", 8)]
    assert "killed by signal 9" in next(iter(result.failed.values())).reason
    assert [len(row.seeds) for row in result.summary.rows] == [1, 0, 1]


@pytest.mark.slow
def test_ray_gives_the_same_table(done, small, tmp_path, plugins):
    pytest.importorskip("ray")
    with start(small, tmp_path, executor="ray") as process:
        said = process.communicate(timeout=300)[1]
    assert process.returncode == 0, said
    assert said.count(": done") == 8
    result = auxlearn.study(small, out=tmp_path, plugins=plugins, run=False)
    assert told(result.summary) == told(done.summary)
