"""`init_from`: weights of another run for a new one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import attrs
from torch import Tensor

from auxlearn.errors import CheckpointError, Problem
from auxlearn.learning.context import shared_by
from auxlearn.learning.learner import Learner
from auxlearn.spec.models import InitFrom
from auxlearn.training.checkpoint import Checkpoints
from auxlearn.training.folder import RunFolder
from auxlearn.training.state import kept_weights
from auxlearn.training.trainer import Trainer

__all__ = ["find_checkpoint", "load_learner", "load_parts", "take_over"]


def find_checkpoint(path: str | Path, which: str) -> tuple[Checkpoints, int]:
    """Return the checkpoint that `path`, a run folder or a checkpoint of one, and `which` mean.

    Args:
        path: A run folder, of which the last stage counts if it has stages, or `<run>/checkpoints/<step>`.
        which: `"best"`, `"last"`, or a step, of a run folder.

    Raises:
        CheckpointError: If there is none.
    """
    path = Path(path)
    if (path / "state.json").is_file() and path.name.isdecimal():
        return Checkpoints(path.parent), int(path.name)
    folder = RunFolder(path)
    stages = folder.stages()
    if stages:
        folder = folder.stage(stages[-1])
        if not folder.path.is_dir():
            what = f'the stage "{stages[-1]}" has not begun'
            begun = [str(one.path) for one in map(RunFolder(path).stage, stages) if one.path.is_dir()]
            fix = f"auxlearn resume {path}, or take an earlier stage: {', '.join(begun) or 'there is none'}"
            raise CheckpointError(Problem(where=str(path), what=what, fix=fix, exit_code=6))
    folder.read("manifest.json")
    steps = folder.checkpoints.steps()
    if not steps:
        raise CheckpointError(Problem(where=str(folder.path), what="the run has no checkpoint yet"))
    if which == "last":
        return folder.checkpoints, steps[-1]
    if which == "best":
        selected = folder.checkpoints.load(steps[-1]).state["extra"]["selection"]["step"]
        if selected is not None and selected not in steps:
            what, fix = f"the best weights, of step {selected}, were not kept", '--which last, or "which": "last"'
            raise CheckpointError(Problem(where=str(folder.path), what=what, fix=fix, exit_code=6))
        return folder.checkpoints, steps[-1] if selected is None else selected
    if not which.isdecimal() or int(which) not in steps:
        known = ", ".join(["best", "last", *map(str, steps)])
        raise CheckpointError(Problem(where=str(folder.path), what=f'there is no checkpoint "{which}"', allowed=known))
    return folder.checkpoints, int(which)


def take_over(trainer: Trainer, source: InitFrom, root: str, folder: Path | None = None) -> None:
    """Load the parts that `source` names into the learner of `trainer`; its moving average begins with them.

    Raises:
        CheckpointError: As of `load_learner`, which has the other arguments too.
    """
    load_learner(trainer.learner, source, root, folder)
    trainer.restart_average()


def load_learner(learner: Learner, source: InitFrom, root: str, folder: Path | None = None) -> None:
    """Load the parts that `source` names into `learner`, strictly.

    Args:
        learner: That of the new run.
        source: Where to take them from.
        root: What a relative path in the spec refers to.
        folder: The new run's folder, beside which those of other stages lie; needed to take over from a stage.

    Raises:
        CheckpointError: If a part is missing there or has another form; every part that differs is named.
    """
    beside = folder is not None and source.stage is not None
    path = folder.parent / source.stage if beside else Path(root) / str(source.path)  # type: ignore[union-attr, operator]
    checkpoints, step = find_checkpoint(path, source.which)
    problems = load_parts(learner, source, kept_weights(checkpoints.load(step).model), str(checkpoints.path(step)))
    if problems:
        raise CheckpointError([attrs.evolve(problem, exit_code=6) for problem in problems])


def load_parts(learner: Learner, source: InitFrom, tensors: Mapping[str, Tensor], origin: str) -> list[Problem]:
    """Load the parts that `source` names from `tensors`, which are those of `origin`; return what does not fit.

    Tasks come with the modules that they share with others.
    """
    problems = []
    shared = {f"shared.{handle.name}" for part in source.parts for handle in shared_by(getattr(learner, part))}
    for part in (*source.parts, *sorted(shared)):
        own = {name.removeprefix(f"{part}."): t for name, t in tensors.items() if name.startswith(f"{part}.")}
        try:
            learner.get_submodule(part).load_state_dict(own, strict=True)
        except RuntimeError as error:
            problems.append(Problem(where="/init_from", what=f"`{part}` of {origin} does not fit: {error}"))
    for norms in learner.norms.values():
        norms.take_over(learner.backbone)  # type: ignore[operator]
    return problems
