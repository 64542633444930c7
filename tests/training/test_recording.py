"""Numbers go to `metrics.jsonl` and to further loggers; a logger that fails costs nothing but itself."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

import auxlearn
from auxlearn.errors import CheckpointError, EnvironmentProblem
from auxlearn.learning.learner import StepResult
from auxlearn.testing import plugin
from auxlearn.training.cost import StepTime
from auxlearn.training.folder import RunFolder
from auxlearn.training.progress import Logged, Silent
from auxlearn.training.recorder import Recorder, finite_json


def spec(**changes: Any) -> dict[str, Any]:
    base: dict[str, Any] = {
        "auxlearn": 1,
        "name": "tiny",
        "data": {"type": "tiny"},
        "backbone": {"type": "tiny"},
        "primary": {"kind": {"type": "tiny"}},
        "train": {"epochs": 2, "batch_size": 16},
        "log": {"every_steps": 2},
    }
    return base | changes


def result(loss: float) -> StepResult:
    value = torch.tensor(loss)
    return StepResult(total=value, losses={"a": value}, weights={}, metrics={}, carry={}, passes=(), samples=1)


def test_lines_are_means_since_the_line_before(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "m.jsonl", every=2)
    for loss in (1.0, 3.0):
        recorder.add(result(loss))
    assert recorder.flush(2)["loss/a"] == 2.0
    recorder.add(result(5.0))
    assert recorder.flush(3)["loss/a"] == 5.0


def test_the_time_of_a_step_counts_what_comes_and_goes_and_no_pause() -> None:
    time = StepTime()
    time.add(50.0)  # the first step sets much up
    assert time.read() == {"seconds_per_step": None, "timed_steps": 0}
    for step in range(90):
        time.add(30.0 if step == 7 else 1.0)
    again = StepTime()
    again.restore(json.loads(json.dumps(time.state())))
    again.add(20.0)
    for _ in range(30):
        again.add(2.0)  # a task began
    assert again.read() == {"seconds_per_step": 1.25, "timed_steps": 120}


def test_a_restored_recorder_goes_on_as_if_never_stopped(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "m.jsonl", every=4)
    recorder.add(result(1.0))
    recorder.flush(1)
    recorder.add(result(2.0))
    state = json.loads(json.dumps(recorder.state()))
    recorder.add(result(100.0))
    recorder.flush(3)
    again = Recorder(tmp_path / "m.jsonl", every=4)
    again.restore(state, torch.device("cpu"))
    again.add(result(4.0))
    again.flush(3)
    assert [line["loss/a"] for line in again.history()] == [1.0, 3.0]


def test_what_a_checkpoint_counts_on_is_on_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flushed, real = [], os.fsync

    def fsync(handle: int) -> None:
        flushed.append(os.fstat(handle).st_ino)
        real(handle)

    monkeypatch.setattr(os, "fsync", fsync)
    recorder = Recorder(tmp_path / "m.jsonl", every=1)
    assert recorder.state()["bytes"] == 0
    recorder.add(result(1.0))
    recorder.flush(1)
    assert recorder.state()["bytes"] == recorder.path.stat().st_size > 0
    assert flushed == [recorder.path.stat().st_ino, tmp_path.stat().st_ino]


def test_lines_that_are_lost_pass_over_the_checkpoints_that_know_of_them(tmp_path: Path) -> None:
    given = spec(checkpoint={"every_steps": 2, "keep_last": 9}, train={"steps": 6, "batch_size": 16})
    whole, torn = (auxlearn.run(given, out=tmp_path / name, plugins=[plugin]).path for name in ("whole", "torn"))
    lines = (torn / "metrics.jsonl").read_bytes()
    (torn / "metrics.jsonl").write_bytes(lines[: len(lines) * 2 // 5])
    auxlearn.resume(torn, plugins=[plugin])
    assert (torn / "metrics.jsonl").read_bytes() == (whole / "metrics.jsonl").read_bytes() == lines
    assert re.search(
        "passed over a damaged checkpoint: .*metrics.jsonl: .* of step 6", (torn / "train.log").read_text()
    )
    (torn / "metrics.jsonl").write_bytes(bytes(len(lines)))
    with pytest.raises(CheckpointError, match=r"metrics\.jsonl: cannot be read"):
        auxlearn.resume(torn, plugins=[plugin])
    (torn / "metrics.jsonl").unlink()
    with pytest.raises(CheckpointError, match=r"no sound checkpoint; fix: .*metrics\.jsonl"):
        auxlearn.resume(torn, plugins=[plugin])


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the disk that is always full is Linux's")
@pytest.mark.parametrize(
    "write",
    [lambda path: Recorder(path, every=1).write("val", 1, {}), lambda path: Logged(Silent(), path).say("hello")],
    ids=["numbers", "messages"],
)
def test_a_full_disk_is_told(write: Callable[[Path], None]) -> None:
    with pytest.raises(EnvironmentProblem, match="No space left on device") as caught:
        write(Path("/dev/full"))
    assert caught.value.exit_code == 8


def test_what_is_not_finite_is_null() -> None:
    assert finite_json({"a": float("nan"), "b": [float("inf"), 1]}) == {"a": None, "b": [None, 1]}


def test_a_logger_that_fails_is_left_out_and_the_run_goes_on(tmp_path: Path) -> None:
    class Down:
        calls = 0

        def log_metrics(self, metrics: dict[str, float], step: int) -> None:
            self.calls += 1
            raise ConnectionError("the tracker is down")

        def finalize(self, status: str) -> None:
            raise ConnectionError("still down")

    said: list[str] = []
    down = Down()
    with Recorder(tmp_path / "m.jsonl", every=1, loggers=[down], warn=said.append) as recorder:
        for step in (1, 2):
            recorder.write("train", step, {"loss": 1.0})
    assert down.calls == 1
    assert said == [
        "logger Down failed and is left out: the tracker is down",
        "logger Down could not be closed: still down",
    ]
    assert len(recorder.history()) == 2


def test_csv(tmp_path: Path) -> None:
    auxlearn.run(spec(log={"every_steps": 2, "to": ["csv"]}), out=tmp_path / "r", plugins=[plugin])
    rows = list(csv.DictReader((tmp_path / "r" / "csv" / "metrics.csv").read_text().splitlines()))
    assert {"train/loss/kind@clean", "val/kind/accuracy", "test/kind/accuracy"} <= set(rows[0])


def test_csv_of_a_resumed_run_is_whole(tmp_path: Path) -> None:
    given = spec(log={"every_steps": 2, "to": ["csv"]}, checkpoint={"every_steps": 1, "keep_last": 9})
    auxlearn.run(given, out=tmp_path / "r", plugins=[plugin])
    whole = (tmp_path / "r" / "csv" / "metrics.csv").read_text()
    shutil.rmtree(tmp_path / "r" / "checkpoints" / "6")
    auxlearn.resume(tmp_path / "r", plugins=[plugin])
    assert (tmp_path / "r" / "csv" / "metrics.csv").read_text() == whole


def test_tensorboard(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    auxlearn.run(spec(log={"every_steps": 2, "to": ["tensorboard"]}), out=tmp_path / "r", plugins=[plugin])
    assert list((tmp_path / "r" / "tensorboard").rglob("events.out.tfevents.*"))


def test_a_logger_that_is_not_installed_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(EnvironmentProblem, match=r'pip install "auxlearn\[wandb\]"'):
        auxlearn.run(spec(log={"to": ["wandb"]}), out=tmp_path / "r", plugins=[plugin])
    assert not (tmp_path / "r").exists()


class Tracker:
    """Runs by id, as W&B and MLflow keep them: what was logged, and how often and how each was begun and ended."""

    def __init__(self) -> None:
        self.begun: list[tuple[str, str]] = []
        self.ended: list[tuple[str, str]] = []
        self.lines: dict[str, list[int]] = {}

    def begin(self, own: str, name: str) -> None:
        assert len(self.begun) == len(self.ended), "another run is active"
        self.begun.append((own, name))

    def log(self, own: str, step: int) -> None:
        self.lines.setdefault(own, []).append(step)

    @property
    def wandb(self) -> Any:
        def init(**facts: Any) -> Any:
            own = facts["id"]
            self.begin(own, facts["name"])
            return SimpleNamespace(
                log=lambda metrics, step: self.log(own, step),
                finish=lambda exit_code: self.ended.append((own, "FAILED" if exit_code else "FINISHED")),
            )

        return SimpleNamespace(init=init)

    @property
    def mlflow(self) -> Any:
        names: list[str] = []

        def create(experiment: str, run_name: str) -> Any:
            names.append(run_name)
            return SimpleNamespace(info=SimpleNamespace(run_id=f"run{len(names)}"))

        client = SimpleNamespace(
            get_experiment_by_name=lambda name: SimpleNamespace(experiment_id="1") if names else None,
            create_experiment=lambda name, place: "1",
            create_run=create,
            update_run=lambda own, status: self.begin(own, names[int(own[3:]) - 1]),
            log_batch=lambda own, metrics: self.log(own, metrics[0][3]),
            set_terminated=lambda own, status: self.ended.append((own, status)),
        )
        return SimpleNamespace(MlflowClient=lambda tracking_uri: client)


@pytest.fixture(params=["wandb", "mlflow"])
def tracker(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Tracker:
    made = Tracker()
    made.name = request.param  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, request.param, getattr(made, request.param))
    monkeypatch.setitem(sys.modules, "mlflow.entities", SimpleNamespace(Metric=lambda *values: values))
    return made


def test_runs_of_equal_folder_names_are_others_to_a_tracker_and_each_is_ended(tmp_path: Path, tracker: Any) -> None:
    for arm in ("plain", "puzzle"):
        auxlearn.run(spec(log={"to": [tracker.name]}), out=tmp_path / arm / "1" / "0", plugins=[plugin])
    assert [name for _, name in tracker.begun] == ["tiny plain/1/0", "tiny puzzle/1/0"]
    assert len({own for own, _ in tracker.begun}) == 2
    assert tracker.ended == [(own, "FINISHED") for own, _ in tracker.begun]


def test_a_resumed_run_is_the_same_run_to_a_tracker(tmp_path: Path, tracker: Any) -> None:
    given = spec(log={"every_steps": 1, "to": [tracker.name]}, checkpoint={"every_steps": 1, "keep_last": 9})
    auxlearn.run(given, out=tmp_path / "r", plugins=[plugin])
    shutil.rmtree(tmp_path / "r" / "checkpoints" / "6")
    auxlearn.resume(tmp_path / "r", plugins=[plugin])
    first, second = tracker.begun
    assert first == second
    assert tracker.lines[first[0]][-1] == 6
    assert [status for _, status in tracker.ended] == ["FINISHED", "FINISHED"]


def test_a_run_that_fails_is_ended_as_failed(tmp_path: Path, tracker: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: Any) -> None:
        raise RuntimeError("no more")

    monkeypatch.setattr("auxlearn.training.fit.Fit.train", fail)
    with pytest.raises(RuntimeError, match="no more"):
        auxlearn.run(spec(log={"to": [tracker.name]}), out=tmp_path / "r", plugins=[plugin])
    assert [status for _, status in tracker.ended] == ["FAILED"]


def test_checkpoints_by_minutes(tmp_path: Path) -> None:
    keys = {"every_epochs": None, "every_minutes": 1e-6, "keep_last": 100}
    auxlearn.run(spec(checkpoint=keys), out=tmp_path / "r", plugins=[plugin])
    assert RunFolder(tmp_path / "r").checkpoints.steps() == [1, 2, 3, 4, 5, 6]
