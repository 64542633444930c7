"""`RunFolder`: the files of one run."""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import socket
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout

from auxlearn.errors import CheckpointError, EnvironmentProblem, Problem, SpecError
from auxlearn.files import write_json, writing_in
from auxlearn.registry.installed import version_of
from auxlearn.spec.models import Choice, Spec
from auxlearn.training.checkpoint import Checkpoints

# What a run writes; a folder with anything else in it is not removed.
_NAMES = (
    "spec.json|resolved.json|manifest.json|status.json|drawn.json|trackers.json|metrics.jsonl|train.log|report.html"
)
_OWN = re.compile(rf"(\.?({_NAMES})(\.\d+)?)|\.lock|checkpoints|export|figures|csv|tensorboard|wandb|mlflow")

__all__ = ["RunFolder", "environment", "plugins_of"]

_PACKAGES = ("auxlearn", "torch", "lightning-fabric", "torchmetrics", "safetensors", "numpy", "pillow")


class RunFolder:
    """The folder of one run; see the design of the run folder in the docs.

    Args:
        path: Where it is.
        whole: The folder of the whole run, if this is that of a stage.
    """

    def __init__(self, path: str | Path, *, whole: Path | None = None) -> None:
        self.path = Path(path)
        self.whole = whole or self.path
        self.checkpoints = Checkpoints(self.path / "checkpoints")
        self._lock = FileLock(self.path / ".lock")

    def create(self, *, overwrite: bool) -> None:
        """Make the folder; an earlier run in it is removed if `overwrite`.

        Raises:
            SpecError: If there is something that may not be removed.
            EnvironmentProblem: If the system refuses, or another process works here.
        """
        with writing_in(self.path):
            if not any(self.path.iterdir()):
                return
            is_run = self._is_run()
            if not overwrite or not is_run:
                fix = f"auxlearn resume {self.path}, or --overwrite" if is_run else "another --out"
                what = "there is a run already" if is_run else "the folder is not empty, and not a run"
                raise SpecError(Problem(where=str(self.path), what=what, fix=fix))
            self.lock()
            try:
                self._clear()
            finally:
                self.unlock()

    def _clear(self) -> None:
        """Remove everything but the lock, folders first: what is left of a run after a crash is still known for one."""
        for entry in sorted(self.path.iterdir(), key=lambda entry: not entry.is_dir()):
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            elif entry.name != ".lock":
                entry.unlink()

    def _is_run(self) -> bool:
        """Return whether there is nothing in the folder but what a run writes."""
        stages = self.stages()
        return all(
            self.stage(entry.name)._is_run() if entry.name in stages else _OWN.fullmatch(entry.name)
            for entry in self.path.iterdir()
        )

    def stages(self) -> tuple[str, ...]:
        """Return the names of the stages, if this is the folder of a run that has some."""
        return tuple(stage["name"] for stage in self.read("resolved.json", missing={}).get("stages", ()))

    def stage(self, name: str) -> RunFolder:
        """Return the folder of a stage."""
        return RunFolder(self.path / name, whole=self.path)

    def lock(self) -> None:
        """Keep other processes out until `unlock` or the end of this process.

        Raises:
            EnvironmentProblem: If another process works here.
        """
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            owner = self.read("status.json", missing={})
            who = f"process {owner.get('pid', '?')} on {owner.get('host', '?')}"
            raise EnvironmentProblem(Problem(where=str(self.path), what=f"another process works here: {who}")) from None

    def unlock(self) -> None:
        """Let other processes in."""
        self._lock.release()

    def write(self, name: str, content: Mapping[str, Any]) -> None:
        """Write a JSON file, all or nothing."""
        write_json(self.path / name, content)

    def read(self, name: str, *, missing: Any = None) -> Any:
        """Return the content of a JSON file; `missing`, if given, where there is none.

        Raises:
            CheckpointError: If it cannot be read.
        """
        try:
            return json.loads((self.path / name).read_bytes())
        except FileNotFoundError:
            if missing is not None:
                return missing
            what = "not found; this is no run folder"
            raise CheckpointError(Problem(where=str(self.path / name), what=what)) from None
        except (OSError, ValueError) as error:
            raise CheckpointError(Problem(where=str(self.path / name), what=f"cannot be read: {error}")) from None

    def status(self, state: str, **facts: Any) -> None:
        """Write `status.json`: what the run is doing, and that it is alive."""
        heartbeat = time.strftime("%Y-%m-%dT%H:%M:%S%z")
        self.write(
            "status.json",
            {"state": state, **facts, "heartbeat": heartbeat, "pid": os.getpid(), "host": socket.gethostname()},
        )


def plugins_of(spec: Spec) -> list[dict[str, str]]:
    """Return which distribution offers each component of `spec`, and its version."""

    def line(where: str, choice: Choice) -> dict[str, str]:
        return {
            "section": where,
            "type": choice.provider.name,
            "distribution": choice.distribution,
            "version": choice.version,
        }

    return [line(where, choice) for where, choice in spec.choices.items()]


def environment() -> dict[str, Any]:
    """Return what else the numbers of a run depend on: packages, hardware, threads, the command."""
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpu": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "gpus": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())],
        "threads": torch.get_num_threads(),
        "packages": {name: version_of(name) for name in _PACKAGES},
        "command": sys.argv,
        "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
    }
