"""`TaskGradients`: the gradient of each loss on its own, on the parameters that the tasks share and on the others."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterator, Mapping, Sequence

import torch
from torch import Tensor

from auxlearn.learning.context import LossKey
from auxlearn.learning.learner import Learner

__all__ = ["TaskGradients", "stacked"]


class TaskGradients:
    """Collects the gradient of each loss over groups and micro-batches.

    The gradients on the shared parameters, those of the backbone and of the modules that several tasks use, are the
    rows of one matrix J, so that their inner products are J Jᵀ, their combination is a product as well, and all of it
    is one tensor to reduce over processes. Rows are laid out as the parameters are in memory, so that neither filling
    J nor using its combination as gradients turns anything around.

    Args:
        learner: Whose parameters.
        keys: The losses.
        own: Keep the gradients on the parameters that belong to one task as well.
    """

    def __init__(self, learner: Learner, keys: Sequence[LossKey], *, own: bool) -> None:
        shared = [*learner.backbone.parameters(), *learner.shared.parameters()]
        self._shared = [p for p in shared if p.requires_grad]
        known = {id(p) for p in shared} | {id(p) for p in learner.balancer.parameters()}
        self._own = [p for p in learner.parameters() if p.requires_grad and id(p) not in known] if own else []
        self._row = {key: number for number, key in enumerate(keys)}
        self._ends = [0, *itertools.accumulate(p.numel() for p in self._shared)]
        parameters = self._shared or self._own or list(learner.parameters())
        dtype = torch.promote_types(torch.float32, parameters[0].dtype)
        self.matrix = torch.zeros(len(keys), self._ends[-1], dtype=dtype, device=parameters[0].device)
        self._places = [self._laid_out(row) for row in self.matrix]
        self._reached: dict[LossKey, set[int]] = {key: set() for key in keys}
        self._found: dict[LossKey, dict[int, Tensor]] = {key: {} for key in keys}

    def add(self, key: LossKey, loss: Tensor, *, keep_graph: bool) -> None:
        """Add the gradient of `loss`, a part of the loss `key`."""
        wanted = [*self._shared, *self._own]
        if not wanted or not loss.requires_grad:
            return
        found = torch.autograd.grad(loss, wanted, retain_graph=keep_graph, allow_unused=True)
        pairs = [(number, g.detach()) for number, g in enumerate(found) if g is not None]
        split = len(self._shared)
        places = self._places[self._row[key]]
        joint = [(number, g) for number, g in pairs if number < split]
        if joint:
            self._reached[key].update(number for number, _ in joint)
            torch._foreach_add_([places[number] for number, _ in joint], [g.to(self.matrix.dtype) for _, g in joint])
        kept = self._found[key]
        for number, gradient in pairs[len(joint) :]:
            kept[number - split] = kept[number - split] + gradient if number - split in kept else gradient

    def set_apart(self, judges: Collection[LossKey]) -> None:
        """Count the shared parameters that no loss of `judges` reaches as those of single tasks from now on.

        Where these reach none at all, there is nothing to compare, and everything stays as it is.
        """
        known = {number for key in judges for number in self._reached[key]}
        if not known:
            return
        apart = sorted(set().union(*self._reached.values()) - known)
        places = {number: len(self._own) + place for place, number in enumerate(apart)}
        self._own += [self._shared[number] for number in apart]
        for key, reached in self._reached.items():
            for number in [number for number in apart if number in reached]:
                gradient = self._places[self._row[key]][number]
                self._found[key][places[number]] = gradient.to(self._shared[number].dtype, copy=True)
                gradient.zero_()
            reached.intersection_update(known)

    def gram(self) -> Tensor:
        """Return the inner products of the gradients on the shared parameters: [K, K], in the order of the losses."""
        return self.matrix @ self.matrix.T

    def grams(self) -> Iterator[tuple[set[LossKey], Tensor]]:
        """Yield the inner products in parts that add up: the losses that reach some parameters, and those there."""
        reaching = [
            {key for key, found in self._reached.items() if number in found} for number in range(len(self._shared))
        ]
        for reach, run in itertools.groupby(range(len(reaching)), key=reaching.__getitem__):
            numbers = list(run)
            part = self.matrix[:, self._ends[numbers[0]] : self._ends[numbers[-1] + 1]]
            yield reach, part @ part.T

    def apply(self, shared: Mapping[LossKey, Tensor | float], own: Mapping[LossKey, Tensor | float]) -> None:
        """Let every parameter's gradient be the sum over the losses, weighted; None where no loss reaches it.

        Args:
            shared: The weights on the parameters that the tasks share; 0 for losses that are not named.
            own: The weights on the others.
        """
        weights = stacked([shared.get(key, 0.0) for key in self._row], self.matrix)
        combined = self._laid_out(weights @ self.matrix)
        for number in set().union(*self._reached.values()):
            parameter = self._shared[number]
            parameter.grad = combined[number].to(parameter.dtype)
        for key, found in self._found.items():
            for number, gradient in found.items():
                parameter = self._own[number]
                part = gradient * own[key]
                parameter.grad = part if parameter.grad is None else parameter.grad + part

    def own_gradients(self) -> list[Tensor]:
        """Return what `apply` has left on the parameters of single tasks."""
        return [p.grad for p in self._own if p.grad is not None]

    def _laid_out(self, row: Tensor) -> list[Tensor]:
        """Return views of a row with the shapes of the shared parameters and their order in memory."""
        return [
            row[begin:end].as_strided(p.shape, _strides(p), row.storage_offset() + begin)
            for p, (begin, end) in zip(self._shared, itertools.pairwise(self._ends), strict=True)
        ]


def stacked(weights: Sequence[Tensor | float], like: Tensor) -> Tensor:
    """Return scalars as one tensor with the type and on the device of `like`, which is not waited for."""
    return torch.stack([w.to(like) if isinstance(w, Tensor) else like.new_full((), w) for w in weights])


def _strides(parameter: Tensor) -> tuple[int, ...]:
    """Return the strides of a parameter if its elements fill its memory, else those of a copy that would."""
    formats = {4: torch.channels_last, 5: torch.channels_last_3d}
    dense = parameter.is_contiguous() or (
        parameter.ndim in formats and parameter.is_contiguous(memory_format=formats[parameter.ndim])
    )
    return parameter.stride() if dense else torch.empty(parameter.shape, device="meta").stride()
