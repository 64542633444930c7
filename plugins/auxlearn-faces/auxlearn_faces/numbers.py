"""Reading and writing the numbers that `choosing` found, as one tensor in the order of the task."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from auxlearn.data import Batch
from auxlearn_faces.choosing import Chosen

__all__ = ["given_rows", "read_numbers", "write_numbers"]


def read_numbers(chosen: Chosen, targets: Mapping[str, Tensor]) -> Tensor:
    """Return the numbers [N, numbers]."""
    if not chosen.places:
        return torch.stack([targets[name] for name in chosen.targets], dim=1)
    whole = targets[chosen.targets[0]]
    return torch.stack([whole[:, place] for place in chosen.places], dim=1)


def write_numbers(chosen: Chosen, numbers: Tensor) -> dict[str, Tensor]:
    """Return the targets that hold `numbers` [N, numbers]: the inverse of `read_numbers`."""
    columns = numbers.unbind(1)
    if not chosen.places:
        return dict(zip(chosen.targets, columns, strict=True))
    own = [columns[chosen.places.index(component)] for component in range(len(chosen.places))]
    return {chosen.targets[0]: torch.stack(own, dim=1)}


def given_rows(chosen: Chosen, batch: Batch) -> Tensor | None:
    """Return the rows that have all numbers, bool [N], or None if all rows have."""
    given: Tensor | None = None
    for name in chosen.targets:
        one = batch.present.get(f"targets/{name}")
        if one is not None:
            given = one if given is None else given & one
    return given
