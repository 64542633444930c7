"""`Inpainting`: the pretext task."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal

import torch
from torch import Tensor, nn

from auxlearn.data import Batch
from auxlearn.learning import Draws, Features, Motion, PretextTask, StepContext, TaskResult, View
from auxlearn_inpainting.losses import PixelLoss, masked_mean, pixel_loss
from auxlearn_inpainting.masks import BlockMask, Mask, fill_masked

__all__ = ["Inpainting"]

_BEST_PSNR = 100.0  # of pixels that are all but equal


class Inpainting(PretextTask):
    r"""Fill in what was masked out: draw the image from the features of the image with a part of it hidden.

    After the "in-painting" task of HMTL: "Using Self-Supervised Co-Training to Improve Facial Representation"
    (Pourmirzaei, Montazer, Esmaili, [arXiv 2105.06421](https://arxiv.org/abs/2105.06421)), whose best variant adds a
    perceptual loss ("in-painting-pl"). **This is a reconstruction**: masks, decoder, pixel loss, perceptual network and
    weights of the paper are not published in what could be read of it, so all of them are choices of ours. The task
    itself is that of "Context Encoders: Feature Learning by Inpainting" (Pathak et al., [arXiv
    1604.07379](https://arxiv.org/abs/1604.07379)), without its adversarial loss.

    With mask M, image x and prediction y, the loss of an image is

    $$ L = \mathrm{mean}_{M}\, \ell(y, x) + u\, \mathrm{mean}_{\bar M}\, \ell(y, x) + v\, P(M y + \bar M x,\; x) $$

    for a loss $\ell$ on pixels (see `pixel_loss`) and a perceptual loss $P$ (see `PerceptualLoss`).

    The view that the backbone gets is the masked image in its place, so tasks that need geometry can learn from it.

    Args:
        decoder: Draws images of a size from a feature map: `decoder(map, (H, W))` gives [N, C, H, W] in [0, 1].
        mask: Which pixels to hide; default: `BlockMask()`.
        fill: What stands in the masked part: `"mean"`, `"zero"` or `"noise"`.
        level: Which feature map the decoder reads, fine to coarse.
        loss: `"l1"`, `"l2"`, `"charbonnier"` or `"ssim"`.
        epsilon: Of the Charbonnier loss.
        unmasked: u, factor of the loss on the pixels that were not masked.
        perceptual: P, called with two images [N, C, H, W] to give [N] distances; None for none.
        perceptual_weight: v.
        perceptual_on: `"composed"` compares the image with its masked part predicted, `"prediction"` all of y.
        modality: Which of the inputs is masked.

    Examples:
        >>> import torch
        >>> from auxlearn.data import Batch
        >>> from auxlearn.learning import Draws, Feature, Features, StepContext
        >>> from auxlearn_inpainting import Decoder, Inpainting
        >>> task = Inpainting(Decoder(6, 8))
        >>> batch = Batch(inputs={"image": torch.rand(4, 3, 33, 33)}, ids=torch.arange(4))
        >>> views = task.views(batch, Draws(seed=0, name="inpaint", step=0))
        >>> views[0].answers["mask"].shape
        torch.Size([4, 1, 33, 33])
        >>> features = Features({"image": Feature(pooled=torch.zeros(4, 6), maps=(torch.zeros(4, 6, 5, 5),))})
        >>> task.loss((features,), views, StepContext()).output["prediction"].shape
        torch.Size([4, 3, 33, 33])
    """

    def __init__(
        self,
        decoder: nn.Module,
        *,
        mask: Mask | None = None,
        fill: Literal["mean", "zero", "noise"] = "mean",
        level: int = -1,
        loss: PixelLoss = "l1",
        epsilon: float = 1e-3,
        unmasked: float = 0.1,
        perceptual: Callable[[Tensor, Tensor], Tensor] | None = None,
        perceptual_weight: float = 0.1,
        perceptual_on: Literal["composed", "prediction"] = "composed",
        modality: str = "image",
    ) -> None:
        super().__init__()
        _require("fill", fill, "mean", "zero", "noise")
        _require("loss", loss, "l1", "l2", "charbonnier", "ssim")
        _require("perceptual_on", perceptual_on, "composed", "prediction")
        self.decoder, self.mask = decoder, mask or BlockMask()
        self.fill, self.level, self.modality = fill, level, modality
        self.pixel, self.epsilon, self.unmasked = loss, epsilon, unmasked
        self.perceptual = perceptual
        self.perceptual_weight, self.perceptual_on = perceptual_weight, perceptual_on

    def views(self, batch: Batch, draws: Draws) -> tuple[View, ...]:
        """Return the masked images; the originals and the masks are the answer, and the geometry is intact."""
        images = batch.inputs[self.modality]
        rows, channels, height, width = images.shape
        mask = self.mask.draw(draws.uniform(rows, self.mask.numbers), height, width)
        noise = draws.uniform(rows, channels, height, width) if self.fill == "noise" else None
        answers = {"image": images, "mask": mask}
        given = batch.present.get(f"inputs/{self.modality}")
        if given is not None:
            answers["present"] = given
        inputs = {**batch.inputs, self.modality: fill_masked(images, mask, self.fill, noise)}
        return (View(inputs=inputs, answers=answers, motion=Motion.still(rows, images.device)),)

    def count(self, views: tuple[View, ...]) -> Tensor | int:
        """Return the number of images: the rows, less those without the modality."""
        given = views[0].answers.get("present")
        return len(views[0].answers["image"]) if given is None else given.sum()

    def loss(self, features: tuple[Features, ...], views: tuple[View, ...], step: StepContext) -> TaskResult:
        """Return the loss on pixels and the perceptual loss, summed over the images."""
        target, mask = views[0].answers["image"], views[0].answers["mask"]
        given = views[0].answers.get("present")
        prediction = self.decoder(features[0][self.modality].maps[self.level], target.shape[2:])
        pixels = pixel_loss(prediction, target, self.pixel, epsilon=self.epsilon)
        rows = masked_mean(pixels, mask)
        if self.unmasked:
            rows = rows + self.unmasked * masked_mean(pixels, ~mask)
        metrics = _scores(prediction.detach(), target, mask)
        if self.perceptual is not None and self.perceptual_weight:
            apart = self._perceive(prediction, target, mask)
            rows = rows + self.perceptual_weight * apart
            metrics["perceptual"] = apart.detach()
        return TaskResult(
            loss=_sum(rows, given),
            output={"prediction": prediction},
            metrics={name: _mean(value, _masked(mask, given)) for name, value in metrics.items()},
        )

    def picture(self, views: tuple[View, ...], result: TaskResult) -> Mapping[str, Tensor]:
        """Return the image, the masked image, and the image with its masked part predicted."""
        image, mask = views[0].answers["image"], views[0].answers["mask"]
        shown = {
            "image": image,
            "masked": views[0].inputs[self.modality],
            "predicted": torch.where(mask, result.output["prediction"].detach().to(image.dtype), image),
        }
        return {name: _in_colour(one) for name, one in shown.items()}

    def _perceive(self, prediction: Tensor, target: Tensor, mask: Tensor) -> Tensor:
        """Return the perceptual distance of each row: [N]."""
        seen = prediction if self.perceptual_on == "prediction" else torch.where(mask, prediction, target)
        # What the backbone computes in, too, unless under autocast: the network may be a copy of it.
        dtype = next((p.dtype for p in self.decoder.parameters()), prediction.dtype)
        distances: Tensor = self.perceptual(seen.to(dtype), target.to(dtype))  # type: ignore[misc]
        return distances


def _scores(prediction: Tensor, target: Tensor, mask: Tensor) -> dict[str, Tensor]:
    """Return mean absolute error and peak signal-to-noise ratio (dB) of each row's masked pixels."""
    absolute = masked_mean(pixel_loss(prediction, target, "l1"), mask)
    square = masked_mean(pixel_loss(prediction, target, "l2"), mask)
    return {"masked_l1": absolute, "masked_psnr": (-10 * square.log10()).clamp(max=_BEST_PSNR)}


def _masked(mask: Tensor, given: Tensor | None) -> Tensor:
    """Return which rows have the modality and a masked pixel: the others have nothing to be judged by."""
    some = mask.flatten(1).any(1)
    return some if given is None else some & given


def _sum(rows: Tensor, given: Tensor | None) -> Tensor:
    """Return the sum over the rows that have the modality."""
    return rows.sum() if given is None else torch.where(given, rows, torch.zeros_like(rows)).sum()


def _mean(rows: Tensor, given: Tensor | None) -> Tensor:
    """Return the mean over the rows that have the modality."""
    return rows.mean() if given is None else _sum(rows, given) / given.sum().clamp(min=1)


def _in_colour(images: Tensor) -> Tensor:
    return images if images.shape[1] == 3 else images[:, :1].expand(-1, 3, -1, -1)


def _require(name: str, found: str, *allowed: str) -> None:
    if found not in allowed:
        raise ValueError(f"Parameter `{name}` should be one of {allowed}, found {found!r}.")
