"""Whole runs of tiny components: what is written, what is selected, what stops a run, and how it goes on."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

import auxlearn
from auxlearn.errors import CheckpointError, DivergedError, EnvironmentProblem, Interrupted, SpecError
from auxlearn.evaluation import Selection
from auxlearn.learning.features import Features
from auxlearn.spec import load_spec
from auxlearn.spec.models import Monitor
from auxlearn.testing import plugin
from auxlearn.testing.fakes import TinyBackbone
from auxlearn.training.fit import Fit
from auxlearn.training.folder import RunFolder, environment
from auxlearn.training.progress import Silent
from auxlearn.training.session import prepare_data, rehearse
from auxlearn.training.trainer import Trainer


def spec(**changes: Any) -> dict[str, Any]:
    base: dict[str, Any] = {
        "auxlearn": 1,
        "name": "tiny",
        "data": {"type": "tiny"},
        "backbone": {"type": "tiny", "dropout": 0.1},
        "primary": {"kind": {"type": "tiny"}},
        "pretext": {"flip": {"type": "tiny", "view": "own", "portion": 0.5}},
        "optimizer": {"type": "adamw", "lr": 0.01},
        "train": {"epochs": 3, "batch_size": 10},
        "log": {"every_steps": 4},
    }
    return base | changes


def run(folder: Path, given: Mapping[str, Any], **options: Any) -> auxlearn.api.RunResult:
    return auxlearn.run(given, out=folder, plugins=[plugin], **options)


def resume(folder: Path, overrides: tuple[str, ...] = (), **options: Any) -> auxlearn.api.RunResult:
    return auxlearn.resume(folder, overrides, plugins=[plugin], **options)


class InterruptAt(Silent):
    """Sends a signal to this process after some step."""

    def __init__(self, step: int, number: int = signal.SIGTERM) -> None:
        self.step, self.number = step, number

    def advance(self, step: int, epoch: float, rate: float, losses: Mapping[str, float] | None) -> None:
        if step == self.step:
            os.kill(os.getpid(), self.number)


def weights(folder: Path, step: int | None = None) -> dict[str, torch.Tensor]:
    checkpoints = RunFolder(folder).checkpoints
    return dict(checkpoints.load(step or checkpoints.steps()[-1]).model)


def assert_same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    assert one.keys() == other.keys()
    for name, tensor in one.items():
        assert torch.equal(tensor, other[name]), name


def test_a_run_leaves_everything_in_its_folder(tmp_path: Path) -> None:
    result = run(tmp_path / "r", spec())
    names = {p.name for p in (tmp_path / "r").iterdir()} - {".lock"}
    assert names == {
        "spec.json", "resolved.json", "manifest.json", "status.json", "metrics.jsonl", "train.log", "checkpoints"
    }  # fmt: skip
    kinds = [line["kind"] for line in result.history]
    assert kinds.count("val") == 3
    assert kinds[-1] == "test"
    assert result.test["kind/accuracy"] > 0.9
    assert result.best["metric"] == "kind/accuracy"
    status = json.loads((tmp_path / "r" / "status.json").read_text())
    assert (status["state"], status["step"]) == ("done", 15)
    assert not [n for n in result.model.state_dict() if not n.startswith(("backbone.", "primary."))]


def test_the_resolved_spec_is_a_spec_and_gives_the_same_run(tmp_path: Path) -> None:
    run(tmp_path / "a", spec())
    again = json.loads((tmp_path / "a" / "resolved.json").read_text())
    run(tmp_path / "b", again)
    assert json.loads((tmp_path / "b" / "resolved.json").read_text()) == again
    assert_same(weights(tmp_path / "a"), weights(tmp_path / "b"))


def test_two_runs_are_equal_and_another_seed_is_not(tmp_path: Path) -> None:
    run(tmp_path / "a", spec())
    run(tmp_path / "b", spec())
    run(tmp_path / "c", spec(), seed=1)
    assert_same(weights(tmp_path / "a"), weights(tmp_path / "b"))
    different = weights(tmp_path / "c")["backbone.first.weight"]
    assert not torch.equal(weights(tmp_path / "a")["backbone.first.weight"], different)


def test_a_task_of_weight_zero_changes_nothing(tmp_path: Path) -> None:
    run(tmp_path / "with", spec(pretext={"flip": {"type": "tiny", "weight": 0}}))
    run(tmp_path / "without", spec(pretext={}))
    kept = {n: t for n, t in weights(tmp_path / "with").items() if not n.startswith("pretext.")}
    assert_same(kept, weights(tmp_path / "without"))


@pytest.mark.parametrize("step", [1, 4, 5, 9, 14])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_resume_after_a_signal_is_bit_exact(step: int, number: int, tmp_path: Path) -> None:
    given = spec(train={"epochs": 3, "batch_size": 10, "ema": 0.9})
    run(tmp_path / "whole", given)
    with pytest.raises(Interrupted) as caught:
        run(tmp_path / "broken", given, reporter=InterruptAt(step, number))
    assert caught.value.code == 128 + number
    assert RunFolder(tmp_path / "broken").checkpoints.steps()[-1] == step
    resume(tmp_path / "broken")
    assert_same(weights(tmp_path / "whole"), weights(tmp_path / "broken"))
    assert (tmp_path / "whole" / "metrics.jsonl").read_bytes() == (tmp_path / "broken" / "metrics.jsonl").read_bytes()


class SignalIn(TinyBackbone):
    """Sends signals to this process in a forward pass of training."""

    passes, at, numbers = 0, 0, (signal.SIGINT,)

    def forward(self, inputs: Mapping[str, torch.Tensor]) -> Features:
        SignalIn.passes += self.training
        if SignalIn.passes == SignalIn.at:
            for number in SignalIn.numbers:
                os.kill(os.getpid(), number)
        return super().forward(inputs)


def interrupted_inside(folder: Path, monkeypatch: pytest.MonkeyPatch, *numbers: int) -> None:
    monkeypatch.setattr("auxlearn.testing.fakes.TinyBackbone", SignalIn)
    monkeypatch.setattr(SignalIn, "numbers", numbers)
    monkeypatch.setattr(SignalIn, "at", 10)
    monkeypatch.setattr(SignalIn, "passes", 0)
    run(folder, spec())


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_in_the_middle_of_a_component_is_no_fault_of_it(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = signal.getsignal(number)
    with pytest.raises(Interrupted) as caught:
        interrupted_inside(tmp_path / "r", monkeypatch, number)
    assert caught.value.code == 128 + number
    assert signal.getsignal(number) is before
    assert resume(tmp_path / "r").test


def test_a_second_signal_does_not_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(KeyboardInterrupt):
        interrupted_inside(tmp_path / "r", monkeypatch, signal.SIGINT, signal.SIGINT)


@pytest.mark.slow
@pytest.mark.parametrize(("before", "after"), [(0, 2), (2, 0), (1, 2)])
def test_resume_is_bit_exact_for_any_number_of_workers(before: int, after: int, tmp_path: Path) -> None:
    run(tmp_path / "whole", spec())
    with pytest.raises(Interrupted):
        run(tmp_path / "broken", spec(data={"type": "tiny", "workers": before}), reporter=InterruptAt(7))
    resume(tmp_path / "broken", (f"data.workers={after}",))
    assert_same(weights(tmp_path / "whole"), weights(tmp_path / "broken"))


def test_a_changed_spec_is_not_resumed_and_each_difference_is_named(tmp_path: Path) -> None:
    with pytest.raises(Interrupted):
        run(tmp_path / "r", spec(), reporter=InterruptAt(3))
    before = sorted((p, p.stat().st_mtime_ns) for p in (tmp_path / "r").rglob("*") if p.is_file() and p.name != ".lock")
    with pytest.raises(CheckpointError) as caught:
        resume(tmp_path / "r", ("train.batch_size=12", "optimizer.lr=0.5"))
    assert [p.where for p in caught.value.problems] == ["/optimizer/lr", "/train/batch_size"]
    after = sorted((p, p.stat().st_mtime_ns) for p in (tmp_path / "r").rglob("*") if p.is_file() and p.name != ".lock")
    assert before == after


def test_other_circumstances_are_refused_unless_allowed(tmp_path: Path) -> None:
    with pytest.raises(Interrupted):
        run(tmp_path / "r", spec(), reporter=InterruptAt(3))
    manifest = json.loads((tmp_path / "r" / "manifest.json").read_text())
    manifest["threads"] += 1
    manifest["data"]["fingerprint"] = "other"
    (tmp_path / "r" / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(CheckpointError) as caught:
        resume(tmp_path / "r")
    assert [p.where for p in caught.value.problems] == ["manifest.json data", "manifest.json threads"]
    assert resume(tmp_path / "r", allow_inexact=True).best["step"] is not None


def test_the_precision_that_was_chosen_and_the_gpu_are_circumstances(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = RunFolder(run(tmp_path / "r", spec()).path)
    manifest = folder.read("manifest.json")
    assert manifest["precision"] == "32-true"
    here = environment() | {"gpus": ["Small"]}
    monkeypatch.setattr("auxlearn.training.resuming.environment", lambda: here)

    def refused(**changes: Any) -> list[str]:
        folder.write("manifest.json", manifest | changes)
        with pytest.raises(CheckpointError) as caught:
            resume(folder.path)
        return [f"{p.where}: {p.what}" for p in caught.value.problems]

    device = "manifest.json device: was 'cuda', is 'cpu'"
    assert refused(precision="bf16-mixed") == ["manifest.json precision: was 'bf16-mixed', is '32-true'"]
    assert refused(device="cuda:0", gpus=["Large"]) == [device, "manifest.json gpu: was 'Large', is 'Small'"]
    assert refused(device="cuda:0", gpus=["Small", "Large"]) == [device]
    assert refused(device="cuda:1", gpus=["Small", "Large"]) == [device]
    folder.write("manifest.json", {name: one for name, one in manifest.items() if name not in ("precision", "gpus")})
    resume(folder.path)  # as of an earlier version


def test_a_run_that_is_done_keeps_its_cost_when_it_is_resumed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = RunFolder(run(tmp_path / "r", spec()).path)
    cost = folder.read("status.json")["cost"]
    assert cost["seconds_per_step"] > 0
    assert cost["memory"] > 0
    with monkeypatch.context() as patch:
        patch.setattr(Fit, "finish", lambda _: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            resume(folder.path)
    assert folder.read("status.json")["state"] == "failed"
    resume(folder.path)
    assert folder.read("status.json")["state"] == "done"
    assert folder.read("status.json")["cost"] == cost


def test_a_damaged_newest_checkpoint_costs_only_the_steps_after_the_one_before(tmp_path: Path) -> None:
    given = spec(checkpoint={"every_steps": 2, "keep_last": 3})
    run(tmp_path / "whole", given)
    with pytest.raises(Interrupted):
        run(tmp_path / "r", given, reporter=InterruptAt(8))
    folder = RunFolder(tmp_path / "r")
    (folder.checkpoints.path(8) / "model.safetensors").write_bytes(b"torn")
    resume(tmp_path / "r")
    assert_same(weights(tmp_path / "whole"), weights(tmp_path / "r"))
    assert "damaged checkpoint" in (tmp_path / "r" / "train.log").read_text()


def test_a_run_folder_is_not_replaced_unless_told_and_nothing_else_ever(tmp_path: Path) -> None:
    run(tmp_path / "r", spec())
    with pytest.raises(SpecError, match="auxlearn resume"):
        run(tmp_path / "r", spec())
    run(tmp_path / "r", spec(name="second"), overwrite=True)
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.tex").write_text("years of work")
    with pytest.raises(SpecError, match="not a run"):
        run(tmp_path / "thesis", spec(), overwrite=True)
    assert (tmp_path / "thesis" / "chapter.tex").read_text() == "years of work"


def test_a_run_is_overwritten_under_its_lock_and_what_the_system_refuses_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("checkpoints/4", "figures"):
        (tmp_path / "r" / name).mkdir(parents=True)
    (tmp_path / "r" / "status.json").write_text("{}")
    real, seen = shutil.rmtree, []

    def rmtree(path: Path) -> None:
        with pytest.raises(EnvironmentProblem, match="another process works here"):
            RunFolder(tmp_path / "r").lock()
        seen.append(path.name)
        real(path)

    monkeypatch.setattr(shutil, "rmtree", rmtree)
    RunFolder(tmp_path / "r").create(overwrite=True)
    assert sorted(seen) == ["checkpoints", "figures"]
    assert [entry.name for entry in (tmp_path / "r").iterdir()] in ([], [".lock"])
    again = RunFolder(tmp_path / "r")
    again.lock()
    again.unlock()

    def refuse(_: Path) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    (tmp_path / "r" / "figures").mkdir()
    monkeypatch.setattr(shutil, "rmtree", refuse)
    with pytest.raises(EnvironmentProblem, match="cannot be written: Permission denied") as caught:
        RunFolder(tmp_path / "r").create(overwrite=True)
    assert caught.value.exit_code == 8
    (tmp_path / "file").write_text("mine")
    with pytest.raises(EnvironmentProblem, match="is a file, where a folder is needed"):
        RunFolder(tmp_path / "file").create(overwrite=True)


def test_two_processes_do_not_work_in_one_folder(tmp_path: Path) -> None:
    with pytest.raises(Interrupted):
        run(tmp_path / "r", spec(), reporter=InterruptAt(3))
    other = RunFolder(tmp_path / "r")
    other.lock()
    try:
        with pytest.raises(EnvironmentProblem, match="another process"):
            resume(tmp_path / "r")
    finally:
        other.unlock()


def test_init_from_takes_over_the_selected_backbone_and_nothing_else(tmp_path: Path) -> None:
    first = run(tmp_path / "first", spec(train={"epochs": 2, "batch_size": 10, "ema": 0.5}))
    second = spec(
        init_from={"path": str(tmp_path / "first")}, backbone={"type": "tiny", "freeze": True}, pretext={}, seed=5
    )
    result = run(tmp_path / "second", second)
    for name, tensor in first.model.backbone.state_dict().items():
        assert torch.equal(tensor, result.model.backbone.state_dict()[name]), name
    head = result.model.primary["kind"].state_dict()["head.weight"]
    assert not torch.equal(head, first.model.primary["kind"].state_dict()["head.weight"])


def test_what_is_copied_from_the_backbone_begins_with_the_weights_that_were_taken_over(tmp_path: Path) -> None:
    run(tmp_path / "first", spec(optimizer={"type": "adamw", "lr": 0.1}))
    given = spec(
        init_from={"path": str(tmp_path / "first")},
        pretext={"flip": {"type": "tiny", "statistics": "separate"}},
        optimizer={"type": "adamw", "lr": 1e-9},
        train={"steps": 1, "batch_size": 10, "ema": 0.5},
    )
    run(tmp_path / "second", given)
    source, found = weights(tmp_path / "first", 15), weights(tmp_path / "second")
    norm = source["backbone.norm.weight"]
    assert (norm - 1).abs().max() > 0.05
    for name in ("norms.flip.layers.0.weight", "ema.module.backbone.norm.weight", "backbone.norm.weight"):
        torch.testing.assert_close(found[name], norm)
    mean = source["backbone.norm.running_mean"]
    assert (found["norms.flip.layers.0.running_mean"] - mean).norm() < mean.norm() / 2


def test_init_from_of_another_form_is_refused(tmp_path: Path) -> None:
    run(tmp_path / "first", spec())
    with pytest.raises(CheckpointError, match="does not fit"):
        run(
            tmp_path / "second",
            spec(init_from={"path": str(tmp_path / "first")}, backbone={"type": "tiny", "width": 4}),
        )
    with pytest.raises(CheckpointError, match="no run folder"):
        run(tmp_path / "third", spec(init_from={"path": str(tmp_path / "nowhere")}))
    with pytest.raises(CheckpointError, match="no run folder"):
        auxlearn.validate(spec(init_from={"path": str(tmp_path / "nowhere")}), deep=True, plugins=[plugin])
    assert {path.name for path in tmp_path.iterdir()} == {"first"}


def test_patience_ends_a_run(tmp_path: Path) -> None:
    given = spec(
        train={"epochs": 40, "batch_size": 12},
        optimizer={"type": "sgd", "lr": 1e-6},
        evaluate={"patience": 2, "monitor": {"metric": "kind/accuracy"}},
    )
    result = run(tmp_path / "r", given)
    scorings = [line for line in result.history if line["kind"] == "val"]
    assert len(scorings) < 40
    assert result.best["step"] == scorings[-3]["step"]


def test_without_a_primary_task_the_last_weights_count_and_the_run_says_so(tmp_path: Path) -> None:
    result = run(tmp_path / "r", spec(primary={}))
    assert result.best == {"step": 15, "metric": None, "value": None}
    assert "last weights" in (tmp_path / "r" / "train.log").read_text()
    assert not result.test


def test_an_unknown_monitor_is_found_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(SpecError) as caught:
        run(tmp_path / "r", spec(evaluate={"monitor": {"metric": "kind/acuracy"}}))
    problem = caught.value.problems[0]
    assert (problem.where, problem.meant) == ("/evaluate/monitor/metric", "kind/accuracy")
    assert not (tmp_path / "r").exists()


def test_keep_last_and_keep_best(tmp_path: Path) -> None:
    given = spec(checkpoint={"every_steps": 3, "every_epochs": None, "keep_last": 2})
    result = run(tmp_path / "r", given)
    steps = RunFolder(tmp_path / "r").checkpoints.steps()
    assert steps[-1] == 15
    assert result.best["step"] in steps
    assert len(steps) <= 3


def test_without_keep_best_the_best_is_scored_all_the_same(tmp_path: Path) -> None:
    given = spec(checkpoint={"keep_last": 1}, evaluate={"monitor": {"metric": "kind/loss", "mode": "max"}})
    kept = run(tmp_path / "kept", given)
    given["checkpoint"] = {"keep_last": 1, "keep_best": False}
    result = run(tmp_path / "r", given)
    assert result.best["step"] == 5  # the loss falls, so the first scoring has the greatest
    assert RunFolder(tmp_path / "kept").checkpoints.steps() == [5, 15]
    assert RunFolder(tmp_path / "r").checkpoints.steps() == [15]
    assert result.test == kept.test
    again = resume(tmp_path / "r")
    assert (again.best, again.test, again.history) == (result.best, result.test, result.history)
    with pytest.raises(CheckpointError, match=r"step 5, were not kept; fix: --which last"):
        auxlearn.load_run(tmp_path / "r", plugins=[plugin])
    assert auxlearn.load_run(tmp_path / "r", which="last", plugins=[plugin]).step == 15


def test_a_run_that_stops_before_it_is_done_still_has_its_best_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = spec(
        checkpoint={"keep_last": 1, "keep_best": False}, evaluate={"monitor": {"metric": "kind/loss", "mode": "max"}}
    )
    whole = run(tmp_path / "whole", given)
    score = Fit.score

    def broken(self: Fit, split: str) -> dict[str, Any]:
        if split == "test":
            raise KeyboardInterrupt
        return score(self, split)

    monkeypatch.setattr(Fit, "score", broken)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "r", given)
    monkeypatch.undo()
    assert auxlearn.load_run(tmp_path / "r", plugins=[plugin]).step == 5
    assert resume(tmp_path / "r").test == whole.test
    assert RunFolder(tmp_path / "r").checkpoints.steps() == [15]


def test_the_rehearsal_takes_the_rows_of_one_device(monkeypatch: pytest.MonkeyPatch) -> None:
    found = load_spec(spec(train={"batch_size": 12, "devices": 2, "nodes": 2}), plugins=[plugin])
    seen = []
    step = Trainer.step
    monkeypatch.setattr(Trainer, "step", lambda self, batch, **how: seen.append(len(batch)) or step(self, batch, **how))
    rehearse(found, prepare_data(found))
    assert seen == [3]


def test_a_run_is_resumed_without_the_run_that_it_began_from(tmp_path: Path) -> None:
    run(tmp_path / "first", spec())
    given = spec(init_from={"path": str(tmp_path / "first")}, seed=3)
    run(tmp_path / "whole", given)
    with pytest.raises(Interrupted):
        run(tmp_path / "r", given, reporter=InterruptAt(7))
    shutil.rmtree(tmp_path / "first")
    resume(tmp_path / "r")
    assert_same(weights(tmp_path / "whole"), weights(tmp_path / "r"))


def test_every_metrics_line_is_strict_json(tmp_path: Path) -> None:
    run(tmp_path / "r", spec())

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    for line in (tmp_path / "r" / "metrics.jsonl").read_text().splitlines():
        json.loads(line, parse_constant=refuse)


def test_a_run_that_diverges_keeps_the_weights_of_before(tmp_path: Path) -> None:
    given = spec(optimizer={"type": "sgd", "lr": 1e30}, backbone={"type": "tiny", "norm": False})
    with pytest.raises(DivergedError) as caught:
        run(tmp_path / "r", given)
    assert "kind@clean" in str(caught.value)
    assert "train/" in str(caught.value)
    for step in RunFolder(tmp_path / "r").checkpoints.steps():
        assert all(bool(t.isfinite().all()) for t in weights(tmp_path / "r", step).values())
    assert json.loads((tmp_path / "r" / "status.json").read_text())["state"] == "failed"


@pytest.mark.parametrize(("mode", "values", "best"), [("max", [1, 3, 2, 3], 1), ("min", [3, 1, 2, 1], 1)])
def test_selection_takes_the_first_of_the_best(mode: str, values: list[float], best: int) -> None:
    selection = Selection(monitor=Monitor(metric="m", mode=mode))  # type: ignore[arg-type]
    for step, value in enumerate(values):
        selection.take(step, {"m": float(value)})
    assert selection.step == best
    assert selection.take(9, {"m": float("nan")}) is False
