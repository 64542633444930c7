"""Modules in evaluation mode for a while."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn

__all__ = ["evaluating"]


@contextmanager
def evaluating(*modules: nn.Module) -> Iterator[None]:
    """Put the modules into evaluation mode, and every part of them back into its own: some stay in evaluation mode."""
    wholes = [(module, module.training) for module in modules]
    parts = [(part, part.training) for module in modules for part in module.modules()]
    try:
        for module in modules:
            module.eval()
        yield
    finally:
        for module, mode in wholes:
            module.train(mode)  # which some override to do more
        for part, mode in parts:
            part.training = mode
