"""k-means by cosine, of fixed shapes and a fixed number of iterations: no value is read back from the device."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from auxlearn.learning import Draws

__all__ = ["Clusters", "assign", "kmeans"]

# Cosine distances below this are rounding: such rows have the same direction.
_LEAST_DISTANCE = 1e-6
# A mean shorter than this has no direction.
_LEAST_LENGTH = 1e-12


@dataclass(frozen=True, eq=False, kw_only=True)
class Clusters:
    """What `kmeans` found.

    Attributes:
        centroids: [K, D].
        labels: The nearest centroid of each row: int64 [N].
        inertia: The weighted sum of the cosine distances of the rows from their centroids.
    """

    centroids: Tensor
    labels: Tensor
    inertia: Tensor


def assign(rows: Tensor, centroids: Tensor) -> Tensor:
    """Return the nearest centroid of each row by cosine: int64 [N], the first of equally near ones.

    Args:
        rows: [N, D].
        centroids: [K, D].

    Examples:
        >>> import torch
        >>> from auxlearn_conclugen import assign
        >>> assign(torch.tensor([[5.0, 1.0], [0.0, 0.1]]), torch.eye(2))
        tensor([0, 1])
    """
    return (F.normalize(rows, dim=1) @ F.normalize(centroids, dim=1).T).argmax(1)


@torch.no_grad()
def kmeans(
    rows: Tensor,
    clusters: int,
    draws: Draws,
    *,
    weights: Tensor | None = None,
    iterations: int = 10,
    restarts: int = 4,
    start: Tensor | None = None,
    spherical: bool = True,
) -> Clusters:
    """Cluster rows by their direction.

    Spherical k-means ("Concept Decompositions for Large Sparse Text Data Using Clustering", Dhillon, Modha, Machine
    Learning 42, 2001): a row belongs to the centroid with the greatest cosine, a centroid is the mean of its rows'
    directions, of length 1. It begins from seeds by k-means++ ("k-means++: The Advantages of Careful Seeding", Arthur,
    Vassilvitskii, SODA 2007), several times at once, and the run with the least inertia counts. Iterations after
    convergence change nothing. A cluster that loses all its rows keeps its centroid, and in each iteration one such
    centroid moves to the row that is farthest from its own; at the end all of them do. So no cluster is empty if there
    are as many directions as clusters.

    Args:
        rows: [N, D]; computed in float32 or better.
        clusters: K.
        draws: Randomness of the seeds; they are the same in every process.
        weights: How much each row counts: [N], at least 0; None for 1 each. Rows of weight 0 are labelled only.
        iterations: Of Lloyd's algorithm.
        restarts: Runs from different seeds.
        start: Centroids to begin from instead, in a single run: [K, D].
        spherical: Centroids are unit vectors. If not, they are the means of the rows as they are, so that longer rows
            count more, as in the code of ConCluGen; the inertia may then grow.

    Examples:
        >>> import torch
        >>> from auxlearn.learning import Draws
        >>> from auxlearn_conclugen import kmeans
        >>> rows = torch.tensor([[1.0, 0.0], [4.0, 0.1], [0.0, 2.0], [0.1, 3.0]])
        >>> found = kmeans(rows, 2, Draws(seed=0, name="kmeans", step=0))
        >>> bool(found.labels[0] == found.labels[1]), bool(found.labels[0] == found.labels[2])
        (True, False)
    """
    if clusters < 1 or not len(rows):
        raise ValueError(f"k-means should get a row and a cluster at least, found {len(rows)} and {clusters}.")
    rows = rows.to(torch.promote_types(rows.dtype, torch.float32))
    counts = rows.new_ones(len(rows)) if weights is None else weights.to(rows.dtype)
    unit = F.normalize(rows, dim=1)
    if start is None:
        directions = _seeds(unit, counts, _joint_uniform(draws, restarts, clusters).to(unit))
    else:
        directions = F.normalize(start.to(unit), dim=1).unsqueeze(0)
    averaged = unit if spherical else rows
    centroids = directions
    for _ in range(iterations):
        centroids, directions = _improve(averaged, unit, counts, centroids, directions)
    nearness = (unit @ directions.mT).amax(2)
    best = ((1 - nearness) * counts).sum(1).argmin().unsqueeze(0)
    chosen = (one.index_select(0, best).squeeze(0) for one in (directions if spherical else centroids, directions))
    return _mend(averaged, unit, counts, *chosen)


def _joint_uniform(draws: Draws, *shape: int) -> Tensor:
    """Return uniform numbers that are the same in every process."""
    joint = Draws(seed=draws.seed, name=f"{draws.name}/kmeans", step=draws.step, micro=draws.micro, device=draws.device)
    return joint.uniform(*shape)


def _seeds(unit: Tensor, weights: Tensor, uniform: Tensor) -> Tensor:
    """Return rows chosen by k-means++ for each restart, [R, K, D], given numbers in [0, 1): [R, K]."""
    chance = weights.expand(len(uniform), -1)
    distance = torch.full_like(chance, torch.inf)
    seeds = []
    for number in uniform.unbind(1):
        seed = unit.index_select(0, _choose(chance, number))
        seeds.append(seed)
        apart = 1 - seed @ unit.T
        distance = torch.minimum(distance, apart.where(apart > _LEAST_DISTANCE, torch.zeros_like(apart)))
        # Where all directions are taken, any row will do.
        left = weights * distance
        chance = left.where(left.sum(1, keepdim=True) > 0, weights)
    return torch.stack(seeds, 1)


def _choose(chance: Tensor, number: Tensor) -> Tensor:
    """Return an index for each row of `chance`, [R, N], with that chance, given a number in [0, 1) each: [R]."""
    total = chance.cumsum(1)
    place = torch.searchsorted(total, (number * total[:, -1]).unsqueeze(1), right=True).squeeze(1)
    # By rounding, a number may lie at the very end, where there need be no chance.
    return torch.where(place < chance.shape[1], place, chance.argmax(1))


def _members(labels: Tensor, clusters: int) -> Tensor:
    """Return whether each row belongs to each cluster: bool, with a last dimension of K."""
    return labels.unsqueeze(-1) == torch.arange(clusters, device=labels.device)


def _improve(
    rows: Tensor, unit: Tensor, weights: Tensor, centroids: Tensor, directions: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the means of the rows that belong to each centroid, and their directions: [R, K, D] each.

    An empty cluster, or one whose rows cancel out, keeps its centroid, but the first empty one of each restart moves to
    the row that is farthest from its own.
    """
    nearest = (unit @ directions.mT).max(2)
    member = _members(nearest.indices, directions.shape[1]).to(rows.dtype) * weights.unsqueeze(1)
    size = member.sum(1).unsqueeze(2)
    means = member.mT @ rows / size.clamp(min=torch.finfo(rows.dtype).tiny)
    length = torch.linalg.vector_norm(means, dim=2, keepdim=True)
    kept = (size > 0) & (length > _LEAST_LENGTH)
    distance, far = ((1 - nearest.values) * (weights > 0)).max(1)
    first = (size == 0) & ((size == 0).cumsum(1) == 1) & (distance > _LEAST_DISTANCE).view(-1, 1, 1)
    return (
        torch.where(first, rows.index_select(0, far).unsqueeze(1), torch.where(kept, means, centroids)),
        torch.where(first, unit.index_select(0, far).unsqueeze(1), torch.where(kept, means / length, directions)),
    )


def _mend(rows: Tensor, unit: Tensor, weights: Tensor, centroids: Tensor, directions: Tensor) -> Clusters:
    """Return the clusters of these centroids, [K, D] each, after all empty ones moved, one after the other."""
    nearness, labels = (unit @ directions.T).max(1)
    numbers = torch.arange(len(centroids), device=rows.device)
    for _ in range(len(centroids)):
        empty = ~(_members(labels, len(centroids)) & (weights > 0).unsqueeze(1)).any(0)
        which = empty.to(torch.uint8).argmax()
        distance, far = ((1 - nearness) * (weights > 0)).max(0, keepdim=True)
        here = empty & (numbers == which) & (distance > _LEAST_DISTANCE)
        centroids = torch.where(here.unsqueeze(1), rows.index_select(0, far), centroids)
        again = (unit @ unit.index_select(0, far).T).squeeze(1)
        moved = (again > nearness) & here.any()
        labels, nearness = torch.where(moved, which, labels), torch.where(moved, again, nearness)
    return Clusters(centroids=centroids, labels=labels, inertia=((1 - nearness) * weights).sum())
