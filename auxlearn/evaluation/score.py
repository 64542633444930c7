"""`score`: the metrics of every primary task on a split, and of nearest neighbours."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor

from auxlearn.calls import calling, during
from auxlearn.data import Batch
from auxlearn.evaluation.knn import Neighbours
from auxlearn.evaluation.processes import is_distributed
from auxlearn.learning import Augmentation, Backbone, Features, PrimaryTask, StepContext
from auxlearn.learning.asking import ask_count, ask_loss, prepared
from auxlearn.learning.context import LossKey
from auxlearn.learning.modes import evaluating
from auxlearn.learning.plan import Ask

__all__ = ["Scored", "main_scores", "score", "score_names"]

Scored = dict[str, Any]


@torch.no_grad()
def score(
    backbone: Backbone,
    primary: Mapping[str, PrimaryTask],
    augmentation: Augmentation,
    batches: Iterable[Batch],
    *,
    neighbours: Mapping[str, Neighbours] | None = None,
    device: torch.device | str = "cpu",
    precision: Callable[[], AbstractContextManager[Any]] = nullcontext,
) -> Scored:
    """Return the metrics of each task by `"<task>/<metric>"`, and its mean loss by `"<task>/loss"`.

    A metric is a number, a vector with a number for each class or component, each of which is recorded by its name as
    `"<task>/<metric>/<name>"`, or a matrix, which becomes nested lists.

    With several processes each scores its own rows, and the metrics are those of all rows: torchmetrics
    synchronises its states, and the loss is summed.

    Args:
        backbone: The network.
        primary: The tasks by name.
        augmentation: Whose `evaluate` prepares the rows.
        batches: The rows as the data gives them.
        neighbours: Nearest neighbours by target, whose metrics are called `"knn/<target>/<metric>"`.
        device: Where to compute.
        precision: Makes a context that sets the arithmetic, e.g. `fabric.autocast`.
    """
    near = {f"knn/{target}": one for target, one in (neighbours or {}).items()}
    metrics = {name: _metrics(name, task, device) for name, task in primary.items()}
    metrics |= {name: one.metrics().to(device) for name, one in near.items()}
    losses = {name: torch.zeros(2, dtype=torch.float64) for name in primary}
    with evaluating(backbone, *primary.values()):
        for batch in batches:
            rows = batch.to(device)
            with during("in scoring", batch.ids), precision():
                features = prepared(backbone, augmentation, rows.inputs)
                for name, task in primary.items():
                    with calling("primary", name, "update"):
                        task.update(metrics[name], features, rows)
                    losses[name] += _sums(name, task, features, rows)
            for name, one in near.items():
                one.update(metrics[name], features, rows)
    scored: Scored = {}
    for name, collection in metrics.items():
        names = score_names(primary[name]) if name in primary else ()
        with calling("primary", name, "metrics"):
            values = _values(collection)
        for metric, value in values.items():
            scored |= _recorded(f"{name}/{metric}", value, names)
        if name in losses:
            total, count = _over_processes(losses[name], device).tolist()
            scored[f"{name}/loss"] = total / count if count else float("nan")
    return scored


def _metrics(name: str, task: PrimaryTask, device: torch.device | str) -> Any:
    with calling("primary", name, "metrics"):
        return task.metrics().to(device)


def _sums(name: str, task: PrimaryTask, features: Features, rows: Batch) -> Tensor:
    """Return the loss of some rows, a sum, and what it sums over."""
    ask = Ask(key=LossKey(name, "primary", "clean"), passes=("clean",), batch=rows)
    loss = ask_loss(task, ask, (features,), StepContext()).loss
    return torch.tensor([float(loss), float(ask_count(task, ask))], dtype=torch.float64)


def score_names(task: PrimaryTask) -> tuple[str, ...]:
    """Return what `task` calls the entries of its vectors and matrices: its classes, or its components."""
    facts = task.describe()
    return tuple(str(name) for name in facts.get("classes") or facts.get("components") or ())


def main_scores(scored: Mapping[str, Any]) -> dict[str, float]:
    """Return the numbers that are of a task as a whole, not of one of its classes.

    >>> main_scores({"mood/accuracy": 0.5, "mood/class_f1/sad": 0.4, "knn/mood/accuracy": 0.6})
    {'mood/accuracy': 0.5, 'knn/mood/accuracy': 0.6}
    """
    return {
        name: value
        for name, value in scored.items()
        if isinstance(value, int | float) and name.count("/") <= 1 + name.startswith("knn/")
    }


def _recorded(metric: str, value: Any, names: Sequence[str]) -> Scored:
    """Return the entries of a vector by name, or by number where there are no names for them; the rest as it is."""
    found = value.tolist() if isinstance(value, Tensor) else value
    if not isinstance(value, Tensor) or value.ndim != 1:
        return {metric: found}
    fitting = names if len(names) == len(found) else range(len(found))
    return {f"{metric}/{name}": entry for name, entry in zip(fitting, found, strict=True)}


def _values(collection: Any) -> dict[str, Any]:
    """Return the values of the metrics; NaN for those that no row reached."""
    if all(metric.update_called for metric in collection.values()) or is_distributed():
        return dict(collection.compute())
    values: dict[str, Any] = {}
    for name, metric in collection.items():
        value = metric.compute() if metric.update_called else float("nan")
        values |= value if isinstance(value, Mapping) else {name: value}
    return values


def _over_processes(sums: Tensor, device: torch.device | str) -> Tensor:
    if not is_distributed():
        return sums
    joint = sums.to(device)
    torch.distributed.all_reduce(joint)
    return joint
