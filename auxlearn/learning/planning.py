"""Making the plan of passes: from a clean batch and the arrangement of the tasks to passes and losses."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import attrs
import torch
from torch import Tensor

from auxlearn.data import Batch
from auxlearn.learning.asking import ask_views
from auxlearn.learning.context import LossKey
from auxlearn.learning.interfaces import PretextTask, PrimaryTask, View
from auxlearn.learning.motion import Motion
from auxlearn.learning.plan import Ask, Moment, Pass, Plan
from auxlearn.learning.showing import moved, scaled, seen_by, unscaled
from auxlearn.spec.models import Arrangement

__all__ = ["Arranged", "Planner", "make_plan"]


@attrs.frozen(eq=False)
class Arranged:
    """A pretext task and how it is arranged; `arrangement.view` and `.supervise` are filled in."""

    name: str
    task: PretextTask
    how: Arrangement


def make_plan(
    batch: Batch,
    motion: Motion,
    primary: Mapping[str, tuple[PrimaryTask, float]],
    pretext: Sequence[Arranged],
    moment: Moment,
    *,
    probes: Collection[str] = (),
) -> Plan:
    """Return the plan of passes for one micro-batch.

    Args:
        batch: The clean rows: inputs augmented, targets as the data gives them.
        motion: What augmentation did to the geometry.
        primary: The supervised tasks by name, each with its weight.
        pretext: The pretext tasks, in the order of the spec.
        moment: When and where.
        probes: Which primary tasks only watch.
    """
    active = [one for one in pretext if one.how.active(moment.step, moment.epoch)]
    counted = {name: task for name, (task, weight) in primary.items() if weight > 0}
    learning = {name: task for name, task in counted.items() if name not in probes}
    planner = Planner(batch, motion, learning, moment)
    planner.add_shared([one for one in active if one.how.view == "shared"])
    planner.add_clean([one for one in active if one.how.view == "clean"])
    for one in active:
        if one.how.view == "own":
            planner.add_own(one)
    planner.add_probes({name: task for name, task in counted.items() if name in probes}, motion)
    return planner.finish({name: weight for name, (_, weight) in primary.items()}, active)


@attrs.frozen(eq=False)
class _Chosen:
    """The rows that a task takes in a step: of each stream a fixed number, those with labels first.

    Attributes:
        rows: Their numbers, ascending, on the host; None for all of them.
        parts: How many of them are labelled and unlabelled; empty if there is no unlabelled stream.
    """

    rows: Tensor | None
    parts: tuple[int, ...] = ()

    def known(self, total: int) -> slice | None:
        """Return where the labelled ones stand among `total` rows that begin with them; None if they are all."""
        return slice(0, self.parts[0]) if self.parts and self.parts[0] < total else None


class Planner:
    """Collects passes and losses; `make_plan` says in which order.

    Primary tasks are asked about labelled rows only, which are the first of every batch and of every pass.

    Args:
        batch: The clean rows.
        motion: What augmentation did to their geometry.
        primary: The supervised tasks that count in this step.
        moment: When and where.
    """

    def __init__(self, batch: Batch, motion: Motion, primary: Mapping[str, PrimaryTask], moment: Moment) -> None:
        self.batch, self.primary, self.moment = batch, primary, moment
        self.every = _Chosen(None, batch.parts)
        known = self.every.known(len(batch))
        if known is not None:
            batch, motion = batch.take(known), motion.take(known)
        self.labelled = {name: moved(name, task, batch, motion) for name, task in primary.items()}
        self.passes: list[Pass] = []
        self.primary_asks: list[Ask] = []
        self.pretext_asks: list[Ask] = []
        self.is_shared = False

    def choose(self, one: Arranged) -> _Chosen:
        """Return the rows that the task takes in this step: `portion` of all, and of the labelled ones."""
        total, portion = len(self.batch), one.how.portion
        count = max(1, round(portion * total))
        if count >= total:
            return self.every
        draws = attrs.evolve(self.moment, device="cpu").draws(f"rows/{one.name}")
        if not self.every.parts:
            return _Chosen(draws.choose(total, count))
        known, other = self.every.parts
        share = min(round(portion * known), count)
        rows = [draws.choose(known, share)] if share else []
        if count > share:
            rows.append(known + draws.child("unlabelled").choose(other, count - share))
        return _Chosen(torch.cat(rows), (share, count - share))

    def add_shared(self, chain: Sequence[Arranged]) -> None:
        """Let the tasks transform the batch one after the other, and the primary tasks see the result."""
        if not chain:
            return
        self.is_shared = True
        chosen = [self.choose(one) for one in chain]
        inputs, views = dict(self.batch.inputs), []
        seen: dict[str, Batch | None] = dict(self.labelled)
        for one, choice in zip(chain, chosen, strict=True):
            rows = self._to_device(choice.rows)
            part = self._part(attrs.evolve(self.batch, inputs=inputs), rows, choice)
            view = attrs.evolve(self._views(one, part, choice, shared=True)[0], rows=rows)
            inputs = {n: t if rows is None else inputs[n].index_copy(0, rows, t) for n, t in view.inputs.items()}
            views.append(view)
            seen = self._after(one, choice, view, seen)
        needed = self._needed(chosen, labelled=bool(self.primary)) if self.every.parts else None
        if needed is not None:
            places = self._to_device(needed)
            inputs = {name: tensor[places] for name, tensor in inputs.items()}
        self._add_pass(Pass(name="shared", inputs=inputs), seen, self.every)
        for one, choice, view in zip(chain, chosen, views, strict=True):
            self._ask(one, "shared", ("shared",), (view,), choice, rows=self._places(choice, needed))

    def add_clean(self, tasks: Sequence[Arranged]) -> None:
        """Add the clean pass, on the rows that some task reads: all that are labelled if a primary task does."""
        by_primary = bool(self.primary) and not self.is_shared
        if not by_primary and not tasks:
            return
        chosen = [self.choose(one) for one in tasks]
        needed = self._needed(chosen, labelled=by_primary)
        if needed is None:
            batch = self.batch
        elif chosen:
            batch = self.batch.take(self._to_device(needed))  # type: ignore[arg-type]
        else:
            batch = self.batch.take(slice(0, len(needed)))
        seen = dict(self.labelled) if by_primary else {}
        self._add_pass(Pass(name="clean", inputs=batch.inputs), seen, self.every)
        for one, choice in zip(tasks, chosen, strict=True):
            rows = self._to_device(choice.rows)
            views = self._views(one, self._part(self.batch, rows, choice), choice)
            views = tuple(attrs.evolve(view, rows=rows) for view in views)
            self._ask(one, "clean", ("clean",) * len(views), views, choice, rows=self._places(choice, needed))

    def add_own(self, one: Arranged) -> None:
        """Add a pass for each view of the task's own copy of its rows."""
        choice = self.choose(one)
        rows = self._to_device(choice.rows)
        part = self._part(self.batch, rows, choice)
        known = choice.known(len(part))
        own = rows if rows is None or known is None else rows[known]
        labelled = {n: batch if own is None else batch.take(own) for n, batch in self.labelled.items()}
        views = self._views(one, scaled(part, one.how.resolution), choice)
        names = tuple(f"{one.name}/{number}" for number in range(len(views)))
        for name, view in zip(names, views, strict=True):
            shown = attrs.evolve(view, motion=unscaled(view.motion, one.how.resolution))
            seen = self._after(one, choice, shown, labelled)
            run = Pass(name=name, inputs=view.inputs, statistics=one.how.statistics, task=one.name)
            self._add_pass(run, {} if choice.parts[:1] == (0,) else seen, choice)
        views = tuple(attrs.evolve(view, rows=rows) for view in views)
        self._ask(one, one.name, names, views, choice)

    def add_probes(self, probes: Mapping[str, PrimaryTask], motion: Motion) -> None:
        """Let the probes read the clean pass, if every labelled row runs through it, else a pass of their own."""
        if not probes:
            return
        batch, known = self.batch, self.every.known(len(self.batch))
        if known is not None:
            batch, motion = batch.take(known), motion.take(known)
        seen = {name: moved(name, task, batch, motion) for name, task in probes.items()}
        clean = next((run for run in self.passes if run.name == "clean"), None)
        if clean is not None and ((self.primary and not self.is_shared) or len(clean) == len(self.batch)):
            self._supervise(clean, seen, self.every)
            return
        self._add_pass(Pass(name="probe", inputs=batch.inputs, watched=True), seen, self.every)

    def finish(self, primary: Mapping[str, float], pretext: Sequence[Arranged]) -> Plan:
        """Return the plan, each primary weight shared equally by the views that supervise the task."""
        views = {name: sum(ask.key.task == name for ask in self.primary_asks) for name in primary}
        weights = {ask.key: primary[ask.key.task] / views[ask.key.task] for ask in self.primary_asks}
        by_epoch = {one.name: one.how.weight_at(self.moment.epoch) for one in pretext}
        weights |= {ask.key: by_epoch[ask.key.task] for ask in self.pretext_asks}
        asks = (*self.primary_asks, *self.pretext_asks)
        return Plan(passes=tuple(self.passes), asks=asks, weights=weights, moment=self.moment)

    def _part(self, batch: Batch, rows: Tensor | None, choice: _Chosen) -> Batch:
        """Return the chosen rows, which are `rows` on the device, of `batch`."""
        return batch if rows is None else batch.take(rows, labelled=choice.parts[0] if choice.parts else 0)

    def _needed(self, chosen: Sequence[_Chosen], *, labelled: bool) -> Tensor | None:
        """Return the rows that some task reads, ascending, on the host; None for all of them."""
        known = self.every.known(len(self.batch))
        rows = [choice.rows for choice in chosen if choice.rows is not None]
        if len(rows) < len(chosen) or (labelled and known is None):
            return None
        if labelled and known is not None:
            rows.append(torch.arange(known.stop))
        needed = torch.unique(torch.cat(rows))
        return None if len(needed) == len(self.batch) else needed

    def _places(self, choice: _Chosen, needed: Tensor | None) -> Tensor | None:
        """Return where the chosen rows stand in a pass of the rows `needed`; None if they are that pass."""
        if choice.rows is None or needed is None:
            return self._to_device(choice.rows)
        return None if len(needed) == len(choice.rows) else self._to_device(torch.searchsorted(needed, choice.rows))

    def _after(
        self, one: Arranged, choice: _Chosen, view: View, seen: Mapping[str, Batch | None]
    ) -> dict[str, Batch | None]:
        """Return what each primary task may learn from a view of the task, given the labelled rows before it."""
        if choice.parts[:1] == (0,):
            return dict(seen)
        known = choice.known(len(next(iter(view.inputs.values()))))
        if known is not None:
            motion = None if view.motion is None else view.motion.take(known)
            view = attrs.evolve(view, motion=motion, rows=None if view.rows is None else view.rows[known])
        return {
            name: None if batch is None else seen_by(name, self.primary[name], batch, one.how.supervises(name), view)
            for name, batch in seen.items()
        }

    def _add_pass(self, run: Pass, seen: Mapping[str, Batch | None], choice: _Chosen) -> None:
        """Add a pass that begins with the labelled rows of `choice`, and the primary tasks that learn from it."""
        self.passes.append(run)
        self._supervise(run, seen, choice)

    def _supervise(self, run: Pass, seen: Mapping[str, Batch | None], choice: _Chosen) -> None:
        for task, batch in seen.items():
            if batch is not None:
                key = LossKey(task, "primary", run.name)
                self.primary_asks.append(Ask(key=key, passes=(run.name,), batch=batch, rows=choice.known(len(run))))

    def _ask(
        self,
        one: Arranged,
        view: str,
        passes: tuple[str, ...],
        views: tuple[View, ...],
        choice: _Chosen,
        *,
        rows: Tensor | None = None,
    ) -> None:
        key = LossKey(one.name, "pretext", view)
        self.pretext_asks.append(Ask(key=key, passes=passes, views=views, rows=rows, parts=choice.parts))

    def _views(self, one: Arranged, batch: Batch, choice: _Chosen, *, shared: bool = False) -> tuple[View, ...]:
        """Return the task's views of `batch`; what it draws from torch's own generators is derived as well."""
        draws = self.moment.draws(f"views/{one.name}", choice.parts)
        draws.seed_globally()
        return ask_views(one.name, one.task, batch, draws, shared=shared)

    def _to_device(self, rows: Tensor | None) -> Tensor | None:
        return None if rows is None else rows.to(self.batch.device, non_blocking=True)
