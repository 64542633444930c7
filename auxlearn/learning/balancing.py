"""`Fixed`: the weighted sum, as the spec gives the weights."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from auxlearn.learning.context import LossKey, StepContext
from auxlearn.learning.interfaces import Balanced, Balancer

__all__ = ["Fixed"]


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
