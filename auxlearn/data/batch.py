"""`Batch`: some rows of a data set on their way through a training step."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import attrs
import torch
from torch import Tensor

__all__ = ["Batch"]


def _each(tensors: Mapping[str, Tensor], change: Callable[[Tensor], Tensor]) -> dict[str, Tensor]:
    return {name: change(tensor) for name, tensor in tensors.items()}


def _read_only(tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    return tensors if isinstance(tensors, MappingProxyType) else MappingProxyType(tensors)


@attrs.frozen(eq=False, kw_only=True)
class Batch:
    """Rows of a data set: what the network sees and what it should learn to say.

    Several tasks are given the same batch, so its mappings are read-only; `attrs.evolve` makes another batch.

    Where the data has a second, unlabelled stream, its rows stand behind the labelled ones. `labelled` is then the
    number of the first, on the host, so that both are slices of fixed size; and what there is of targets, in
    `targets` and in `present`, has the labelled rows only.

    Attributes:
        inputs: The tensors of each modality, rows first. An image is `{"image": [N, C, H, W]}`: uint8 as it
            comes from the data source, float in [0, 1] after augmentation.
        targets: The labels of each target, rows first: [N], or [labelled].
        present: Which rows have a modality or a label: bool [N] under `"inputs/<name>"`, [N] or [labelled] under
            `"targets/<name>"`. A key that is absent means that all of them have it.
        ids: The index of each row in its split, int64 [N].
        labelled: How many rows, the first, are of the labelled stream; None if there is no other.

    Examples:
        >>> import torch
        >>> from auxlearn.data import Batch
        >>> batch = Batch(inputs={"image": torch.zeros(4, 3, 8, 8)}, ids=torch.arange(4))
        >>> batch.take(torch.tensor([2, 0])).ids.tolist()
        [2, 0]
    """

    inputs: Mapping[str, Tensor] = attrs.field(converter=_read_only)
    targets: Mapping[str, Tensor] = attrs.field(factory=dict, converter=_read_only)
    present: Mapping[str, Tensor] = attrs.field(factory=dict, converter=_read_only)
    ids: Tensor
    labelled: int | None = None

    def __len__(self) -> int:
        return len(self.ids)

    def __reduce__(self) -> tuple[Any, ...]:
        """Return how to make it again: what makes a mapping read-only cannot be pickled or copied."""
        given = {"inputs": dict(self.inputs), "targets": dict(self.targets), "present": dict(self.present)}
        return _again, ({**given, "ids": self.ids, "labelled": self.labelled},)

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

    @property
    def parts(self) -> tuple[int, ...]:
        """Labelled and unlabelled rows; empty if there is no unlabelled stream."""
        return () if self.labelled is None else (self.labelled, len(self) - self.labelled)

    def has(self, target: str) -> Tensor:
        """Return which rows have a label for `target`: bool [N], or [labelled]."""
        given = self.present.get(f"targets/{target}")
        rows = len(self) if self.labelled is None else self.labelled
        return torch.ones(rows, dtype=torch.bool, device=self.device) if given is None else given

    def map(self, change: Callable[[Tensor], Tensor]) -> Batch:
        """Return a batch with `change`, which keeps rows as they are, applied to every tensor."""
        return self._map(change, change, self.labelled)

    def _map(self, every: Callable[[Tensor], Tensor], known: Callable[[Tensor], Tensor], labelled: int | None) -> Batch:
        """Return a batch of `labelled` with `known` applied to what there is of targets, `every` to the rest."""
        return Batch(
            inputs=_each(self.inputs, every),
            targets=_each(self.targets, known),
            present={n: (known if n.startswith("targets/") else every)(mask) for n, mask in self.present.items()},
            ids=every(self.ids),
            labelled=labelled,
        )

    def take(self, rows: Tensor | slice, *, labelled: int = 0) -> Batch:
        """Return the batch of these rows, in this order.

        Args:
            rows: Their numbers. A slice has step 1 if there are unlabelled rows.
            labelled: How many of the numbers in a tensor, which must be the first, are those of labelled rows; the
                others come without their targets. It says nothing where there is no unlabelled stream.
        """
        if self.labelled is None:
            return self.map(lambda tensor: tensor[rows])
        if isinstance(rows, slice):
            first, last, step = rows.indices(len(self))
            if step != 1:
                raise ValueError(f"`rows` of a batch with unlabelled rows should be a slice of step 1, found {rows}.")
            known = slice(first, max(first, min(last, self.labelled)))
            return self._taken(rows, known, known.stop - known.start, max(0, last - first))
        return self._taken(rows, rows[:labelled], labelled, len(rows))

    def _taken(self, rows: Tensor | slice, known: Tensor | slice, labelled: int, total: int) -> Batch:
        whole = None if labelled == total else labelled
        return self._map(lambda tensor: tensor[rows], lambda tensor: tensor[known], whole)

    def repeat(self, times: int) -> Batch:
        """Return the batch with each row so many times, one after the other."""
        if times == 1:
            return self

        def repeated(tensor: Tensor) -> Tensor:
            return tensor.repeat_interleave(times, 0)

        return self._map(repeated, repeated, None if self.labelled is None else self.labelled * times)

    def split(self, parts: int) -> tuple[Batch, ...]:
        """Return `parts` batches of equal size, in order, each with its share of either stream.

        Raises:
            ValueError: If the rows do not divide.
        """
        if parts == 1:
            return (self,)
        known, other = self.parts or (len(self), 0)
        if known % parts or other % parts:
            found = f"{len(self)} rows" if self.labelled is None else f"{known} labelled and {other} other rows"
            raise ValueError(f"`parts` should divide the {found} of the batch, found {parts}.")
        size, more = known // parts, other // parts
        if not more:
            return tuple(self.take(slice(i * size, (i + 1) * size)) for i in range(parts))
        shares = (
            torch.cat([torch.arange(i * size, (i + 1) * size), known + torch.arange(i * more, (i + 1) * more)])
            for i in range(parts)
        )
        return tuple(self.take(rows.to(self.device, non_blocking=True), labelled=size) for rows in shares)

    def to(self, device: Any, *, non_blocking: bool = False) -> Batch:
        """Return the batch on `device`."""
        return self if self.device == device else self.map(lambda tensor: tensor.to(device, non_blocking=non_blocking))

    def pin_memory(self) -> Batch:
        """Return the batch in page-locked memory, from which copies to a GPU can overlap with work."""
        return self.map(Tensor.pin_memory)


def _again(fields: Mapping[str, Any]) -> Batch:
    return Batch(**fields)
