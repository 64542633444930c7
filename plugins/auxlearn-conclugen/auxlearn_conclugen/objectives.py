"""The margin softmax, which is both the contrastive and the clustering loss of ConCluGen."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["margin_logits", "margin_softmax"]


def margin_logits(similarity: Tensor, targets: Tensor, *, margin: float = 0.0, temperature: float = 1.0) -> Tensor:
    r"""Return the logits $(S_{ij} - \delta [j = t_i]) / \tau$, whose cross entropy is the margin softmax.

    Args:
        similarity: $S$, [N, M].
        targets: $t$, the column of the positive of each row: int64 [N].
        margin: $\delta$, by which the positive has to be more similar.
        temperature: $\tau$.
    """
    if margin:
        similarity = similarity.scatter_add(1, targets.unsqueeze(1), similarity.new_full((len(targets), 1), -margin))
    return similarity / temperature


def margin_softmax(similarity: Tensor, targets: Tensor, *, margin: float = 0.0, temperature: float = 1.0) -> Tensor:
    r"""Return the margin softmax of each row: [N].

    $$ \ell_i = -\log \frac{\exp((S_{i t_i} - \delta) / \tau)}
       {\exp((S_{i t_i} - \delta) / \tau) + \sum_{j \ne t_i} \exp(S_{ij} / \tau)}. $$

    With $\delta = 0$ and cosine similarities it is InfoNCE ("Representation Learning with Contrastive Predictive
    Coding", van den Oord, Li, Vinyals, [arXiv 1807.03748](https://arxiv.org/abs/1807.03748)); with $\tau = 1$ and
    $\delta = 0.001$ it is what the code of ConCluGen calls masked margin softmax, after "Large-Scale Representation
    Learning from Visually Grounded Untranscribed Speech" (Ilharco, Zhang, Baldridge,
    [arXiv 1909.08782](https://arxiv.org/abs/1909.08782)).

    Args:
        similarity: $S$, [N, M]; minus infinity where a column is nobody's negative.
        targets: $t$, the column of the positive of each row: int64 [N].
        margin: $\delta$, by which the positive has to be more similar.
        temperature: $\tau$.

    Examples:
        >>> import torch
        >>> from auxlearn_conclugen import margin_softmax
        >>> margin_softmax(torch.eye(2), torch.arange(2))  # log(e + 1) - 1
        tensor([0.3133, 0.3133])
    """
    logits = margin_logits(similarity, targets, margin=margin, temperature=temperature)
    return F.cross_entropy(logits, targets, reduction="none")


def sum_where(terms: Tensor, counted: Tensor) -> Tensor:
    """Return the sum of the terms that are counted; the others may be anything, and get no gradient."""
    return torch.where(counted, terms, torch.zeros_like(terms)).sum()


def share_where(right: Tensor, counted: Tensor) -> Tensor:
    """Return which share of what is counted is right, detached; 0 where nothing is counted."""
    return (right & counted).sum() / counted.sum().clamp(min=1)
