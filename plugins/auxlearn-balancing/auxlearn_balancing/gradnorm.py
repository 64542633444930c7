"""`GradNorm`: learned weights that give all tasks gradients of a common scale, larger where training is slow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from auxlearn.learning import Balanced, Balancer, LossKey, StepContext
from auxlearn_balancing.tasks import TaskLosses, weighted_sum

__all__ = ["GradNorm"]

_LEAST = 1e-3


class GradNorm(Balancer):
    r"""Weights that are learned so that all tasks train at similar rates.

    "GradNorm: Gradient Normalization for Adaptive Loss Balancing in Deep Multitask Networks" (Chen, Badrinarayanan,
    Lee, Rabinovich, [arXiv 1711.02257](https://arxiv.org/abs/1711.02257), Algorithm 1). With weights $\omega_t$, the
    norms $G_t = \lVert \nabla \omega_t L_t \rVert$, their mean $\bar G$, and the inverse training rates
    $r_t = \tilde L_t / \operatorname{mean}(\tilde L)$ of $\tilde L_t = L_t / L_t(0)$, the weights descend on
    (equations 1 and 2)

    $$ L_{\text{grad}} = \sum_t \big\lvert G_t - \bar G\, r_t^\alpha \big\rvert, $$

    where the targets $\bar G\, r_t^\alpha$ are constants, and are then scaled to add up to the number of tasks. The
    network descends on $\sum_t \omega_t L_t$.

    Differences from the paper: the gradient is that on all parameters that tasks share, not on the last shared layer
    only, since the trainer has it anyway. The weights of the spec multiply what GradNorm finds: with
    $W_t L_t = \sum_v w_{tv} L_{tv}$ the network descends on $\sum_t \omega_t W_t L_t$, while $G_t$ is measured without
    $W_t$; were it not, the weight would cancel. $\omega_t$ is kept from falling below 0.001, where the paper lets it
    become negative. The optimizer is that of the network (the paper takes another learning rate, as does
    `"lr_scale": {"balance": 25}`), and `clip_norm` holds for the gradients by $\omega$ on their own.

    A task that is off in a step, or has no row with a label (a loss of exactly 0), is left out of all means of this
    step, and its $\omega_t$ is not scaled: those of the others are, so that all still add up to the number of tasks.
    Views without such a row are left out of the means of their task. $L_t(0)$ is the first loss of a task that is not
    0, however late it starts. Losses should be positive.

    Args:
        tasks: Names of the tasks.
        alpha: Strength of the pull towards similar rates.

    Examples:
        >>> import torch
        >>> from auxlearn.learning import LossKey, StepContext
        >>> from auxlearn_balancing import GradNorm
        >>> keys = [LossKey("kind", "primary", "clean"), LossKey("puzzle", "pretext", "puzzle")]
        >>> balancer, step = GradNorm(["kind", "puzzle"]), StepContext(weights=dict.fromkeys(keys, 1.0))
        >>> balanced = balancer.combine(dict.fromkeys(keys, torch.ones(())), torch.diag(torch.tensor([9.0, 1.0])), step)
        >>> balanced.total.backward()
        >>> {name: weight.grad.item() for name, weight in balancer.weights.items()}
        {'kind': 3.0, 'puzzle': -1.0}
    """

    needs: ClassVar[Literal["nothing", "losses", "gradients"]] = "gradients"
    initial: Tensor

    def __init__(self, tasks: Sequence[str], *, alpha: float = 1.5) -> None:
        super().__init__()
        if not alpha >= 0:
            raise ValueError(f"Parameter `alpha` should be at least 0, found {alpha}.")
        self.tasks, self.alpha = tuple(tasks), alpha
        self.weights = nn.ParameterDict({name: nn.Parameter(torch.ones(())) for name in self.tasks})
        self.register_buffer("initial", torch.zeros(len(self.tasks)))  # 0: not known

    def combine(self, losses: Mapping[LossKey, Tensor], gram: Tensor | None, step: StepContext) -> Balanced:
        """Return the sum of the weighted losses, and beside it the loss by which the weights learn."""
        if gram is None:
            raise ValueError("GradNorm needs the inner products of the gradients, found none.")
        tasks = TaskLosses(losses, step, self.tasks)
        # What is off stands here without a graph, so its weight has no gradient and no optimizer moves it.
        given = zip(self.tasks, tasks.present, strict=True)
        factors = torch.stack([self.weights[name] if on else self.weights[name].detach() for name, on in given])
        weights = tasks.scaled(factors.detach())
        learned = self._distance(factors, gram, tasks)
        return Balanced(total=weighted_sum(losses, weights) + (learned - learned.detach()), weights=weights)

    def after_step(self, losses: Mapping[LossKey, Tensor], step: StepContext) -> None:
        """Keep the first losses, and let the weights add up to the number of tasks."""
        unweighted = StepContext(weights=dict.fromkeys(losses, 1.0))
        means = TaskLosses(losses, unweighted, self.tasks).means().to(self.initial.dtype)
        self.initial.copy_(torch.where(self.initial == 0, means, self.initial))
        bounded = torch.stack([self.weights[name].detach() for name in self.tasks]).clamp(min=_LEAST)
        on = (means != 0).to(bounded.dtype)
        left = (len(self.tasks) - (bounded * (1 - on)).sum()).clamp(min=_LEAST)
        scale = torch.where(on > 0, left / (bounded * on).sum().clamp(min=_LEAST), 1.0)
        for name, scaled in zip(self.tasks, bounded * scale, strict=True):
            self.weights[name].data.copy_(scaled)

    def _distance(self, factors: Tensor, gram: Tensor, tasks: TaskLosses) -> Tensor:
        """Return the paper's $L_{grad}$; its gradient by the weights is their gradient."""
        means, shares = tasks.means(), tasks.shares().to(gram.dtype)
        on = means != 0
        count = on.sum().clamp(min=1)
        norms = (shares @ gram @ shares.T).diagonal().clamp(min=0).sqrt()
        first = torch.where(self.initial == 0, means, self.initial.to(means.dtype))
        left = torch.where(on, means / first.where(on, 1.0), 0.0).clamp(min=0)
        average = left.sum() / count
        rates = torch.where(average > 0, left / average.where(average > 0, 1.0), 1.0)
        norms = factors * norms
        targets = ((norms * on).sum() / count * rates**self.alpha).detach()
        return ((norms - targets).abs() * on).sum()
