"""`MultimodalContrastive`: the pretext task."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from auxlearn.learning import Features, StepContext, TaskResult, View
from auxlearn_conclugen.multimodal import MultimodalTask, exact
from auxlearn_conclugen.objectives import margin_softmax, share_where, sum_where

__all__ = ["MultimodalContrastive"]


class MultimodalContrastive(MultimodalTask):
    r"""Find, among the rows of the batch, the one that belongs to a row's other modality.

    The contrastive loss of ConCluGen ([arXiv 2404.10904](https://arxiv.org/abs/2404.10904)): with the projections
    $p_a, p_b$ of two modalities, of length 1,

    $$ L = \sum_{(a, b)} \mathrm{CE}\left(\frac{p_a p_b^T - \delta I}{\tau}\right)
       + \mathrm{CE}\left(\frac{p_b p_a^T - \delta I}{\tau}\right), $$

    where the target of row $i$ is column $i$, over all pairs of modalities; see `margin_softmax`. The authors' code has
    $\tau = 1$ and $\delta = 0.001$: between similarities in [0, 1] that loss can hardly fall, with 4096 rows from 8.32
    to 7.32 in one direction. The default here is InfoNCE: $\tau = 0.1$, $\delta = 0$. The code knows two or three
    modalities; here there may be any number of them.

    Rows of all processes are compared, with gradients through all of them, so many processes have the loss of one. A
    row that lacks a modality of a pair is nobody's positive or negative in it. Every observed row of every pair weighs
    the same. With `train.accumulate` each micro-batch is compared with itself.

    Args:
        projection: From a representation to the projection: [N, R] to [N, P].
        modalities: As in `MultimodalTask`; at least two.
        temperature: $\tau$.
        margin: $\delta$.

    Examples:
        >>> import torch
        >>> from torch import nn
        >>> from auxlearn.data import Batch
        >>> from auxlearn.learning import Draws, Feature, Features, StepContext
        >>> from auxlearn_conclugen import MultimodalContrastive
        >>> task = MultimodalContrastive(nn.Identity(), {"video": ["video"], "audio": ["audio"]})
        >>> batch = Batch(inputs={"video": torch.rand(4, 3), "audio": torch.rand(4, 2)}, ids=torch.arange(4))
        >>> views = task.views(batch, Draws(seed=0, name="contrast", step=0))
        >>> same = Feature(pooled=torch.eye(4))
        >>> result = task.loss((Features({"video": same, "audio": same}),), views, StepContext())
        >>> task.count(views), result.metrics
        (tensor(4), {'retrieval_accuracy': tensor(1.)})
    """

    def __init__(
        self,
        projection: Callable[[Tensor], Tensor],
        modalities: Mapping[str, Sequence[str]],
        *,
        temperature: float = 0.1,
        margin: float = 0.0,
    ) -> None:
        super().__init__(modalities)
        if len(self.modalities) < 2:
            raise ValueError(f"`modalities` should be at least two, found {list(self.modalities)}.")
        if not temperature > 0:
            raise ValueError(f"Parameter `temperature` should be above 0, found {temperature}.")
        self.projection = projection
        self.temperature, self.margin = temperature, margin
        self.pairs = list(itertools.combinations(range(len(self.modalities)), 2))

    def count(self, views: tuple[View, ...]) -> Tensor | int:
        """Return the number of rows of all pairs that have both modalities."""
        observed = self.observed(views)
        return torch.stack([observed[:, a] & observed[:, b] for a, b in self.pairs]).sum()

    def loss(self, features: tuple[Features, ...], views: tuple[View, ...], step: StepContext) -> TaskResult:
        """Return the loss times the number of its terms; `retrieval_accuracy` is how often the nearest is right."""
        projected = [exact(self.projection(one)) for one in self.representations(features[0])]
        observed = self.observed(views)
        with torch.autocast(observed.device.type, enabled=False):
            own = torch.stack([F.normalize(one, dim=1) for one in projected], 1)
            joint = step.gather(torch.cat([own, observed.unsqueeze(2).to(own.dtype)], 2), grad=True)
            columns, there = joint[..., :-1], joint[..., -1].detach() != 0
            rows = len(own)
            target = torch.arange(rows, device=own.device) + step.draws.rank * rows
            losses, rights, counted = [], [], []
            for a, b in self.pairs:
                both, all_both = observed[:, a] & observed[:, b], there[:, a] & there[:, b]
                for one, other in ((a, b), (b, a)):
                    terms, right = self._retrieve(own[:, one], columns[:, other], both, all_both, target)
                    losses.append(sum_where(terms, both))
                    rights.append(right)
                    counted.append(both)
        accuracy = share_where(torch.stack(rights), torch.stack(counted))
        return TaskResult(loss=torch.stack(losses).sum() * len(self.pairs), metrics={"retrieval_accuracy": accuracy})

    def _retrieve(
        self, own: Tensor, columns: Tensor, both: Tensor, all_both: Tensor, target: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return each row's loss, and whether its positive is the nearest of the columns that count."""
        similarity = (own @ columns.T).masked_fill(~all_both, -torch.inf)
        similarity = similarity.masked_fill(~both.unsqueeze(1), 0.0)
        terms = margin_softmax(similarity, target, margin=self.margin, temperature=self.temperature)
        return terms, similarity.detach().argmax(1) == target
