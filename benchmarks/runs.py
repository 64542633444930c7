"""Whole runs as benchmarks: start those that are missing, and read what is there."""

from __future__ import annotations

import json
import multiprocessing
import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

__all__ = ["is_done", "run_missing", "scores"]


def run_missing(wanted: Sequence[tuple[Path, Path, int]], *, jobs: int = 1) -> list[str]:
    """Run each (spec, folder, seed) that is not done, `jobs` at once, and return what failed with its message."""
    missing = [one for one in wanted if not is_done(one[1])]
    threads = max(1, (os.cpu_count() or 1) // jobs)
    # Processes that stay: importing everything takes longer than many a small run.
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, mp_context=spawn, initializer=_begin, initargs=(threads,)) as pool:
        messages = pool.map(_run, missing)
        return [f"{spec.stem}: {message}" for (spec, _, _), message in zip(missing, messages, strict=True) if message]


def _begin(threads: int) -> None:
    import torch

    from auxlearn.training.memory import keep_freed_memory

    torch.set_num_threads(threads)
    keep_freed_memory()


def _run(wanted: tuple[Path, Path, int]) -> str:
    """Run one, and return the message of what went wrong."""
    import auxlearn
    from auxlearn.errors import AuxlearnError

    spec, folder, seed = wanted
    try:
        auxlearn.run(spec, seed=seed, out=folder, overwrite=True)
    except AuxlearnError as error:
        print(f"{spec.stem}, seed {seed}: failed", flush=True)
        return str(error)
    print(f"{spec.stem}, seed {seed}: done", flush=True)
    return ""


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
