"""`export`: write a trained model, read it back, compare, and only then let it be."""

from __future__ import annotations

import contextlib
import copy
import hashlib
import json
import math
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from auxlearn.errors import (
    AuxlearnError,
    ExportError,
    PluginError,
    Problem,
    SpecError,
    escape,
    nearest,
)
from auxlearn.files import flush_file, flush_folder, require_replaceable, telling_refusals, write_flushed
from auxlearn.results.description import FILE, describe
from auxlearn.results.exporter import ExportContext, Exporter, ExportJob, Opened, Part
from auxlearn.spec.choice import Choice
from auxlearn.spec.schema import params_schema
from auxlearn.spec.structure import structure
from auxlearn.spec.validation import problems_of, validator_for

if TYPE_CHECKING:
    from auxlearn.registry import Registry
    from auxlearn.results.loaded import LoadedRun

__all__ = ["CHECKSUMS", "export", "make_exporter"]

CHECKSUMS = "checksums.json"

_BATCHES = (1, 3)
_FORMULA = 16  # numbers: a constant of so many, such as a 4 x 4 matrix, is part of a formula
_MOST_NAMES = 3


def export(
    run: LoadedRun,
    format: str,  # noqa: A002 (the word of the command line)
    part: Part = "model",
    out: str | Path | None = None,
    *,
    task: str | None = None,
    options: Mapping[str, Any] | None = None,
) -> Path:
    """Write the model of `run`, read back what was written, and compare it with the model.

    Args:
        run: The run, opened at the checkpoint to export.
        format: The name of an exporter.
        part: All of the model, or its backbone alone.
        out: The folder to write; default: `export/<format>-<part>` in the run folder. An export that is there is
            replaced, once the new one has passed.
        task: The primary task, for formats that hold one; None if there is only one.
        options: Params of the exporter.

    Raises:
        ExportError: If the format cannot hold this model, weights are not finite, or what was written differs.
        SpecError: If there is no such format, or it has no such options.
        EnvironmentProblem: If the disk is full or refuses.
    """
    exporter = make_exporter(format, run.registry, options or {})
    if not run.spec["primary"] and _known("part", part, ("model", "backbone")) == "model":
        what = "the run has no primary task, so its model is a backbone alone"
        raise ExportError(Problem(where=str(run.path), what=what, fix="--part backbone", exit_code=9))
    job = ExportJob(
        model=copy.deepcopy(run.model).float().cpu(),
        part=_known("part", part, ("model", "backbone")),
        task=task if task is None else _known("task", task, tuple(run.spec["primary"])),
        spec=run.spec,
        data=run.data,
    )
    _check_finite(job)
    folder = Path(out) if out is not None else run.path / "export" / f"{format.replace(':', '-')}-{part}"
    _check_target(folder)
    with _beside(folder) as aside:
        description = {"format": format, **describe(job, normalises=exporter.normalises)}
        description |= {"outputs": _outputs(exporter, job), "run": run.facts(), "load": _written(exporter, job, aside)}
        _seal(aside, description | {"check": _compare(exporter, job, aside, description)})
    return folder


def _written(exporter: Exporter, job: ExportJob, folder: Path) -> Mapping[str, Any]:
    """Return what `exporter` says about loading what it has written; a full disk is not its fault."""
    try:
        return exporter.write(job, folder)
    except (AuxlearnError, OSError):
        raise
    except Exception as error:
        what = f"{type(exporter).__name__}: `write` failed with {type(error).__name__}: {escape(error, 400)}"
        raise PluginError(Problem(what=what, exit_code=3)) from error


def _seal(folder: Path, description: Mapping[str, Any]) -> None:
    """Write the description and the checksums beside the files of the exporter; all of them are then on disk."""
    for file in folder.iterdir():
        flush_file(file)
    write_flushed(folder / FILE, json.dumps(description, indent=1, allow_nan=False).encode() + b"\n")
    sums = {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in sorted(folder.iterdir())}
    write_flushed(folder / CHECKSUMS, json.dumps(sums, indent=1).encode() + b"\n")
    flush_folder(folder)


def make_exporter(name: str, registry: Registry, options: Mapping[str, Any] | None = None) -> Exporter:
    """Return the exporter `name` with `options`, which are checked as a spec's settings are.

    Raises:
        SpecError: If there is none of this name, or it has no such options.
        ExportError: If a library that it needs is missing.
    """
    from auxlearn.training.build import build_component

    found = registry.find("exporter", name)
    problems = [p for _, p in problems_of(validator_for(params_schema(found.provider.params)), dict(options or {}))]
    if problems:
        raise SpecError(problems)
    params = structure(found.provider.params, dict(options or {}))
    choice = Choice(provider=found.provider, params=params, found=found, pointer="", keys=None)
    exporter: Exporter = build_component(choice, ExportContext(registry=registry), wanted=Exporter)
    return exporter


def _known(what: str, value: str, known: tuple[str, ...]) -> Any:
    if value not in known:
        wrong = f'there is no {what} "{escape(value)}"'
        raise SpecError(Problem(what=wrong, allowed=", ".join(known), meant=nearest(value, known)))
    return value


def _check_finite(job: ExportJob) -> None:
    weights = job.program.state_dict()
    bad = [name for name, t in weights.items() if t.is_floating_point() and not bool(t.isfinite().all())]
    if bad:
        shown = ", ".join(bad[:_MOST_NAMES]) + (f" and {len(bad) - _MOST_NAMES} more" if len(bad) > _MOST_NAMES else "")
        raise ExportError(Problem(what=f"weights are not finite: {shown}", fix="export another checkpoint"))


def _check_target(folder: Path) -> None:
    """Refuse to replace what is no export."""
    if folder.is_dir() and any(folder.iterdir()) and not (folder / FILE).is_file():
        raise ExportError(
            Problem(where=str(folder), what="the folder is not empty, and no export", fix="another --out")
        )
    if folder.exists() and not folder.is_dir():
        raise ExportError(Problem(where=str(folder), what="this is a file", fix="another --out"))
    require_replaceable(folder)


def _outputs(exporter: Exporter, job: ExportJob) -> dict[str, list[Any]]:
    """Return the form of each output."""
    found = exporter.expected(job, job.random_inputs(_BATCHES[0]))
    return {name: ["batch", *tensor.shape[1:]] for name, tensor in found.items()}


def _compare(exporter: Exporter, job: ExportJob, folder: Path, description: Mapping[str, Any]) -> dict[str, Any]:
    """Read back what was written; return how far it differs, or raise an ExportError if that is too far."""
    try:
        opened = exporter.open(folder, description)
        _compare_weights(exporter, job, opened)
        worst = max(_difference(exporter, job, opened, rows) for rows in _BATCHES)
    except ExportError:
        raise
    except AuxlearnError as error:
        raise ExportError(error.problems) from error
    except Exception as error:
        what = f"what was written cannot be used: {type(error).__name__}: {escape(error, 400)}"
        raise ExportError(Problem(where=str(folder), what=what)) from error
    if not worst <= exporter.tolerance:
        what = f"what was written says something else than the trained model: outputs differ by {worst:.3g}"
        raise ExportError(Problem(what=what, allowed=f"{exporter.tolerance:g}"))
    return {"batches": list(_BATCHES), "difference": worst, "tolerance": exporter.tolerance}


def _compare_weights(exporter: Exporter, job: ExportJob, opened: Opened) -> None:
    """Refuse anything that is not a weight of the trained part."""
    trained = job.program.state_dict()
    if exporter.exact:
        known = {_digest(tensor) for tensor in trained.values()}
        foreign = [name for name, tensor in opened.weights.items() if _digest(tensor) not in known]
        if foreign:
            shown = ", ".join(foreign[:_MOST_NAMES])
            raise ExportError(Problem(what=f"what was written has weights that the trained model has not: {shown}"))
        return
    most, written = (_numbers(weights) for weights in (trained, opened.weights))
    if written > most:
        raise ExportError(Problem(what=f"what was written has {written:,} numbers, the trained model {most:,}"))


def _numbers(weights: Mapping[str, Tensor]) -> int:
    """Return how many numbers were learned, or are statistics; not what a graph holds of axes, shapes and formulas."""
    return sum(t.numel() for t in weights.values() if t.is_floating_point() and t.numel() > _FORMULA)


def _digest(tensor: Tensor) -> tuple[torch.dtype, str]:
    content = tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes()
    return tensor.dtype, hashlib.sha256(content).hexdigest()


@torch.no_grad()
def _difference(exporter: Exporter, job: ExportJob, opened: Opened, rows: int) -> float:
    """Return the largest difference between outputs, in units of the largest output or 1; infinity if one is odd."""
    inputs = job.random_inputs(rows)
    wanted, found = exporter.expected(job, inputs), opened.run(inputs)
    if {name: t.shape for name, t in wanted.items()} != {name: t.shape for name, t in found.items()}:
        shapes = [str({name: list(t.shape) for name, t in outputs.items()}) for outputs in (found, wanted)]
        raise ExportError(Problem(what=f"what was written gives {shapes[0]}", allowed=shapes[1]))
    worst = 0.0
    for name, tensor in wanted.items():
        if not bool(tensor.isfinite().all()):
            raise ExportError(Problem(what=f"the trained model's output {name} is not finite"))
        scale = max(1.0, float(tensor.abs().max()))
        difference = float((tensor - found[name]).abs().max()) / scale
        worst = max(worst, float("inf") if math.isnan(difference) else difference)
    return worst


@contextlib.contextmanager
def _beside(folder: Path) -> Iterator[Path]:
    """Give a new folder beside `folder` that takes its place if nothing is raised, and vanishes otherwise."""
    aside, old = (folder.with_name(f".{folder.name}.{what}-{os.getpid()}") for what in ("new", "old"))
    try:
        with telling_refusals(folder):
            folder.parent.mkdir(parents=True, exist_ok=True)
            aside.mkdir()
            yield aside
            if folder.exists():
                os.rename(folder, old)
            os.rename(aside, folder)
            flush_folder(folder.parent)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
        if old.exists() and not folder.exists():
            os.rename(old, folder)
        shutil.rmtree(old, ignore_errors=True)
