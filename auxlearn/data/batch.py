"""`Batch`: some rows of a data set on their way through a training step."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import attrs
import torch
from torch import Tensor

__all__ = ["Batch"]


def _each(tensors: Mapping[str, Tensor], change: Callable[[Tensor], Tensor]) -> dict[str, Tensor]:
    return {name: change(tensor) for name, tensor in tensors.items()}


@attrs.frozen(eq=False, kw_only=True)
class Batch:
    """Rows of a data set: what the network sees and what it should learn to say.

    Attributes:
        inputs: The tensors of each modality, rows first. An image is `{"image": [N, C, H, W]}`: uint8 as it
            comes from the data source, float in [0, 1] after augmentation.
        targets: The labels of each target, rows first.
        present: Which rows have a modality or a label: bool [N] under `"inputs/<name>"` or `"targets/<name>"`.
            A key that is absent means that all rows have it.
        ids: The index of each row in its split, int64 [N].

    Examples:
        >>> import torch
        >>> from auxlearn.data import Batch
        >>> batch = Batch(inputs={"image": torch.zeros(4, 3, 8, 8)}, ids=torch.arange(4))
        >>> batch.take(torch.tensor([2, 0])).ids.tolist()
        [2, 0]
    """

    inputs: Mapping[str, Tensor]
    targets: Mapping[str, Tensor] = attrs.field(factory=dict)
    present: Mapping[str, Tensor] = attrs.field(factory=dict)
    ids: Tensor

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def image(self) -> Tensor:
        """The images, if they are the only modality; ValueError otherwise."""
        if list(self.inputs) != ["image"]:
            raise ValueError(f"`image` should be the only modality of the batch, found {sorted(self.inputs)}.")
        return self.inputs["image"]

    @property
    def device(self) -> torch.device:
        """Where the rows are."""
        return self.ids.device

    def has(self, target: str) -> Tensor:
        """Return which rows have a label for `target`: bool [N]."""
        given = self.present.get(f"targets/{target}")
        return torch.ones(len(self), dtype=torch.bool, device=self.device) if given is None else given

    def map(self, change: Callable[[Tensor], Tensor]) -> Batch:
        """Return a batch with `change` applied to every tensor."""
        return Batch(
            inputs=_each(self.inputs, change),
            targets=_each(self.targets, change),
            present=_each(self.present, change),
            ids=change(self.ids),
        )

    def take(self, rows: Tensor | slice) -> Batch:
        """Return the batch of these rows, in this order."""
        return self.map(lambda tensor: tensor[rows])

    def split(self, parts: int) -> tuple[Batch, ...]:
        """Return `parts` batches of equal size, in order; ValueError if the rows do not divide."""
        if parts == 1:
            return (self,)
        size, rest = divmod(len(self), parts)
        if rest:
            raise ValueError(f"`parts` should divide the {len(self)} rows of the batch, found {parts}.")
        return tuple(self.take(slice(i * size, (i + 1) * size)) for i in range(parts))

    def to(self, device: Any, *, non_blocking: bool = False) -> Batch:
        """Return the batch on `device`."""
        return self if self.device == device else self.map(lambda tensor: tensor.to(device, non_blocking=non_blocking))

    def pin_memory(self) -> Batch:
        """Return the batch in page-locked memory, from which copies to a GPU can overlap with work."""
        return self.map(Tensor.pin_memory)
