"""The calls that programs make, and the command line: `run`, `resume`, `validate`, `load_run`, `extract`, `build`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from auxlearn.building import Built, build_from
from auxlearn.registry.provenance import check_locked
from auxlearn.running import RunResult
from auxlearn.spec import load_spec

if TYPE_CHECKING:
    from auxlearn.registry import Registry
    from auxlearn.results.extraction import Extracted, Progress
    from auxlearn.results.loaded import LoadedRun
    from auxlearn.spec.models import Spec
    from auxlearn.training.progress import Reporter

__all__ = ["Built", "RunResult", "build", "extract", "load_run", "resume", "run", "validate"]

Source = str | Path | Mapping[str, Any]


def run(
    spec: Source,
    overrides: Sequence[str] = (),
    *,
    out: str | Path | None = None,
    overwrite: bool = False,
    seed: int | None = None,
    root: str | Path | None = None,
    locked: str | Path | None = None,
    plugins: Sequence[ModuleType] = (),
    registry: Registry | None = None,
    reporter: Reporter | None = None,
) -> RunResult:
    """Train as `spec` says: once, or stage by stage if it has `stages`.

    Args:
        spec: A file, or the same as a dict.
        overrides: Changes to it, each `"a.b=c"`.
        out: The run folder; default: `runs/<name>`.
        overwrite: Replace an earlier run in that folder.
        seed: Instead of the spec's.
        root: The folder that relative paths in the spec refer to; default: that of its file, or the working folder.
        locked: A run folder, or its `manifest.json`: only with the plugins that this run used, to the byte.
        plugins: Modules with hooks, besides the installed plugins.
        registry: What exists, instead of what discovery finds.
        reporter: Told how far the run is; default: nobody.

    Raises:
        AuxlearnError: With a message for the person who wrote the spec. Nothing was written, unless it says so.
    """
    # Before torch is imported, for which nobody should wait to be told of a mistake.
    read = load_spec(spec, overrides, registry=registry, seed=seed, plugins=plugins, root=root)
    check_locked(read.used, locked)
    from auxlearn.chain import Chain, describe_chain, prepare_all, rehearse_all
    from auxlearn.running import describe, train, working
    from auxlearn.training.folder import RunFolder
    from auxlearn.training.session import fabric_of

    runs = read.stages or (read,)
    fabric = fabric_of(runs[0])
    fabric.launch()
    if reporter is not None and fabric.is_global_zero:
        reporter.say("checking the data, and one step with a throw-away copy")
    data = prepare_all(runs)
    rehearse_all(runs, data)
    folder = RunFolder(out or Path("runs") / read.name)
    if fabric.is_global_zero:
        folder.create(overwrite=overwrite)
    fabric.barrier()
    with working(folder, first=fabric.is_global_zero):
        if read.stages:
            if fabric.is_global_zero:
                describe_chain(folder, read)
            return Chain(spec=read, folder=folder, reporter=reporter, data=data).go(fabric)
        if fabric.is_global_zero:
            describe(folder, read, data[0], fabric)
        return train(read, data[0], fabric, folder, reporter)


def resume(
    path: str | Path,
    overrides: Sequence[str] = (),
    *,
    allow_inexact: bool = False,
    locked: bool = False,
    plugins: Sequence[ModuleType] = (),
    registry: Registry | None = None,
    reporter: Reporter | None = None,
) -> RunResult:
    """Go on with an interrupted run, bit for bit as if it had never stopped.

    Args:
        path: The run folder.
        overrides: Changes of settings that cannot change the result, e.g. `"data.workers=4"`.
        allow_inexact: Go on although threads, devices, versions or data differ, so that bits may.
        locked: Refuse if the files of a plugin are not those that the run began with; without it, `train.log` says so.
        plugins: Modules with hooks, besides the installed plugins.
        registry: What exists, instead of what discovery finds.
        reporter: Told how far the run is.

    Raises:
        CheckpointError: If the run cannot go on as the same run; it names each difference.
    """
    from auxlearn.chain import Chain
    from auxlearn.running import lacks_best, recorded, train, working
    from auxlearn.training.folder import RunFolder
    from auxlearn.training.resuming import check_same_chain, check_same_run, plugin_changes, tell_changes
    from auxlearn.training.session import fabric_of, prepare_data

    folder = RunFolder(path)
    given, root = folder.read("spec.json"), folder.read("manifest.json")["root"]
    read = load_spec(given, overrides, registry=registry, plugins=plugins, recorded=True, root=root)
    changed = plugin_changes(folder.path, read, locked=locked)
    fabric = fabric_of(read)
    fabric.launch()
    if read.stages:
        check_same_chain(read, folder)
        with working(folder, first=fabric.is_global_zero):
            tell_changes(changed, folder, reporter, first=fabric.is_global_zero)
            chain = Chain(spec=read, folder=folder, reporter=reporter, plugins=plugins, registry=registry)
            return chain.go(fabric, allow_inexact=allow_inexact)
    data = prepare_data(read)
    check_same_run(read, folder, data, fabric, allow_inexact=allow_inexact)
    if lacks_best(folder):
        return recorded(folder, rank=fabric.global_rank, plugins=plugins, registry=registry)
    with working(folder, first=fabric.is_global_zero):
        tell_changes(changed, folder, reporter, first=fabric.is_global_zero)
        return train(read, data, fabric, folder, reporter, resuming=True)


def validate(
    spec: Source,
    overrides: Sequence[str] = (),
    *,
    deep: bool = False,
    seed: int | None = None,
    root: str | Path | None = None,
    plugins: Sequence[ModuleType] = (),
    registry: Registry | None = None,
) -> Spec:
    """Return `spec`, read and checked, with every default filled in.

    Args:
        spec: A file, or the same as a dict.
        overrides: Changes to it, each `"a.b=c"`.
        deep: Also build everything, read data, and take one step with a throw-away copy.
        seed: Instead of the spec's.
        root: The folder that relative paths in the spec refer to; default: that of its file, or the working folder.
        plugins: Modules with hooks, besides the installed plugins.
        registry: What exists, instead of what discovery finds.

    Raises:
        SpecError: With every problem at once.
    """
    read = load_spec(spec, overrides, registry=registry, seed=seed, plugins=plugins, root=root)
    if deep:
        from auxlearn.chain import prepare_all, rehearse_all

        runs = read.stages or (read,)
        rehearse_all(runs, prepare_all(runs))
    return read


def build(
    spec: Source,
    overrides: Sequence[str] = (),
    *,
    seed: int | None = None,
    root: str | Path | None = None,
    plugins: Sequence[ModuleType] = (),
    registry: Registry | None = None,
) -> Built:
    """Return the learner and the data that `spec` describes, for a training loop of one's own.

    Args:
        spec: A file, or the same as a dict; without `stages`.
        overrides: Changes to it, each `"a.b=c"`.
        seed: Instead of the spec's.
        root: The folder that relative paths in the spec refer to; default: that of its file, or the working folder.
        plugins: Modules with hooks, besides the installed plugins.
        registry: What exists, instead of what discovery finds.

    Raises:
        AuxlearnError: With a message for the person who wrote the spec.

    Examples:
        >>> import auxlearn, torch
        >>> from auxlearn.testing import plugin as tiny
        >>> spec = {
        ...     "auxlearn": 1,
        ...     "name": "own-loop",
        ...     "data": {"type": "tiny"},
        ...     "backbone": {"type": "tiny"},
        ...     "primary": {"kind": {"type": "tiny"}},
        ...     "pretext": {"turned": {"type": "tiny", "weight": 0.5}},
        ...     "train": {"epochs": 2, "batch_size": 16},
        ... }
        >>> built = auxlearn.build(spec, plugins=[tiny])
        >>> optimizer = torch.optim.AdamW(built.learner.parameters())
        >>> for batch, moment in built.steps():
        ...     result = built.learner.step(batch, moment)
        ...     optimizer.zero_grad()
        ...     result.total.backward()
        ...     _ = optimizer.step()
        ...     built.learner.after_step(result, moment)
        >>> moment.step, result.passes, sorted(built.score("val"))
        (5, ('clean', 'turned/0'), ['kind/accuracy', 'kind/loss'])
    """
    return build_from(load_spec(spec, overrides, registry=registry, seed=seed, plugins=plugins, root=root))


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


def extract(
    spec: Source,
    out: str | Path,
    overrides: Sequence[str] = (),
    *,
    device: str = "auto",
    skip_bad: int = 0,
    seed: int | None = None,
    root: str | Path | None = None,
    plugins: Sequence[ModuleType] = (),
    registry: Registry | None = None,
    progress: Progress | None = None,
) -> Extracted:
    """Write what frozen networks say about each row of raw data as a table of feature vectors.

    If it is interrupted in any way, the same call goes on where it was and leaves the same files.

    Args:
        spec: A file, or the same as a dict: the section `data`, and in `extract` the networks by name.
        out: The folder for the table; made if there is nothing.
        overrides: Changes to the spec, each `"a.b=c"`.
        device: Where the networks run: `"auto"`, `"cpu"`, `"cuda"` or `"mps"`.
        skip_bad: How many rows that cannot be read may be left out.
        seed: Of the weights that are not loaded, instead of the spec's.
        root: The folder that relative paths in the spec refer to; default: that of its file, or the working folder.
        plugins: Modules with hooks, besides the installed plugins.
        registry: What exists, instead of what discovery finds.
        progress: Told how far it is; default: nobody.

    Raises:
        SpecError: With every problem of the spec at once; or if the folder holds something else.
        DataError: If rows cannot be read. What is done is kept.
    """
    from auxlearn.registry import discover
    from auxlearn.results.extraction import run_extraction
    from auxlearn.spec.extraction import load_extraction

    read = load_extraction(spec, overrides, registry or discover(plugins), seed=seed, root=root)
    return run_extraction(read, out, device=device, skip_bad=skip_bad, progress=progress)
