"""Runs with stages: what each begins with, what is written, and that a stop in any of them leaves no trace."""

from __future__ import annotations

import copy
import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

import auxlearn
from auxlearn.cli.main import main
from auxlearn.errors import CheckpointError, DivergedError, Interrupted, SpecError
from auxlearn.spec import load_spec
from auxlearn.testing import plugin
from auxlearn.training.folder import RunFolder
from auxlearn.training.progress import Silent


def chain(*stages: dict[str, Any], **changes: Any) -> dict[str, Any]:
    base: dict[str, Any] = {
        "auxlearn": 1,
        "name": "chain",
        "data": {"type": "tiny"},
        "backbone": {"type": "tiny", "dropout": 0.1},
        "primary": {"kind": {"type": "tiny"}},
        "pretext": {"flip": {"type": "tiny", "view": "own", "portion": 0.5}},
        "optimizer": {"type": "adamw", "lr": 0.01},
        "train": {"epochs": 2, "batch_size": 10},
        "log": {"every_steps": 3},
    }
    return copy.deepcopy({**base, **changes, "stages": list(stages)})


PRETRAIN = {"name": "pretrain", "primary": None}
FINETUNE = {"name": "finetune", "pretext": None, "train": {"epochs": 3}}
PROBE = {**FINETUNE, "name": "probe", "backbone": {"freeze": True}}


def run(folder: Path, given: Mapping[str, Any], **options: Any) -> auxlearn.RunResult:
    return auxlearn.run(given, out=folder, plugins=[plugin], **options)


def resume(folder: Path, overrides: tuple[str, ...] = (), **options: Any) -> auxlearn.RunResult:
    return auxlearn.resume(folder, overrides, plugins=[plugin], **options)


class InterruptAt(Silent):
    """Sends a signal to this process after some step of some stage."""

    def __init__(self, stage: int, step: int) -> None:
        self.stage, self.step, self.said = stage, step, []
        self.stages = -1

    def say(self, message: str) -> None:
        self.said.append(message)
        self.stages += message.startswith("stage ")

    def advance(self, step: int, epoch: float, rate: float, losses: Mapping[str, float] | None) -> None:
        if (self.stages, step) == (self.stage, self.step):
            os.kill(os.getpid(), signal.SIGTERM)


def weights(folder: Path, step: int | None = None) -> dict[str, torch.Tensor]:
    checkpoints = RunFolder(folder).checkpoints
    return dict(checkpoints.load(step or checkpoints.steps()[-1]).model)


def assert_same(one: Mapping[str, torch.Tensor], other: Mapping[str, torch.Tensor]) -> None:
    assert one.keys() == other.keys()
    for name, tensor in one.items():
        assert torch.equal(tensor, other[name]), name


def backbone(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: tensor for name, tensor in tensors.items() if name.startswith("backbone.")}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole") / "run"
    run(folder, chain(PRETRAIN, FINETUNE))
    return folder


def test_a_chain_is_its_runs_started_by_hand(tmp_path: Path, whole: Path) -> None:
    one = {key: value for key, value in chain().items() if key not in ("stages", "primary")}
    run(tmp_path / "one", one)
    two = {key: value for key, value in chain().items() if key not in ("stages", "pretext")}
    two |= {"train": {"epochs": 3, "batch_size": 10}, "init_from": {"path": str(tmp_path / "one")}}
    run(tmp_path / "two", two)
    for stage, alone in (("pretrain", "one"), ("finetune", "two")):
        assert_same(weights(whole / stage), weights(tmp_path / alone))
        assert (whole / stage / "metrics.jsonl").read_bytes() == (tmp_path / alone / "metrics.jsonl").read_bytes()


def test_what_a_chain_leaves_and_returns(tmp_path: Path) -> None:
    reporter = InterruptAt(-1, -1)
    result = run(tmp_path / "r", chain(PRETRAIN, FINETUNE), reporter=reporter)
    names = {p.name for p in (tmp_path / "r").iterdir()} - {".lock"}
    assert names == {"spec.json", "resolved.json", "manifest.json", "status.json", "pretrain", "finetune"}
    assert {p.name for p in (tmp_path / "r" / "finetune").iterdir()} >= {"spec.json", "checkpoints", "metrics.jsonl"}
    status = json.loads((tmp_path / "r" / "status.json").read_text())
    assert (status["state"], status["stages"]) == ("done", {"pretrain": "done", "finetune": "done"})
    assert list(result.stages) == ["pretrain", "finetune"]
    last = result.stages["finetune"]
    assert (result.path, last.path) == (tmp_path / "r", tmp_path / "r" / "finetune")
    assert (result.best, result.test, result.history) == (last.best, last.test, last.history)
    assert result.best["metric"] == "kind/accuracy"
    assert result.stages["pretrain"].best["metric"] is None
    assert [m for m in reporter.said if m.startswith("stage ")] == [
        "stage pretrain (1 of 2)",
        "stage finetune (2 of 2)",
    ]


def test_each_stage_is_a_run_of_its_own(whole: Path, tmp_path: Path) -> None:
    for stage in ("pretrain", "finetune"):
        given = json.loads((whole / stage / "spec.json").read_text())
        resolved = json.loads((whole / stage / "resolved.json").read_text())
        assert load_spec(given, plugins=[plugin], recorded=True).resolved == resolved
        assert load_spec(resolved, plugins=[plugin], recorded=True).resolved == resolved


def test_the_last_stage_is_what_a_chain_is_for(whole: Path) -> None:
    loaded = auxlearn.load_run(whole, plugins=[plugin])
    assert loaded.path == whole / "finetune"
    assert_same(loaded.model.state_dict(), auxlearn.load_run(whole / "finetune", plugins=[plugin]).model.state_dict())
    assert loaded.score("test")["kind/accuracy"] == loaded.history[-1]["kind/accuracy"]
    assert auxlearn.load_run(whole / "pretrain", plugins=[plugin]).path == whole / "pretrain"


def test_a_run_may_begin_from_a_chain(whole: Path, tmp_path: Path) -> None:
    given = {key: value for key, value in chain().items() if key != "stages"}
    given |= {"init_from": {"path": str(whole)}, "backbone": {"type": "tiny", "freeze": True}}
    result = run(tmp_path / "r", given)
    selected = auxlearn.load_run(whole, plugins=[plugin]).model.state_dict()
    assert_same(backbone(result.model.state_dict()), backbone(selected))


@pytest.mark.parametrize(("stage", "step"), [(0, 3), (0, 9), (1, 1), (1, 7), (1, 14)])
def test_resume_after_a_signal_in_any_stage_is_bit_exact(stage: int, step: int, whole: Path, tmp_path: Path) -> None:
    with pytest.raises(Interrupted) as caught:
        run(tmp_path / "r", chain(PRETRAIN, FINETUNE), reporter=InterruptAt(stage, step))
    assert caught.value.code == 143
    assert str(caught.value).endswith(f"auxlearn resume {tmp_path / 'r'}")
    status = json.loads((tmp_path / "r" / "status.json").read_text())
    assert (status["state"], status["stage"]) == ("interrupted", ["pretrain", "finetune"][stage])
    before = (tmp_path / "r" / "pretrain" / "status.json").stat().st_mtime_ns
    result = resume(tmp_path / "r")
    assert list(result.stages) == ["pretrain", "finetune"]
    assert ((tmp_path / "r" / "pretrain" / "status.json").stat().st_mtime_ns == before) == (stage == 1)
    for part in ("pretrain", "finetune"):
        assert_same(weights(whole / part), weights(tmp_path / "r" / part))
        assert (whole / part / "metrics.jsonl").read_bytes() == (tmp_path / "r" / part / "metrics.jsonl").read_bytes()


def test_resuming_what_is_done_repeats_nothing_and_returns_the_same(whole: Path) -> None:
    before = {p: p.stat().st_mtime_ns for p in whole.rglob("*") if p.is_file() and p.parent != whole}
    result = resume(whole)
    assert before == {p: p.stat().st_mtime_ns for p in whole.rglob("*") if p.is_file() and p.parent != whole}
    assert result.test == {n: v for n, v in result.history[-1].items() if n not in ("kind", "step")}
    assert_same(result.model.state_dict(), auxlearn.load_run(whole, plugins=[plugin]).model.state_dict())


def test_a_crash_between_two_stages_is_no_harm(whole: Path, tmp_path: Path) -> None:
    with pytest.raises(Interrupted):
        run(tmp_path / "r", chain(PRETRAIN, FINETUNE), reporter=InterruptAt(1, 1))
    part = tmp_path / "r" / "finetune"
    for path in sorted(part.rglob("*"), reverse=True):
        if path.name != "spec.json":
            path.rmdir() if path.is_dir() else path.unlink()
    resume(tmp_path / "r")
    assert_same(weights(whole / "finetune"), weights(part))


def test_a_stage_can_be_resumed_and_read_on_its_own(whole: Path, tmp_path: Path) -> None:
    with pytest.raises(Interrupted):
        run(tmp_path / "r", chain(PRETRAIN, FINETUNE), reporter=InterruptAt(0, 3))
    with pytest.raises(CheckpointError, match='the stage "finetune" has not begun'):
        auxlearn.load_run(tmp_path / "r", plugins=[plugin])
    resume(tmp_path / "r" / "pretrain")
    assert_same(weights(whole / "pretrain"), weights(tmp_path / "r" / "pretrain"))
    with pytest.raises(Interrupted):
        resume(tmp_path / "r", reporter=InterruptAt(0, 2))
    resume(tmp_path / "r" / "finetune")
    assert_same(weights(whole / "finetune"), weights(tmp_path / "r" / "finetune"))
    assert resume(tmp_path / "r").stages["finetune"].path == tmp_path / "r" / "finetune"


def test_a_changed_stage_is_not_resumed(tmp_path: Path) -> None:
    with pytest.raises(Interrupted):
        run(tmp_path / "r", chain(PRETRAIN, FINETUNE), reporter=InterruptAt(0, 3))
    with pytest.raises(CheckpointError) as caught:
        resume(tmp_path / "r", ("stages.finetune.optimizer.lr=0.5", "data.workers=1"))
    assert [p.where for p in caught.value.problems] == ["/stages/1/optimizer/lr"]


def test_overwrite_removes_a_chain_and_nothing_else(tmp_path: Path) -> None:
    given = chain(PRETRAIN, FINETUNE, train={"steps": 1, "batch_size": 4})
    given["stages"][1].pop("train")
    run(tmp_path / "r", given)
    with pytest.raises(SpecError, match="there is a run already"):
        run(tmp_path / "r", given)
    given["stages"].pop()
    run(tmp_path / "r", given, overwrite=True)
    assert not (tmp_path / "r" / "finetune").exists()
    (tmp_path / "r" / "pretrain" / "thesis.tex").write_text("mine")
    with pytest.raises(SpecError, match="not a run"):
        run(tmp_path / "r", given, overwrite=True)
    assert (tmp_path / "r" / "pretrain" / "thesis.tex").exists()


def test_a_linear_probe_leaves_the_backbone_as_it_was(tmp_path: Path) -> None:
    result = run(tmp_path / "r", chain(PRETRAIN, PROBE))
    before, after = (backbone(weights(tmp_path / "r" / stage)) for stage in ("pretrain", "probe"))
    assert_same(before, after)
    assert not [
        k for k in RunFolder(tmp_path / "r" / "probe").checkpoints.load(15).optimizer if int(k.split(".")[0]) > 1
    ]
    assert result.test["kind/accuracy"] > 0.5


def test_a_stage_from_scratch_begins_anew(tmp_path: Path) -> None:
    run(tmp_path / "chain", chain({"name": "one"}, {"name": "two", "init_from": None}))
    assert_same(weights(tmp_path / "chain" / "one"), weights(tmp_path / "chain" / "two"))


def test_a_frozen_backbone_from_nowhere_is_noted(tmp_path: Path) -> None:
    given = {key: value for key, value in chain().items() if key != "stages"}
    reporter = InterruptAt(-1, -1)
    run(tmp_path / "a", given | {"backbone": {"type": "tiny", "freeze": True}}, reporter=reporter)
    assert [m for m in reporter.said if "frozen" in m]
    reporter = InterruptAt(-1, -1)
    run(tmp_path / "b", chain(PRETRAIN, PROBE), reporter=reporter)
    assert not [m for m in reporter.said if "frozen" in m]


def test_a_stage_that_diverges_ends_the_run_and_its_status_says_where(tmp_path: Path) -> None:
    bad = {**FINETUNE, "optimizer": {"type": "sgd", "lr": 1e30}}
    with pytest.raises(DivergedError):
        run(tmp_path / "r", chain(PRETRAIN, bad))
    status = json.loads((tmp_path / "r" / "status.json").read_text())
    assert (status["state"], status["stage"]) == ("failed", "finetune")
    assert status["stages"] == {"pretrain": "done", "finetune": "begun"}
    assert "is not finite" in status["error"]


def test_every_stage_is_tried_before_anything_is_written(tmp_path: Path) -> None:
    bad = {**FINETUNE, "evaluate": {"monitor": {"metric": "kind/acuracy"}}}
    with pytest.raises(SpecError, match=r'in the stage "finetune"'):
        run(tmp_path / "r", chain(PRETRAIN, bad))
    assert not (tmp_path / "r").exists()
    with pytest.raises(SpecError, match=r'in the stage "finetune"'):
        auxlearn.validate(chain(PRETRAIN, bad), deep=True, plugins=[plugin])


@pytest.mark.parametrize(
    ("change", "part"),
    [({"init_from": {"parts": ["backbone", "primary"]}}, "primary"), ({"backbone": {"width": 4}}, "backbone")],
)
def test_what_a_stage_takes_over_is_tried_before_anything_is_written(
    change: dict[str, Any], part: str, tmp_path: Path
) -> None:
    given = chain(PRETRAIN, {**FINETUNE, **change})
    with pytest.raises(SpecError, match=rf'/init_from: `{part}` of the stage "pretrain" does not fit') as caught:
        run(tmp_path / "r", given)
    assert 'in the stage "finetune"' in str(caught.value)
    assert not (tmp_path / "r").exists()
    with pytest.raises(SpecError, match="does not fit"):
        auxlearn.validate(given, deep=True, plugins=[plugin])


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the command line find the tiny components."""
    from auxlearn.registry import discover

    monkeypatch.setattr("auxlearn.cli.main._registry", lambda block: lambda: discover([plugin]))


@pytest.mark.usefixtures("installed")
def test_the_commands_work_on_a_chain(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("spec.json").write_text(json.dumps(chain(PRETRAIN, FINETUNE)))
    short = ["stages.finetune.train.epochs=1", "train.epochs=1"]
    assert main(["validate", "spec.json"]) == 0
    shown = capsys.readouterr().out
    assert "stage pretrain" in shown
    assert "stage finetune" in shown
    assert main(["run", "spec.json", *short, "--quiet", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert list(facts["stages"]) == ["pretrain", "finetune"]
    assert facts["test"] == facts["stages"]["finetune"]["test"]
    assert main(["resume", "runs/chain", "--quiet"]) == 0
    shown = capsys.readouterr().out
    assert shown.index("stage pretrain") < shown.index("stage finetune") < shown.index("test    ")
    assert main(["eval", "runs/chain", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["scores"]["kind/accuracy"] == facts["test"]["kind/accuracy"]
    assert main(["export", "runs/chain", "--format", "state_dict"]) == 0
    assert Path("runs/chain/finetune/export/state_dict-model").is_dir()
    assert main(["run", "spec.json", "--quiet"]) == 2
    assert main(["run", "spec.json", *short, "--seed", "4", "--overwrite", "--quiet"]) == 0
    assert json.loads(Path("runs/chain/pretrain/manifest.json").read_text())["seed"] == 4


SPECS = {
    "self-supervised pre-training against both at once": (
        [
            {"name": "pretrain", "primary": None},
            {"name": "finetune", "pretext": None},
        ],
        [["flip@flip"], ["kind@clean"]],
    ),
    "pre-training by one pretext, another as auxiliary": (
        [
            {"name": "pretrain", "primary": None},
            {"name": "together", "pretext": {"flip": None, "second": {"type": "tiny", "copies": 2, "weight": 0.3}}},
        ],
        [["flip@flip"], ["kind@clean", "second@second"]],
    ),
    "linear evaluation after every kind of training": (
        [
            {"name": "together"},
            {"name": "probe", "pretext": None, "backbone": {"freeze": True}},
        ],
        [["kind@clean", "flip@flip"], ["kind@clean"]],
    ),
}


@pytest.mark.parametrize(("stages", "losses"), SPECS.values(), ids=SPECS)
def test_protocols_of_the_field(stages: list[dict[str, Any]], losses: list[list[str]], tmp_path: Path) -> None:
    result = run(tmp_path / "r", chain(*stages, train={"steps": 3, "batch_size": 8}))
    for part, expected in zip(result.stages.values(), losses, strict=True):
        line = next(line for line in part.history if line["kind"] == "train")
        assert sorted(n.removeprefix("loss/") for n in line if n.startswith("loss/")) == sorted(expected)
    assert result.test["kind/accuracy"] >= 0


@pytest.mark.slow
def test_two_processes_go_through_all_stages_and_agree_with_one(tmp_path: Path) -> None:
    script = Path(__file__).with_name("ddp_stages.py")
    names = ("MASTER_", "LOCAL_", "NODE_", "WORLD_")
    environment = {k: v for k, v in os.environ.items() if not k.startswith(names)} | {"OMP_NUM_THREADS": "1"}
    for devices in (1, 2):
        command = [sys.executable, str(script), str(tmp_path / str(devices)), str(devices)]
        done = subprocess.run(command, env=environment, check=False, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
        assert done.stdout.count("done") == 1
    for stage in ("pretrain", "probe"):
        one, two = (weights(tmp_path / devices / stage) for devices in ("1", "2"))
        for name, tensor in one.items():
            torch.testing.assert_close(tensor, two[name], rtol=1e-4, atol=1e-5, msg=name)
    scores = [
        [json.loads(line) for line in (tmp_path / devices / "pretrain" / "metrics.jsonl").read_text().splitlines()]
        for devices in ("1", "2")
    ]
    for one, two in zip(*scores, strict=True):
        found = {name: value for name, value in one.items() if name.startswith("knn/")}
        assert found == {name: two[name] for name in found}
