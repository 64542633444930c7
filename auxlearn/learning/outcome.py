"""`StepResult`: what a step came to, put together from the parts in which it ran."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import attrs
import torch
from torch import Tensor

from auxlearn.calls import Wrong, calling
from auxlearn.learning.context import LossKey
from auxlearn.learning.plan import Group, Plan, Scales

__all__ = ["StepResult", "inverse_counts", "merge_results", "read_outputs"]


@attrs.frozen(eq=False, kw_only=True)
class StepResult:
    """What one step came to.

    Attributes:
        total: The sum to call `backward` on; detached where the trainer has done so.
        losses: Each loss before weighting, detached: the mean over what it counts, in all processes.
        weights: The factor of each in the total; with micro-batches the mean over them.
        metrics: Detached scalars by task and name: `"puzzle/tile_accuracy"`, of a primary task with the view that it
            was asked on, `"emotion@clean/accuracy"`; those of this process's rows, where losses are of all.
        carry: What the pretext tasks' `after_step` gets, by task.
        passes: The names of the passes that the backbone ran.
        samples: Rows of the batch.
        seconds: Duration of the step, where it was measured.
    """

    total: Tensor
    losses: Mapping[LossKey, Tensor]
    weights: Mapping[LossKey, Tensor | float]
    metrics: Mapping[str, Tensor]
    carry: Mapping[str, Mapping[str, Tensor]]
    passes: tuple[str, ...]
    samples: int
    seconds: float = 0.0


def inverse_counts(counts: Mapping[LossKey, Tensor | int], world: int = 1) -> Scales:
    """Return the factor that makes a mean of each sum: `world` over the count, 0 where nothing was counted.

    `world` makes up for the mean over processes that gradient synchronisation takes.
    """

    def inverse(count: Tensor | int) -> Tensor | float:
        if isinstance(count, int):
            return world / count if count else 0.0
        # Division by zero is infinity; two kernels, where a comparison and a choice would take four.
        return (world / count).nan_to_num(nan=math.nan, posinf=0.0)

    return {key: inverse(count) for key, count in counts.items()}


def read_outputs(plan: Plan, parts: Sequence[tuple[Group, Mapping[str, Tensor]]], *, samples: int) -> StepResult:
    """Return the dicts of `Learner.forward`, one for each group, as one result."""
    losses: dict[LossKey, Tensor] = {}
    weights: dict[LossKey, Tensor | float] = dict(plan.weights)
    metrics: dict[str, Tensor] = {}
    carry: dict[str, dict[str, Tensor]] = {
        ask.key.task: {} for group, _ in parts for ask in group.asks if ask.key.role == "pretext"
    }
    for group, out in parts:
        keys = [ask.key for ask in group.asks]
        for name, value in out.items():
            kind, _, rest = name.partition("/")
            number, _, leaf = rest.partition("/")
            if kind == "loss":
                losses[keys[int(number)]] = value.detach()
            elif kind == "weight":
                weights[keys[int(number)]] = value
            elif kind == "metric":
                key = keys[int(number)]
                metrics[f"{key.task if key.role == 'pretext' else key}/{leaf}"] = value
            elif kind == "carry":
                carry[keys[int(number)].task][leaf] = value
    totals = [out["total"] for _, out in parts if "total" in out]
    return StepResult(
        total=_sum(totals),
        losses=losses,
        weights=weights,
        metrics=metrics,
        carry=carry,
        passes=tuple(part.name for part in plan.passes),
        samples=samples,
    )


def merge_results(results: Sequence[StepResult]) -> StepResult:
    """Return the results of the micro-batches as one.

    Losses add up, weights are averaged, metrics too, over the micro-batches that have them, and carries concatenated.

    Raises:
        PluginError: If a task carries something in one micro-batch and not in another.
    """
    if len(results) == 1:
        return results[0]
    first = results[0]
    return attrs.evolve(
        first,
        total=_sum([r.total for r in results]),
        losses={key: _sum([r.losses[key] for r in results]) for key in first.losses},
        weights={key: _mean([r.weights[key] for r in results]) for key in first.weights},
        metrics={
            name: torch.stack([r.metrics[name] for r in results if name in r.metrics]).mean()
            for name in dict.fromkeys(name for r in results for name in r.metrics)
        },
        carry={task: _joined(task, [r.carry[task] for r in results]) for task in first.carry},
        samples=sum(r.samples for r in results),
    )


def _joined(task: str, carries: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Return what a task carries from its micro-batches, as one."""
    leaves = dict.fromkeys(leaf for carry in carries for leaf in carry)
    with calling("pretext", task, "loss"):
        for leaf in leaves:
            if not all(leaf in carry for carry in carries):
                fix = "fix: carry no rows (`tensor[:0]`) where there are none"
                raise Wrong(f"should carry the same in every micro-batch, `{leaf}` is missing in one; {fix}")
        return {leaf: torch.cat([carry[leaf] for carry in carries]) for leaf in leaves}


def _mean(weights: Sequence[Tensor | float]) -> Tensor | float:
    """Return the mean of the weights of one loss, of which those of the spec are floats."""
    tensors = [weight for weight in weights if isinstance(weight, Tensor)]
    if not tensors:
        return weights[0]
    return torch.stack([w if isinstance(w, Tensor) else tensors[0].new_full((), w) for w in weights]).mean()


def _sum(scalars: Sequence[Tensor]) -> Tensor:
    """Return the sum of scalars; zero for none."""
    if not scalars:
        return torch.zeros(())
    return scalars[0] if len(scalars) == 1 else torch.stack(list(scalars)).sum()
