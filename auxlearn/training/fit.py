"""`Fit`: the loop. Steps, scorings and checkpoints in their order, from wherever the run stands."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

import attrs
import torch

from auxlearn.calls import during
from auxlearn.data import Batch
from auxlearn.errors import AuxlearnError, DivergedError, EnvironmentProblem, Interrupted, Problem
from auxlearn.evaluation import Selection, main_scores
from auxlearn.learning.learner import StepResult
from auxlearn.spec.models import CheckpointKeys, Choice, EvaluateKeys
from auxlearn.training.checkpoint import Snapshot
from auxlearn.training.cost import StepTime
from auxlearn.training.curves import draw_interplay
from auxlearn.training.failing import naming_plugins, way_on
from auxlearn.training.feed import Feed
from auxlearn.training.figures import draw_figures
from auxlearn.training.folder import RunFolder
from auxlearn.training.interplay import Opposition
from auxlearn.training.progress import Reporter
from auxlearn.training.recorder import Recorder
from auxlearn.training.signals import StopRequest, catch_signals
from auxlearn.training.state import load_model, pack, unpack
from auxlearn.training.trainer import Trainer

__all__ = ["Fit"]


@attrs.define(eq=False, kw_only=True)
class Fit:
    """One training run.

    Attributes:
        trainer: Takes the steps.
        feed: Gives the rows.
        folder: Keeps the checkpoints.
        recorder: Writes the numbers.
        reporter: Tells a person.
        selection: Chooses the best.
        total: Optimizer steps in all.
        checkpoint: When to save, and what to keep.
        evaluate: When to score.
        step_time: How long a step takes.
        choices: The components by section of the spec, to say which plugin failed.
    """

    trainer: Trainer
    feed: Feed
    folder: RunFolder
    recorder: Recorder
    reporter: Reporter
    selection: Selection
    total: int
    checkpoint: CheckpointKeys
    evaluate: EvaluateKeys
    choices: Mapping[str, Choice] = attrs.field(factory=dict)
    finished: bool = False
    opposition: Opposition = attrs.field(init=False)
    step_time: StepTime = attrs.field(init=False, factory=StepTime)
    _saved_at: float = attrs.field(factory=time.monotonic)
    _saved_step: int | None = None

    def __attrs_post_init__(self) -> None:
        learner = self.trainer.learner
        self.opposition = Opposition([n for n in learner.primary if n not in learner.probes], list(learner.pretext))

    @contextmanager
    def _telling(self) -> Iterator[None]:
        """Say in what fails inside a component which plugin it is of, and how to go on."""
        with naming_plugins(self.choices):
            try:
                yield
            except AuxlearnError as error:
                if error.call is not None or isinstance(error, EnvironmentProblem):
                    error.add(way_on(self.folder, error))
                raise

    @property
    def is_first(self) -> bool:
        """Whether this is the process that writes."""
        return bool(self.trainer.fabric.is_global_zero)

    def resume(self) -> None:
        """Go back to the newest sound checkpoint, or to the beginning if there is none yet."""
        if not self.folder.checkpoints.steps():
            self.recorder.restore({"bytes": 0, "sums": {}, "counts": {}}, self.trainer.fabric.device)
            return
        step, snapshot, faults = self.folder.checkpoints.load_last(self._check_lines)
        for fault in faults:
            self.reporter.say(f"warning: passed over a damaged checkpoint: {fault}")
        extra = unpack(self.trainer, snapshot)
        self.recorder.restore(extra["recorder"], self.trainer.fabric.device)
        self.step_time.restore(self.folder.read("status.json", missing={}).get("step_time", {}))
        for line in self.recorder.history():
            list(self.opposition.take(line))  # what was told before the break is not told again
        self.selection.restore(extra["selection"])
        self.finished = extra["finished"]
        self._saved_step = step

    def _check_lines(self, step: int, snapshot: Snapshot) -> None:
        self.recorder.require(snapshot.state["extra"]["recorder"], step)

    def train(self) -> None:
        """Take all steps that are left.

        Raises:
            Interrupted: After a signal, with everything saved.
            DivergedError: If a step is not finite, with everything up to the step before saved.
            PluginError: If a component fails; it says which, at which step, with which rows, and how to go on.
        """
        if self.finished:
            return
        self.reporter.say(self.feed.describe(self.total))
        self.reporter.start(self.total, self.trainer.steps)
        try:
            with catch_signals() as request, self._telling():
                batches = iter(self.feed.train(self.trainer.steps))
                while self.trainer.steps < self.total and not self.finished:
                    self._step(batches)
                    self._after_step()
                    self._stop_if(request)
        except Interrupted:
            raise
        except BaseException:
            if self.is_first:  # how far it was when it failed
                with suppress(EnvironmentProblem):
                    self.folder.status("training", step=self.trainer.steps, of=self.total, **self._progress())
            raise
        finally:
            self.reporter.stop()

    def finish(self) -> dict[str, Any]:
        """Draw the figures and score `test` once, with the selected weights; return the scores, if any."""
        if self.selection.step is not None and self.selection.step != self.trainer.steps:
            load_model(self.trainer, self.folder.checkpoints.load(self.selection.step))
        with self._telling():
            with during(f"in the figures after step {self.selected_step}"):
                self._draw()
            if not self.evaluate.test or not self._can_score("test"):
                return {}
            with during(f"after step {self.selected_step}, split test"):
                scored = self.score("test")
        if self.is_first:
            self.recorder.write("test", self.selected_step, scored)
        return scored

    def tidy(self) -> None:
        """Remove the best checkpoint if it is not to be kept; only a run that is done can do without it."""
        self.trainer.fabric.barrier()
        if self.is_first and not self.checkpoint.keep_best:
            self._prune(keep_best=False)

    def _draw(self) -> None:
        """Write the figures of the pretext tasks, from rows that the network was not trained on if there are any."""
        if not self.is_first:
            return
        try:
            draw_interplay(self.recorder.history(), self.folder.path / "figures")
        except ModuleNotFoundError:
            self.reporter.say('note: for a figure of the gradients, pip install "auxlearn[study]"')
        if self.trainer.learner.pretext:
            split = "val" if "val" in self.feed.splits else "train"
            batch = next(self.feed.evaluation(split, None)).to(self.trainer.fabric.device)
            draw_figures(self.trainer.learner, batch, self.folder.path / "figures")

    @property
    def selected_step(self) -> int:
        """The step of the weights that count: the best, or the last if nothing was scored."""
        return self.trainer.steps if self.selection.step is None else self.selection.step

    def score(self, split: str) -> dict[str, Any]:
        """Return the metrics of the primary tasks and of nearest neighbours on `split`."""
        size, banks = self.evaluate.batch_size, self.feed.banks(self.evaluate.knn)
        near = self.trainer.remember(self.feed.remembered(banks, size), banks) if banks else None
        return self.trainer.score(self.feed.evaluation(split, size), near)

    def _can_score(self, split: str) -> bool:
        return split in self.feed.splits and bool(self.trainer.learner.primary or self.evaluate.knn)

    def _step(self, batches: Iterator[Batch]) -> None:
        step = self.trainer.steps
        try:
            with during(f"at step {step}"):
                batch = next(batches)
            result = self.trainer.step(batch, epoch=self.feed.epoch(step), progress=step / self.total)
        except DivergedError as error:
            self.save()
            kept = f"checkpoint {self.trainer.steps} holds the weights of before; {self.feed.named(batch)}"
            raise DivergedError([*error.problems, Problem(where=str(self.folder.path), what=kept)]) from error
        for notice in self.trainer.learner.reach.told():
            self.reporter.say(f"warning: {notice}")
        self.recorder.add(result)
        self.step_time.add(result.seconds)
        self._tell(result)

    def _tell(self, result: StepResult) -> None:
        done, epoch = self.trainer.steps, self.feed.epoch(self.trainer.steps)
        rate = result.samples * self.trainer.fabric.world_size / max(result.seconds, 1e-9)
        losses = None
        if done % self.recorder.every == 0 or done == self.total:
            means = self.recorder.means()
            losses = {n.removeprefix("loss/"): v for n, v in means.items() if n.startswith("loss/")}
            if self.is_first:
                lr = self.trainer.raw_optimizer.param_groups[0]["lr"]
                line = self.recorder.flush(done, epoch=round(epoch, 4), lr=float(lr))
                for warning in self.opposition.take(line):
                    self.reporter.say(warning)
                self.folder.status("training", step=done, of=self.total, **self._progress())
        self.reporter.advance(done, epoch, rate, losses)

    def _after_step(self) -> None:
        step = self.trainer.steps
        epochs_before, epochs = self.feed.epochs_done(step - 1), self.feed.epochs_done(step)
        is_last = step >= self.total

        def every(number: int | None) -> bool:
            return number is not None and epochs // number > epochs_before // number

        best = (every(self.evaluate.every_epochs) or is_last) and self._evaluate(step)
        self.finished = is_last or self.selection.is_over
        by_steps = self.checkpoint.every_steps is not None and step % self.checkpoint.every_steps == 0
        if best or by_steps or self.finished or every(self.checkpoint.every_epochs) or self._is_time():
            self.save()

    def _evaluate(self, step: int) -> bool:
        """Score `val`; return whether it is the best so far."""
        if not self._can_score("val"):
            return False
        with during(f"after step {step}, split val"):
            scored = self.score("val")
        if self.is_first:
            self.recorder.write("val", step, {"epoch": round(self.feed.epoch(step), 4), **scored})
        best = self.selection.take(step, scored)
        shown = "  ".join(f"{name} {value:.4f}" for name, value in main_scores(scored).items())
        self.reporter.say(f"epoch {self.feed.epoch(step):.0f}  val  {shown}{'  (best)' if best else ''}")
        return best

    def _is_time(self) -> bool:
        minutes = self.checkpoint.every_minutes
        due = minutes is not None and time.monotonic() - self._saved_at >= 60 * minutes
        # The clocks of several processes differ, so the first one's counts.
        return bool(self.trainer.fabric.broadcast(due)) if minutes is not None else False

    def _stop_if(self, request: StopRequest) -> None:
        asked = request.signal or 0
        fabric = self.trainer.fabric
        if fabric.world_size > 1:
            # One collective between two steps: a signal to any process stops all of them at the same step.
            asked = int(self.trainer.gather(torch.tensor([asked], device=fabric.device)).max())
        if not asked or self.finished:
            return
        self.save()
        if self.is_first:
            self.folder.status("interrupted", step=self.trainer.steps, of=self.total, **self._progress())
        where = f"step {self.trainer.steps} is saved; fix: auxlearn resume {self.folder.whole}"
        raise Interrupted(asked, f"stopped by signal {asked}: {where}")

    def save(self) -> None:
        """Commit a checkpoint of the step at hand, then remove those that are no longer to be kept."""
        step = self.trainer.steps
        if self.is_first and step != self._saved_step:
            extra = {
                "recorder": self.recorder.state(),
                "selection": self.selection.state(),
                "finished": self.finished,
            }
            self.folder.checkpoints.save(step, pack(self.trainer, extra))
            self._prune(keep_best=True)  # which the end of the run needs, whether it is kept after that or not
        self._saved_at, self._saved_step = time.monotonic(), step
        self.trainer.fabric.barrier()

    def _prune(self, *, keep_best: bool) -> None:
        keep = set(self.folder.checkpoints.steps()[-self.checkpoint.keep_last :])
        if keep_best and self.selection.step is not None:
            keep.add(self.selection.step)
        self.folder.checkpoints.prune(keep)

    def _progress(self) -> dict[str, Any]:
        chosen = {"best": self.selection.step, "value": self.selection.value}
        return {**chosen, "last": self._saved_step, "step_time": self.step_time.state()}
