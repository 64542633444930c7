"""`TorchJD`: an aggregator of TorchJD as a balancer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torchjd import aggregation

from auxlearn.learning import Balanced, Balancer, LossKey, StepContext
from auxlearn_balancing import TaskLosses, weighted_sum
from auxlearn_torchjd.projector import NonNegativeProjector

__all__ = ["TorchJD", "make_weighting"]

# Those that undo the scale of a gradient, or more than undo it: a task of half the weight would not be half as loud.
_UNDOING = frozenset({"MGDA", "IMTLG", "AlignedMTL", "FairGrad"})


class TorchJD(Balancer):
    r"""The gradients of the tasks on what they share are combined by an aggregator of TorchJD.

    TorchJD: "Jacobian Descent For Multi-Objective Optimization" (Quinton, Rey,
    [arXiv 2406.16232](https://arxiv.org/abs/2406.16232)); its
    [documentation](https://torchjd.org/stable/docs/aggregation/) names the paper of each aggregator. These see a matrix
    whose rows are the gradients of the tasks' losses $\sum_v w_{tv} L_{tv}$ by the weights of the spec, or rather the
    inner products of its rows, from which they compute one factor for each row. Parameters of single tasks learn by
    the weights of the spec.

    `MGDA`, `IMTLG`, `AlignedMTL` and `FairGrad` undo the scale of a gradient, `MGDA` more than that: with two
    orthogonal gradients of norms 1 and 0.1, the smaller one gets a share of 0.99. So that a weight still says how much
    a task counts, they see the rows $\sum_v w_{tv} L_{tv} / W_t$ with $W_t = \sum_v w_{tv}$, and $W_t$ multiplies the
    factor that they find. With weights other than 1 the direction is no longer the one of their papers: that of `MGDA`
    may oppose a task.

    Most aggregators give a convex combination, or what begins as the mean: with T tasks the shared parameters then get
    gradients T times smaller than those of the weighted sum. Only `Sum` and `PCGrad` keep their scale.

    Tasks that are off in a step take no part in it; a preference vector is cut to those that do. What an aggregator
    draws is seeded by name and step, the same in all processes. All of them compute on the host, so a GPU is waited
    for once a step. A matrix with a value that is not finite has factors that are not, for the trainer to see.

    Args:
        aggregator: The name of its class in `torchjd.aggregation`.
        tasks: Names of the tasks, in the order of `pref_vector`.
        pref_vector: What each task counts; None for all the same.
        settings: Further settings of the aggregator.

    Examples:
        >>> import torch
        >>> from auxlearn.learning import LossKey, StepContext
        >>> from auxlearn_torchjd import TorchJD
        >>> keys = [LossKey("kind", "primary", "clean"), LossKey("puzzle", "pretext", "puzzle")]
        >>> gradients = torch.tensor([[1.0, 0.0], [-1.0, 1.0]])
        >>> step = StepContext(weights=dict.fromkeys(keys, 1.0))
        >>> balancer = TorchJD("MGDA", ["kind", "puzzle"])
        >>> balanced = balancer.combine(dict.fromkeys(keys, torch.ones(())), gradients @ gradients.T, step)
        >>> torch.stack(list(balanced.shared.values())) @ gradients
        tensor([0.2000, 0.4000])
    """

    needs: ClassVar[Literal["nothing", "losses", "gradients"]] = "gradients"

    def __init__(
        self, aggregator: str, tasks: Sequence[str], *, pref_vector: Sequence[float] | None = None, **settings: Any
    ) -> None:
        super().__init__()
        self.tasks = tuple(tasks)
        self.preferences = None if pref_vector is None else dict(zip(self.tasks, pref_vector, strict=True))
        self.weighted = aggregator not in _UNDOING
        self.weighting = make_weighting(aggregator, **settings)

    def combine(self, losses: Mapping[LossKey, Tensor], gram: Tensor | None, step: StepContext) -> Balanced:
        """Return the weighted sum of `losses`, and the aggregator's combination of their gradients."""
        if gram is None:
            raise ValueError("TorchJD needs the inner products of the gradients, found none.")
        weights = {key: step.weights[key] for key in losses}
        tasks = TaskLosses(losses, step)
        matrix = tasks.gram(gram, weighted=self.weighted).detach().cpu()
        with step.draws.seeded(joint=True):
            factors = self._factors(matrix, tasks.tasks)
        shared = tasks.scaled(factors.to(gram.device, non_blocking=True))
        return Balanced(total=weighted_sum(losses, weights), weights=weights, shared=shared)

    def _factors(self, matrix: Tensor, tasks: Sequence[str]) -> Tensor:
        if not matrix.isfinite().all():
            return torch.full_like(matrix[0], torch.nan)
        if self.preferences is not None:
            preferences = [self.preferences[name] for name in tasks]
            self.weighting.pref_vector = torch.tensor(preferences, dtype=matrix.dtype)
        factors: Tensor = self.weighting(matrix)
        return factors


def make_weighting(aggregator: str, **settings: Any) -> nn.Module:
    """Return the weighting of an aggregator: from a Gramian, [m, m], to a factor for each row, [m].

    Args:
        aggregator: The name of its class in `torchjd.aggregation`.
        settings: Its settings. `norm_eps` and `reg_eps` of UPGrad and DualProj are those of the projection.

    Examples:
        >>> import torch
        >>> from auxlearn_torchjd import make_weighting
        >>> make_weighting("Mean")(torch.eye(2))
        tensor([0.5000, 0.5000])
    """
    if aggregator in {"UPGrad", "DualProj"}:
        settings = {"projector": NonNegativeProjector(**settings)}
    weighting: nn.Module = getattr(aggregation, f"{aggregator}Weighting")(**settings)
    return weighting
