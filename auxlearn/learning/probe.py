"""Probes: primary tasks that watch a network in training without any influence on it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import Tensor, nn

from auxlearn.learning.features import Features
from auxlearn.learning.modes import evaluating

__all__ = ["detached", "watching"]


def detached(features: Features) -> Features:
    """Return the features without their graph: what reads them sends nothing back."""
    return Features({name: part.map(Tensor.detach) for name, part in features.items()})


@contextmanager
def watching(module: nn.Module) -> Iterator[None]:
    """Let `module` be used as in evaluation, without a graph to its parameters, and leave no trace of it.

    Parameters that need no gradient are not cached by autocast either; under `no_grad` they would be, and the passes
    after it would be without gradients.
    """
    parameters = [p for p in module.parameters() if p.requires_grad]
    for parameter in parameters:
        parameter.requires_grad_(False)
    try:
        with evaluating(module):
            yield
    finally:
        for parameter in parameters:
            parameter.requires_grad_(True)
