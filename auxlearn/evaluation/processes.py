"""Whether there are other processes."""

from __future__ import annotations

import torch

__all__ = ["is_distributed"]


def is_distributed() -> bool:
    """Return whether this is one of several processes."""
    return torch.distributed.is_available() and torch.distributed.is_initialized()
