"""`Cell`: one run of a study, or one that `compare` is given: what its folder says it came to."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import attrs

from auxlearn.errors import CheckpointError, Problem

__all__ = ["Cell", "CellKey", "read_cell", "read_json"]

State = Literal["done", "failed", "interrupted", "missing"]


@attrs.frozen(kw_only=True, order=True)
class CellKey:
    """Which run of a study.

    Attributes:
        arm: Its arm.
        fraction: Its label fraction; None if the specs give it.
        seed: Its seed.
    """

    arm: str
    fraction: float | None
    seed: int

    @property
    def path(self) -> str:
        """Its folder in that of the study's runs."""
        return f"{self.arm}/{'given' if self.fraction is None else f'{self.fraction:g}'}/{self.seed}"

    def __str__(self) -> str:
        labels = "" if self.fraction is None else f", {100 * self.fraction:g} % of the labels"
        return f"{self.arm}{labels}, seed {self.seed}"


@attrs.frozen(kw_only=True)
class Cell:
    """What a run came to.

    Attributes:
        key: Which run.
        state: `done`, `failed` with a `reason`, `interrupted` if it can go on, `missing` if it has not begun.
        reason: Why it failed.
        scored_on: The split of the `scores`: `test`; `val` where the run has no scores on `test`.
        scores: What it scored there with the selected weights, by metric.
        selected: The step whose weights were selected, on `val`, and by which value of which metric; no metric where
            the last step counts as the best.
        modes: For each metric whether more or less of it is better, as it says itself, or `evaluate.monitor`.
        seconds_per_step: That of its `status.json`; with stages, the mean of theirs.
        seconds: That for all of its steps.
        memory, device_memory: The most bytes of the process, and of its GPU.
        fingerprints: Of the rows of each split.
        machine: What its cost depends on: the `device`, the `threads` and the version of `torch`.
    """

    key: CellKey
    state: State
    reason: str | None = None
    scored_on: Literal["test", "val"] | None = None
    scores: Mapping[str, float] = attrs.field(factory=dict)
    selected: Mapping[str, Any] = attrs.field(factory=dict)
    modes: Mapping[str, str] = attrs.field(factory=dict)
    seconds_per_step: float | None = None
    seconds: float | None = None
    memory: int | None = None
    device_memory: int | None = None
    fingerprints: Mapping[str, str] = attrs.field(factory=dict)
    machine: Mapping[str, Any] = attrs.field(factory=dict)

    @property
    def peak_memory(self) -> int | None:
        """The most bytes where the training ran: of the GPU if there was one."""
        return self.memory if self.device_memory is None else self.device_memory


def read_cell(folder: Path, key: CellKey, stage: str | None = None) -> Cell:
    """Return what the run in `folder` came to.

    Args:
        folder: The run folder.
        key: Which run it is.
        stage: The stage whose scores count, if the run has stages; None for the last.

    Raises:
        CheckpointError: If a file of it cannot be read.
    """
    status = read_json(folder / "status.json", {})
    if status.get("state") != "done":
        begun = (folder / "manifest.json").is_file()
        if status.get("state") == "failed":
            return Cell(key=key, state="failed", reason=str(status.get("error", "")))
        return Cell(key=key, state="interrupted" if begun else "missing")
    parts = [folder / name for name in status.get("stages", {})] or [folder]
    scored = parts[-1] if stage is None else folder / stage
    told = read_json(scored / "status.json", {})
    manifest = read_json(scored / "manifest.json", {})
    line = _scored_line(_lines(scored / "metrics.jsonl"), told.get("selected", {}).get("step"))
    return Cell(
        key=key,
        state="done",
        scored_on=line.get("kind"),
        scores={n: v for n, v in line.items() if isinstance(v, int | float) and n not in ("kind", "step", "epoch")},
        selected=told.get("selected", {}),
        modes={**told.get("modes", {}), **_monitored(read_json(scored / "resolved.json", {}))},
        fingerprints=manifest.get("data", {}).get("splits", {}),
        machine=_machine(manifest),
        **_cost([read_json(part / "status.json", {}) for part in parts]),
    )


def read_json(path: Path, missing: Any) -> Any:
    """Return the content of a JSON file, or `missing` where there is none.

    Raises:
        CheckpointError: If it cannot be read.
    """
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError:
        return missing
    except (OSError, ValueError) as error:
        raise CheckpointError(Problem(where=str(path), what=f"cannot be read: {error}", exit_code=6)) from None


def _lines(path: Path) -> list[dict[str, Any]]:
    try:
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    except FileNotFoundError:
        return []
    except (OSError, ValueError) as error:
        raise CheckpointError(Problem(where=str(path), what=f"cannot be read: {error}", exit_code=6)) from None


def _scored_line(lines: Sequence[Mapping[str, Any]], step: Any) -> Mapping[str, Any]:
    """Return the scores on `test`; where there are none, those on `val` of the selected step."""
    tests = [line for line in lines if line["kind"] == "test"]
    vals = [line for line in lines if line["kind"] == "val" and line["step"] == step]
    return next(reversed([*vals, *tests]), {})


def _monitored(resolved: Mapping[str, Any]) -> dict[str, str]:
    """Return the monitored metric if less of it is better; `max` may be said by nobody, as it is the default."""
    monitor = resolved.get("evaluate", {}).get("monitor") or {}
    return {monitor["metric"]: "min"} if monitor.get("mode") == "min" else {}


def _machine(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """Return on what a run depends for its cost; equal GPUs are one device, whatever their number."""
    kind, _, number = str(manifest.get("device") or "").partition(":")
    names = manifest.get("gpus", []) if kind == "cuda" else []
    facts = {
        "device": next(iter(names[int(number or 0) :]), kind) or None,
        "threads": manifest.get("threads"),
        "torch": manifest.get("packages", {}).get("torch"),
    }
    return {name: value for name, value in facts.items() if value is not None}


def _cost(parts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return what all stages of a run cost together."""
    costs = [(part["cost"], part["step"]) for part in parts if "cost" in part]
    timed = [(cost["seconds_per_step"], steps) for cost, steps in costs if cost["seconds_per_step"] is not None]
    whole = len(timed) == len(parts)
    seconds, steps = sum(each * steps for each, steps in timed), sum(steps for _, steps in timed)

    def most(name: str) -> int | None:
        return max((cost[name] for cost, _ in costs if cost[name] is not None), default=None)

    return {
        "seconds_per_step": seconds / steps if whole and steps else None,
        "seconds": seconds if whole else None,
        "memory": most("memory"),
        "device_memory": most("device_memory"),
    }
