"""From plans to gradients: one backward pass of the total, or one of each loss for balancers that ask for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import attrs
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from auxlearn.learning.context import Gather, LossKey
from auxlearn.learning.learner import Learner
from auxlearn.learning.outcome import StepResult, merge_results, read_outputs
from auxlearn.learning.plan import Group, Plan, Scales, group_passes
from auxlearn.training.devices import mean_over_processes, sum_over_processes
from auxlearn.training.gradients import TaskGradients

__all__ = ["Backward", "PerTask", "Summed", "make_backward"]

Outputs = dict[str, Tensor]


class Backward(Protocol):
    """Leaves the gradients of a step in the parameters, the mean over all processes."""

    def __call__(self, plans: Sequence[Plan], scales: Scales) -> StepResult:
        """Run the micro-batches forward and backward; the result's losses are those of all processes."""


@attrs.frozen(eq=False)
class _Machine:
    """What both ways run on.

    Attributes:
        fabric: Devices and precision.
        learner: What learns.
        module: The learner as Fabric wrapped it, whose forward pass is the one that synchronises.
        gather: Concatenates rows over processes.
    """

    fabric: Fabric
    learner: Learner
    module: nn.Module
    gather: Gather

    def joint(self, losses: Mapping[LossKey, Tensor], *more: Tensor) -> tuple[dict[LossKey, Tensor], list[Tensor]]:
        """Return the losses of all processes and the means of further scalars, so that all of them judge alike."""
        if self.fabric.world_size == 1 or not losses:
            return dict(losses), list(more)
        own = torch.stack([*losses.values(), *more])
        means = list(sum_over_processes(self.fabric, own) / self.fabric.world_size)
        return dict(zip(losses, means, strict=False)), means[len(losses) :]


class Summed:
    """One backward pass of each group's total, synchronised with the last."""

    def __init__(self, machine: _Machine) -> None:
        self._machine = machine

    def __call__(self, plans: Sequence[Plan], scales: Scales) -> StepResult:
        """Run the micro-batches forward and backward."""
        result = merge_results([self._run(plan, scales, last=plan is plans[-1]) for plan in plans])
        losses, totals = self._machine.joint(result.losses, result.total)
        return attrs.evolve(result, total=totals[0], losses=losses)

    def _run(self, plan: Plan, scales: Scales, *, last: bool) -> StepResult:
        machine = self._machine
        parts: list[tuple[Group, Outputs]] = []
        groups = machine.learner.groups(plan)
        for group in groups:
            hold = not (last and group is groups[-1])
            with machine.fabric.no_backward_sync(machine.module, enabled=hold):  # type: ignore[arg-type]
                out = machine.module(plan.work(group, scales, machine.gather))
                machine.fabric.backward(out["total"])
            parts.append((group, _detached(out)))
        return read_outputs(plan, parts, samples=0)


class PerTask:
    """A backward pass of each loss on its own; the balancer sees their inner products and says how to add them up.

    Losses on passes of their own have graphs of their own, so all backward passes together cost what that of the sum
    does. The learner runs unwrapped, so nothing synchronises but the matrix of gradients, before it is looked at.
    """

    def __init__(self, machine: _Machine) -> None:
        self._machine = machine

    def __call__(self, plans: Sequence[Plan], scales: Scales) -> StepResult:
        """Run the micro-batches forward and backward."""
        machine = self._machine
        keys = [ask.key for ask in plans[0].asks]
        gradients = TaskGradients(machine.learner, keys, own=True)
        result = merge_results([self._run(plan, scales, gradients) for plan in plans])
        if not keys:
            return result
        if machine.learner.balancer.compares == "primary":
            gradients.set_apart([key for key in keys if key.role == "primary" and not machine.learner.watches(key)])
        mean_over_processes(machine.fabric, gradients.matrix)
        losses, _ = machine.joint(result.losses)
        balanced = machine.learner.combine_gradients(losses, gradients.gram(), plans[0])
        shared = balanced.shared or {}
        gradients.apply(shared, balanced.weights)
        mean_over_processes(machine.fabric, *gradients.own_gradients())
        return attrs.evolve(result, total=balanced.total, losses=losses, weights={**balanced.weights, **shared})

    def _run(self, plan: Plan, scales: Scales, gradients: TaskGradients) -> StepResult:
        machine = self._machine
        parts: list[tuple[Group, Outputs]] = []
        for group in group_passes(plan, fused=machine.learner.forward_mode == "fused", together=False):
            with machine.fabric.autocast():
                out = machine.learner(plan.work(group, scales, machine.gather, apart=True))
            for number, ask in enumerate(group.asks):
                gradients.add(ask.key, out[f"loss/{number}"], keep_graph=ask is not group.asks[-1])
            parts.append((group, _detached(out)))
        return read_outputs(plan, parts, samples=0)


def make_backward(fabric: Fabric, learner: Learner, module: nn.Module, gather: Gather) -> Backward:
    """Return the way that the learner's balancer needs."""
    machine = _Machine(fabric, learner, module, gather)
    return PerTask(machine) if learner.balancer.needs == "gradients" else Summed(machine)


def _detached(out: Mapping[str, Tensor]) -> Outputs:
    """Return the outputs without their graph, which would keep the activations."""
    return {name: tensor.detach() if tensor.requires_grad else tensor for name, tensor in out.items()}
