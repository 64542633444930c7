"""Checkpoints that survive a crash at any time: written aside, flushed to disk, committed by a rename.

A checkpoint is a folder with `model.safetensors`, `optimizer.safetensors`, `state.json` and `checksums.json`. There is
no pickle in it. Older checkpoints are removed only after the new one is committed.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import attrs
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

from auxlearn.errors import CheckpointError, Problem
from auxlearn.files import flush_folder, removed_if_refused, write_flushed

__all__ = ["Checkpoints", "Snapshot"]

_FILES = ("model.safetensors", "optimizer.safetensors", "state.json")
_CHECKSUMS = "checksums.json"
_NUMBER = "$number"


@attrs.frozen(eq=False, kw_only=True)
class Snapshot:
    """Everything that a run needs to go on from a step.

    Attributes:
        model: Weights and buffers by name, the moving average under `ema.`.
        optimizer: The tensors of the optimizer's state.
        state: All the rest, as JSON.
    """

    model: Mapping[str, Tensor]
    optimizer: Mapping[str, Tensor]
    state: Mapping[str, Any]


class Checkpoints:
    """The checkpoints in a folder, by step.

    Args:
        folder: Where they are; made if it does not exist.

    Examples:
        >>> import tempfile, torch
        >>> from auxlearn.training.checkpoint import Checkpoints, Snapshot
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     checkpoints = Checkpoints(folder)
        ...     _ = checkpoints.save(5, Snapshot(model={"w": torch.ones(2)}, optimizer={}, state={"steps": 5}))
        ...     checkpoints.load(5).model["w"].tolist()
        [1.0, 1.0]
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)

    def steps(self) -> list[int]:
        """Return the steps of the committed checkpoints, ascending."""
        if not self.folder.is_dir():
            return []
        return sorted(int(entry.name) for entry in self.folder.iterdir() if entry.name.isdecimal())

    def path(self, step: int) -> Path:
        """Return where the checkpoint of `step` is, or would be."""
        return self.folder / str(step)

    def save(self, step: int, snapshot: Snapshot) -> Path:
        """Commit `snapshot` as the checkpoint of `step`, in place of one that is there.

        Raises:
            EnvironmentProblem: If the disk is full or refuses; what was there before is untouched.
        """
        contents = {
            "model.safetensors": save_tensors(_plain(snapshot.model)),
            "optimizer.safetensors": save_tensors(_plain(snapshot.optimizer)),
            "state.json": json.dumps(_strict(snapshot.state), allow_nan=False, indent=1).encode(),
        }
        sums = {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
        contents[_CHECKSUMS] = json.dumps(sums, indent=1).encode()
        aside = self.folder / f".new-{step}-{os.getpid()}"
        final = self.path(step)
        with removed_if_refused(aside):
            self.folder.mkdir(parents=True, exist_ok=True)
            aside.mkdir()
            for name, content in contents.items():
                write_flushed(aside / name, content)
            flush_folder(aside)
            if final.exists():
                _remove(final)
            os.rename(aside, final)
            flush_folder(self.folder)
        return final

    def load(self, step: int) -> Snapshot:
        """Return the checkpoint of `step`.

        Raises:
            CheckpointError: If it is missing, or a file of it is missing or not what was written.
        """
        folder = self.path(step)
        sums = self._checksums(folder)
        contents = {name: _read(folder / name, sums.get(name)) for name in _FILES}
        return Snapshot(
            model=load_tensors(contents["model.safetensors"]),
            optimizer=load_tensors(contents["optimizer.safetensors"]),
            state=json.loads(contents["state.json"], object_hook=_number),
        )

    def load_last(
        self, check: Callable[[int, Snapshot], None] = lambda _step, _snapshot: None
    ) -> tuple[int, Snapshot, list[str]]:
        """Return the newest sound checkpoint: its step, itself, and what is wrong with the newer ones.

        Args:
            check: Raises a CheckpointError if something else is missing that one needs.

        Raises:
            CheckpointError: If there is none.
        """
        faults: list[str] = []
        for step in reversed(self.steps()):
            try:
                snapshot = self.load(step)
                check(step, snapshot)
                return step, snapshot, faults
            except CheckpointError as error:
                faults.append(str(error))
        raise CheckpointError(
            Problem(where=str(self.folder), what="there is no sound checkpoint", fix="; ".join(faults) or None)
        )

    def prune(self, keep: Iterable[int]) -> None:
        """Remove all checkpoints but those of the steps to `keep`, and what an earlier crash left behind."""
        kept = {str(step) for step in keep}
        for entry in self.folder.iterdir():
            if entry.name not in kept and (entry.name.isdecimal() or entry.name.startswith((".new-", ".old-"))):
                _remove(entry)

    @staticmethod
    def _checksums(folder: Path) -> dict[str, str]:
        if not folder.is_dir():
            raise CheckpointError(Problem(where=str(folder), what="there is no such checkpoint"))
        try:
            sums = json.loads((folder / _CHECKSUMS).read_bytes())
        except (OSError, ValueError) as error:
            raise CheckpointError(Problem(where=str(folder / _CHECKSUMS), what=f"cannot be read: {error}")) from None
        return sums if isinstance(sums, dict) else {}


def _strict(value: Any) -> Any:
    """Return `value` as strict JSON has it, with what stands for numbers that are not finite; tensors as numbers."""
    if isinstance(value, Tensor):
        value = value.tolist()
    if isinstance(value, Mapping):
        return {name: _strict(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_strict(part) for part in value]
    return {_NUMBER: repr(float(value))} if isinstance(value, float) and not math.isfinite(value) else value


def _number(found: dict[str, Any]) -> Any:
    """Return an object of JSON, or the number that it stands for."""
    return float(found[_NUMBER]) if found.keys() == {_NUMBER} else found


def _plain(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors on the CPU, each with memory of its own, row-major: what safetensors can write."""
    return {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}


def _read(path: Path, digest: str | None) -> bytes:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise CheckpointError(Problem(where=str(path), what=f"cannot be read: {error.strerror}")) from None
    if hashlib.sha256(content).hexdigest() != digest:
        raise CheckpointError(Problem(where=str(path), what="its content is not what was written (SHA-256 differs)"))
    return content


def _remove(folder: Path) -> None:
    """Remove a folder so that it is never seen half removed under its own name."""
    aside = folder.with_name(f".old-{folder.name.lstrip('.')}-{os.getpid()}")
    if not folder.name.startswith("."):
        os.rename(folder, aside)
        folder = aside
    shutil.rmtree(folder, ignore_errors=True)
