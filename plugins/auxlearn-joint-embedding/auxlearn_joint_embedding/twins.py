"""What the tasks have in common: two augmented views of each image, and a projector."""

from __future__ import annotations

import itertools
from abc import ABC
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from auxlearn.data import Batch
from auxlearn.learning import Draws, Features, PretextTask, StepContext, TaskResult, View
from auxlearn_kornia import ImageAugmentation

__all__ = ["JointEmbedding", "present_in", "projector", "rows_of"]

_VIEWS = ("first", "second")


def projector(width: int, *, hidden: int, out: int, layers: int, norm: bool) -> nn.Sequential:
    """Return a multilayer perceptron with ReLU.

    Args:
        width: Width of its input.
        hidden: Width of each hidden layer.
        out: Width of its output.
        layers: Number of hidden layers.
        norm: Put BatchNorm before each ReLU and leave all biases out, as Barlow Twins does.

    Examples:
        >>> from auxlearn_joint_embedding import projector
        >>> [type(layer).__name__ for layer in projector(4, hidden=8, out=2, layers=1, norm=True)]
        ['Linear', 'BatchNorm1d', 'ReLU', 'Linear']
    """
    widths = [width, *[hidden] * layers]
    body: list[nn.Module] = []
    for before, after in itertools.pairwise(widths):
        body += [nn.Linear(before, after, bias=not norm), *([nn.BatchNorm1d(after)] if norm else []), nn.ReLU()]
    return nn.Sequential(*body, nn.Linear(widths[-1], out, bias=not norm))


class JointEmbedding(PretextTask, ABC):
    """A task that compares the embeddings of two augmented views of each image.

    The views are made from the batch as the engine's own augmentation leaves it, each with draws of its own, and
    tell what happened to the geometry, so that they may supervise primary tasks, too.

    Args:
        augmentation: Makes a view.
        head: The projector, from the pooled feature to the embedding.
        modality: Which of the inputs is compared.
    """

    def __init__(self, augmentation: ImageAugmentation, head: nn.Module, *, modality: str = "image") -> None:
        super().__init__()
        self.augmentation, self.head, self.modality = augmentation, head, modality

    def views(self, batch: Batch, draws: Draws) -> tuple[View, ...]:
        """Return two views of each row."""
        given = batch.present.get(f"inputs/{self.modality}")
        answers = {} if given is None else {"present": given}
        views = []
        for name in _VIEWS:
            changed, motion = self.augmentation({self.modality: batch.inputs[self.modality]}, draws.child(name))
            views.append(View(inputs={**batch.inputs, **changed}, answers=answers, motion=motion))
        return tuple(views)

    def embed(self, features: tuple[Features, ...]) -> tuple[Tensor, Tensor]:
        """Return the embeddings of both views, each [N, D], in float32 or better.

        The views go through the projector one after the other, so BatchNorm sees each on its own.
        """
        first, second = (self.head(one[self.modality].pooled) for one in features)
        kind = torch.promote_types(first.dtype, torch.float32)  # similarities of bf16 would lose digits
        return first.to(kind), second.to(kind)

    def picture(self, views: tuple[View, ...], result: TaskResult) -> Mapping[str, Tensor]:
        """Return both views."""
        shown = (view.inputs[self.modality] for view in views)
        return {
            name: image if image.shape[1] == 3 else image[:, :1].expand(-1, 3, -1, -1)
            for name, image in zip(_VIEWS, shown, strict=True)
        }


def present_in(views: tuple[View, ...], step: StepContext) -> Tensor | None:
    """Return which rows have the modality: bool [N], or None where all have it in the only process.

    With several processes it is never None, since one may know of absent rows where another does not, and all have to
    gather alike.
    """
    given = views[0].answers.get("present")
    if given is None and step.draws.world > 1:
        first = next(iter(views[0].inputs.values()))
        return torch.ones(len(first), dtype=torch.bool, device=first.device)
    return given


def rows_of(views: tuple[View, ...]) -> Tensor | int:
    """Return how many rows have the modality in this process."""
    given = views[0].answers.get("present")
    return len(next(iter(views[0].inputs.values()))) if given is None else given.sum()
