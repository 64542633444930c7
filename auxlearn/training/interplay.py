"""What the losses do to each other: how the gradients of two tasks stand on the parameters that they share."""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor

from auxlearn.learning.context import Gather, LossKey
from auxlearn.learning.learner import Learner
from auxlearn.learning.plan import Plan, Scales
from auxlearn.training.devices import mean_over_processes
from auxlearn.training.gradients import TaskGradients, stacked
from auxlearn.training.guard import Guard

__all__ = ["Interplay", "Opposition"]

_LINES = 10  # lines of the log that a judgement rests on
_ERRORS = 5  # standard errors: by chance in one judgement of 2,700, as Student's t with nine degrees of freedom has it


class Interplay:
    r"""Measures, for each pair of tasks, the cosine of their gradients and the ratio of the norms.

    The gradient of a task is the weighted sum over its views, $g_t = \sum_v w_{tv} \nabla L_{tv}$, over all processes
    and micro-batches. With the weights of the spec, its cosine to another task's tells whether they pull the shared
    parameters the same way, 1, or against each other, -1 ("Adapting Auxiliary Losses Using Gradient Similarity", Du et
    al., [arXiv 1812.02224](https://arxiv.org/abs/1812.02224)); with those that the balancer gave the step, the ratio of
    the norms tells which of them is heard.

    The step is computed once more for it, each loss with a backward pass of its own. Its randomness is derived and
    BatchNorm's statistics are put back, so what is learned does not depend on being watched, bit for bit.

    Args:
        fabric: Devices and precision.
        learner: What is watched.
        gather: Concatenates rows over processes.
    """

    def __init__(self, fabric: Fabric, learner: Learner, gather: Gather) -> None:
        self._fabric, self._learner, self._gather = fabric, learner, gather
        self._guard = Guard(learner)

    def measure(
        self, plans: Sequence[Plan], scales: Scales, weights: Mapping[LossKey, Tensor | float]
    ) -> dict[str, Tensor]:
        """Return `<task>/cosine/<other>` and `<task>/norm_ratio/<other>`, the other one being first in the spec.

        Each pair is measured on the parameters that both tasks reach; two that share none have no numbers.

        Args:
            plans: The micro-batches of a step.
            scales: What makes a mean of each loss's sum.
            weights: The factor that the balancer gave each loss's gradient.
        """
        keys = [ask.key for ask in plans[0].asks if not self._learner.watches(ask.key)]
        on = {key.task for key in keys}
        tasks = [name for name in (*self._learner.primary, *self._learner.pretext) if name in on]
        if len(tasks) < 2:
            return {}
        gradients = TaskGradients(self._learner, keys, own=False)
        self._guard.remember()
        for plan in plans:
            self._add(plan, scales, gradients)
        self._guard.restore()
        mean_over_processes(self._fabric, gradients.matrix)
        parts = [({key.task for key in reach}, gram) for reach, gram in gradients.grams()]
        found: dict[str, Tensor] = {}
        for first, second in itertools.combinations(tasks, 2):
            grams = [gram for reach, gram in parts if {first, second} <= reach]
            if grams:
                gram = torch.stack(grams).sum(0)
                asked, heard = (_by_task(keys, (first, second), each, gram) for each in (plans[0].weights, weights))
                found[f"{second}/cosine/{first}"] = _cosine(asked)
                found[f"{second}/norm_ratio/{first}"] = _ratio(heard)
        return found

    def _add(self, plan: Plan, scales: Scales, gradients: TaskGradients) -> None:
        for group in self._learner.groups(plan):
            with self._fabric.autocast():
                out = self._learner(plan.work(group, scales, self._gather, apart=True))
            for number, ask in enumerate(group.asks):
                if not self._learner.watches(ask.key):
                    gradients.add(ask.key, out[f"loss/{number}"], keep_graph=ask is not group.asks[-1])


def _by_task(
    keys: Sequence[LossKey], tasks: Sequence[str], weights: Mapping[LossKey, Tensor | float], gram: Tensor
) -> Tensor:
    """Return the inner products of the tasks' weighted gradients: [T, T]."""
    belongs = torch.tensor([[float(key.task == task) for key in keys] for task in tasks], dtype=gram.dtype)
    shares = belongs.to(gram.device, non_blocking=True) * stacked([weights[key] for key in keys], gram)
    return shares @ gram @ shares.T


def _cosine(gram: Tensor) -> Tensor:
    """Return the cosine of two vectors from their inner products [2, 2]; 0 if one of them is 0."""
    norms = gram.diagonal().clamp(min=0).sqrt()
    return (gram[0, 1] / norms.prod().clamp(min=torch.finfo(gram.dtype).tiny)).clamp(-1, 1)


def _ratio(gram: Tensor) -> Tensor:
    """Return the norm of the second vector over that of the first; 0 if the second is 0."""
    norms = gram.diagonal().clamp(min=0).sqrt()
    return norms[1] / norms[0].clamp(min=torch.finfo(gram.dtype).tiny)


class Opposition:
    """Notices a pretext task that pulls against a primary task for long: negative transfer, as it happens.

    Each ten lines of the log are judged, no line twice. A pair is told once, when the mean cosine of such lines is
    below zero by more than five standard errors: a long run is judged often, and should not be warned by chance.

    Args:
        primary: Names of the primary tasks.
        pretext: Names of the pretext tasks.
    """

    def __init__(self, primary: Sequence[str], pretext: Sequence[str]) -> None:
        self._pairs = list(itertools.product(primary, pretext))
        self._seen: dict[tuple[str, str], list[tuple[int, float]]] = {pair: [] for pair in self._pairs}
        self._told: set[tuple[str, str]] = set()

    def take(self, line: Mapping[str, Any]) -> Iterator[str]:
        """Take in a line of `metrics.jsonl`, and yield what a person should know."""
        for first, second in self._pairs:
            cosine = line.get(f"{second}/cosine/{first}")
            if cosine is None:
                continue
            seen = self._seen[first, second]
            seen.append((line["step"], cosine))
            if len(seen) < _LINES:
                continue
            self._seen[first, second] = []
            if (first, second) not in self._told and _opposed([value for _, value in seen]):
                self._told.add((first, second))
                mean = statistics.fmean(value for _, value in seen)
                yield (
                    f'warning: the gradients of "{second}" pull against those of "{first}" (mean cosine {mean:.2f}, '
                    f'steps {seen[0][0]} to {seen[-1][0]}); if "{first}" suffers, try a lower weight, '
                    '"view": "own", or the balancer "cosine_gate"'
                )


def _opposed(cosines: Sequence[float]) -> bool:
    error = statistics.stdev(cosines) / math.sqrt(len(cosines))
    return statistics.fmean(cosines) + _ERRORS * error < 0
