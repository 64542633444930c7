"""What a balancer makes of the losses of a step, with those of the probes, which it does not see, beside it."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import torch
from torch import Tensor

from auxlearn.learning.asking import ask_balancer
from auxlearn.learning.balancing import Fixed
from auxlearn.learning.context import LossKey, StepContext
from auxlearn.learning.interfaces import Balanced, Balancer

__all__ = ["combine_gradients", "combine_losses", "constant"]


def combine_losses(
    balancer: Balancer, losses: Mapping[LossKey, Tensor], watching: Collection[LossKey], step: StepContext
) -> Balanced:
    """Return the balancer's total of `losses` plus the weighted sum of those that only watch."""
    learned = {key: loss for key, loss in losses.items() if key not in watching}
    watched = {key: loss for key, loss in losses.items() if key in watching}
    if not watched:
        return ask_balancer(balancer, learned, None, step)
    added = Fixed().combine(watched, None, step)
    if not learned:
        return added
    balanced = ask_balancer(balancer, learned, None, step)
    return Balanced(total=balanced.total + added.total, weights={**balanced.weights, **added.weights})


def combine_gradients(
    balancer: Balancer,
    losses: Mapping[LossKey, Tensor],
    watching: Collection[LossKey],
    gram: Tensor,
    step: StepContext,
) -> Balanced:
    """Return how to combine the gradients of `losses`; the balancer's own parameters have theirs afterwards.

    Args:
        balancer: One that needs gradients.
        losses: The mean of each loss over all processes, detached.
        watching: Those that only watch.
        gram: The inner products of the gradients of all of them on the shared parameters.
        step: What the balancer may know.

    Returns:
        The total; the `weights` of the gradients on the parameters of single tasks; and the `shared` ones.
    """
    watched = {key: step.weights[key] for key in losses if key in watching}
    leaves = {key: loss.clone().requires_grad_() for key, loss in losses.items() if key not in watching}
    total = sum((losses[key] * weight for key, weight in watched.items()), torch.zeros_like(gram[0, 0]))
    if not leaves:
        return Balanced(total=total, weights=watched, shared={})
    if watched:
        kept = torch.tensor([number for number, key in enumerate(losses) if key not in watching])
        kept = kept.to(gram.device, non_blocking=True)
        gram = gram.index_select(0, kept).index_select(1, kept)
    balanced = ask_balancer(balancer, leaves, gram, step)
    parameters = [p for p in balancer.parameters() if p.requires_grad]
    slopes = torch.autograd.grad(balanced.total, [*leaves.values(), *parameters], allow_unused=True)
    for parameter, slope in zip(parameters, slopes[len(leaves) :], strict=True):
        parameter.grad = slope
    own = {key: 0.0 if slope is None else slope for key, slope in zip(leaves, slopes, strict=False)}
    shared = own if balanced.shared is None else balanced.shared
    return Balanced(
        total=balanced.total.detach() + total,
        weights={**own, **watched},
        shared=constant(shared, step.weights, gram),
    )


def constant(
    weights: Mapping[LossKey, Tensor | float], spec: Mapping[LossKey, float], like: Tensor
) -> dict[LossKey, Tensor | float]:
    """Return weights without a graph: tensors with the type and on the device of `like`, floats if they are the spec's.

    A weight of the spec is known already; what differs from it is for the records, which look at tensors.
    """

    def one(key: LossKey, weight: Tensor | float) -> Tensor | float:
        if isinstance(weight, Tensor):
            return weight.detach()
        return weight if weight == spec.get(key) else like.detach().new_full((), weight)

    return {key: one(key, weight) for key, weight in weights.items()}
