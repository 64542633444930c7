"""`RowQueue`: the last rows of earlier steps, as part of the state."""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["RowQueue"]


class RowQueue(nn.Module):
    """A ring buffer of the last rows that were pushed, for any number of them at a time.

    All of it is part of the state, so a resumed run goes on with the same rows. How many rows it holds is counted, not
    guessed from their values, and nothing is read back from the device.

    Args:
        size: Rows that it holds at most; may be 0.
        width: Width of a row.

    Examples:
        >>> import torch
        >>> from auxlearn_conclugen import RowQueue
        >>> queue = RowQueue(3, 1)
        >>> queue.push(torch.tensor([[1.0], [2.0]]))
        >>> queue.push(torch.tensor([[3.0], [0.0], [4.0]]), torch.tensor([True, False, True]))
        >>> queue.ordered().flatten(), int(queue.length)
        (tensor([2., 3., 4.]), 3)
    """

    rows: Tensor
    pointer: Tensor
    length: Tensor

    def __init__(self, size: int, width: int) -> None:
        super().__init__()
        if size < 0:
            raise ValueError(f"Parameter `size` should be at least 0, found {size}.")
        self.size = size
        self.register_buffer("rows", torch.zeros(size, width))
        self.register_buffer("pointer", torch.zeros((), dtype=torch.int64))
        self.register_buffer("length", torch.zeros((), dtype=torch.int64))

    @property
    def filled(self) -> Tensor:
        """Which places of `rows` hold a row: bool [size]."""
        return torch.arange(self.size, device=self.rows.device) < self.length

    @torch.no_grad()
    def push(self, rows: Tensor, valid: Tensor | None = None) -> None:
        """Add rows, the last of which stay.

        Args:
            rows: [N, width], oldest first.
            valid: Which of them to add: bool [N]; None for all.
        """
        if not self.size or not len(rows):
            return
        chosen = torch.ones(len(rows), dtype=torch.bool, device=rows.device) if valid is None else valid
        number = chosen.cumsum(0)
        total = number[-1]
        kept = chosen & (total - number < self.size)
        # What is not kept goes to a place behind the last, which is cut off.
        place = torch.where(kept, (self.pointer + number - 1) % self.size, self.size)
        padded = torch.cat([self.rows, self.rows[:1]])
        self.rows.copy_(padded.index_copy(0, place, rows.to(padded.dtype))[: self.size])
        self.pointer.copy_((self.pointer + total) % self.size)
        self.length.copy_((self.length + total).clamp(max=self.size))

    def ordered(self) -> Tensor:
        """Return the rows that it holds, oldest first; reads the length back from the device."""
        length = int(self.length)
        return self.rows.roll(-int(self.pointer), 0)[self.size - length :]
