"""Whole runs with two processes: the same result as one, one set of files, and a stop that all agree on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from auxlearn.training.folder import RunFolder

SCRIPT = Path(__file__).with_name("ddp_run.py")
ENVIRONMENT = {k: v for k, v in os.environ.items() if not k.startswith(("MASTER_", "LOCAL_", "NODE_", "WORLD_"))}


def command(out: Path, devices: int, action: str = "run") -> list[str]:
    return [sys.executable, str(SCRIPT), str(out), str(devices), action]


def train(out: Path, devices: int, action: str = "run") -> str:
    environment = ENVIRONMENT | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        command(out, devices, action), env=environment, check=False, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("two") / "run"
    assert train(out, 2).count("step") == 1
    return out


def numbers(folder: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.slow
def test_two_processes_give_the_result_of_one(two: Path, tmp_path: Path) -> None:
    train(tmp_path / "one", 1)
    one = RunFolder(tmp_path / "one").checkpoints.load(12).model
    both = RunFolder(two).checkpoints.load(12).model
    assert one.keys() == both.keys()
    for name, tensor in one.items():
        torch.testing.assert_close(tensor, both[name], rtol=1e-4, atol=1e-5, msg=name)
    for single, joint in zip(numbers(tmp_path / "one"), numbers(two), strict=True):
        assert single.keys() == joint.keys()
        assert single["kind/accuracy"] == joint["kind/accuracy"] if "kind/accuracy" in single else True


@pytest.mark.slow
def test_a_signal_to_the_first_process_stops_both_and_the_run_goes_on(two: Path, tmp_path: Path) -> None:
    environment = ENVIRONMENT | {"OMP_NUM_THREADS": "1"}
    with subprocess.Popen(command(tmp_path / "r", 2), env=environment, stderr=subprocess.PIPE, text=True) as run:
        assert run.stderr is not None
        for line in run.stderr:
            if line.startswith("step 2/"):
                run.send_signal(signal.SIGTERM)
                break
        run.stderr.read()
        code = run.wait(timeout=60)
    steps = RunFolder(tmp_path / "r").checkpoints.steps()
    if code != 0:  # a signal after the last step comes too late to matter
        assert code == 143
        assert steps[-1] < 12
        train(tmp_path / "r", 2, "resume")
    one, other = (RunFolder(folder).checkpoints.load(12).model for folder in (two, tmp_path / "r"))
    for name, tensor in one.items():
        assert torch.equal(tensor, other[name]), name
