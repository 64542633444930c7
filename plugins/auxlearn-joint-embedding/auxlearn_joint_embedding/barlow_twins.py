"""`BarlowTwins`: the pretext task."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from auxlearn.learning import Features, StepContext, TaskResult, View
from auxlearn_joint_embedding.objectives import cross_correlation, off_diagonal, redundancy
from auxlearn_joint_embedding.twins import JointEmbedding, present_in, rows_of
from auxlearn_kornia import ImageAugmentation

__all__ = ["BarlowTwins"]


class BarlowTwins(JointEmbedding):
    """Make each component of the embedding agree between two views, and no two components say the same.

    "Barlow Twins: Self-Supervised Learning via Redundancy Reduction" (Zbontar, Jing, Misra, LeCun, Deny,
    [arXiv 2103.03230](https://arxiv.org/abs/2103.03230)): two augmented views of each image, a projector on the pooled
    feature, and the distance of their cross-correlation matrix from the identity (see `redundancy`).

    The loss belongs to the batch, not to its rows. It is returned times the number of rows, so that the engine's mean
    is the paper's value. The matrix is that of the rows of all processes, gathered with gradient, so many processes
    have the loss of one; BatchNorm in the projector sees the rows of its own process, as it does everywhere. With
    `train.accumulate` each micro-batch has its own matrix, and the loss is the mean over them.

    Args:
        augmentation: Makes a view.
        head: The projector, from the pooled feature to the embedding.
        weight: The paper's lambda, the weight of the redundancy-reduction term.
        modality: Which of the inputs is compared.

    Examples:
        >>> import torch
        >>> from torch import nn
        >>> from auxlearn.data import Batch
        >>> from auxlearn.learning import Draws, Feature, Features, StepContext
        >>> from auxlearn_kornia import SimCLR as Augmentation, SimCLRParams as AugmentationParams
        >>> from auxlearn_joint_embedding import BarlowTwins
        >>> task = BarlowTwins(Augmentation(AugmentationParams(), size=None), nn.Linear(5, 3))
        >>> batch = Batch(inputs={"image": torch.rand(4, 3, 16, 16)}, ids=torch.arange(4))
        >>> views = task.views(batch, Draws(seed=0, name="twins", step=0))
        >>> features = tuple(Features({"image": Feature(pooled=torch.rand(4, 5))}) for _ in views)
        >>> sorted(task.loss(features, views, StepContext()).metrics), task.count(views)
        (['off_diagonal', 'on_diagonal'], 4)
    """

    def __init__(
        self, augmentation: ImageAugmentation, head: nn.Module, *, weight: float = 5e-3, modality: str = "image"
    ) -> None:
        super().__init__(augmentation, head, modality=modality)
        if not weight >= 0:
            raise ValueError(f"Parameter `weight` should be at least 0, found {weight}.")
        self.weight = weight

    def count(self, views: tuple[View, ...]) -> Tensor | int:
        """Return the number of rows that have the modality."""
        return rows_of(views)

    def loss(self, features: tuple[Features, ...], views: tuple[View, ...], step: StepContext) -> TaskResult:
        """Return the loss of the joint batch times this process's rows; metrics describe the matrix.

        `on_diagonal` is the mean of its diagonal, which should become 1, `off_diagonal` the root mean square of the
        rest, which should become 0.
        """
        first, second = self.embed(features)
        present = present_in(views, step)
        if step.draws.world > 1 and present is not None:
            mask = present.unsqueeze(1).to(first.dtype)
            joint = step.gather(torch.cat([first, second, mask], 1), grad=True)
            first, second = joint[:, :-1].chunk(2, 1)
            present = joint[:, -1].detach() != 0
        with torch.autocast(first.device.type, enabled=False):
            matrix = cross_correlation(first, second, present)
        found = matrix.detach()
        metrics = {
            "on_diagonal": found.diagonal().mean(),
            "off_diagonal": off_diagonal(found).square().mean().sqrt(),
        }
        return TaskResult(loss=redundancy(matrix, self.weight) * rows_of(views), metrics=metrics)
