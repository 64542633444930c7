"""Two real processes (gloo) take the steps of one process on the joint batch."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

pytestmark = pytest.mark.slow

WORKER = Path(__file__).parent / "joint_worker.py"
SCENARIOS = [f"{task}{absent}" for task in ("simclr", "barlow_twins") for absent in ("", " some", " one process")]


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("joint")
    env = {name: value for name, value in os.environ.items() if not name.startswith(("RANK", "WORLD", "MASTER"))}
    done = subprocess.run(
        [sys.executable, str(WORKER), str(folder)],
        env={**env, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return {name: torch.load(folder / f"{name}.pt", weights_only=True) for name in ("alone", "rank0", "rank1")}


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_two_processes_take_the_steps_of_one(outcomes, scenario):
    alone, first, second = (outcomes[name][scenario] for name in ("alone", "rank0", "rank1"))
    assert len(alone["losses"]) == 2
    assert alone["losses"].min() > 0
    torch.testing.assert_close(first, alone, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(second, first, rtol=0, atol=0)
