"""Further loggers: Fabric's, each behind the extra that installs what it needs."""

from __future__ import annotations

import importlib
import re
import secrets
import shutil
import time
from collections.abc import Callable
from typing import Any

from lightning_fabric.loggers.csv_logs import CSVLogger
from lightning_fabric.loggers.tensorboard import TensorBoardLogger

from auxlearn.errors import EnvironmentProblem, Problem
from auxlearn.spec.models import Spec
from auxlearn.training.folder import RunFolder

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


def make_loggers(spec: Spec, folder: RunFolder) -> list[Any]:
    """Return the loggers that `/log/to` names; what they need was found by `require_loggers`.

    Each has Fabric's `log_metrics(metrics, step)` and `finalize(status)`. What a tracker calls the run is kept in
    `trackers.json`, so that a resumed run goes on as the same run there.

    Args:
        spec: The spec.
        folder: The run folder.
    """
    return [_MAKERS[name](spec, folder) for name in spec.log.to]


def _csv(_spec: Spec, folder: RunFolder) -> Any:
    shutil.rmtree(
        folder.path / "csv", ignore_errors=True
    )  # it cannot add to a file; a resumed run tells it everything again
    return CSVLogger(folder.path, name="csv", version="", flush_logs_every_n_steps=1)


def _tensorboard(_spec: Spec, folder: RunFolder) -> Any:
    return TensorBoardLogger(folder.path, name="tensorboard", version="")


def _wandb(spec: Spec, folder: RunFolder) -> Any:
    import wandb

    own = _id(folder, "wandb", lambda: secrets.token_hex(8))
    facts = {"project": "auxlearn", "name": f"{spec.name} {_place(folder)}", "id": own, "config": spec.resolved}
    run = wandb.init(**facts, resume="allow", dir=folder.path)
    return _Calls(
        lambda metrics, step: run.log(metrics, step=step),
        lambda status: run.finish(exit_code=int(status != "success")),
    )


def _mlflow(spec: Spec, folder: RunFolder) -> Any:
    from mlflow import MlflowClient
    from mlflow.entities import Metric

    # The functions of the package know one run at a time, which may be the caller's.
    own_folder = (folder.path / "mlflow").resolve()
    own_folder.mkdir(exist_ok=True)
    client = MlflowClient(tracking_uri=f"sqlite:///{own_folder / 'mlflow.db'}")  # it refuses plain files by now

    def begin() -> str:
        found = client.get_experiment_by_name(spec.name)
        experiment = found.experiment_id if found else client.create_experiment(spec.name, own_folder.as_uri())
        return str(client.create_run(experiment, run_name=f"{spec.name} {_place(folder)}").info.run_id)

    own = _id(folder, "mlflow", begin)
    client.update_run(own, status="RUNNING")

    def log(metrics: dict[str, float], step: int) -> None:
        now = round(time.time() * 1000)
        # It refuses a whole line for a character that the name of a class may have.
        client.log_batch(own, [Metric(_UNFIT.sub("_", name), value, now, step) for name, value in metrics.items()])

    return _Calls(log, lambda status: client.set_terminated(own, "FINISHED" if status == "success" else "FAILED"))


def _id(folder: RunFolder, tracker: str, begin: Callable[[], str]) -> str:
    """Return what `tracker` calls the run; what `begin` returns the first time."""
    known: dict[str, str] = folder.read("trackers.json", missing={})
    if tracker not in known:
        known[tracker] = begin()
        folder.write("trackers.json", known)
    return known[tracker]


def _place(folder: RunFolder) -> str:
    """Return the end of the folder's path: of a study's run its arm, fraction and seed."""
    return "/".join(folder.path.absolute().parts[-3:])


class _Calls:
    """A logger in Fabric's form around functions."""

    def __init__(self, log: Callable[[dict[str, float], int], Any], end: Callable[[str], Any]) -> None:
        self._log, self._end = log, end

    def log_metrics(self, metrics: dict[str, float], step: int) -> None:
        """Log."""
        self._log(metrics, step)

    def finalize(self, status: str) -> None:
        """End the run there."""
        self._end(status)


_MAKERS: dict[str, Callable[[Spec, RunFolder], Any]] = {
    "csv": _csv,
    "tensorboard": _tensorboard,
    "wandb": _wandb,
    "mlflow": _mlflow,
}
