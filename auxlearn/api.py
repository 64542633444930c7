"""The calls that programs and the command line both make: `run`, `resume`, `validate`, `load_run`."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import attrs

from auxlearn.errors import AuxlearnError
from auxlearn.spec import load_spec

if TYPE_CHECKING:
    from auxlearn.registry import Registry
    from auxlearn.results.loaded import LoadedRun
    from auxlearn.results.model import TrainedModel
    from auxlearn.spec.models import Spec
    from auxlearn.training.fit import Fit
    from auxlearn.training.folder import RunFolder
    from auxlearn.training.progress import Reporter

__all__ = ["RunResult", "load_run", "resume", "run", "validate"]

Source = str | Path | Mapping[str, Any]


@attrs.frozen(eq=False, kw_only=True)
class RunResult:
    """What a run came to.

    Attributes:
        path: The run folder.
        best: The step of the selected weights, and the value of the monitored metric on `val`.
        test: The scores on `test`, if there is one.
        history: Every line of `metrics.jsonl`.
        model: The selected weights as a model without the auxiliary parts.
        rank: Which process this is: the first, 0, has written the files and reports.
    """

    path: Path
    best: Mapping[str, Any]
    test: Mapping[str, Any]
    history: Sequence[Mapping[str, Any]]
    model: TrainedModel
    rank: int = 0


def run(
    spec: Source,
    overrides: Sequence[str] = (),
    *,
    out: str | Path | None = None,
    overwrite: bool = False,
    seed: int | None = None,
    plugins: Sequence[ModuleType] = (),
    registry: Registry | None = None,
    reporter: Reporter | None = None,
) -> RunResult:
    """Train as `spec` says.

    Args:
        spec: A file, or the same as a dict.
        overrides: Changes to it, each `"a.b=c"`.
        out: The run folder; default: `runs/<name>`.
        overwrite: Replace an earlier run in that folder.
        seed: Instead of the spec's.
        plugins: Modules with hooks, besides the installed plugins.
        registry: What exists, instead of what discovery finds.
        reporter: Told how far the run is; default: nobody.

    Raises:
        AuxlearnError: With a message for the person who wrote the spec. Nothing was written, unless it says so.
    """
    from auxlearn.training.folder import RunFolder
    from auxlearn.training.session import fabric_of, prepare_data, rehearse

    read = load_spec(spec, overrides, registry=registry, seed=seed, plugins=plugins)
    fabric = fabric_of(read)
    fabric.launch()
    if reporter is not None and fabric.is_global_zero:
        reporter.say("checking the data, and one step with a throw-away copy")
    data = prepare_data(read)
    rehearse(read, data)
    folder = RunFolder(out or Path("runs") / read.name)
    if fabric.is_global_zero:
        folder.create(overwrite=overwrite)
    fabric.barrier()
    with _working(folder, first=fabric.is_global_zero):
        if fabric.is_global_zero:
            _describe(folder, read, data, fabric)
        return _go(read, data, fabric, folder, reporter)


def resume(
    path: str | Path,
    overrides: Sequence[str] = (),
    *,
    allow_inexact: bool = False,
    plugins: Sequence[ModuleType] = (),
    registry: Registry | None = None,
    reporter: Reporter | None = None,
) -> RunResult:
    """Go on with an interrupted run, bit for bit as if it had never stopped.

    Args:
        path: The run folder.
        overrides: Changes of settings that cannot change the result, e.g. `"data.workers=4"`.
        allow_inexact: Go on although threads, devices, versions or data differ, so that bits may.
        plugins: Modules with hooks, besides the installed plugins.
        registry: What exists, instead of what discovery finds.
        reporter: Told how far the run is.

    Raises:
        CheckpointError: If the run cannot go on as the same run; it names each difference.
    """
    from auxlearn.training.folder import RunFolder
    from auxlearn.training.resuming import check_same_run
    from auxlearn.training.session import fabric_of, prepare_data

    folder = RunFolder(path)
    manifest = folder.read("manifest.json")
    read = load_spec(folder.read("spec.json"), overrides, registry=registry, plugins=plugins)
    read = attrs.evolve(read, root=manifest["root"])
    fabric = fabric_of(read)
    fabric.launch()
    data = prepare_data(read)
    check_same_run(read, folder, data, fabric, allow_inexact=allow_inexact)
    with _working(folder, first=fabric.is_global_zero):
        return _go(read, data, fabric, folder, reporter, resuming=True)


def validate(
    spec: Source,
    overrides: Sequence[str] = (),
    *,
    deep: bool = False,
    plugins: Sequence[ModuleType] = (),
    registry: Registry | None = None,
) -> Spec:
    """Return `spec`, read and checked, with every default filled in.

    Args:
        spec: A file, or the same as a dict.
        overrides: Changes to it, each `"a.b=c"`.
        deep: Also build everything, read data, and take one step with a throw-away copy.
        plugins: Modules with hooks, besides the installed plugins.
        registry: What exists, instead of what discovery finds.

    Raises:
        SpecError: With every problem at once.
    """
    read = load_spec(spec, overrides, registry=registry, plugins=plugins)
    if deep:
        from auxlearn.training.session import prepare_data, rehearse

        rehearse(read, prepare_data(read))
    return read


def load_run(
    path: str | Path,
    *,
    which: str | int = "best",
    plugins: Sequence[ModuleType] = (),
    registry: Registry | None = None,
) -> LoadedRun:
    """Return a run for use: its model, its predictions, its exports.

    Args:
        path: The run folder.
        which: `"best"`, `"last"`, or the step of a checkpoint.
        plugins: Modules with hooks, besides the installed plugins.
        registry: What exists, instead of what discovery finds.
    """
    from auxlearn.results.loaded import LoadedRun

    return LoadedRun.open(path, which=which, plugins=plugins, registry=registry)


def _describe(folder: RunFolder, spec: Spec, data: Any, fabric: Any) -> None:
    """Write what the run is, before its first step."""
    from auxlearn.training.folder import environment, plugins_of
    from auxlearn.training.session import shape_of

    folder.write("spec.json", {**spec.given, "name": spec.name, "seed": spec.seed})
    folder.write("resolved.json", spec.resolved)
    folder.write(
        "manifest.json",
        {
            "seed": spec.seed,
            "root": str(Path(spec.root).resolve()),
            "data": {"fingerprint": data.fingerprint, "shape": shape_of(data).to_json()},
            "device": str(fabric.device),
            "processes": fabric.world_size,
            "plugins": plugins_of(spec),
            **environment(),
        },
    )
    if data.drawn is not None:
        folder.write("drawn.json", {"train": list(data.drawn)})


def _go(
    spec: Spec, data: Any, fabric: Any, folder: RunFolder, reporter: Reporter | None, *, resuming: bool = False
) -> RunResult:
    from auxlearn.results.model import TrainedModel
    from auxlearn.training.initial import take_over
    from auxlearn.training.progress import Logged, Silent
    from auxlearn.training.session import make_fit, shape_of

    told = Logged(reporter or Silent(), folder.path / "train.log") if fabric.is_global_zero else Silent()
    restoring = resuming and bool(folder.checkpoints.steps())
    fit = make_fit(spec, data, fabric, folder, told, restoring=restoring)
    if spec.init_from is not None and not restoring:
        take_over(fit.trainer.learner, spec.init_from, spec.root)
    if resuming:
        fit.resume()
    if fit.finished:
        told.say("all steps are done already; scoring once more")
    for note in data.notes:
        told.say(f"note: {note}")
    fit.train()
    test = fit.finish()
    best = _best(fit)
    if fabric.is_global_zero:
        folder.status("done", step=fit.trainer.steps, of=fit.total, selected=best)
    model = TrainedModel.of(fit.trainer.scored, fit.trainer.learner.augmentation.preprocess, shape_of(data))
    history = fit.recorder.history()
    return RunResult(path=folder.path, best=best, test=test, history=history, model=model, rank=fabric.global_rank)


def _best(fit: Fit) -> dict[str, Any]:
    chosen = fit.selection
    if chosen.step is None:
        fit.reporter.say("nothing to select by: the last weights count as the best")
    return {
        "step": fit.selected_step,
        "metric": None if chosen.monitor is None or chosen.step is None else chosen.monitor.metric,
        "value": chosen.value,
    }


@contextlib.contextmanager
def _working(folder: RunFolder, *, first: bool) -> Iterator[None]:
    """Hold the folder's lock, and leave its `status.json` with what ended the run."""
    if not first:
        yield
        return
    folder.lock()
    try:
        yield
    except AuxlearnError as error:
        if folder.read("status.json", missing={}).get("state") != "interrupted":
            folder.status("failed", error=str(error))
        raise
    finally:
        folder.unlock()
