"""`Fixed`: the weighted sum, as the spec gives the weights. `Geometric`: geometric means of losses."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import ClassVar, Literal

import torch
from torch import Tensor

from auxlearn.learning.context import LossKey, StepContext
from auxlearn.learning.interfaces import Balanced, Balancer

__all__ = ["Fixed", "Geometric"]


class Fixed(Balancer):
    r"""Total $= \sum_k w_k L_k$ with the weights of the spec, which may follow a ramp.

    A primary task that several views supervise has its weight shared equally by them: adding a view does not
    make the primary task louder.

    Examples:
        >>> import torch
        >>> from auxlearn.learning import LossKey, StepContext
        >>> from auxlearn.learning.balancing import Fixed
        >>> key = LossKey("puzzle", "pretext", "puzzle/0")
        >>> Fixed().combine({key: torch.tensor(2.0)}, None, StepContext(weights={key: 0.25})).total
        tensor(0.5000)
    """

    def combine(self, losses: Mapping[LossKey, Tensor], gram: Tensor | None, step: StepContext) -> Balanced:
        """Return the weighted sum of `losses`."""
        terms = [loss if step.weights[key] == 1 else loss * step.weights[key] for key, loss in losses.items()]
        total = terms[0]
        for term in terms[1:]:
            total = total + term
        return Balanced(total=total, weights={key: step.weights[key] for key in losses})


class Geometric(Balancer):
    r"""Geometric means of losses, weighted by the weights of the spec.

    Over `"views"`: the losses of one task on several views become their geometric mean, times the task's weight, and
    the tasks are added. With $w_{tv}$ the weight of task $t$ on view $v$ and $W_t = \sum_v w_{tv}$,

    $$ L = \sum_t W_t \prod_v L_{tv}^{w_{tv} / W_t}. $$

    It is how the later code of the first author of HMTL ([arXiv 2105.06421](https://arxiv.org/abs/2105.06421)) combines
    the supervised losses of a clean image and of its puzzles. Over `"tasks"`: the total is the geometric mean of the
    tasks, each the arithmetic mean over its views,

    $$ L = \prod_t \Big(\sum_v \frac{w_{tv}}{W_t} L_{tv}\Big)^{W_t / \sum_s W_s}, $$

    for equal weights the geometric loss of "MultiNet++: Multi-Stream Feature Aggregation and Geometric Loss Strategy
    for Multi-Task Learning" (Chennupati, Sistu, Yogamani, Rawashdeh,
    [arXiv 1904.08492](https://arxiv.org/abs/1904.08492), equation 1). It is blind to the scale of the losses.

    A geometric mean $G$ is homogeneous of degree 1, so it is the sum of the losses weighted by its own derivatives,
    $\partial G / \partial L_k = p_k G / L_k$. These are computed from the losses of all processes, taken as constants,
    and reported as the weights. So values and gradients are those of one process with all rows.
    Micro-batches (`train.accumulate`) come one after the other, so each has the mean of its own losses there, and the
    sum of these is below the geometric mean of the sums.

    A loss of exactly 0, as where no row has a label, is left out of its mean. Negative losses have no geometric mean;
    the total is then NaN.

    Args:
        over: What the means are taken over.
        eps: Losses below this count as this much, which bounds their weights.

    Examples:
        >>> import torch
        >>> from auxlearn.learning import LossKey, StepContext
        >>> from auxlearn.learning.balancing import Geometric
        >>> losses = {LossKey("kind", "primary", v): torch.tensor(x) for v, x in (("clean", 2.0), ("puzzle/0", 8.0))}
        >>> balanced = Geometric().combine(losses, None, StepContext(weights=dict.fromkeys(losses, 0.5)))
        >>> round(balanced.total.item(), 4), [round(w.item(), 4) for w in balanced.weights.values()]
        (4.0, [1.0, 0.25])
    """

    needs: ClassVar[Literal["nothing", "losses", "gradients"]] = "losses"

    def __init__(self, over: Literal["views", "tasks"] = "views", *, eps: float = 1e-8) -> None:
        super().__init__()
        if over not in {"views", "tasks"}:
            raise ValueError(f"Parameter `over` should be 'views' or 'tasks', found {over!r}.")
        if not eps > 0:
            raise ValueError(f"Parameter `eps` should be above 0, found {eps}.")
        self.over, self.eps = over, eps

    def combine(self, losses: Mapping[LossKey, Tensor], gram: Tensor | None, step: StepContext) -> Balanced:
        """Return the sum of `losses` weighted by the derivatives of the geometric means."""
        own = torch.stack([loss.detach() for loss in losses.values()])
        own = own.to(torch.promote_types(own.dtype, torch.float32))
        joint = dict(zip(losses, step.gather(own.unsqueeze(0)).mean(0).unbind(), strict=True))
        tasks: dict[tuple[str, str], dict[LossKey, float]] = {}
        for key in losses:
            tasks.setdefault(key[:2], {})[key] = step.weights[key]
        derive = self._over_views if self.over == "views" else self._over_tasks
        weights = derive(joint, list(tasks.values()))
        total = torch.stack([loss * weights[key] for key, loss in losses.items()]).sum()
        return Balanced(total=total, weights=weights)

    def _over_views(self, losses: Mapping[LossKey, Tensor], tasks: list[dict[LossKey, float]]) -> dict[LossKey, Tensor]:
        weights: dict[LossKey, Tensor] = {}
        for views in tasks:
            slopes = self._derivatives([losses[key] for key in views], list(views.values()))
            weights |= dict(zip(views, slopes * math.fsum(views.values()), strict=True))
        return weights

    def _over_tasks(self, losses: Mapping[LossKey, Tensor], tasks: list[dict[LossKey, float]]) -> dict[LossKey, Tensor]:
        sums = [math.fsum(views.values()) for views in tasks]
        means = [
            torch.stack([losses[key] * (weight / whole) for key, weight in views.items()]).sum()
            for views, whole in zip(tasks, sums, strict=True)
        ]
        slopes = self._derivatives(means, sums)
        return {
            key: slope * (weight / whole)
            for views, whole, slope in zip(tasks, sums, slopes, strict=True)
            for key, weight in views.items()
        }

    def _derivatives(self, losses: list[Tensor], weights: list[float]) -> Tensor:
        """Return the derivative of the weighted geometric mean with respect to each loss: [K]."""
        values = torch.stack(losses)
        shares = torch.tensor(weights, dtype=values.dtype).to(values.device, non_blocking=True) * (values != 0)
        shares = shares / shares.sum().clamp(min=torch.finfo(values.dtype).tiny)
        values = values.clamp(min=self.eps).where(values >= 0, torch.nan)
        return (shares * values.log()).sum().exp() * shares / values
