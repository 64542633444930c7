"""`Trainer`: optimizer steps. One call of `step` is one step, on one batch, on any number of devices."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import attrs
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.nn.utils import clip_grads_with_norm_
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from auxlearn.calls import calling, during
from auxlearn.data import Batch
from auxlearn.errors import AuxlearnError, DivergedError
from auxlearn.evaluation import Bank, Neighbours, remember, score
from auxlearn.learning.context import LossKey
from auxlearn.learning.draws import isolated_rng
from auxlearn.learning.learner import Learner, in_channels_last, weights_in_channels_last
from auxlearn.learning.outcome import StepResult, inverse_counts
from auxlearn.learning.plan import Moment, Plan
from auxlearn.training.backward import make_backward
from auxlearn.training.devices import FabricGather, NormAverage, scaler_of, sum_over_processes
from auxlearn.training.failing import backward_failure
from auxlearn.training.guard import Guard, Trial, clipped_together, find_culprits, gradient_norm
from auxlearn.training.interplay import Interplay
from auxlearn.training.settled import Settled

__all__ = ["Trainer"]


class Trainer:
    """Takes optimizer steps with a learner.

    Args:
        learner: What learns.
        optimizer: Its optimizer.
        scheduler: Stepped once per optimizer step.
        fabric: Devices and precision; default: one CPU process in float32.
        accumulate: Micro-batches into which each batch is divided.
        clip_norm: Scale gradients down to this global norm.
        ema: Decay of a moving average of the weights, which is then what is scored and exported.
        non_finite: `"stop"` raises on a loss or gradient that is not finite, `"skip"` leaves the step out.
        max_skips: Steps in a row that may be left out.
        channels_last: Memory format of images and convolutions.
        watch_every: Steps between two measurements of how the gradients of the tasks stand to each other.

    Examples:
        >>> import torch
        >>> from auxlearn import Learner, Trainer
        >>> from auxlearn.testing.fakes import TinyBackbone, TinyPrimary, tiny_batch
        >>> learner = Learner(TinyBackbone(), primary={"kind": TinyPrimary(width=8, classes=2)})
        >>> trainer = Trainer(learner, torch.optim.SGD(learner.parameters(), lr=0.1))
        >>> first = trainer.step(tiny_batch())
        >>> trainer.steps, sorted(str(key) for key in first.losses)
        (1, ['kind@clean'])
    """

    def __init__(
        self,
        learner: Learner,
        optimizer: Optimizer,
        *,
        scheduler: LRScheduler | None = None,
        fabric: Fabric | None = None,
        accumulate: int = 1,
        clip_norm: float | None = None,
        ema: float | None = None,
        non_finite: Literal["stop", "skip"] = "stop",
        max_skips: int = 20,
        channels_last: bool = False,
        watch_every: int | None = None,
    ) -> None:
        self.fabric = fabric or Fabric(accelerator="cpu", devices=1)
        if channels_last:
            weights_in_channels_last(learner)
            learner.channels_last = True
        self.learner, self.scheduler = learner, scheduler
        self.module, self.optimizer = self.fabric.setup(learner, optimizer)
        self.raw_optimizer = optimizer
        self.gather = FabricGather(self.fabric)
        self._backward = make_backward(self.fabric, learner, self.module, self.gather)
        self.accumulate, self.clip_norm, self.channels_last = accumulate, clip_norm, channels_last
        self.non_finite, self.max_skips = non_finite, max_skips
        # With the shared modules, which primary tasks may use, so that the moving average has copies of them too.
        kept = {"backbone": learner.backbone, "primary": learner.primary, "shared": learner.shared}
        self._kept = nn.ModuleDict(
            {name: part for name, part in kept.items() if name != "shared" or len(learner.shared)}
        )
        self.average = self._make_average(ema)
        self.guard, self._settled = Guard(learner), Settled(learner)
        self._interplay = Interplay(self.fabric, learner, self.gather)
        self.watch_every = watch_every
        self._equalise_norms = NormAverage(self.fabric, learner)
        self._scaler = scaler_of(self.fabric, learner)
        self._parameters = clipped_together(learner)
        self.steps = self.updates = self.skips = 0

    def _make_average(self, decay: float | None) -> AveragedModel | None:
        if decay is None:
            return None
        update = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]
        average = AveragedModel(self._kept, multi_avg_fn=update, use_buffers=True)
        average.requires_grad_(False).eval()
        for handle in self.learner.frozen_copies:
            handle.bind(average.module["backbone"])  # type: ignore[index]
        return average

    @property
    def scored(self) -> nn.ModuleDict:
        """What is evaluated, selected and exported, `backbone` and `primary`: the moving average if there is one."""
        if self.average is not None:
            return self.average.module  # type: ignore[return-value]
        return self._kept

    def restart_average(self) -> None:
        """Let the moving average begin with the weights as they are, after others were loaded."""
        if self.average is not None:
            self.average.module.load_state_dict(self._kept.state_dict())

    def moment(self, *, epoch: float = 0.0, progress: float = 0.0) -> Moment:
        """Return the moment of the coming step."""
        return Moment(
            seed=self.learner.seed,
            step=self.steps,
            epoch=epoch,
            progress=progress,
            rank=self.fabric.global_rank,
            world=self.fabric.world_size,
            device=self.fabric.device,
        )

    def step(self, batch: Batch, *, epoch: float = 0.0, progress: float = 0.0) -> StepResult:
        """Take one optimizer step on this process's rows.

        Args:
            batch: Rows as the data gives them; `accumulate` divides their number.
            epoch: Epochs done, with fraction: schedules of tasks depend on it.
            progress: Part of the training done.

        Raises:
            DivergedError: If a loss or gradient is not finite. Weights and statistics are as before the step.
            PluginError: If a component fails or breaks its contract; the error is the cause, `call` says which it is.
        """
        begin = time.perf_counter()
        batch = self._on_device(batch)
        moment = self.moment(epoch=epoch, progress=progress)
        self.guard.remember()
        with during(f"at step {self.steps}", batch.ids), isolated_rng(self.fabric.device), self._settled:
            micros = batch.split(self.accumulate)
            plans = tuple(self.learner.plan(m, attrs.evolve(moment, micro=i)) for i, m in enumerate(micros))
            scales = inverse_counts(self._joint_counts(plans), self.fabric.world_size)
            trial = Trial(self.learner, plans, scales, self.gather)
            result = attrs.evolve(self._run(trial), samples=len(batch))
            if self.watch_every is not None and self.steps % self.watch_every == 0:
                pause = self._now()
                seen = self._interplay.measure(plans, scales, result.weights)
                begin += self._now() - pause  # watching is no part of what a task costs
                result = attrs.evolve(result, metrics={**result.metrics, **seen})
            norms = self._gradient_norms()
            # inf - inf is NaN, so one sum is finite only if every part of it is.
            if math.isfinite(sum(norms, result.total).item()):
                self._update(result, moment, norms)
            else:
                self._undo(result)
                self._allow(result, batch, trial)
        self.steps += 1
        return attrs.evolve(result, seconds=time.perf_counter() - begin)

    def _now(self) -> float:
        """Return the time at which the device has done all it was given."""
        if self.fabric.device.type == "cuda":
            torch.cuda.synchronize(self.fabric.device)
        return time.perf_counter()

    def _run(self, trial: Trial) -> StepResult:
        """Run the plans forward and backward, and look at the gradients of tasks that are new."""
        try:
            result = self._backward(trial.plans, trial.scales)
        except AuxlearnError:
            raise
        except Exception as error:
            with self.fabric.autocast():
                told = backward_failure(error, trial)
            if told is None:
                raise
            raise told from error
        self.learner.reach.look_at_gradients({"primary": self.learner.primary, "pretext": self.learner.pretext})
        return result

    def remember(self, batches: Iterable[Batch], banks: Mapping[str, Bank]) -> dict[str, Neighbours]:
        """Return the nearest neighbours of each target among `batches`, by the features of the scored weights."""
        return remember(
            self.scored["backbone"],  # type: ignore[arg-type]
            self.learner.augmentation,
            batches,
            banks,
            device=self.fabric.device,
            precision=self.fabric.autocast,
        )

    def score(self, batches: Iterable[Batch], neighbours: Mapping[str, Neighbours] | None = None) -> dict[str, Any]:
        """Return the metrics of the primary tasks on `batches` by `"<task>/<metric>"`, with the scored weights.

        Args:
            batches: Rows as the data gives them.
            neighbours: What `remember` returned, to be scored too.
        """
        return score(
            self.scored["backbone"],  # type: ignore[arg-type]
            dict(self.scored["primary"].items()),  # type: ignore[operator]
            self.learner.augmentation,
            batches,
            neighbours=neighbours,
            device=self.fabric.device,
            precision=self.fabric.autocast,
        )

    def _on_device(self, batch: Batch) -> Batch:
        batch = batch.to(self.fabric.device, non_blocking=True)
        if not self.channels_last:
            return batch
        return attrs.evolve(batch, inputs={name: in_channels_last(t) for name, t in batch.inputs.items()})

    def _joint_counts(self, plans: Sequence[Plan]) -> Mapping[LossKey, Tensor | int]:
        """Return the terms of each loss over all micro-batches and processes."""
        counts: dict[LossKey, Tensor | int] = {}
        for plan in plans:
            for key, count in self.learner.counts(plan).items():
                counts[key] = count if key not in counts else counts[key] + count
        if self.fabric.world_size == 1 or not counts:
            return counts
        device = self.fabric.device
        own = torch.stack(
            [torch.as_tensor(c, dtype=torch.float32).to(device, non_blocking=True) for c in counts.values()]
        )
        return dict(zip(counts, sum_over_processes(self.fabric, own), strict=True))

    def _gradient_norms(self) -> list[Tensor]:
        gradients = [[p.grad for p in part if p.grad is not None] for part in self._parameters]
        if self._scaler is not None and any(gradients):
            self._scaler.unscale_(self.raw_optimizer)
        return [gradient_norm(part) for part in gradients]

    def _clip(self, norms: Sequence[Tensor]) -> None:
        if self.clip_norm is None:
            return
        for part, norm in zip(self._parameters, norms, strict=True):
            clip_grads_with_norm_([p for p in part if p.grad is not None], self.clip_norm, norm)

    def _update(self, result: StepResult, moment: Moment, norms: Sequence[Tensor]) -> None:
        if not result.losses:
            self.raw_optimizer.step()  # no gradients, no effect; but torch's schedules insist on the call
        else:
            self._clip(norms)
            with calling("optimizer", "", "step"):
                self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        if self.scheduler is not None:
            with calling("schedule", "", "step"):
                self.scheduler.step()
        self._equalise_norms()
        if self.average is not None:
            self.average.update_parameters(self._kept)
        carry = {task: {n: self.gather(t) for n, t in leaves.items()} for task, leaves in result.carry.items()}
        self.learner.after_step(attrs.evolve(result, carry=carry), moment, self.gather)
        self.updates += 1
        self.skips = 0

    def _undo(self, result: StepResult) -> None:
        """Leave everything as before the step; the scale of float16 gradients falls if they overflow."""
        if self._scaler is not None and result.losses:
            self._scaler.update()  # no step: gradients may be finite where their norm or the total is not
        self.optimizer.zero_grad(set_to_none=True)
        self.guard.restore()
        self.skips += 1

    def _allow(self, result: StepResult, batch: Batch, trial: Trial) -> None:
        """Go on if a step may be left out, else raise."""
        overflow = self._scaler is not None and math.isfinite(result.total.item())
        if (self.non_finite == "skip" or overflow) and self.skips <= self.max_skips:
            return
        with self.fabric.autocast():
            culprits = find_culprits(trial)
        self.guard.restore()
        named = "; ".join(f"{key}: {what}" for key, what in culprits.items()) or "only their sum"
        losses = ", ".join(f"{key} {loss.item():.4g}" for key, loss in result.losses.items())
        rows = batch.ids[: batch.labelled].tolist()[:8]
        raise DivergedError(
            f"step {self.steps} is not finite ({named}; all losses: {losses}); rows {rows} of the "
            "training split; weights are those of the step before; fix: a lower optimizer/lr, optimizer/clip_norm, or "
            "a lower weight"
        )
