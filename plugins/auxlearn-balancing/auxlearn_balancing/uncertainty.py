"""`Uncertainty`: weights by the homoscedastic uncertainty of each task, which is learned."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import torch
from torch import Tensor, nn

from auxlearn.learning import Balanced, Balancer, LossKey, StepContext
from auxlearn_balancing.tasks import weighted_sum

__all__ = ["Uncertainty"]


class Uncertainty(Balancer):
    r"""Each task's loss over the variance of its likelihood, which is learned with the network.

    "Multi-Task Learning Using Uncertainty to Weigh Losses for Scene Geometry and Semantics" (Kendall, Gal, Cipolla,
    [arXiv 1705.07115](https://arxiv.org/abs/1705.07115)). With $s_t = \log \sigma_t^2$, which the paper recommends to
    learn for numerical stability,

    $$ L = \sum_t W_t \Big( f_t\, e^{-s_t} L_t + \frac{s_t}{2} \Big), \qquad
       f_t = \begin{cases} 1/2 & \text{squared error (equation 7)} \\ 1 & \text{cross entropy (equation 10)}
       \end{cases} $$

    Each task has one $s_t$, shared by its views: $W_t L_t = \sum_v w_{tv} L_{tv}$. The paper has no weights $W_t$.
    They scale the regulariser as well, so a weight in the spec says how much a task counts once it is balanced: where
    the gradient by $s_t$ is 0, either form has the factor $1 / (2 L_t)$ before the weight. Were the regulariser not
    scaled, the weight would cancel.

    The loss of a view brings its share $w_{tv} s_t / 2$ of the regulariser along, in the first micro-batch of a step.
    So it is counted once, whether views go backward together or one by one (`"backward": "accumulate"`), and however
    many micro-batches there are. A task that is off in a step leaves its $s_t$ alone: no gradient, no decay. Where no
    row has a label for it, there is no likelihood, so there is no regulariser: rare labels do not make a task louder.

    Losses should be positive: one that falls below 0 draws its variance to 0. The variances learn with the optimizer
    of the network; `"lr_scale": {"balance": 10}` lets them learn faster.

    Args:
        tasks: Names of the tasks.
        regression: Those whose loss is a squared error.
        initial: $s_t$ at the start.

    Examples:
        >>> import torch
        >>> from auxlearn.learning import LossKey, StepContext
        >>> from auxlearn_balancing import Uncertainty
        >>> key = LossKey("kind", "primary", "clean")
        >>> balanced = Uncertainty(["kind"]).combine({key: torch.tensor(2.0)}, None, StepContext(weights={key: 1.0}))
        >>> balanced.total.item(), balanced.weights[key].item()
        (2.0, 1.0)
    """

    def __init__(self, tasks: Sequence[str], *, regression: Collection[str] = (), initial: float = 0.0) -> None:
        super().__init__()
        unknown = [name for name in regression if name not in tasks]
        if unknown:
            raise ValueError(f"Parameter `regression` should name some of {list(tasks)}, found {unknown}.")
        self.log_variance = nn.ParameterDict({name: nn.Parameter(torch.tensor(float(initial))) for name in tasks})
        self.regression = frozenset(regression)

    def combine(self, losses: Mapping[LossKey, Tensor], gram: Tensor | None, step: StepContext) -> Balanced:
        """Return the losses over their variances, plus the regulariser."""
        weights = {key: self._factor(key.task) * step.weights[key] for key in losses}
        total = weighted_sum(losses, weights)
        if step.draws.micro == 0:
            total = total + torch.stack([self._regulariser(key, step) for key in losses]).sum()
        return Balanced(total=total, weights={key: weight.detach() for key, weight in weights.items()})

    def _regulariser(self, key: LossKey, step: StepContext) -> Tensor:
        whole: Tensor = self.log_variance[key.task] * (step.weights[key] / 2)
        return whole * (step.scales.get(key, 1.0) != 0)

    def _factor(self, task: str) -> Tensor:
        factor = torch.exp(-self.log_variance[task])
        return factor / 2 if task in self.regression else factor
