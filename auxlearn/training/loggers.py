"""Further loggers: Fabric's, each behind the extra that installs what it needs."""

from __future__ import annotations

import importlib
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lightning_fabric.loggers.csv_logs import CSVLogger
from lightning_fabric.loggers.tensorboard import TensorBoardLogger

from auxlearn.errors import EnvironmentProblem, Problem
from auxlearn.spec.models import Spec

__all__ = ["make_loggers", "require_loggers"]

_UNFIT = re.compile(r"[^\w./: -]")


def require_loggers(spec: Spec) -> None:
    """Raise an EnvironmentProblem, which names the extra, if what a logger of `/log/to` needs is not installed."""
    problems = []
    for name in spec.log.to:
        try:
            importlib.import_module("auxlearn" if name == "csv" else name)  # the packages are called like the loggers
        except ModuleNotFoundError:
            what = f'logger "{name}" needs the package {name}, which is not installed'
            problems.append(Problem(where="/log/to", what=what, fix=f'pip install "auxlearn[{name}]"', exit_code=8))
    if problems:
        raise EnvironmentProblem(problems)


def make_loggers(spec: Spec, folder: Path, label: str) -> list[Any]:
    """Return the loggers that `/log/to` names; what they need was found by `require_loggers`.

    Args:
        spec: The spec.
        folder: The run folder.
        label: A name for it that is the same when the run is resumed, and of no other run here.
    """
    return [_MAKERS[name](spec, folder, label) for name in spec.log.to]


def _csv(_spec: Spec, folder: Path, _label: str) -> Any:
    shutil.rmtree(
        folder / "csv", ignore_errors=True
    )  # it cannot add to a file; a resumed run tells it everything again
    return CSVLogger(folder, name="csv", version="", flush_logs_every_n_steps=1)


def _tensorboard(_spec: Spec, folder: Path, _label: str) -> Any:
    return TensorBoardLogger(folder, name="tensorboard", version="")


def _wandb(spec: Spec, folder: Path, label: str) -> Any:
    import wandb

    # The id is the folder's, so a resumed run goes on as the same run.
    facts = {"project": "auxlearn", "name": spec.name, "id": label, "config": spec.resolved}
    run = wandb.init(**facts, resume="allow", dir=folder)
    return _Calls(lambda metrics, step: run.log(metrics, step=step))


def _mlflow(spec: Spec, folder: Path, _label: str) -> Any:
    import mlflow

    mlflow.set_tracking_uri((folder / "mlflow").resolve().as_uri())
    mlflow.set_experiment(spec.name)
    mlflow.start_run(run_name=spec.name)
    # It refuses a whole line for a character that the name of a class may have.
    return _Calls(
        lambda metrics, step: mlflow.log_metrics({_UNFIT.sub("_", n): v for n, v in metrics.items()}, step=step)
    )


class _Calls:
    """A logger in Fabric's form around a function."""

    def __init__(self, log: Callable[[dict[str, float], int], Any]) -> None:
        self._log = log

    def log_metrics(self, metrics: dict[str, float], step: int) -> None:
        """Log."""
        self._log(metrics, step)


_MAKERS: dict[str, Callable[[Spec, Path, str], Any]] = {
    "csv": _csv,
    "tensorboard": _tensorboard,
    "wandb": _wandb,
    "mlflow": _mlflow,
}
