"""`CosineGate`: auxiliary gradients count where they agree with that of the primary tasks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

import torch
from torch import Tensor

from auxlearn.learning import Balanced, Balancer, LossKey, StepContext
from auxlearn_balancing.tasks import TaskLosses, weighted_sum

__all__ = ["CosineGate"]


class CosineGate(Balancer):
    r"""The gradient of each auxiliary task on the shared parameters counts by its cosine with the primary tasks'.

    "Adapting Auxiliary Losses Using Gradient Similarity" (Du, Czarnecki, Jayakumar, Farajtabar, Pascanu,
    Lakshminarayanan, [arXiv 1812.02224](https://arxiv.org/abs/1812.02224)). With $g$ the gradient of the primary
    tasks' weighted losses and $g_a$ that of an auxiliary task's, the shared parameters descend along

    $$ g + \sum_a \max(0, \cos(g, g_a))\, g_a $$

    (`"weighted"`: the rule of Proposition 1, which converges to critical points of the primary loss), or along
    $g + \sum_a [\cos(g, g_a) > 0]\, g_a$ (`"unweighted"`). No direction is worse for the primary tasks than $g$ by
    first order: its inner product with $g$ is at least $\lVert g \rVert^2$, which holds for steps of plain gradient
    descent, not for those that Adam or clipping make of it. The heads learn by the weights of the spec: only what is
    shared can be disturbed. So do modules that only pretext tasks share: gradients are compared on the parameters that
    a primary loss reaches.

    An auxiliary gradient that is orthogonal to the primary tasks' does not count in either mode; by first order it is
    neither better nor worse for them.

    The paper has one auxiliary task; here each is judged on its own. Several primary tasks judge together, by the sum
    of their weighted gradients. In a step without a primary loss, or with one whose gradient is 0 (no row with a
    label), there is nothing to agree with, and the auxiliary tasks count by their weights.

    Args:
        mode: `"weighted"` or `"unweighted"`.

    Examples:
        >>> import torch
        >>> from auxlearn.learning import LossKey, StepContext
        >>> from auxlearn_balancing import CosineGate
        >>> keys = [LossKey("kind", "primary", "clean"), LossKey("a", "pretext", "a"), LossKey("b", "pretext", "b")]
        >>> gradients = torch.tensor([[1.0, 0.0], [3.0, 4.0], [-1.0, 1.0]])
        >>> step = StepContext(weights=dict.fromkeys(keys, 1.0))
        >>> balanced = CosineGate().combine(dict.fromkeys(keys, torch.ones(())), gradients @ gradients.T, step)
        >>> [round(weight.item(), 3) for weight in balanced.shared.values()]
        [1.0, 0.6, 0.0]
    """

    needs: ClassVar[Literal["nothing", "losses", "gradients"]] = "gradients"
    compares: ClassVar[Literal["shared", "primary"]] = "primary"

    def __init__(self, mode: Literal["weighted", "unweighted"] = "weighted") -> None:
        super().__init__()
        if mode not in {"weighted", "unweighted"}:
            raise ValueError(f"Parameter `mode` should be 'weighted' or 'unweighted', found {mode!r}.")
        self.mode = mode

    def combine(self, losses: Mapping[LossKey, Tensor], gram: Tensor | None, step: StepContext) -> Balanced:
        """Return the weighted sum of `losses`, and how much of each gradient the shared parameters follow."""
        if gram is None:
            raise ValueError("CosineGate needs the inner products of the gradients, found none.")
        weights = {key: step.weights[key] for key in losses}
        tasks = TaskLosses(losses, step)
        shared = tasks.scaled(self._gates(tasks.gram(gram), tasks.mask(tasks.primary)))
        return Balanced(total=weighted_sum(losses, weights), weights=weights, shared=shared)

    def _gates(self, gram: Tensor, primary: Tensor) -> Tensor:
        """Return the factor of each task's gradient: [T]."""
        reference = primary.to(gram.dtype)
        products = gram @ reference
        length = (reference @ products).clamp(min=0).sqrt()
        if self.mode == "unweighted":
            gates = (products > 0).to(gram.dtype)
        else:
            lengths = gram.diagonal().clamp(min=0).sqrt() * length
            gates = torch.where(lengths > 0, products / lengths.where(lengths > 0, 1.0), 0.0).clamp(0, 1)
        return torch.where(primary | (length == 0), 1.0, gates)
