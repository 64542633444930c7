"""`Recorder`: `metrics.jsonl` and further loggers, written so that a resumed run leaves no trace of the break."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import torch
from lightning_fabric.loggers.csv_logs import CSVLogger
from torch import Tensor

from auxlearn.errors import CheckpointError, Problem, escape
from auxlearn.files import flush_folder, telling_refusals
from auxlearn.learning.learner import StepResult

__all__ = ["Recorder", "finite_json"]

Record = dict[str, Any]


def finite_json(value: Any) -> Any:
    """Return `value` as strict JSON has it: numbers that are not finite become null.

    >>> finite_json({"a": float("nan"), "b": [1, float("inf")]})
    {'a': None, 'b': [1, None]}
    """
    if isinstance(value, Mapping):
        return {str(name): finite_json(part) for name, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite_json(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


class Recorder:
    """Writes the numbers of a run: one strict-JSON object a line.

    Training losses are means since the line before; their sums stay on the device between two lines, so that a
    step does not wait for them.

    Args:
        path: The `metrics.jsonl`.
        every: Steps between two lines of training losses.
        loggers: Objects with Fabric's `log_metrics(metrics, step)` and `finalize(status)`; what they raise is a
            warning, not the end. They are closed by leaving the recorder's context.
        warn: Called with a message when a logger fails.
    """

    def __init__(
        self, path: Path, *, every: int, loggers: Sequence[Any] = (), warn: Callable[[str], None] = print
    ) -> None:
        self.path, self.every, self.warn = path, every, warn
        self._open, self._loggers = tuple(loggers), list(loggers)
        self._sums: dict[str, Tensor] = {}
        self._counts: dict[str, int] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        for logger in self._open:  # also one that was left out
            try:
                logger.finalize("success" if kind is None else "failed")
            except Exception as error:
                self.warn(f"logger {type(logger).__name__} could not be closed: {escape(error)}")
        self._open = ()

    def add(self, result: StepResult) -> None:
        """Take in a training step."""
        values = {f"loss/{key}": loss for key, loss in result.losses.items()}
        values |= {f"weight/{key}": weight for key, weight in result.weights.items() if isinstance(weight, Tensor)}
        values |= dict(result.metrics)
        for name, value in values.items():
            now = value.detach().float()
            self._sums[name] = now if name not in self._sums else self._sums[name] + now
            self._counts[name] = self._counts.get(name, 0) + 1

    def means(self) -> dict[str, float]:
        """Return the means since the last line, with one wait for the device."""
        if not self._sums:
            return {}
        sums = torch.stack(list(self._sums.values())).tolist()
        return {name: total / self._counts[name] for name, total in zip(self._sums, sums, strict=True)}

    def flush(self, step: int, **facts: Any) -> Record:
        """Write the means since the last line, and begin anew."""
        record = self.write("train", step, {**facts, **self.means()})
        self._sums, self._counts = {}, {}
        return record

    def write(self, kind: str, step: int, values: Mapping[str, Any]) -> Record:
        """Append one line, and tell the other loggers.

        Raises:
            EnvironmentProblem: If it cannot be written.
        """
        record: Record = finite_json({"kind": kind, "step": step, **values})
        with telling_refusals(self.path.parent), self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record, allow_nan=False) + "\n")
        self._tell(record, list(self._loggers))
        return record

    def _tell(self, record: Record, loggers: Sequence[Any]) -> None:
        kind, step = record["kind"], record["step"]
        numbers = {f"{kind}/{n}": v for n, v in record.items() if isinstance(v, (int, float)) and n != "step"}
        for logger in loggers:
            try:
                logger.log_metrics(numbers, step)
            except Exception as error:  # a tracker that is down must not cost the run
                self._loggers.remove(logger)
                self.warn(f"logger {type(logger).__name__} failed and is left out: {escape(error)}")

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint keeps: the sums since the last line, and how long the file is, which is flushed."""
        length = self._length()
        if length:
            with telling_refusals(self.path.parent), self.path.open("ab") as file:
                os.fsync(file.fileno())
                flush_folder(self.path.parent)
        return {"bytes": length, "sums": {n: t.item() for n, t in self._sums.items()}, "counts": dict(self._counts)}

    def require(self, state: Mapping[str, Any], step: int) -> None:
        """Check that the lines are there which a checkpoint knows of.

        Raises:
            CheckpointError: If some are lost.
        """
        length = self._length()
        if length < state["bytes"]:
            what = f"has {length} bytes, and had {state['bytes']} at the checkpoint of step {step}"
            raise CheckpointError(Problem(where=str(self.path), what=what))

    def _length(self) -> int:
        return self.path.stat().st_size if self.path.exists() else 0

    def restore(self, state: Mapping[str, Any], device: torch.device) -> None:
        """Go back to a checkpoint's state: what was written after it is cut off."""
        if self.path.exists():
            os.truncate(self.path, min(state["bytes"], self._length()))
        self._sums = {name: torch.tensor(total, device=device) for name, total in state["sums"].items()}
        self._counts = dict(state["counts"])
        for line in self.history():
            self._tell(line, [logger for logger in self._loggers if isinstance(logger, CSVLogger)])

    def history(self) -> list[Record]:
        """Return every line written so far.

        Raises:
            CheckpointError: If a line is not what was written.
        """
        if not self.path.exists():
            return []
        try:
            return [json.loads(line) for line in self.path.read_text(encoding="utf-8").splitlines()]
        except ValueError as error:
            raise CheckpointError(Problem(where=str(self.path), what=f"cannot be read: {error}")) from None
