"""What the tasks on several modalities have in common: which rows have which modality."""

from __future__ import annotations

from abc import ABC
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from auxlearn.data import Batch
from auxlearn.learning import Draws, Features, Motion, PretextTask, View

__all__ = ["MultimodalTask"]


class MultimodalTask(PretextTask, ABC):
    """A task on the clean features of several modalities, of which each row may lack some.

    Args:
        modalities: The modalities of the backbone that it is about, each with the inputs that it is made of. A row has
            a modality if it has all of them.
    """

    def __init__(self, modalities: Mapping[str, Sequence[str]]) -> None:
        super().__init__()
        self.modalities = {name: tuple(inputs) for name, inputs in modalities.items()}

    def views(self, batch: Batch, draws: Draws) -> tuple[View, ...]:
        """Return the batch as it is, with what it lacks."""
        motion = Motion.still(len(batch), batch.device)
        return (View(inputs=batch.inputs, answers=self.presence(batch), motion=motion),)

    def presence(self, batch: Batch) -> dict[str, Tensor]:
        """Return which rows have each modality, bool [N] under `present/<modality>`, where not all have it."""
        found = {}
        for name, inputs in self.modalities.items():
            masks = [batch.present[f"inputs/{one}"] for one in inputs if f"inputs/{one}" in batch.present]
            if masks:
                found[f"present/{name}"] = torch.stack(masks).all(0)
        return found

    def observed(self, views: tuple[View, ...]) -> Tensor:
        """Return which rows have which modality: bool [N, M], in the order of the modalities."""
        answers, some = views[0].answers, next(iter(views[0].inputs.values()))
        everyone = torch.ones(len(some), dtype=torch.bool, device=some.device)
        return torch.stack([answers.get(f"present/{name}", everyone) for name in self.modalities], 1)

    def representations(self, features: Features) -> list[Tensor]:
        """Return the representation of each modality, [N, R]."""
        return [features[name].pooled for name in self.modalities]


def exact(tensor: Tensor) -> Tensor:
    """Return the tensor in float32 or better, in which similarities and sums of squares keep their digits."""
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))
