"""`Rotation`: the pretext task."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from auxlearn.data import Batch
from auxlearn.learning import Draws, Features, PretextTask, StepContext, TaskResult, View
from auxlearn_rotation.turns import quarter_turn, turn_motion

__all__ = ["Rotation"]

_ANGLES = 4


class Rotation(PretextTask):
    r"""Tell by how many quarter turns the image was rotated, or each of its tiles.

    "Unsupervised Representation Learning by Predicting Image Rotations" (RotNet; Gidaris, Singh, Komodakis,
    [arXiv 1803.07728](https://arxiv.org/abs/1803.07728)), equations 1 to 3. An image is turned counterclockwise by
    $90°k$; a linear layer with a softmax over the four angles reads the pooled feature $f$ of the turned image, after
    dropout. Its loss is $-\log \mathrm{softmax}(W f + b)_k$.

    With `tiles` $= n$, the form of the first author's later code of HMTL
    ([arXiv 2105.06421](https://arxiv.org/abs/2105.06421)): the $K = n^2$ tiles of an image stay in place, each is
    turned by its own $k_t$, and as many heads read the one pooled feature of the image:

    $$ L = \sum_{t=1}^{K} -\log \mathrm{softmax}(W_t f + b_t)_{k_t}, $$

    or its mean over $t$. The heads are kept as one layer with $4K$ outputs, which is the same function. Where $n$
    does not divide the image's side, see `quarter_turn`.

    Difference from the RotNet paper: it shows each image in all four rotations (equation 3 averages over them), this
    one in a random one, uniform over the four, as is usual for an auxiliary task: a quarter of the cost, the same
    expectation. Dropout is that of HMTL's heads; 0 for the paper's.

    After a `puzzling` task on a shared view, the tiles are first shuffled and then turned, and each task asks its own
    question: HMTL's "puzzle rotation".

    Args:
        width: D, the width of the feature that the heads read.
        tiles: n, tiles along each side, each turned on its own; None turns whole images.
        dropout: Probability of dropping a component of the feature.
        reduction: `"sum"` or `"mean"` over the tiles of an image.
        hidden: Width of a hidden ReLU layer, or 0 for none.
        level: Which feature map to pool for the heads, fine to coarse; None for the backbone's pooled feature.
        modality: Which of the inputs is rotated: square images.

    Examples:
        >>> import torch
        >>> from auxlearn.data import Batch
        >>> from auxlearn.learning import Draws, Feature, Features, StepContext
        >>> from auxlearn_rotation import Rotation
        >>> task = Rotation(width=5)
        >>> batch = Batch(inputs={"image": torch.rand(6, 3, 8, 8)}, ids=torch.arange(6))
        >>> views = task.views(batch, Draws(seed=0, name="rotation", step=0))
        >>> views[0].answers["turns"].flatten().tolist()  # one for each tile; a whole image is one tile
        [0, 2, 2, 2, 1, 2]
        >>> features = Features({"image": Feature(pooled=torch.zeros(6, 5))})
        >>> task.loss((features,), views, StepContext()).output["logits"].shape  # image, tile, angle
        torch.Size([6, 1, 4])
    """

    def __init__(
        self,
        width: int,
        *,
        tiles: int | None = None,
        dropout: float = 0.2,
        reduction: Literal["sum", "mean"] = "sum",
        hidden: int = 0,
        level: int | None = None,
        modality: str = "image",
    ) -> None:
        super().__init__()
        if tiles is not None and tiles < 2:
            raise ValueError(f"Parameter `tiles` should be None or at least 2, found {tiles}.")
        if reduction not in {"sum", "mean"}:
            raise ValueError(f"Parameter `reduction` should be 'sum' or 'mean', found {reduction!r}.")
        self.tiles, self.reduction, self.level, self.modality = tiles or 1, reduction, level, modality
        body = [nn.Linear(width, hidden), nn.ReLU()] if hidden else []
        self.heads = nn.Sequential(nn.Dropout(dropout), *body, nn.Linear(hidden or width, _ANGLES * self.tiles**2))

    def views(self, batch: Batch, draws: Draws) -> tuple[View, ...]:
        """Return the turned images, and the turns as the answer; turned tiles destroy the geometry."""
        images = batch.inputs[self.modality]
        turns = draws.integers(len(batch), self.tiles**2, high=_ANGLES)
        answers = {"turns": turns}
        given = batch.present.get(f"inputs/{self.modality}")
        if given is not None:
            answers["present"] = given
        inputs = {**batch.inputs, self.modality: quarter_turn(images, turns, self.tiles)}
        motion = turn_motion(turns[:, 0], images.shape[-1]) if self.tiles == 1 else None
        return (View(inputs=inputs, answers=answers, motion=motion),)

    def count(self, views: tuple[View, ...]) -> Tensor | int:
        """Return the number of images: the rows, less those without the modality."""
        given = views[0].answers.get("present")
        return len(views[0].answers["turns"]) if given is None else given.sum()

    def loss(self, features: tuple[Features, ...], views: tuple[View, ...], step: StepContext) -> TaskResult:
        """Return the cross entropy of the heads, summed over the images."""
        turns, given = views[0].answers["turns"], views[0].answers.get("present")
        logits = self.heads(self._feature(features[0])).view(*turns.shape, _ANGLES)
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))  # a sum of bf16 terms would lose digits
        terms = F.cross_entropy(logits.flatten(0, 1), turns.flatten(), reduction="none").view_as(turns)
        right = (logits.detach().argmax(2) == turns).float()
        loss, accuracy = terms.sum(), right.mean()
        if given is not None:
            loss = terms.where(given.unsqueeze(1), torch.zeros_like(terms)).sum()
            accuracy = (right.mean(1) * given).sum() / given.sum().clamp(min=1)
        loss = loss if self.reduction == "sum" else loss / self.tiles**2
        return TaskResult(loss=loss, output={"logits": logits}, metrics={"accuracy": accuracy})

    def picture(self, views: tuple[View, ...], result: TaskResult) -> Mapping[str, Tensor]:
        """Return the image, the image as it was turned, and that turned back as the heads would."""
        rotated = views[0].inputs[self.modality]
        rotated = rotated if rotated.shape[1] == 3 else rotated[:, :1].expand(-1, 3, -1, -1)
        guess = result.output["logits"].detach().argmax(2)
        return {
            "image": quarter_turn(rotated, -views[0].answers["turns"], self.tiles),
            "rotated": rotated,
            "turned_back": quarter_turn(rotated, -guess, self.tiles),
        }

    def _feature(self, features: Features) -> Tensor:
        feature = features[self.modality]
        return feature.pooled if self.level is None else feature.maps[self.level].mean((2, 3))
