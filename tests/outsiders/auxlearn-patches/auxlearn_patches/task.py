"""`Patches`: the pretext task."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from auxlearn.data import Batch
from auxlearn.learning import Draws, Features, PretextTask, StepContext, TaskResult, View
from torch import Tensor, nn

from auxlearn_patches.layout import Layout

__all__ = ["Patches"]


class Patches(PretextTask):
    """Tell in which of eight directions a patch lies, seen from another one.

    "Unsupervised Visual Representation Learning by Context Prediction" (Doersch, Gupta, Efros, ICCV 2015,
    https://arxiv.org/abs/1505.05192). Two patches of an image go through the backbone, one of them the middle of a
    3 x 3 grid, the other one of its neighbours; a head on both features together names the neighbour. A gap between
    the patches and a jitter of each hide lines that run on from one to the other. Lenses bend colours differently,
    by which a network could tell where in the picture a patch is from, so colours are hidden, too:

    - `"drop"` keeps one channel of each patch and makes noise of the other two, with a standard deviation of a
      hundredth of the kept one's, around the middle of the range.
    - `"project"` multiplies each pixel by `B = I - a'a / (aa')` with `a = (-1, 2, -1)`, which takes out what is
      between green and magenta. Here the contrast is then multiplied by 3/4, which keeps all values in [0, 1].

    Images that have not three channels are left as they are. In the paper, patches have 96 pixels, in images of random
    sizes, and some are made coarse; here they are as large as the image allows.

    Args:
        width: Width of the pooled feature.
        gap: Space between two patches, as part of a patch's side.
        jitter: How far each patch is moved at most, as part of its side.
        colours: How to hide them; `"keep"` does not.
        hidden: Width of the hidden layer.
        modality: Which of the inputs is cut.
    """

    def __init__(
        self,
        width: int,
        *,
        gap: float = 0.5,
        jitter: float = 7 / 96,
        colours: Literal["drop", "project", "keep"] = "drop",
        hidden: int = 512,
        modality: str = "image",
    ) -> None:
        super().__init__()
        self.gap, self.jitter, self.colours, self.modality = gap, jitter, colours, modality
        self.head = nn.Sequential(nn.Linear(2 * width, hidden), nn.ReLU(), nn.Linear(hidden, 8))

    def views(self, batch: Batch, draws: Draws) -> tuple[View, ...]:
        """Return the patch in the middle and its neighbour; all randomness comes from `draws`."""
        images = batch.inputs[self.modality]
        neighbour = draws.integers(len(batch), high=8)
        patches = self._hide_colours(self._cut(images, neighbour, draws), draws)
        answers = {"neighbour": neighbour}
        given = batch.present.get(f"inputs/{self.modality}")
        if given is not None:  # rows that lack the modality
            answers["present"] = given
        middle, other = ({**batch.inputs, self.modality: patch} for patch in patches.unbind(1))
        return View(inputs=middle, answers=answers), View(inputs=other, answers=answers)

    def count(self, views: tuple[View, ...]) -> Tensor | int:
        """Return the number of pairs."""
        given = views[0].answers.get("present")
        return len(views[0].answers["neighbour"]) if given is None else given.sum()

    def loss(self, features: tuple[Features, ...], views: tuple[View, ...], step: StepContext) -> TaskResult:
        """Return the cross entropy, summed over the pairs."""
        logits = self.head(torch.cat([one[self.modality].pooled for one in features], 1))
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))  # a sum of bf16 terms would lose digits
        answer, given = views[0].answers["neighbour"], views[0].answers.get("present")
        terms = F.cross_entropy(logits, answer, reduction="none")
        right = (logits.detach().argmax(1) == answer).float()
        if given is None:
            return TaskResult(loss=terms.sum(), output={"logits": logits}, metrics={"accuracy": right.mean()})
        accuracy = (right * given).sum() / given.sum().clamp(min=1)
        loss = terms.where(given, torch.zeros_like(terms)).sum()
        return TaskResult(loss=loss, output={"logits": logits}, metrics={"accuracy": accuracy})

    def _cut(self, images: Tensor, neighbour: Tensor, draws: Draws) -> Tensor:
        """Return the middle of a grid somewhere in each image, and this neighbour: [N, 2, C, patch, patch]."""
        rows, _, height, width = images.shape
        layout = Layout.of(min(height, width), gap=self.gap, jitter=self.jitter)
        cell = neighbour + (neighbour >= 4)  # of 0 ... 8, row by row; 4 is the middle
        middle = torch.full_like(cell, 4)
        cells = torch.stack([middle, cell], 1)
        moved = draws.integers(rows, 2, 2, high=2 * layout.jitter + 1)
        stride, steps = layout.patch + layout.gap, torch.arange(layout.patch, device=images.device)
        top = draws.integers(rows, 1, high=height - layout.side + 1) + cells // 3 * stride + moved[..., 0]
        left = draws.integers(rows, 1, high=width - layout.side + 1) + cells % 3 * stride + moved[..., 1]
        row = torch.arange(rows, device=images.device).view(-1, 1, 1, 1)
        y, x = top.unsqueeze(2) + steps, left.unsqueeze(2) + steps
        return images[row, :, y.unsqueeze(3), x.unsqueeze(2)].permute(0, 1, 4, 2, 3)

    def _hide_colours(self, patches: Tensor, draws: Draws) -> Tensor:
        """Return patches [N, 2, 3, H, W] whose colours do not tell where in the picture they are from."""
        if self.colours == "keep" or patches.shape[2] != 3:
            return patches
        if self.colours == "project":
            magenta = (2 * patches[:, :, 1] - patches[:, :, 0] - patches[:, :, 2]).unsqueeze(2) / 6
            towards = torch.stack([-magenta, 2 * magenta, -magenta], 2).squeeze(3)
            return 0.5 + 0.75 * (patches - towards - 0.5)
        rows, size = len(patches), patches.shape[1:]
        kept = F.one_hot(draws.integers(rows, 2, high=3), 3).bool()[..., None, None]
        spread = patches.where(kept, torch.zeros_like(patches)).sum(2).std((2, 3))[..., None, None, None]
        noise = draws.on_device(rows, lambda n: torch.randn(n, *size, device=patches.device)).to(patches.dtype)
        return patches.where(kept, (0.5 + spread / 100 * noise).clamp(0, 1))
