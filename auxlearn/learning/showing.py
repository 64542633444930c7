"""What primary tasks may learn from the views of pretext tasks, and how large those views are."""

from __future__ import annotations

import attrs
import torch.nn.functional as F
from torch import Tensor

from auxlearn.calls import calling
from auxlearn.data import Batch
from auxlearn.learning.forms import require_rows
from auxlearn.learning.interfaces import PrimaryTask, View
from auxlearn.learning.motion import Motion

__all__ = ["moved", "scaled", "seen_by", "unscaled"]


def moved(name: str, task: PrimaryTask, batch: Batch, motion: Motion) -> Batch:
    """Return the batch with the targets of `task`, called `name`, where `motion` has taken them."""
    if not task.needs_geometry:
        return batch
    with calling("primary", name, "move_targets", (*batch.targets.values(), motion.matrix)):
        targets = require_rows(task.move_targets(batch.targets, motion), len(motion.matrix))
    return attrs.evolve(batch, targets={**batch.targets, **targets})


def seen_by(name: str, task: PrimaryTask, batch: Batch, supervised: bool | None, view: View) -> Batch | None:
    """Return what `task`, called `name`, may learn from `view`, whose `rows` are those of `batch`; None if nothing."""
    destroyed = task.needs_geometry and view.motion is None
    if supervised is False or (supervised is None and destroyed):
        return None if view.rows is None else _without(task, batch, view.rows)
    if not task.needs_geometry or view.motion is None:
        return batch
    if view.rows is None:
        return moved(name, task, batch, view.motion)
    part = moved(name, task, batch.take(view.rows), view.motion).targets
    placed = {one: batch.targets[one].index_copy(0, view.rows, part[one]) for one in task.targets if one in part}
    return attrs.evolve(batch, targets={**batch.targets, **placed})


def _without(task: PrimaryTask, batch: Batch, rows: Tensor) -> Batch:
    """Return the batch without labels for `task` in `rows`."""
    masks = {f"targets/{name}": batch.has(name).index_fill(0, rows, False) for name in task.targets}
    return attrs.evolve(batch, present={**batch.present, **masks})


def scaled(batch: Batch, resolution: float) -> Batch:
    """Return the batch with its images scaled down."""
    if resolution == 1:
        return batch
    inputs = {
        name: F.interpolate(t, scale_factor=resolution, mode="bilinear", antialias=True) if t.ndim == 4 else t
        for name, t in batch.inputs.items()
    }
    return attrs.evolve(batch, inputs=inputs)


def unscaled(motion: Motion | None, resolution: float) -> Motion | None:
    """Return the motion of a scaled view as seen from the batch, whose targets are in pixels of the whole image."""
    if motion is None or resolution == 1:
        return motion
    rows = len(motion.matrix)
    return Motion.resize(rows, resolution, device=motion.matrix.device).then(motion)
