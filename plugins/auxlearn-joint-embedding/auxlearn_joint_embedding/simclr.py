"""`SimCLR`: the pretext task."""

from __future__ import annotations

import functools

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from auxlearn.learning import Features, StepContext, TaskResult, View
from auxlearn_joint_embedding.objectives import contrastive_logits
from auxlearn_joint_embedding.twins import JointEmbedding, present_in, rows_of
from auxlearn_kornia import ImageAugmentation

__all__ = ["SimCLR"]


class SimCLR(JointEmbedding):
    """Find the other view of the same image among all views of all images.

    "A Simple Framework for Contrastive Learning of Visual Representations" (Chen, Kornblith, Norouzi, Hinton,
    [arXiv 2002.05709](https://arxiv.org/abs/2002.05709)): two augmented views of each of N images, a projector on the
    pooled feature, and NT-Xent (see `contrastive_logits`). The loss is the sum over the 2N views, so the engine's mean
    is the paper's.

    Negatives come from the rows of all processes, gathered with gradient, so many processes have the loss of one.
    They come from one micro-batch: with `train.accumulate` there are fewer, and the loss is another.

    Args:
        augmentation: Makes a view.
        head: The projector, from the pooled feature to the embedding.
        temperature: By which cosine similarities are divided.
        modality: Which of the inputs is compared.

    Examples:
        >>> import torch
        >>> from torch import nn
        >>> from auxlearn.data import Batch
        >>> from auxlearn.learning import Draws, Feature, Features, StepContext
        >>> from auxlearn_kornia import SimCLR as Augmentation, SimCLRParams as AugmentationParams
        >>> from auxlearn_joint_embedding import SimCLR
        >>> task = SimCLR(Augmentation(AugmentationParams(), size=None), nn.Linear(5, 3))
        >>> batch = Batch(inputs={"image": torch.rand(4, 3, 16, 16)}, ids=torch.arange(4))
        >>> views = task.views(batch, Draws(seed=0, name="simclr", step=0))
        >>> features = tuple(Features({"image": Feature(pooled=torch.rand(4, 5))}) for _ in views)
        >>> sorted(task.loss(features, views, StepContext()).metrics), task.count(views)
        (['accuracy'], 8)
    """

    def __init__(
        self, augmentation: ImageAugmentation, head: nn.Module, *, temperature: float = 0.1, modality: str = "image"
    ) -> None:
        super().__init__(augmentation, head, modality=modality)
        if not temperature > 0:
            raise ValueError(f"Parameter `temperature` should be above 0, found {temperature}.")
        self.temperature = temperature

    def count(self, views: tuple[View, ...]) -> Tensor | int:
        """Return the number of views of rows that have the modality."""
        return 2 * rows_of(views)

    def loss(self, features: tuple[Features, ...], views: tuple[View, ...], step: StepContext) -> TaskResult:
        """Return NT-Xent, summed over both views of this process's rows."""
        first, second = self.embed(features)
        present = present_in(views, step)
        with torch.autocast(first.device.type, enabled=False):
            logits, targets = contrastive_logits(
                first,
                second,
                temperature=self.temperature,
                present=present,
                gather=functools.partial(step.gather, grad=True) if step.draws.world > 1 else None,
                rank=step.draws.rank,
            )
        terms = F.cross_entropy(logits, targets, reduction="none")
        right = (logits.detach().argmax(1) == targets).float()
        if present is None:
            return TaskResult(loss=terms.sum(), metrics={"accuracy": right.mean()})
        both = present.repeat(2)
        accuracy = (right * both).sum() / both.sum().clamp(min=1)
        return TaskResult(loss=terms.where(both, torch.zeros_like(terms)).sum(), metrics={"accuracy": accuracy})
