"""Further loggers: Fabric's, each behind the extra that installs what it needs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from lightning_fabric.loggers.csv_logs import CSVLogger
from lightning_fabric.loggers.tensorboard import TensorBoardLogger

from auxlearn.errors import EnvironmentProblem, Problem
from auxlearn.spec.models import Spec

__all__ = ["make_loggers"]


def make_loggers(spec: Spec, folder: Path) -> list[Any]:
    """Return the loggers that `/log/to` names.

    Raises:
        EnvironmentProblem: If what a logger needs is not installed; it names the extra.
    """
    return [_MAKERS[name](spec, folder) for name in spec.log.to]


def _csv(_spec: Spec, folder: Path) -> Any:
    return CSVLogger(folder, name="csv", version="", flush_logs_every_n_steps=1)


def _tensorboard(_spec: Spec, folder: Path) -> Any:
    try:
        return TensorBoardLogger(folder, name="tensorboard", version="")
    except ModuleNotFoundError as error:
        raise _missing("tensorboard", error) from error


def _wandb(spec: Spec, folder: Path) -> Any:
    try:
        import wandb
    except ModuleNotFoundError as error:
        raise _missing("wandb", error) from error
    # The id is the folder's, so a resumed run goes on as the same run.
    facts = {"project": "auxlearn", "name": spec.name, "id": folder.name, "config": spec.resolved}
    run = wandb.init(**facts, resume="allow", dir=folder)
    return _Calls(lambda metrics, step: run.log(metrics, step=step))


def _mlflow(spec: Spec, folder: Path) -> Any:
    try:
        import mlflow
    except ModuleNotFoundError as error:
        raise _missing("mlflow", error) from error
    mlflow.set_tracking_uri((folder / "mlflow").as_uri())
    mlflow.set_experiment(spec.name)
    mlflow.start_run(run_name=spec.name)
    return _Calls(lambda metrics, step: mlflow.log_metrics(metrics, step=step))


class _Calls:
    """A logger in Fabric's form around a function."""

    def __init__(self, log: Callable[[dict[str, float], int], Any]) -> None:
        self._log = log

    def log_metrics(self, metrics: dict[str, float], step: int) -> None:
        """Log."""
        self._log(metrics, step)


def _missing(extra: str, error: ModuleNotFoundError) -> EnvironmentProblem:
    what = f'logger "{extra}" needs {error.name}, which is not installed'
    return EnvironmentProblem(Problem(where="/log/to", what=what, fix=f'pip install "auxlearn[{extra}]"', exit_code=8))


_MAKERS: dict[str, Callable[[Spec, Path], Any]] = {
    "csv": _csv,
    "tensorboard": _tensorboard,
    "wandb": _wandb,
    "mlflow": _mlflow,
}
