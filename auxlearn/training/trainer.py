"""`Trainer`: optimizer steps. One call of `step` is one step, on one batch, on any number of devices."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Literal

import attrs
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.nn.utils import clip_grads_with_norm_, get_total_norm
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from auxlearn.data import Batch
from auxlearn.errors import DivergedError
from auxlearn.learning.context import LossKey
from auxlearn.learning.draws import isolated_rng
from auxlearn.learning.learner import Learner, Scales, StepResult, inverse_counts, read_outputs
from auxlearn.learning.plan import Group, Moment, Plan
from auxlearn.training.devices import FabricGather, NormAverage
from auxlearn.training.guard import Guard, Trial, find_culprits

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

    Example:
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
    ) -> None:
        self.fabric = fabric or Fabric(accelerator="cpu", devices=1)
        if channels_last:
            learner.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.learner, self.scheduler = learner, scheduler
        self.module, self.optimizer = self.fabric.setup(learner, optimizer)
        self.raw_optimizer = optimizer
        self.gather = FabricGather(self.fabric)
        self.accumulate, self.clip_norm, self.channels_last = accumulate, clip_norm, channels_last
        self.non_finite, self.max_skips = non_finite, max_skips
        self._kept = nn.ModuleDict({"backbone": learner.backbone, "primary": learner.primary})
        self.average = self._make_average(ema)
        self.guard = Guard(learner)
        self._equalise_norms = NormAverage(self.fabric, learner)
        self._parameters = [p for p in learner.parameters() if p.requires_grad]
        self.steps = 0
        self.updates = 0
        self.skips = 0

    def _make_average(self, decay: float | None) -> AveragedModel | None:
        if decay is None:
            return None
        return AveragedModel(self._kept, multi_avg_fn=get_ema_multi_avg_fn(decay), use_buffers=True)

    @property
    def scored(self) -> nn.ModuleDict:
        """What is evaluated, selected and exported, `backbone` and `primary`: the moving average if there is one."""
        if self.average is not None:
            averaged: nn.ModuleDict = self.average.module
            return averaged
        return self._kept

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
        """
        begin = time.perf_counter()
        batch = self._on_device(batch)
        moment = self.moment(epoch=epoch, progress=progress)
        self.guard.remember()
        with isolated_rng(self.fabric.device):
            micros = batch.split(self.accumulate)
            plans = tuple(self.learner.plan(m, attrs.evolve(moment, micro=i)) for i, m in enumerate(micros))
            scales = inverse_counts(self._joint_counts(plans), self.fabric.world_size)
            result = self._merge([self._backward(plan, scales, last=plan is plans[-1]) for plan in plans])
            if self._is_finite(result):
                self._update(result, moment)
            else:
                self._refuse(Trial(learner=self.learner, plans=plans, scales=scales, gather=self.gather), batch)
        self.steps += 1
        return attrs.evolve(result, seconds=time.perf_counter() - begin)

    def _on_device(self, batch: Batch) -> Batch:
        batch = batch.to(self.fabric.device, non_blocking=True)
        if not self.channels_last:
            return batch
        images = {
            name: t.contiguous(memory_format=torch.channels_last) for name, t in batch.inputs.items() if t.ndim == 4
        }
        return attrs.evolve(batch, inputs={**batch.inputs, **images})

    def _joint_counts(self, plans: Sequence[Plan]) -> Mapping[LossKey, Tensor | int]:
        """Return the terms of each loss over all micro-batches and processes."""
        counts: dict[LossKey, Tensor | int] = {}
        for plan in plans:
            for key, count in self.learner.counts(plan).items():
                counts[key] = count if key not in counts else counts[key] + count
        if self.fabric.world_size == 1 or not counts:
            return counts
        stacked = torch.stack([torch.as_tensor(c, dtype=torch.float64, device="cpu") for c in counts.values()])
        joint = self.fabric.all_reduce(stacked.to(self.fabric.device, torch.float32), reduce_op="sum")
        return dict(zip(counts, joint, strict=True))  # type: ignore[arg-type]

    def _backward(self, plan: Plan, scales: Scales, *, last: bool) -> StepResult:
        parts: list[tuple[Group, dict[str, Tensor]]] = []
        groups = self.learner.groups(plan)
        for group in groups:
            hold = not (last and group is groups[-1])
            with self.fabric.no_backward_sync(self.module, enabled=hold):
                out = self.module(group, scales, plan.weights, plan.moment, self.gather)
                self.fabric.backward(out["total"])
            parts.append((group, out | {"total": out["total"].detach()}))
        rows = sum(len(part) for part in plan.passes if part.name in ("clean", "shared"))
        return read_outputs(plan, parts, samples=rows)

    def _merge(self, results: Sequence[StepResult]) -> StepResult:
        """Return the results of the micro-batches as one: losses add up, metrics are averaged, carries concatenated."""
        if len(results) == 1:
            return results[0]
        first = results[0]
        return attrs.evolve(
            first,
            total=torch.stack([r.total for r in results]).sum(),
            losses={key: torch.stack([r.losses[key] for r in results]).sum() for key in first.losses},
            metrics={name: torch.stack([r.metrics[name] for r in results]).mean() for name in first.metrics},
            carry={
                task: {leaf: torch.cat([r.carry[task][leaf] for r in results]) for leaf in leaves}
                for task, leaves in first.carry.items()
            },
            samples=sum(r.samples for r in results),
        )

    def _is_finite(self, result: StepResult) -> bool:
        if not result.losses:
            return True
        gradients = [p.grad for p in self._parameters if p.grad is not None]
        self._norm = get_total_norm(gradients)
        # inf - inf is NaN, so one sum is finite only if every part of it is.
        finite = (self._norm + result.total).isfinite()
        if self.fabric.world_size > 1:
            finite = self.fabric.all_reduce(finite.float(), reduce_op="sum") == self.fabric.world_size  # type: ignore
        return bool(finite)

    def _update(self, result: StepResult, moment: Moment) -> None:
        if self.clip_norm is not None and result.losses:
            clip_grads_with_norm_([p for p in self._parameters if p.grad is not None], self.clip_norm, self._norm)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        if self.scheduler is not None:
            self.scheduler.step()
        self._equalise_norms()
        if self.average is not None:
            self.average.update_parameters(self._kept)
        carry = {task: {n: self.gather(t) for n, t in leaves.items()} for task, leaves in result.carry.items()}
        self.learner.after_step(carry, moment, self.gather)
        self.updates += 1
        self.skips = 0

    def _refuse(self, trial: Trial, batch: Batch) -> None:
        """Undo the step, and stop or go on as `non_finite` says."""
        self.optimizer.zero_grad(set_to_none=True)
        self.guard.restore()
        self.skips += 1
        if self.non_finite == "skip" and self.skips <= self.max_skips:
            return
        culprits = find_culprits(trial)
        self.guard.restore()
        named = "; ".join(f"{key}: {what}" for key, what in culprits.items()) or "only their sum"
        raise DivergedError(
            f"step {self.steps} is not finite ({named}); rows {batch.ids.tolist()[:8]} of the training split; "
            "weights are those of the step before; fix: a lower optimizer/lr, optimizer/clip_norm, or a lower weight"
        )
