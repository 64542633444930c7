"""Kill a run again and again at random times, resume it, and print what came of it as JSON.

A process of its own: it imports torch once, runs on one thread, and forks a child for each attempt.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import sys
import time
from pathlib import Path

import torch
import torch._dynamo

torch.set_num_threads(1)

import auxlearn.api  # noqa: E402
import auxlearn.training.session  # noqa: E402
from auxlearn.testing import plugin  # noqa: E402

SPEC = {
    "auxlearn": 1,
    "name": "crash",
    "data": {"type": "tiny", "rows": 40},
    "backbone": {"type": "tiny", "dropout": 0.2},
    "primary": {"kind": {"type": "tiny"}},
    "pretext": {
        "flip": {"type": "tiny", "view": "own", "portion": 0.5, "weight": 0.3},
        "late": {"type": "tiny", "view": "own", "every": 2, "start_epoch": 1, "statistics": "separate"},
    },
    "optimizer": {"type": "adamw", "lr": 0.01},
    "schedule": {"type": "cosine", "warmup_epochs": 1},
    "train": {"epochs": 6, "batch_size": 8, "ema": 0.9, "accumulate": 2},
    "checkpoint": {"every_steps": 1, "keep_last": 2},
    "log": {"every_steps": 3},
}


def attempt(folder: Path, kill_after: float | None) -> int:
    """Run or resume in a child; kill it after some seconds. Return its wait status."""
    child = os.fork()
    if child == 0:
        try:
            if (folder / "manifest.json").exists() and (folder / "spec.json").exists():
                auxlearn.api.resume(folder, plugins=[plugin])
            else:
                auxlearn.api.run(SPEC, out=folder, overwrite=True, plugins=[plugin])
        except BaseException as error:
            print(f"child: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
            os._exit(1)
        os._exit(0)
    if kill_after is not None:
        time.sleep(kill_after)
        os.kill(child, signal.SIGKILL)
    return os.waitpid(child, 0)[1]


def digest(folder: Path) -> dict[str, str]:
    """Return a hash of everything that must not depend on interruptions."""
    steps = sorted(int(p.name) for p in (folder / "checkpoints").iterdir() if p.name.isdecimal())
    files = {
        f"{step}/{name}": folder / "checkpoints" / str(step) / name
        for step in steps
        for name in ("model.safetensors", "optimizer.safetensors", "state.json")
    }
    files["metrics.jsonl"] = folder / "metrics.jsonl"
    return {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in files.items()}


def main(base: Path, kills: int, seed: int) -> None:
    draw = random.Random(seed)
    whole = base / "whole"
    begin = time.monotonic()
    if attempt(whole, None) != 0:
        raise SystemExit("the uninterrupted run failed")
    duration = time.monotonic() - begin
    killed, rounds, results = 0, 0, []
    while killed < kills:
        folder = base / f"round-{rounds}"
        for _ in range(200):
            status = attempt(folder, draw.uniform(0.2, 0.9) * duration)
            if os.WIFEXITED(status):
                if os.WEXITSTATUS(status) != 0:
                    raise SystemExit("a resumed run failed")
                break
            killed += 1
        else:
            if attempt(folder, None) != 0:
                raise SystemExit("a resumed run failed")
        results.append(digest(folder) == digest(whole))
        rounds += 1
    print(json.dumps({"killed": killed, "rounds": rounds, "equal": results, "seconds": duration}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
