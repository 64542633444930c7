"""A run killed at random times, and resumed each time, ends with the same bits as one that was left alone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

WORKER = Path(__file__).with_name("crash_worker.py")


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_kill_9_at_random_times_leaves_no_trace(tmp_path: Path) -> None:
    command = [sys.executable, "-W", "error", str(WORKER), str(tmp_path), "20", "0"]
    done = subprocess.run(
        command, check=False, capture_output=True, text=True, timeout=600, env=os.environ | {"OMP_NUM_THREADS": "1"}
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    assert result["killed"] >= 20
    assert result["equal"] == [True] * result["rounds"]
