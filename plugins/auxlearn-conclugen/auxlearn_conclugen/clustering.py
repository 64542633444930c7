"""`MultimodalClustering`: the pretext task."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from auxlearn.learning import Features, StepContext, TaskResult, View
from auxlearn_conclugen.clusters import assign, kmeans
from auxlearn_conclugen.multimodal import MultimodalTask, exact
from auxlearn_conclugen.objectives import margin_softmax, share_where, sum_where
from auxlearn_conclugen.queue import RowQueue

__all__ = ["MultimodalClustering"]


class MultimodalClustering(MultimodalTask):
    r"""Be nearest, in every modality, to the centroid of the cluster to which the row belongs in all of them.

    The clustering loss of ConCluGen ([arXiv 2404.10904](https://arxiv.org/abs/2404.10904)), after "Multimodal
    Clustering Networks for Self-Supervised Learning from Unlabeled Videos" (MCN, Chen et al.,
    [arXiv 2104.12671](https://arxiv.org/abs/2104.12671)). A linear layer brings the projection of each modality to an
    embedding $h_m$ with a component for each of K clusters. The mean over the modalities that a row has, detached, is
    clustered by k-means with cosine distance, together with a queue of the rows of earlier steps. With the centroids
    $\mu$ and the label $l_i$ of each row, both without gradient,

    $$ L = \sum_m \mathrm{CE}\left(\frac{h_m \mu^T - \delta\,\mathrm{onehot}(l)}{\tau}, l\right)
       \quad\text{or}\quad L = \mathrm{CE}\left(\frac{\bar h \mu^T - \delta\,\mathrm{onehot}(l)}{\tau}, l\right) $$

    in the modes `"individual"` and `"joint"`.

    What differs from the authors' code, on purpose:

    - `normalize`: the projection (as in MCN), the embedding and the centroids have length 1, as the distance of the
      clustering asks for. The code compares by dot products with the means of vectors of any length.
    - Labels are the nearest of the centroids that the loss compares with; the code's are one update older.
    - No centroid is empty, which in the code leaves zero vectors (see `kmeans`).
    - The queue is part of the state, is not emptied at each epoch, counts its rows, and takes part before it is full.
    - K-means begins from the centroids before (`warm_start`) or from seeds by k-means++, in the code from random rows,
      and need not run in each step (`refit_every`, as in MCN).
    - Before the task's `start_epoch` nothing is clustered, and other losses keep their scale.

    Queue and clusters are those of all processes: rows are gathered in rank order, and what the first process fits is
    what all use. Both change in `after_step`, so a step that is left out leaves no trace. With `train.accumulate` each
    micro-batch is clustered on its own, with the same queue; the centroids of the last one are kept.

    Args:
        projection: From a representation to the projection: [N, R] to [N, P].
        modalities: As in `MultimodalTask`.
        width: P.
        clusters: K.
        mode: `"individual"` or `"joint"`.
        queue: Rows of earlier steps to keep.
        refit_every: Cluster in the steps of the run that it divides; others assign rows to the centroids that are kept.
        iterations, restarts: Of `kmeans`.
        warm_start: Begin from the centroids that are kept, once there are some.
        normalize: Compare by cosine.
        temperature: $\tau$.
        margin: $\delta$.

    Examples:
        >>> import torch
        >>> from torch import nn
        >>> from auxlearn.data import Batch
        >>> from auxlearn.learning import Draws, Feature, Features, StepContext
        >>> from auxlearn_conclugen import MultimodalClustering
        >>> modalities = {"video": ["video"], "audio": ["audio"]}
        >>> task = MultimodalClustering(nn.Identity(), modalities, width=5, clusters=3, queue=4)
        >>> batch = Batch(inputs={"video": torch.rand(6, 3), "audio": torch.rand(6, 2)}, ids=torch.arange(6))
        >>> views = task.views(batch, Draws(seed=0, name="cluster", step=0))
        >>> features = Features({name: Feature(pooled=torch.rand(6, 5)) for name in modalities})
        >>> result = task.loss((features,), views, StepContext())
        >>> task.after_step(result.carry, StepContext())
        >>> int(task.queue.length), task.centroids.shape
        (4, torch.Size([3, 3]))
    """

    centroids: Tensor
    fitted: Tensor

    def __init__(
        self,
        projection: Callable[[Tensor], Tensor],
        modalities: Mapping[str, Sequence[str]],
        *,
        width: int,
        clusters: int,
        mode: Literal["individual", "joint"] = "individual",
        queue: int = 0,
        refit_every: int = 1,
        iterations: int = 10,
        restarts: int = 4,
        warm_start: bool = True,
        normalize: bool = True,
        temperature: float = 0.1,
        margin: float = 0.0,
    ) -> None:
        super().__init__(modalities)
        if clusters < 2:
            raise ValueError(f"Parameter `clusters` should be at least 2, found {clusters}.")
        self.projection = projection
        self.head = nn.Linear(width, clusters, bias=False)
        self.queue = RowQueue(queue, clusters)
        self.register_buffer("centroids", torch.zeros(clusters, clusters))
        self.register_buffer("fitted", torch.zeros((), dtype=torch.bool))
        # The same as `fitted`, on the host, where no step has to wait for it.
        self._known = False
        self.register_load_state_dict_post_hook(_read_fitted)  # type: ignore[no-untyped-call]
        self.clusters, self.mode, self.refit_every = clusters, mode, refit_every
        self.iterations, self.restarts, self.warm_start = iterations, restarts, warm_start
        self.normalize, self.temperature, self.margin = normalize, temperature, margin

    def count(self, views: tuple[View, ...]) -> Tensor | int:
        """Return the number of modalities that rows have, or in the mode `"joint"` of rows that have any."""
        observed = self.observed(views)
        return observed.sum() if self.mode == "individual" else observed.any(1).sum()

    def loss(self, features: tuple[Features, ...], views: tuple[View, ...], step: StepContext) -> TaskResult:
        """Return the loss times the number of its terms.

        Metrics are `accuracy`, how often an embedding is nearest to its row's centroid, and `largest`, the share of the
        rows in the largest cluster: 1 means that everything fell into one.
        """
        observed = self.observed(views)
        embedded = self._embed(features[0])
        with torch.autocast(observed.device.type, enabled=False):
            fused = self._fuse(embedded, observed)
            carry = {"rows": torch.cat([fused.detach(), observed.any(1, keepdim=True).to(fused.dtype)], 1)}
            centroids = self.centroids.to(fused.dtype)
            if self._refits(step):
                centroids = self._fit(step.gather(carry["rows"]), step)
                carry["centroids"] = _by_rows(centroids, len(fused))
            labels = assign(fused.detach(), centroids)
            if self.mode == "individual":
                compared, counted = embedded, observed
            else:
                compared, counted = fused.unsqueeze(1), observed.any(1, keepdim=True)
            similarity = (compared @ centroids.T).flatten(0, 1)
            targets = labels.repeat_interleave(compared.shape[1])
            terms = margin_softmax(similarity, targets, margin=self.margin, temperature=self.temperature)
        right = similarity.detach().argmax(1) == targets
        sizes = F.one_hot(labels, self.clusters).to(fused.dtype).mul(observed.any(1, keepdim=True)).sum(0)
        metrics = {
            "accuracy": share_where(right, counted.flatten()),
            "largest": sizes.max() / sizes.sum().clamp(min=1),
        }
        loss = sum_where(terms, counted.flatten()) * compared.shape[1]
        return TaskResult(loss=loss, metrics=metrics, carry=carry)

    def after_step(self, carry: Mapping[str, Tensor], step: StepContext) -> None:
        """Push the rows of the step, and keep its centroids if it has some."""
        self.queue.push(carry["rows"][:, :-1], carry["rows"][:, -1] != 0)
        if "centroids" in carry:
            self.centroids.copy_(carry["centroids"].flatten(0, 1)[-self.clusters :])
            self.fitted.fill_(True)
            self._known = True

    def _embed(self, features: Features) -> Tensor:
        """Return the embedding of each modality: [N, M, K]."""
        found = []
        for one in self.representations(features):
            projected = self.projection(one)
            if self.normalize:
                projected = F.normalize(exact(projected), dim=1).to(projected.dtype)
            embedded = exact(self.head(projected))
            found.append(F.normalize(embedded, dim=1) if self.normalize else embedded)
        return torch.stack(found, 1)

    def _fuse(self, embedded: Tensor, observed: Tensor) -> Tensor:
        """Return the mean over the modalities that each row has, zero for rows without any: [N, K]."""
        mask = observed.unsqueeze(2)
        total = torch.where(mask, embedded, torch.zeros_like(embedded)).sum(1)
        fused = total / mask.sum(1).clamp(min=1)
        return F.normalize(fused, dim=1) if self.normalize else fused

    def _refits(self, step: StepContext) -> bool:
        return step.step % self.refit_every == 0 or not self._known

    def _fit(self, joint: Tensor, step: StepContext) -> Tensor:
        """Return the centroids of the queue and the rows of all processes, as the first process finds them."""
        found = kmeans(
            torch.cat([self.queue.rows.to(joint.dtype), joint[:, :-1]]),
            self.clusters,
            step.draws,
            weights=torch.cat([self.queue.filled.to(joint.dtype), joint[:, -1]]),
            iterations=self.iterations,
            restarts=self.restarts,
            start=self.centroids if self.warm_start and self._known else None,
            spherical=self.normalize,
        )
        return step.gather(found.centroids)[: self.clusters]


def _by_rows(centroids: Tensor, rows: int) -> Tensor:
    """Return the centroids as something that each of the rows has a part of, the last of them at the end."""
    share = -(-len(centroids) // rows)
    return F.pad(centroids, (0, 0, rows * share - len(centroids), 0)).view(rows, share, -1)


def _read_fitted(task: Any, _incompatible: Any) -> None:
    """Note on the host whether the state that was loaded has centroids."""
    task._known = bool(task.fitted)
