"""Whole runs as benchmarks: start those that are missing, and read what is there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

__all__ = ["is_done", "run_missing", "scores"]


def run_missing(wanted: Sequence[tuple[Path, Path, int]], *, jobs: int = 1) -> list[str]:
    """Run each (spec, folder, seed) that is not done, `jobs` at once, and return what failed with its message."""
    missing = [one for one in wanted if not is_done(one[1])]
    with ThreadPoolExecutor(jobs) as pool:
        results = pool.map(lambda one: _run(*one, threads=max(1, (os.cpu_count() or 1) // jobs)), missing)
        return [f"{spec.stem}: {message}" for (spec, _, _), message in zip(missing, results, strict=True) if message]


def _run(spec: Path, folder: Path, seed: int, *, threads: int) -> str:
    command = ["run", str(spec), "--seed", str(seed), "--out", str(folder), "--overwrite", "--quiet"]
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    done = subprocess.run(
        [sys.executable, "-m", "auxlearn", *command], env=environment, capture_output=True, text=True, check=False
    )
    print(f"{spec.stem}: {'done' if done.returncode == 0 else f'exit code {done.returncode}'}", flush=True)
    return done.stderr.strip() if done.returncode else ""


def is_done(folder: Path) -> bool:
    """Return whether the run in `folder` came to its end."""
    status = folder / "status.json"
    return status.is_file() and json.loads(status.read_text(encoding="utf-8"))["state"] == "done"


def scores(folder: Path) -> dict[str, Any]:
    """Return the scores of the run in `folder`, or of its last stage: on `test`, or on `val` where there is no test."""
    lines = _lines(_last(folder))
    found = [line for line in lines if line["kind"] == "test"] or [line for line in lines if line["kind"] == "val"]
    return found[-1]


def _stages(folder: Path) -> list[str]:
    spec = json.loads((folder / "spec.json").read_text(encoding="utf-8"))
    return [stage["name"] for stage in spec.get("stages", [])]


def _last(folder: Path) -> Path:
    return folder / names[-1] if (names := _stages(folder)) else folder


def _lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
