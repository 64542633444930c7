"""`Puzzling`: the pretext task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from auxlearn.data import Batch
from auxlearn.learning import Draws, Features, PretextTask, StepContext, TaskResult, View
from auxlearn_puzzling.tiles import invert_order, puzzle

__all__ = ["Puzzling"]

# The side of an image in pixels, or the least and the greatest side.
Size = int | tuple[int, int]


class Puzzling(PretextTask):
    r"""Solve a jigsaw puzzle: for each position of the grid, say which tile of the image stands there.

    The "puzzling" task of HMTL: "Using Self-Supervised Co-Training to Improve Facial Representation" (Pourmirzaei,
    Montazer, Esmaili, [arXiv 2105.06421](https://arxiv.org/abs/2105.06421)), as the first author's code has it. An
    image is cut into $K = n^2$ tiles, which are put in a uniformly random order $\pi$, the identity included:
    position $k$ shows tile $\pi_k$. All heads read the one pooled feature $f$ of the shuffled image; head $k$ is a
    linear layer with a softmax over the $K$ tiles, after dropout. The loss of an image is

    $$ L = \sum_{k=1}^{K} -\log \mathrm{softmax}(W_k f + b_k)_{\pi_k}, $$

    or its mean over $k$. Heads are independent; nothing makes their answers a permutation.

    The $K$ layers with $K$ outputs are kept as one layer with $K^2$ outputs, which is the same function.
    Where $n$ does not divide the image's side, see `puzzle`.

    Beyond the code: `reduction="mean"`, a hidden layer, and heads on a pooled feature map. With the engine's keys
    `view` and `portion`, the primary task may see whole images; in the code it sees the puzzles only.

    With `sizes`, the form of the author's later "siamese" code: the same puzzle is shown once for each entry, resized
    to that side, and the same heads answer each time, so the loss is the sum over $K$ tiles and all sizes. Sizes are
    drawn anew in each step, alike for all rows and processes, and all show one order of the tiles, as in the code. A
    difference: an image that shrinks is antialiased here, there it is not.

    Args:
        width: D, the width of the feature that the heads read.
        grid: n, tiles along each side.
        dropout: Probability of dropping a component of the feature.
        reduction: `"sum"` or `"mean"` over the tiles of an image, in all of its sizes.
        hidden: Width of a hidden ReLU layer, or 0 for none.
        level: Which feature map to pool for the heads, fine to coarse; None for the backbone's pooled feature.
        modality: Which of the inputs is puzzled.
        sizes: For each view its shorter side in pixels: a number, or the least and the greatest of random numbers.
            None for a single view in the image's own size.

    Examples:
        >>> import torch
        >>> from auxlearn.data import Batch
        >>> from auxlearn.learning import Draws, Feature, Features, StepContext
        >>> from auxlearn_puzzling import Puzzling
        >>> task = Puzzling(width=5, grid=2)
        >>> batch = Batch(inputs={"image": torch.rand(4, 3, 8, 8)}, ids=torch.arange(4))
        >>> views = task.views(batch, Draws(seed=0, name="puzzle", step=0))
        >>> views[0].answers["order"].shape
        torch.Size([4, 4])
        >>> features = Features({"image": Feature(pooled=torch.zeros(4, 5))})
        >>> result = task.loss((features,), views, StepContext())
        >>> result.output["logits"].shape  # image, position, tile
        torch.Size([4, 4, 4])
    """

    def __init__(
        self,
        width: int,
        *,
        grid: int = 3,
        dropout: float = 0.2,
        reduction: Literal["sum", "mean"] = "sum",
        hidden: int = 0,
        level: int | None = None,
        modality: str = "image",
        sizes: Sequence[Size] | None = None,
    ) -> None:
        super().__init__()
        if grid < 2:
            raise ValueError(f"Parameter `grid` should be at least 2, found {grid}.")
        if reduction not in {"sum", "mean"}:
            raise ValueError(f"Parameter `reduction` should be 'sum' or 'mean', found {reduction!r}.")
        if sizes is not None and not sizes:
            raise ValueError("Parameter `sizes` should be None or name at least one size, found none.")
        self.grid, self.reduction, self.level, self.modality = grid, reduction, level, modality
        self.sizes: tuple[Size | None, ...] = (None,) if sizes is None else tuple(sizes)
        body = [nn.Linear(width, hidden), nn.ReLU()] if hidden else []
        self.heads = nn.Sequential(nn.Dropout(dropout), *body, nn.Linear(hidden or width, grid**4))

    def views(self, batch: Batch, draws: Draws) -> tuple[View, ...]:
        """Return the puzzles in each size, and the order of their tiles as the answer; the geometry is destroyed."""
        images = batch.inputs[self.modality]
        order = draws.permutations(len(batch), self.grid**2)
        answers = {"order": order}
        given = batch.present.get(f"inputs/{self.modality}")
        if given is not None:
            answers["present"] = given
        puzzled = puzzle(images, order, self.grid)
        shown = [_resized(puzzled, size, draws) for size in self.sizes]
        return tuple(View(inputs={**batch.inputs, self.modality: image}, answers=answers) for image in shown)

    def count(self, views: tuple[View, ...]) -> Tensor | int:
        """Return the number of puzzles: the rows, less those without the modality."""
        given = views[0].answers.get("present")
        return len(views[0].answers["order"]) if given is None else given.sum()

    def loss(self, features: tuple[Features, ...], views: tuple[View, ...], step: StepContext) -> TaskResult:
        """Return the cross entropy of the heads, summed over the images and their views.

        The output `logits` has the rows of all views, one view after the other.
        """
        order, given = views[0].answers["order"].repeat(len(views), 1), views[0].answers.get("present")
        given = None if given is None else given.repeat(len(views))
        tiles = self.grid**2
        logits = self.heads(torch.cat([self._feature(one) for one in features])).view(-1, tiles, tiles)
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))  # a sum of bf16 terms would lose digits
        loss = _sum_over_puzzles(logits.flatten(0, 1), order, given)
        loss = loss if self.reduction == "sum" else loss / (tiles * len(views))
        return TaskResult(loss=loss, output={"logits": logits}, metrics=_scores(logits.detach(), order, given))

    def picture(self, views: tuple[View, ...], result: TaskResult) -> Mapping[str, Tensor]:
        """Return the image, the puzzle, and the puzzle as the heads would solve it, all as the first view shows them.

        In the solution, each place shows the tile that claims it most strongly, so a tile may appear twice.
        """
        puzzled = views[0].inputs[self.modality]
        puzzled = puzzled if puzzled.shape[1] == 3 else puzzled[:, :1].expand(-1, 3, -1, -1)
        claims = result.output["logits"][: len(puzzled)].detach().softmax(2).argmax(1)
        return {
            "image": puzzle(puzzled, invert_order(views[0].answers["order"]), self.grid),
            "puzzled": puzzled,
            "solved": puzzle(puzzled, claims, self.grid),
        }

    def _feature(self, features: Features) -> Tensor:
        feature = features[self.modality]
        return feature.pooled if self.level is None else feature.maps[self.level].mean((2, 3))


def _resized(images: Tensor, size: Size | None, draws: Draws) -> Tensor:
    """Return the images with a shorter side of `size`, of which a range is drawn on the host."""
    if size is None:
        return images
    low, high = (size, size) if isinstance(size, int) else size
    side = low if low == high else min(high, int(draws.number(low, high + 1)))
    shorter = min(images.shape[-2:])
    if side == shorter:
        return images
    wanted = [round(length * side / shorter) for length in images.shape[-2:]]
    return F.interpolate(images, wanted, mode="bilinear", antialias=True)


def _sum_over_puzzles(logits: Tensor, order: Tensor, given: Tensor | None) -> Tensor:
    """Return the cross entropy summed over the tiles of the images that have the modality."""
    if given is None:
        return F.cross_entropy(logits, order.flatten(), reduction="sum")
    terms = F.cross_entropy(logits, order.flatten(), reduction="none").view_as(order)
    return terms.where(given.unsqueeze(1), torch.zeros_like(terms)).sum()


def _scores(logits: Tensor, order: Tensor, given: Tensor | None) -> dict[str, Tensor]:
    """Return the share of tiles, and of whole puzzles, that the heads name rightly."""
    right = logits.argmax(2) == order
    if given is None:
        return {"tile_accuracy": right.mean(dtype=torch.float32), "solved": right.all(1).mean(dtype=torch.float32)}
    tiles, solved = right.float().mean(1), right.all(1).float()
    rows = given.sum().clamp(min=1)
    return {"tile_accuracy": (tiles * given).sum() / rows, "solved": (solved * given).sum() / rows}
