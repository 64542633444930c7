"""`FeatureSimCLR`: the pretext task."""

from __future__ import annotations

import functools
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from auxlearn.data import Batch
from auxlearn.learning import Draws, Features, FeatureShape, Motion, StepContext, TaskResult, View
from auxlearn_conclugen.multimodal import MultimodalTask, exact
from auxlearn_conclugen.objectives import share_where, sum_where
from auxlearn_joint_embedding import contrastive_logits, projector

__all__ = ["FeatureSimCLR", "corrupt"]


def corrupt(vectors: Tensor, rate: float, draws: Draws, present: Tensor | None = None) -> Tensor:
    """Return vectors of which a random part of the components is taken from other rows: [N, d].

    "SCARF: Self-Supervised Contrastive Learning using Random Feature Corruption" (Bahri, Jiang, Tay, Metzler,
    [arXiv 2106.15147](https://arxiv.org/abs/2106.15147)): of each row the same number of components, and each of them
    from a row of its own, so from the component's marginal distribution.

    Args:
        vectors: [N, d].
        rate: The part, in [0, 1]; of d components, `round(rate * d)` are taken.
        draws: Randomness.
        present: Which rows components are taken from: bool [N]; None for all.

    Examples:
        >>> import torch
        >>> from auxlearn.learning import Draws
        >>> from auxlearn_conclugen import corrupt
        >>> vectors = torch.arange(4.0).unsqueeze(1).expand(4, 10)
        >>> changed = corrupt(vectors, 0.3, Draws(seed=0, name="scarf", step=0))
        >>> bool(((changed != vectors).sum(1) <= 3).all())
        True
    """
    rows, width = vectors.shape
    taken = draws.permutations(rows, width) < round(rate * width)
    number = draws.uniform(rows, width)
    if present is None:
        source = (number * rows).long()
    else:
        donors = present.to(torch.uint8).argsort(descending=True, stable=True)
        source = donors[(number * present.sum()).long()]
    return torch.where(taken, vectors.gather(0, source.clamp(max=rows - 1)), vectors)


class FeatureSimCLR(MultimodalTask):
    """Find the other view of the same feature vector among all views of all rows: SimCLR on precomputed features.

    The baseline of ConCluGen ([arXiv 2404.10904](https://arxiv.org/abs/2404.10904)): "A Simple Framework for
    Contrastive Learning of Visual Representations" (Chen, Kornblith, Norouzi, Hinton,
    [arXiv 2002.05709](https://arxiv.org/abs/2002.05709)) on the features of one modality, where the views are features
    of augmented copies of the clip. Of an input with several copies of each row, [N, k, d], the first two are the
    views, whatever they are: a row with one copy, which the data repeats, shows it twice. Of an input with one,
    [N, d], the first view is the vector itself and the second is a corrupted one (see `corrupt`), its components from
    other rows of the same process.

    With several modalities the loss is the sum of the losses of each. Every observed view of every row weighs the same.

    Args:
        shapes: Form of the features of each modality, and the inputs it is made of.
        temperature: By which cosine similarities are divided.
        corruption: Part of the components that the second view takes from other rows.
        hidden: Width of the hidden layer of each projector.
        width: Width of the embedding.

    Examples:
        >>> import torch
        >>> from auxlearn.data import Batch
        >>> from auxlearn.learning import Draws, FeatureShape
        >>> from auxlearn_conclugen import FeatureSimCLR
        >>> task = FeatureSimCLR({"video": FeatureShape(pooled=8, source=5)})
        >>> batch = Batch(inputs={"video": torch.rand(4, 2, 5)}, ids=torch.arange(4))
        >>> views = task.views(batch, Draws(seed=0, name="simclr", step=0))
        >>> [torch.equal(view.inputs["video"], batch.inputs["video"][:, i]) for i, view in enumerate(views)]
        [True, True]
    """

    def __init__(
        self,
        shapes: Mapping[str, FeatureShape],
        *,
        temperature: float = 0.1,
        corruption: float = 0.6,
        hidden: int = 512,
        width: int = 128,
    ) -> None:
        super().__init__({name: shape.inputs or (name,) for name, shape in shapes.items()})
        if not temperature > 0:
            raise ValueError(f"Parameter `temperature` should be above 0, found {temperature}.")
        if not 0 < corruption <= 1:
            raise ValueError(f"Parameter `corruption` should be above 0 and at most 1, found {corruption}.")
        self.temperature, self.corruption = temperature, corruption
        self.heads = nn.ModuleDict(
            {
                name: projector(shape.pooled, hidden=hidden, out=width, layers=1, norm=False)
                for name, shape in shapes.items()
            }
        )

    def views(self, batch: Batch, draws: Draws) -> tuple[View, ...]:
        """Return two views of each row."""
        first, second = dict(batch.inputs), dict(batch.inputs)
        for name in dict.fromkeys(one for inputs in self.modalities.values() for one in inputs):
            vectors = batch.inputs[name]
            if vectors.ndim == 3 and vectors.shape[1] > 1:
                first[name], second[name] = vectors[:, 0], vectors[:, 1]
                continue
            first[name] = vectors[:, 0] if vectors.ndim == 3 else vectors
            present = batch.present.get(f"inputs/{name}")
            second[name] = corrupt(first[name], self.corruption, draws.child(name), present)
        answers, motion = self.presence(batch), Motion.still(len(batch), batch.device)
        return tuple(View(inputs=inputs, answers=answers, motion=motion) for inputs in (first, second))

    def count(self, views: tuple[View, ...]) -> Tensor | int:
        """Return the number of views of all modalities that rows have."""
        return 2 * self.observed(views).sum()

    def loss(self, features: tuple[Features, ...], views: tuple[View, ...], step: StepContext) -> TaskResult:
        """Return the loss times the number of its terms; `accuracy` is how often the other view is the nearest."""
        losses, rights, counted = [], [], []
        for name, present in zip(self.modalities, self.observed(views).unbind(1), strict=True):
            first, second = (exact(self.heads[name](one[name].pooled)) for one in features)
            with torch.autocast(first.device.type, enabled=False):
                logits, targets = contrastive_logits(
                    first,
                    second,
                    temperature=self.temperature,
                    present=present,
                    gather=functools.partial(step.gather, grad=True),
                    rank=step.draws.rank,
                )
                counted.append(present.repeat(2))
                losses.append(sum_where(F.cross_entropy(logits, targets, reduction="none"), counted[-1]))
            rights.append(logits.detach().argmax(1) == targets)
        accuracy = share_where(torch.stack(rights), torch.stack(counted))
        return TaskResult(loss=torch.stack(losses).sum() * len(self.modalities), metrics={"accuracy": accuracy})
