"""`MultimodalReconstruction`: the pretext task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from auxlearn.learning import Features, FeatureShape, StepContext, TaskResult, View
from auxlearn_conclugen.multimodal import MultimodalTask, exact
from auxlearn_conclugen.objectives import sum_where

__all__ = ["MultimodalReconstruction", "decoder"]


def decoder(width: int, *, hidden: int, out: int, final_relu: bool = False) -> nn.Sequential:
    """Return a linear layer, ReLU and a linear layer, as ConCluGen has it for each modality.

    Args:
        width: Width of the representation.
        hidden: Width of the hidden layer.
        out: Width of the input feature.
        final_relu: End in ReLU, as the authors' code does, which cannot give a negative value.

    Examples:
        >>> from auxlearn_conclugen import decoder
        >>> [type(layer).__name__ for layer in decoder(8, hidden=4, out=5)]
        ['Linear', 'ReLU', 'Linear']
    """
    last = [nn.ReLU()] if final_relu else []
    return nn.Sequential(nn.Linear(width, hidden), nn.ReLU(), nn.Linear(hidden, out), *last)


class MultimodalReconstruction(MultimodalTask):
    r"""Tell the input feature of each modality from its representation, or from those of the others.

    The reconstruction loss of ConCluGen ([arXiv 2404.10904](https://arxiv.org/abs/2404.10904)): with the decoder $d_m$,
    the representation $r_m$ and the input feature $x_m$ of each modality,

    $$ L = \sum_m \mathrm{MSE}(d_m(r_m), x_m). $$

    The target is what the backbone gives as `Feature.source`, detached: with standardised inputs the loss of knowing
    nothing is about 1 a modality. Ours is the reconstruction across modalities, $\mathrm{MSE}(d_{ab}(r_a), x_b)$ for
    all ordered pairs, each with a decoder of its own. The authors' decoders end in ReLU, and so cannot reproduce what
    is negative.

    Every observed row of every term weighs the same; a term needs the modality it reads and the one it tells.

    Args:
        shapes: Form of the features of each modality: representation and source, and the inputs it is made of.
        targets: `"own"`, `"cross"` or `"both"`.
        hidden: Width of the hidden layer of each decoder.
        final_relu: End decoders in ReLU.

    Examples:
        >>> import torch
        >>> from auxlearn.learning import FeatureShape
        >>> from auxlearn_conclugen import MultimodalReconstruction
        >>> shapes = {"video": FeatureShape(pooled=8, source=5), "audio": FeatureShape(pooled=8, source=3)}
        >>> sorted(MultimodalReconstruction(shapes, targets="both").decoders)
        ['audio', 'audio_to_video', 'video', 'video_to_audio']
    """

    def __init__(
        self,
        shapes: Mapping[str, FeatureShape],
        *,
        targets: Literal["own", "cross", "both"] = "own",
        hidden: int = 512,
        final_relu: bool = False,
    ) -> None:
        super().__init__({name: shape.inputs or (name,) for name, shape in shapes.items()})
        names = list(shapes)
        lacking = [name for name, shape in shapes.items() if shape.source is None]
        if lacking:
            raise ValueError(f"`shapes` should tell the width of each source, found none for {lacking}.")
        wanted = {"own": (True,), "cross": (False,), "both": (True, False)}[targets]
        self.terms: Sequence[tuple[str, str]] = [
            (a, b) for own in wanted for a in names for b in names if (a == b) is own
        ]
        if not self.terms:
            raise ValueError(f"`targets` should be 'own' for the single modality {names}, found {targets!r}.")
        made = {
            _name(a, b): decoder(shapes[a].pooled, hidden=hidden, out=shapes[b].source or 0, final_relu=final_relu)
            for a, b in self.terms
        }
        self.decoders = nn.ModuleDict(made)

    def count(self, views: tuple[View, ...]) -> Tensor | int:
        """Return the number of rows of all terms that have what the term reads and tells."""
        return torch.stack(self._counted(views)).sum()

    def loss(self, features: tuple[Features, ...], views: tuple[View, ...], step: StepContext) -> TaskResult:
        """Return the loss times the number of its terms, and as metrics the mean squared error of each."""
        losses, metrics = [], {}
        for (a, b), counted in zip(self.terms, self._counted(views), strict=True):
            target = features[0][b].source
            if target is None:
                raise ValueError(f"Feature `{b}` should have a source to reconstruct, found none.")
            told = exact(self.decoders[_name(a, b)](features[0][a].pooled))
            error = (told - target.detach().to(told.dtype)).square().mean(1)
            losses.append(sum_where(error, counted))
            metrics[f"mse_{_name(a, b)}"] = losses[-1].detach() / counted.sum().clamp(min=1)
        return TaskResult(loss=torch.stack(losses).sum() * len(self.terms), metrics=metrics)

    def _counted(self, views: tuple[View, ...]) -> list[Tensor]:
        """Return which rows count in each term: bool [N]."""
        observed = dict(zip(self.modalities, self.observed(views).unbind(1), strict=True))
        return [observed[a] & observed[b] for a, b in self.terms]


def _name(source: str, target: str) -> str:
    return source if source == target else f"{source}_to_{target}"
