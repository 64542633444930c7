"""What it costs to start a command, against starting Python and importing torch."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from benchmarks.paired import Line, Timing, compare, take_turns

__all__ = ["process", "run"]

SPEC = {
    "auxlearn": 1,
    "name": "startup",
    "data": {"type": "synthfaces"},
    "backbone": {"type": "timm", "model": "efficientnet_b0"},
    "primary": {"emotion": {"type": "fer"}},
    "pretext": {"puzzle": {"type": "puzzling", "grid": 2, "view": "own", "portion": 0.25, "weight": 0.3}},
    "optimizer": {"type": "adamw", "lr": 1e-3},
    "train": {"epochs": 1, "batch_size": 32},
}


def run(rounds: int) -> list[Line]:
    """Measure `auxlearn --help` and `auxlearn validate` in processes of their own, every plugin installed."""
    with tempfile.TemporaryDirectory() as folder:
        spec = Path(folder, "spec.json")
        spec.write_text(json.dumps(SPEC))
        # Byte code is compiled in the round that does not count, whatever the environment says about it.
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        environment["PYTHONPYCACHEPREFIX"] = folder
        command = [sys.executable, "-c", "import sys; from auxlearn.cli.main import main; sys.exit(main())"]
        timings = take_turns(
            {
                "auxlearn --help": process([*command, "--help"], environment),
                "auxlearn validate": process([*command, "validate", str(spec)], environment),
                "python -c pass": process([sys.executable, "-c", "pass"], environment),
                "import torch": process([sys.executable, "-c", "import torch"], environment),
            },
            max(2, rounds // 2),  # a round takes seconds
        )
    return [
        compare(timings, "auxlearn --help", "python -c pass", goal=4),
        compare(timings, "auxlearn --help", "import torch"),
        compare(timings, "auxlearn validate", "python -c pass", goal=14),
        compare(timings, "auxlearn validate", "import torch"),
    ]


def process(command: Sequence[str], environment: Mapping[str, str]) -> Callable[[], Timing]:
    """Return a function that runs `command` and says what it took; RuntimeError if it fails."""

    def measure() -> Timing:
        begin, before = time.perf_counter(), _children()
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        timing = Timing(cpu=_children() - before, wall=time.perf_counter() - begin)
        if done.returncode:
            raise RuntimeError(f"{' '.join(command[2:])} ended with {done.returncode}: {done.stderr[-500:]}")
        return timing

    return measure


def _children() -> float:
    """Return the CPU seconds of all child processes that have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime
