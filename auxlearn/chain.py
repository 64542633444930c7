"""The stages of a spec, one after the other: each an ordinary run in a folder of its own."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import attrs

from auxlearn.data import Prepared
from auxlearn.errors import AuxlearnError, Interrupted
from auxlearn.registry.provenance import provenance
from auxlearn.running import RunResult, describe, recorded, train, working
from auxlearn.spec.models import Spec
from auxlearn.training.folder import RunFolder, environment
from auxlearn.training.progress import Reporter
from auxlearn.training.resuming import check_same_run
from auxlearn.training.session import Weights, fabric_of, prepare_data, rehearse

if TYPE_CHECKING:
    from auxlearn.registry import Registry

__all__ = ["Chain", "describe_chain", "in_stage", "prepare_all", "rehearse_all"]


def prepare_all(specs: Sequence[Spec]) -> list[Prepared]:
    """Return the data of each spec; what several of them use alike is prepared once."""
    known: dict[str, Prepared] = {}
    prepared = []
    for spec in specs:
        alike = str((spec.resolved["data"], spec.seed, spec.train.batch_size))
        if alike not in known:
            with in_stage(spec):
                known[alike] = prepare_data(spec)
        prepared.append(known[alike])
    return prepared


def rehearse_all(specs: Sequence[Spec], data: Sequence[Prepared]) -> None:
    """Try each run with a throw-away copy, which begins with what those before it will leave."""
    earlier: dict[str, Weights] = {}
    for spec, its in zip(specs, data, strict=True):
        with in_stage(spec):
            earlier[str(spec.stage)] = rehearse(spec, its, earlier)


@contextlib.contextmanager
def in_stage(spec: Spec) -> Iterator[None]:
    """Name the stage in what goes wrong."""
    try:
        yield
    except AuxlearnError as error:
        if spec.stage is None:
            raise
        name = f' (in the stage "{spec.stage}")'
        error.problems = tuple(attrs.evolve(p, what=p.what + name) for p in error.problems)
        raise


def describe_chain(folder: RunFolder, spec: Spec) -> None:
    """Write what the run is, before its first stage."""
    folder.write("spec.json", {**spec.given, "name": spec.name})
    folder.write("resolved.json", spec.resolved)
    root = str(Path(spec.root).resolve())
    folder.write("manifest.json", {"root": root, "provenance": provenance(spec.used), **environment()})


@attrs.frozen(eq=False, kw_only=True)
class Chain:
    """The stages of a run, from wherever it stands.

    Attributes:
        spec: The spec, which has stages.
        folder: The folder of the whole run.
        reporter: Told how far it is.
        data: The data of each stage, if it has been prepared.
        plugins, registry: As in `resume`, for the weights of stages that were done before.
    """

    spec: Spec
    folder: RunFolder
    reporter: Reporter | None
    data: Sequence[Prepared] | None = None
    plugins: Sequence[ModuleType] = ()
    registry: Registry | None = None

    def go(self, fabric: Any, *, allow_inexact: bool = False) -> RunResult:
        """Run every stage that is not done; go on with one that was interrupted.

        Args:
            fabric: One that is launched.
            allow_inexact: As in `resume`.
        """
        # One process reads for all, since the first soon writes.
        states: list[str] = fabric.broadcast([self._state(stage) for stage in self.spec.stages])
        results: dict[str, RunResult] = {}
        for number, stage in enumerate(self.spec.stages):
            name, part = str(stage.stage), self.folder.stage(str(stage.stage))
            if states[number] == "done":
                results[name] = recorded(part, rank=fabric.global_rank, plugins=self.plugins, registry=self.registry)
                continue
            if self.reporter is not None and fabric.is_global_zero:
                self.reporter.say(f"stage {name} ({number + 1} of {len(states)})")
            resuming, states[number] = states[number] == "begun", "begun"
            with self._status(number, states, first=fabric.is_global_zero):
                results[name] = self._stage(number, part, resuming=resuming, exact=not allow_inexact)
            states[number] = "done"
        if fabric.is_global_zero:
            self.folder.status("done", stages=self._named(states))
        last = list(results.values())[-1]
        return attrs.evolve(last, path=self.folder.path, stages=results)

    def _state(self, stage: Spec) -> str:
        part = self.folder.stage(str(stage.stage))
        if not (part.path / "manifest.json").is_file():
            return "new"
        return "done" if part.read("status.json", missing={}).get("state") == "done" else "begun"

    def _named(self, states: Sequence[str]) -> dict[str, str]:
        return {str(stage.stage): state for stage, state in zip(self.spec.stages, states, strict=True)}

    @contextlib.contextmanager
    def _status(self, number: int, states: Sequence[str], *, first: bool) -> Iterator[None]:
        """Say in the whole run's `status.json` which stage it is at, and whether a signal ended it."""
        facts: Mapping[str, Any] = {"stage": self.spec.stages[number].stage, "stages": self._named(states)}
        if first:
            self.folder.status("training", **facts)
        try:
            yield
        except Interrupted:
            if first:
                self.folder.status("interrupted", **facts)
            raise

    def _stage(self, number: int, part: RunFolder, *, resuming: bool, exact: bool) -> RunResult:
        stage = self.spec.stages[number]
        fabric = fabric_of(stage)
        fabric.launch()
        with in_stage(stage):
            data = prepare_data(stage) if self.data is None else self.data[number]
            if resuming:
                check_same_run(stage, part, data, fabric, allow_inexact=not exact)
            elif fabric.is_global_zero:
                part.create(overwrite=True)  # a crash may have left the beginning of one
        fabric.barrier()
        with working(part, first=fabric.is_global_zero):
            if fabric.is_global_zero and not resuming:
                describe(part, stage, data, fabric)
            return train(stage, data, fabric, part, self.reporter, resuming=resuming)
