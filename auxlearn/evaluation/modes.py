"""What every scoring needs: modules in evaluation mode for a while, and whether there are other processes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

__all__ = ["evaluating", "is_distributed"]


@contextmanager
def evaluating(*modules: nn.Module) -> Iterator[None]:
    """Put the modules into evaluation mode, and back."""
    modes = [(module, module.training) for module in modules]
    try:
        for module in modules:
            module.eval()
        yield
    finally:
        for module, mode in modes:
            module.train(mode)


def is_distributed() -> bool:
    """Return whether this is one of several processes."""
    return torch.distributed.is_available() and torch.distributed.is_initialized()
