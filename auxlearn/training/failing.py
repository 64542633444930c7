"""What failed inside a component, told in full: which plugin it is of, and how the run goes on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import attrs

from auxlearn.calls import environment_problem
from auxlearn.errors import AuxlearnError, Call, DistributedError, PluginError, Problem, escape
from auxlearn.spec.models import Choice
from auxlearn.training.folder import RunFolder
from auxlearn.training.guard import Trial, apart, slopes

__all__ = ["backward_failure", "naming_plugins", "way_on"]


@contextmanager
def naming_plugins(choices: Mapping[str, Choice]) -> Iterator[None]:
    """Say in what a component raises which plugin it is of, with the version of the distribution.

    Args:
        choices: The components by section, e.g. `pretext.puzzle`.
    """
    try:
        yield
    except AuxlearnError as error:
        sections = () if error.call is None else (error.call.section, error.call.part)
        choice = next((choices[section] for section in sections if section in choices), None)
        if error.call is not None and choice is not None:
            plugin = f"{choice.provider.name} of {choice.distribution} {choice.version}".rstrip()
            short, full = (f"{error.call.component}{more}: `" for more in ("", f" ({plugin})"))
            if not any(short in problem.what for problem in error.problems):
                error.add(Problem(what=f"raised by {error.call}", exit_code=error.exit_code))
            error.problems = tuple(attrs.evolve(p, what=p.what.replace(short, full)) for p in error.problems)
        raise


def way_on(folder: RunFolder, error: AuxlearnError) -> Problem:
    """Return from where the run in `folder` can go on, and how."""
    steps = folder.checkpoints.steps()
    what = "there is no checkpoint yet, so it would begin anew"
    if steps:
        what = f"the last good checkpoint is that of step {steps[-1]}, {folder.checkpoints.path(steps[-1])}"
    fix = f"auxlearn resume {folder.whole}"
    if isinstance(error, PluginError):
        fix = f"mend the plugin, then {fix} (with --allow-inexact if its version is another then)"
    return Problem(where=str(folder.path), what=what, fix=fix, exit_code=error.exit_code)


def backward_failure(error: Exception, trial: Trial) -> AuxlearnError | None:
    """Return the error to raise instead of one of a backward pass, None if it is no component's and no machine's.

    Where there is one process, every loss is computed once more on its own, to find the one whose gradient fails.
    """
    problem = environment_problem(error, "the backward pass")
    if problem is not None:
        return problem
    if trial.gather.world_size > 1:
        what = f"the backward pass failed, here or in another process: {type(error).__name__}: {escape(error, 400)}"
        return DistributedError(Problem(what=what, exit_code=7))
    parameters = [p for p in trial.learner.parameters() if p.requires_grad]
    for ask, loss in apart(trial):
        try:
            slopes(loss, parameters)
        except Exception as again:
            call = Call(ask.key.role, ask.key.task, "loss")
            what = f"{call} has a gradient that failed with {type(again).__name__}: {escape(again, 400)}"
            found = PluginError(Problem(what=what, exit_code=3))
            found.call = call
            return found
    return None
