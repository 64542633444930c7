"""The objectives as functions of two embeddings: NT-Xent of SimCLR, cross-correlation of Barlow Twins."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["contrastive_logits", "cross_correlation", "off_diagonal", "redundancy"]

_LEAST_VARIANCE = 1e-5  # that of BatchNorm, with which the authors of Barlow Twins standardise


def contrastive_logits(
    first: Tensor,
    second: Tensor,
    *,
    temperature: float,
    present: Tensor | None = None,
    gather: Callable[[Tensor], Tensor] | None = None,
    rank: int = 0,
) -> tuple[Tensor, Tensor]:
    r"""Return the logits and the targets whose cross entropy is NT-Xent, the loss of SimCLR.

    "A Simple Framework for Contrastive Learning of Visual Representations" (Chen, Kornblith, Norouzi, Hinton,
    [arXiv 2002.05709](https://arxiv.org/abs/2002.05709)), equation 1: for a positive pair $i, j$ among $2N$ embeddings,

    $$ \ell_{i,j} = -\log \frac{\exp(\mathrm{sim}(z_i, z_j) / \tau)}
       {\sum_{k \ne i} \exp(\mathrm{sim}(z_i, z_k) / \tau)}, $$

    with the cosine similarity. The rows of the result are the embeddings of this process as $i$, those of the first
    view before those of the second; the columns are the embeddings of all processes as $k$, in the same order.

    Args:
        first: Embeddings of the first view: [N, D].
        second: Embeddings of the second view, in the same order: [N, D].
        temperature: $\tau$.
        present: Rows that count: bool [N]; None for all. Others are nobody's negatives, and their own logits are 0.
        gather: Concatenates the rows of all processes, M in number, in rank order, with gradient; None for one process.
        rank: Number of this process.

    Returns:
        Logits [2N, 2M], minus infinity for $k = i$, and the column of each row's positive: int64 [2N].

    Examples:
        >>> import torch
        >>> import torch.nn.functional as F
        >>> from auxlearn_joint_embedding import contrastive_logits
        >>> logits, targets = contrastive_logits(torch.eye(2), torch.eye(2), temperature=1.0)
        >>> F.cross_entropy(logits, targets)  # log(e + 2) - 1
        tensor(0.5514)
    """
    rows, device = len(first), first.device
    own = torch.cat([F.normalize(first, dim=1), F.normalize(second, dim=1)])
    # One collective for everything, whether or not this process knows of absent rows.
    mask = torch.ones(rows, 1, device=device) if present is None else present.unsqueeze(1)
    joint = torch.cat([own[:rows], own[rows:], mask.to(own.dtype)], 1)
    joint = joint if gather is None else gather(joint)
    every = len(joint)
    logits = own @ torch.cat(joint[:, :-1].chunk(2, 1)).T / temperature
    place = torch.arange(rank * rows, rank * rows + rows, device=device)
    itself, other = torch.cat([place, place + every]), torch.cat([place + every, place])
    logits = logits.scatter(1, itself.unsqueeze(1), -torch.inf)
    if present is not None or gather is not None:
        absent = joint[:, -1].detach() == 0
        logits = logits.masked_fill(absent.repeat(2), -torch.inf)
        logits = logits.masked_fill(absent[place].repeat(2).unsqueeze(1), 0.0)
    return logits, other


def cross_correlation(first: Tensor, second: Tensor, present: Tensor | None = None) -> Tensor:
    r"""Return the cross-correlation matrix of two embeddings along the batch: [D, D].

    "Barlow Twins: Self-Supervised Learning via Redundancy Reduction" (Zbontar, Jing, Misra, LeCun, Deny,
    [arXiv 2103.03230](https://arxiv.org/abs/2103.03230)), equation 2, with $z$ centred along the batch:

    $$ C_{ij} = \frac{\sum_b z^A_{b,i} z^B_{b,j}}{\sqrt{\sum_b (z^A_{b,i})^2} \sqrt{\sum_b (z^B_{b,j})^2}}. $$

    Each sum of squares has $10^{-5} N$ added to it, as in the authors' code, where BatchNorm without weights
    standardises. So a component that does not vary correlates with nothing, 0, whatever rounding leaves of it, and the
    gradient of one that hardly varies is bounded. With variance $v$, a correlation of 1 becomes $v / (v + 10^{-5})$.

    Args:
        first: Embeddings of the first view: [N, D].
        second: Embeddings of the second view, in the same order: [N, D].
        present: Rows that count: bool [N]; None for all.

    Examples:
        >>> import torch
        >>> from auxlearn_joint_embedding import cross_correlation
        >>> embeddings = torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])
        >>> cross_correlation(embeddings, 3 * embeddings + 1).round(decimals=3)
        tensor([[1., 0.],
                [0., 1.]])
    """
    return _standardised(first, present).T @ _standardised(second, present)


def redundancy(correlation: Tensor, weight: float) -> Tensor:
    r"""Return the loss of Barlow Twins for a cross-correlation matrix (arXiv 2103.03230, equation 1).

    $$ L = \sum_i (1 - C_{ii})^2 + \lambda \sum_i \sum_{j \ne i} C_{ij}^2. $$

    Args:
        correlation: C, [D, D].
        weight: $\lambda$, the weight of the redundancy-reduction term.

    Examples:
        >>> import torch
        >>> from auxlearn_joint_embedding import redundancy
        >>> redundancy(torch.tensor([[1.0, 0.5], [0.0, 0.0]]), weight=0.1)  # 1 + 0.1 * 0.25
        tensor(1.0250)
    """
    return (1 - correlation.diagonal()).square().sum() + weight * off_diagonal(correlation).square().sum()


def off_diagonal(square: Tensor) -> Tensor:
    """Return the elements of a square matrix [D, D] that are not on its diagonal: [D - 1, D]."""
    side = len(square)
    return square.flatten()[:-1].view(side - 1, side + 1)[:, 1:]


def _standardised(embeddings: Tensor, present: Tensor | None) -> Tensor:
    """Return the embeddings centred and of length 1 along the batch, zero in rows that do not count."""
    rows: Tensor | int = len(embeddings)
    if present is None:
        centred = embeddings - embeddings.mean(0)
    else:
        mask = present.unsqueeze(1)
        rows = mask.sum().clamp(min=1)
        counted = embeddings.masked_fill(~mask, 0.0)
        centred = (counted - counted.sum(0) / rows).masked_fill(~mask, 0.0)
    return centred / (centred.square().sum(0) + rows * _LEAST_VARIANCE).sqrt()
