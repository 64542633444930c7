"""`score`: the metrics of every primary task on a split, and of nearest neighbours."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor

from auxlearn.data import Batch
from auxlearn.evaluation.knn import Neighbours
from auxlearn.evaluation.modes import evaluating, is_distributed
from auxlearn.learning import Augmentation, Backbone, PrimaryTask, StepContext
from auxlearn.learning.features import in_dtype_of

__all__ = ["Scored", "score"]

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
    metrics = {name: task.metrics().to(device) for name, task in primary.items()}
    metrics |= {name: one.metrics().to(device) for name, one in near.items()}
    losses = {name: torch.zeros(2, dtype=torch.float64) for name in primary}
    with evaluating(backbone, *primary.values()):
        for batch in batches:
            rows = batch.to(device)
            with precision():
                features = backbone(in_dtype_of(backbone, augmentation.evaluate(rows.inputs)))
                for name, task in primary.items():
                    task.update(metrics[name], features, rows)
                    loss = task.loss(features, rows, StepContext()).loss
                    losses[name] += torch.tensor([float(loss), float(task.count(rows))], dtype=torch.float64)
            for name, one in near.items():
                one.update(metrics[name], features, rows)
    return _collect(metrics, losses, device)


def _collect(metrics: Mapping[str, Any], losses: Mapping[str, Tensor], device: torch.device | str) -> Scored:
    scored: Scored = {}
    for name, collection in metrics.items():
        for metric, value in _values(collection).items():
            scored[f"{name}/{metric}"] = value.tolist() if isinstance(value, Tensor) else value
        if name not in losses:
            continue
        total, count = _over_processes(losses[name], device).tolist()
        scored[f"{name}/loss"] = total / count if count else float("nan")
    return scored


def _values(collection: Any) -> dict[str, Any]:
    """Return the values of the metrics; NaN where no row had a label."""
    if any(metric.update_called for metric in collection.values()) or is_distributed():
        return dict(collection.compute())
    return dict.fromkeys(collection.keys(), float("nan"))


def _over_processes(sums: Tensor, device: torch.device | str) -> Tensor:
    if not is_distributed():
        return sums
    joint = sums.to(device)
    torch.distributed.all_reduce(joint)
    return joint
