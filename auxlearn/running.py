"""One run in its folder: described, trained, scored; and what it came to."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from auxlearn.errors import AuxlearnError
from auxlearn.registry.provenance import provenance

if TYPE_CHECKING:
    from types import ModuleType

    from auxlearn.registry import Registry
    from auxlearn.results.model import TrainedModel
    from auxlearn.spec.models import Spec
    from auxlearn.training.cost import PeakMemory
    from auxlearn.training.fit import Fit
    from auxlearn.training.folder import RunFolder
    from auxlearn.training.progress import Reporter

__all__ = ["RunResult", "describe", "train", "working"]


_FROZEN = "the backbone is frozen, and no `init_from` names weights for it: it stays as its plugin builds it"


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
        stages: What each stage came to, by name, if the spec has stages; everything above but `path` is then as in
            the last of them.
    """

    path: Path
    best: Mapping[str, Any]
    test: Mapping[str, Any]
    history: Sequence[Mapping[str, Any]]
    model: TrainedModel
    rank: int = 0
    stages: Mapping[str, RunResult] = attrs.field(factory=dict)


def describe(folder: RunFolder, spec: Spec, data: Any, fabric: Any) -> None:
    """Write what the run is, before its first step."""
    from auxlearn.training.devices import precision_of
    from auxlearn.training.folder import environment, plugins_of
    from auxlearn.training.session import shape_of

    folder.write("spec.json", {**spec.given, "name": spec.name, "seed": spec.seed})
    folder.write("resolved.json", spec.resolved)
    folder.write(
        "manifest.json",
        {
            "seed": spec.seed,
            "root": str(Path(spec.root).resolve()),
            "data": {
                "fingerprint": data.fingerprint,
                "splits": dict(data.fingerprints),
                "shape": shape_of(data).to_json(),
            },
            "device": str(fabric.device),
            "precision": precision_of(fabric),
            "processes": fabric.world_size,
            "plugins": plugins_of(spec),
            "provenance": provenance(spec.used),
            **environment(),
        },
    )
    if data.drawn is not None:
        folder.write("drawn.json", {"train": list(data.drawn)})


def train(
    spec: Spec, data: Any, fabric: Any, folder: RunFolder, reporter: Reporter | None, *, resuming: bool = False
) -> RunResult:
    """Train and score; `resuming` goes on from the newest checkpoint."""
    from auxlearn.results.model import TrainedModel
    from auxlearn.training.cost import PeakMemory
    from auxlearn.training.initial import take_over
    from auxlearn.training.progress import Logged, Silent
    from auxlearn.training.session import make_fit, shape_of

    told = Logged(reporter or Silent(), folder.path / "train.log") if fabric.is_global_zero else Silent()
    restoring = resuming and bool(folder.checkpoints.steps())
    fit = make_fit(spec, data, fabric, folder, told, restoring=restoring)
    with fit.recorder:
        if spec.init_from is not None and not restoring:
            take_over(fit.trainer, spec.init_from, spec.root, folder.path)
        if resuming:
            fit.resume()
        if fit.finished:
            told.say("all steps are done already; scoring once more")
        frozen = spec.backbone.keys.freeze and spec.init_from is None
        for note in (*data.notes, *([_FROZEN] if frozen else ())):
            told.say(f"note: {note}")
        memory, begun = PeakMemory(fabric.device), fit.trainer.steps
        fit.train()
        cost = _cost(fit, memory, trained=fit.trainer.steps > begun)
        test = fit.finish()
    best = _best(fit)
    if fabric.is_global_zero:
        folder.status("done", step=fit.trainer.steps, of=fit.total, selected=best, modes=_modes(fit), cost=cost)
    fit.tidy()
    model = TrainedModel.of(fit.trainer.scored, fit.trainer.learner.augmentation.preprocess, shape_of(data))
    history = fit.recorder.history()
    return RunResult(path=folder.path, best=best, test=test, history=history, model=model, rank=fabric.global_rank)


def lacks_best(folder: RunFolder) -> bool:
    """Return whether the run is done, and its selected weights were not to be kept."""
    status, kept = folder.read("status.json", missing={}), folder.checkpoints.steps()
    return status.get("state") == "done" and status["step"] in kept and status["selected"]["step"] not in kept


def recorded(
    folder: RunFolder, *, rank: int = 0, plugins: Sequence[ModuleType] = (), registry: Registry | None = None
) -> RunResult:
    """Return what a run came to that is done, as it wrote it; with the last weights if the best were not kept."""
    from auxlearn.results.loaded import LoadedRun

    best = folder.read("status.json")["selected"]
    which = "last" if lacks_best(folder) else best["step"]
    loaded = LoadedRun.open(folder.path, which=which, plugins=plugins, registry=registry)
    scored: Mapping[str, Any] = next((line for line in reversed(loaded.history) if line["kind"] == "test"), {})
    test = {name: value for name, value in scored.items() if name not in ("kind", "step")}
    return RunResult(path=folder.path, best=best, test=test, history=loaded.history, model=loaded.model, rank=rank)


def _best(fit: Fit) -> dict[str, Any]:
    chosen = fit.selection
    if chosen.step is None:
        fit.reporter.say("nothing to select by: the last weights count as the best")
    return {
        "step": fit.selected_step,
        "metric": None if chosen.monitor is None or chosen.step is None else chosen.monitor.metric,
        "value": chosen.value,
    }


def _cost(fit: Fit, memory: PeakMemory, *, trained: bool) -> dict[str, Any]:
    """Return what the training has cost: where all steps were taken before, what is recorded of it."""
    measured = {**fit.step_time.read(), **memory.read(known=trained)}
    return measured if trained else fit.folder.read("status.json", missing={}).get("cost", measured)


def _modes(fit: Fit) -> dict[str, str]:
    """Return for each metric of the primary tasks whether more (`max`) or less (`min`) of it is better."""
    from auxlearn.calls import calling
    from auxlearn.training.failing import naming_plugins

    tasks: Any = fit.trainer.learner.primary.items()
    modes: dict[str, str] = {}
    for name, task in tasks:
        with naming_plugins(fit.choices), calling("primary", name, "metrics"):
            for metric, one in task.metrics().items():
                modes[f"{name}/{metric}"] = "min" if one.higher_is_better is False else "max"
    return modes


@contextlib.contextmanager
def working(folder: RunFolder, *, first: bool) -> Iterator[None]:
    """Hold the folder's lock, and leave its `status.json` with what ended the run."""
    if not first:
        yield
        return
    folder.lock()
    try:
        yield
    except BaseException as error:
        with contextlib.suppress(AuxlearnError):  # what the disk says now is less than what ended the run
            _note_failure(folder, error)
        raise
    finally:
        folder.unlock()


def _note_failure(folder: RunFolder, error: BaseException) -> None:
    before = folder.read("status.json", missing={})
    stopped = isinstance(error, KeyboardInterrupt)
    if before.get("state") == "interrupted" or (stopped and before.get("state") == "done"):
        return
    names = ("stage", "stages", "step", "of", "best", "value", "step_time", "cost")
    kept = {name: before[name] for name in names if name in before}
    last = {} if "stages" in kept else {"last": next(reversed(folder.checkpoints.steps()), None)}
    if stopped:  # by a person or a signal, outside of the steps; nothing has failed
        folder.status("interrupted", **kept, **last)
        return
    said = str(error) if isinstance(error, AuxlearnError) else f"{type(error).__name__}: {error}"
    folder.status("failed", **kept, **last, error=said)
