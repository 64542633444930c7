"""Making the plan of passes: from a clean batch and the arrangement of the tasks to passes and losses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import attrs
import torch
import torch.nn.functional as F
from torch import Tensor

from auxlearn.data import Batch
from auxlearn.errors import PluginError
from auxlearn.learning.context import LossKey
from auxlearn.learning.interfaces import PretextTask, PrimaryTask, View
from auxlearn.learning.motion import Motion
from auxlearn.learning.plan import Ask, Moment, Pass, Plan
from auxlearn.spec.models import Arrangement

__all__ = ["Arranged", "Planner", "make_plan", "supervised_by"]


@attrs.frozen(eq=False)
class Arranged:
    """A pretext task and how it is arranged; `arrangement.view` and `.supervise` are filled in."""

    name: str
    task: PretextTask
    how: Arrangement


def supervised_by(how: Arrangement, primary: str) -> bool | None:
    """Return whether `primary` learns from views arranged like this; None: only where the geometry is intact."""
    if isinstance(how.supervise, tuple):
        return primary in how.supervise
    return None if how.supervise else False


def make_plan(
    batch: Batch,
    motion: Motion,
    primary: Mapping[str, tuple[PrimaryTask, float]],
    pretext: Sequence[Arranged],
    moment: Moment,
) -> Plan:
    """Return the plan of passes for one micro-batch.

    Args:
        batch: The clean rows: inputs augmented, targets as the data gives them.
        motion: What augmentation did to the geometry.
        primary: The supervised tasks by name, each with its weight.
        pretext: The pretext tasks, in the order of the spec.
        moment: When and where.
    """
    active = [one for one in pretext if one.how.active(moment.step, moment.epoch)]
    planner = Planner(batch, motion, {name: task for name, (task, weight) in primary.items() if weight > 0}, moment)
    planner.add_shared([one for one in active if one.how.view == "shared"])
    planner.add_clean([one for one in active if one.how.view == "clean"])
    for one in active:
        if one.how.view == "own":
            planner.add_own(one)
    return planner.finish({name: weight for name, (_, weight) in primary.items()}, active)


class Planner:
    """Collects passes and losses; `make_plan` says in which order.

    Args:
        batch: The clean rows.
        motion: What augmentation did to their geometry.
        primary: The supervised tasks that count in this step.
        moment: When and where.
    """

    def __init__(self, batch: Batch, motion: Motion, primary: Mapping[str, PrimaryTask], moment: Moment) -> None:
        self.batch, self.primary, self.moment = batch, primary, moment
        self.labelled = {name: _moved(task, batch, motion) for name, task in primary.items()}
        self.passes: list[Pass] = []
        self.primary_asks: list[Ask] = []
        self.pretext_asks: list[Ask] = []
        self.is_shared = False

    def choose(self, one: Arranged) -> Tensor | None:
        """Return the rows that the task takes in this step, on the host; None for all of them."""
        count = max(1, round(one.how.portion * len(self.batch)))
        if count >= len(self.batch):
            return None
        host = attrs.evolve(self.moment, device="cpu")
        return host.draws(f"rows/{one.name}").choose(len(self.batch), count)

    def add_shared(self, chain: Sequence[Arranged]) -> None:
        """Let the tasks transform the batch one after the other, and the primary tasks see the result."""
        if not chain:
            return
        self.is_shared = True
        inputs, asks = dict(self.batch.inputs), []
        seen: dict[str, Batch | None] = dict(self.labelled)
        for one in chain:
            rows = self._to_device(self.choose(one))
            before = attrs.evolve(self.batch, inputs=inputs)
            part = before if rows is None else before.take(rows)
            view = attrs.evolve(self._single_view(one, part), rows=rows)
            inputs = {n: t if rows is None else inputs[n].index_copy(0, rows, t) for n, t in view.inputs.items()}
            asks.append((one, view, rows))
            seen = {
                name: None if batch is None else _seen(self.primary[name], batch, supervised_by(one.how, name), view)
                for name, batch in seen.items()
            }
        self.passes.append(Pass(name="shared", inputs=inputs))
        self._supervise("shared", seen)
        for one, view, rows in asks:
            key = LossKey(one.name, "pretext", "shared")
            self.pretext_asks.append(Ask(key=key, passes=("shared",), views=(view,), rows=rows))

    def add_clean(self, tasks: Sequence[Arranged]) -> None:
        """Add the clean pass, on the rows that some task reads: all if a primary task does."""
        by_primary = bool(self.primary) and not self.is_shared
        chosen = [self.choose(one) for one in tasks]
        if not by_primary and not tasks:
            return
        needed = None
        if not by_primary and all(rows is not None for rows in chosen):
            needed = torch.unique(torch.cat([rows for rows in chosen if rows is not None]))
        batch = self.batch if needed is None else self.batch.take(needed.to(self.batch.device))
        self.passes.append(Pass(name="clean", inputs=batch.inputs))
        if by_primary:
            self._supervise("clean", dict(self.labelled))
        for one, rows in zip(tasks, chosen, strict=True):
            places = rows if rows is None or needed is None else torch.searchsorted(needed, rows)
            places = None if places is None or len(places) == len(batch) else self._to_device(places)
            part = batch if places is None else batch.take(places)
            views = tuple(attrs.evolve(view, rows=self._to_device(rows)) for view in self._views(one, part))
            key = LossKey(one.name, "pretext", "clean")
            self.pretext_asks.append(Ask(key=key, passes=("clean",) * len(views), views=views, rows=places))

    def add_own(self, one: Arranged) -> None:
        """Add a pass for each view of the task's own copy of its rows."""
        rows = self._to_device(self.choose(one))
        labelled = {n: batch if rows is None else batch.take(rows) for n, batch in self.labelled.items()}
        views = self._views(one, _scaled(self.batch if rows is None else self.batch.take(rows), one.how.resolution))
        names = tuple(f"{one.name}/{number}" for number in range(len(views)))
        for name, view in zip(names, views, strict=True):
            self.passes.append(Pass(name=name, inputs=view.inputs, statistics=one.how.statistics, task=one.name))
            shown = attrs.evolve(view, motion=_unscaled(view.motion, one.how.resolution))
            seen = {
                primary: _seen(self.primary[primary], batch, supervised_by(one.how, primary), shown)
                for primary, batch in labelled.items()
            }
            self._supervise(name, seen)
        views = tuple(attrs.evolve(view, rows=rows) for view in views)
        self.pretext_asks.append(Ask(key=LossKey(one.name, "pretext", one.name), passes=names, views=views))

    def finish(self, primary: Mapping[str, float], pretext: Sequence[Arranged]) -> Plan:
        """Return the plan, each primary weight shared equally by the views that supervise the task."""
        views = {name: sum(ask.key.task == name for ask in self.primary_asks) for name in primary}
        weights = {ask.key: primary[ask.key.task] / views[ask.key.task] for ask in self.primary_asks}
        by_epoch = {one.name: one.how.weight_at(self.moment.epoch) for one in pretext}
        weights |= {ask.key: by_epoch[ask.key.task] for ask in self.pretext_asks}
        asks = (*self.primary_asks, *self.pretext_asks)
        return Plan(passes=tuple(self.passes), asks=asks, weights=weights, moment=self.moment)

    def _supervise(self, name: str, seen: Mapping[str, Batch | None]) -> None:
        for task, batch in seen.items():
            if batch is not None:
                self.primary_asks.append(Ask(key=LossKey(task, "primary", name), passes=(name,), batch=batch))

    def _views(self, one: Arranged, batch: Batch) -> tuple[View, ...]:
        """Return the task's views of `batch`; what it draws from torch's own generators is derived as well."""
        draws = self.moment.draws(f"views/{one.name}")
        draws.seed_globally()
        views = one.task.views(batch, draws)
        if not views:
            raise PluginError(f"pretext task {one.name}: `views` should return at least one view, it returned none")
        return views

    def _single_view(self, one: Arranged, batch: Batch) -> View:
        """Return the one view of a shared task, after the check that it can be put back into the batch."""
        views = self._views(one, batch)
        if len(views) != 1:
            raise PluginError(f"pretext task {one.name}: a shared view is exactly one view, it returned {len(views)}")
        wanted = {name: tuple(t.shape) for name, t in batch.inputs.items()}
        found = {name: tuple(t.shape) for name, t in views[0].inputs.items()}
        if wanted != found:
            raise PluginError(f"pretext task {one.name}: a shared view keeps its shape {wanted}, it returned {found}")
        return views[0]

    def _to_device(self, rows: Tensor | None) -> Tensor | None:
        return None if rows is None else rows.to(self.batch.device, non_blocking=True)


def _moved(task: PrimaryTask, batch: Batch, motion: Motion) -> Batch:
    if not task.needs_geometry:
        return batch
    return attrs.evolve(batch, targets={**batch.targets, **task.move_targets(batch.targets, motion)})


def _seen(task: PrimaryTask, batch: Batch, supervised: bool | None, view: View) -> Batch | None:
    """Return what `task` may learn from `view`, whose `rows` are those of `batch`; None if nothing."""
    destroyed = task.needs_geometry and view.motion is None
    if supervised is False or (supervised is None and destroyed):
        return None if view.rows is None else _without(task, batch, view.rows)
    if not task.needs_geometry or view.motion is None:
        return batch
    if view.rows is None:
        return _moved(task, batch, view.motion)
    part = _moved(task, batch.take(view.rows), view.motion).targets
    moved = {name: batch.targets[name].index_copy(0, view.rows, part[name]) for name in task.targets if name in part}
    return attrs.evolve(batch, targets={**batch.targets, **moved})


def _without(task: PrimaryTask, batch: Batch, rows: Tensor) -> Batch:
    """Return the batch without labels for `task` in `rows`."""
    masks = {f"targets/{name}": batch.has(name).index_fill(0, rows, False) for name in task.targets}
    return attrs.evolve(batch, present={**batch.present, **masks})


def _scaled(batch: Batch, resolution: float) -> Batch:
    """Return the batch with its images scaled down."""
    if resolution == 1:
        return batch
    inputs = {
        name: F.interpolate(t, scale_factor=resolution, mode="bilinear", antialias=True) if t.ndim == 4 else t
        for name, t in batch.inputs.items()
    }
    return attrs.evolve(batch, inputs=inputs)


def _unscaled(motion: Motion | None, resolution: float) -> Motion | None:
    """Return the motion of a scaled view as seen from the batch, whose targets are in pixels of the whole image."""
    if motion is None or resolution == 1:
        return motion
    rows = len(motion.matrix)
    return Motion.resize(rows, resolution, device=motion.matrix.device).then(motion)
