"""`PCGrad`: each task's gradient loses its part against the gradient of another task."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

import torch
from torch import Tensor

from auxlearn.learning import Balanced, Balancer, Draws, LossKey, StepContext
from auxlearn_balancing.tasks import TaskLosses, weighted_sum

__all__ = ["PCGrad"]


class PCGrad(Balancer):
    r"""Conflicting gradients are projected onto the normal plane of one another before they are added.

    "Gradient Surgery for Multi-Task Learning" (Yu, Kumar, Gupta, Levine, Hausman, Finn,
    [arXiv 2001.06782](https://arxiv.org/abs/2001.06782), Algorithm 1): for each task $i$, beginning with
    $g_i^{PC} = g_i$, for all others $j$ in random order, wherever $g_i^{PC} \cdot g_j < 0$,

    $$ g_i^{PC} \leftarrow g_i^{PC} - \frac{g_i^{PC} \cdot g_j}{\lVert g_j \rVert^2}\, g_j. $$

    The parameters that tasks share descend along $\sum_i g_i^{PC}$, the heads by the weights of the spec. $g_i$ is the
    gradient of $\sum_v w_{iv} L_{iv}$: views of one task are added before, as they are one task to the paper. All is
    computed with coefficients on the Gramian, on the device and without a look at its values. The orders are drawn
    by name and step, the same in all processes. A task that is off in a step takes no part in it.

    Examples:
        >>> import torch
        >>> from auxlearn.learning import LossKey, StepContext
        >>> from auxlearn_balancing import PCGrad
        >>> keys = [LossKey("kind", "primary", "clean"), LossKey("puzzle", "pretext", "puzzle")]
        >>> gradients = torch.tensor([[1.0, 0.0], [-1.0, 1.0]])
        >>> step = StepContext(weights=dict.fromkeys(keys, 1.0))
        >>> balanced = PCGrad().combine(dict.fromkeys(keys, torch.ones(())), gradients @ gradients.T, step)
        >>> torch.stack(list(balanced.shared.values())) @ gradients
        tensor([0.5000, 1.5000])
    """

    needs: ClassVar[Literal["nothing", "losses", "gradients"]] = "gradients"

    def combine(self, losses: Mapping[LossKey, Tensor], gram: Tensor | None, step: StepContext) -> Balanced:
        """Return the weighted sum of `losses`, and how to add the projected gradients."""
        if gram is None:
            raise ValueError("PCGrad needs the inner products of the gradients, found none.")
        weights = {key: step.weights[key] for key in losses}
        tasks = TaskLosses(losses, step)
        count = len(tasks.tasks)
        shared = tasks.scaled(_project(tasks.gram(gram), _jointly(step.draws).permutations(count, count)))
        return Balanced(total=weighted_sum(losses, weights), weights=weights, shared=shared)


def _project(gram: Tensor, orders: Tensor) -> Tensor:
    """Return the factor of each gradient in the sum of the projected ones: [T].

    Args:
        gram: Inner products of the gradients, [T, T].
        orders: For each gradient the order in which the others are visited, [T, T].
    """
    # Row i holds the coefficients of the i-th projected gradient; all rows take their steps at once.
    made = torch.eye(len(gram), dtype=gram.dtype, device=gram.device)
    lengths = gram.diagonal()
    itself = torch.arange(len(gram), device=gram.device)
    for other in orders.unbind(1):
        products = (made * gram[other]).sum(1)
        length = lengths[other]
        against = (products < 0) & (other != itself) & (length > 0)
        step = torch.where(against, products / length.where(against, 1.0), 0.0)
        made = made.scatter_add(1, other.unsqueeze(1), -step.unsqueeze(1))
    return made.sum(0)


def _jointly(draws: Draws) -> Draws:
    """Return draws that are the same in all processes, which must agree on the gradient."""
    return Draws(seed=draws.seed, name=f"{draws.name}/pcgrad", step=draws.step, device=draws.device)
