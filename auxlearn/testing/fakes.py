"""Tiny components with the real interfaces, for tests and examples that should take milliseconds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import Dataset
from torchmetrics import MetricCollection
from torchmetrics.classification import MulticlassAccuracy

from auxlearn.data import Batch, DataSource, InputShape, TargetInfo
from auxlearn.learning import (
    Backbone,
    Draws,
    Feature,
    Features,
    FeatureShape,
    MapShape,
    Motion,
    PretextTask,
    PrimaryTask,
    StepContext,
    TaskResult,
    View,
)

__all__ = ["TinyBackbone", "TinyPretext", "TinyPrimary", "TinySource", "tiny_batch"]


class TinyBackbone(Backbone):
    """Two convolutions and a mean over places.

    Args:
        width: Width of the pooled feature.
        norm: Use BatchNorm after the first convolution.
        dropout: Dropout on the pooled feature.
    """

    def __init__(self, width: int = 8, *, norm: bool = True, dropout: float = 0.0) -> None:
        super().__init__()
        self.shapes = {"image": FeatureShape(pooled=width, maps=(MapShape(channels=width, reduction=4),))}
        self.first = nn.Conv2d(3, width, 3, stride=2, padding=1)
        self.norm = nn.BatchNorm2d(width) if norm else nn.Identity()
        self.second = nn.Conv2d(width, width, 3, stride=2, padding=1)
        self.dropout = nn.Dropout(dropout)

    def forward(self, inputs: Mapping[str, Tensor]) -> Features:
        """Return the features of `inputs["image"]`."""
        fine = self.second(F.relu(self.norm(self.first(inputs["image"]))))
        return Features({"image": Feature(pooled=self.dropout(fine.mean((2, 3))), maps=(fine,))})


class TinyPrimary(PrimaryTask):
    """A linear classification; several modalities are put side by side.

    Args:
        width: Width of the pooled feature, or of all of them together.
        classes: Number of classes.
        target: Name of the target.
    """

    def __init__(self, width: int = 8, classes: int = 2, *, target: str = "kind") -> None:
        super().__init__()
        self.targets = (target,)
        self.classes = classes
        self.head = nn.Linear(width, classes)

    def loss(self, features: Features, batch: Batch, step: StepContext) -> TaskResult:
        """Return the summed cross entropy of the rows that have a label."""
        logits = self._logits(features)
        each = F.cross_entropy(logits, batch.targets[self.targets[0]], reduction="none")
        return TaskResult(loss=(each * batch.has(self.targets[0])).sum(), output={"logits": logits.detach()})

    def predict(self, features: Features) -> Mapping[str, Tensor]:
        """Return the probability of each class."""
        return {"probabilities": self._logits(features).softmax(1)}

    def metrics(self) -> MetricCollection:
        """Return the accuracy."""
        return MetricCollection({"accuracy": MulticlassAccuracy(self.classes, average="micro")})

    def update(self, metrics: MetricCollection, features: Features, batch: Batch) -> None:
        """Add a batch."""
        rows = batch.has(self.targets[0])
        metrics.update(self.predict(features)["probabilities"][rows], batch.targets[self.targets[0]][rows])

    def linear(self) -> nn.Linear:
        """Return the head."""
        return self.head

    def _logits(self, features: Features) -> Tensor:
        parts = [features[name].pooled for name in sorted(features)]
        logits: Tensor = self.head(parts[0] if len(parts) == 1 else torch.cat(parts, 1))
        return logits


class TinyPretext(PretextTask):
    """Tell whether an image was turned upside down.

    Args:
        width: Width of the pooled feature.
        views: How many views to make.
        motion: Whether the views say what happened to the geometry.
    """

    def __init__(self, width: int = 8, *, views: int = 1, motion: bool = False) -> None:
        super().__init__()
        self.number, self.motion = views, motion
        self.head = nn.Linear(width, 2)

    def views(self, batch: Batch, draws: Draws) -> tuple[View, ...]:
        """Return the images, each turned with probability one half."""
        return tuple(self._view(batch, draws) for _ in range(self.number))

    def _view(self, batch: Batch, draws: Draws) -> View:
        turned = draws.integers(len(batch), high=2).bool()
        image = torch.where(turned[:, None, None, None], batch.image.flip(2), batch.image)
        return View(
            inputs={"image": image},
            answers={"turned": turned.long()},
            motion=self._motion(turned, image.shape[2]) if self.motion else None,
        )

    def _motion(self, turned: Tensor, height: int) -> Motion:
        matrix = Motion.still(len(turned), turned.device).matrix.clone()
        matrix[:, 1, 1] = 1 - 2 * turned.to(matrix.dtype)
        matrix[:, 1, 2] = turned * (height - 1.0)
        return Motion(matrix)

    def loss(self, features: tuple[Features, ...], views: tuple[View, ...], step: StepContext) -> TaskResult:
        """Return the summed cross entropy over the views."""
        pairs = [(self.head(f.only.pooled), v.answers["turned"]) for f, v in zip(features, views, strict=True)]
        loss = torch.stack([F.cross_entropy(logits, answer, reduction="sum") for logits, answer in pairs]).sum()
        right = torch.stack([(logits.argmax(1) == answer).float().mean() for logits, answer in pairs]).mean()
        return TaskResult(loss=loss, metrics={"accuracy": right.detach()}, carry={"answer": pairs[0][1]})


class TinySource(DataSource):
    """Images of noise, dark or bright, in three splits; made anew from their index each time.

    Args:
        rows: Rows of each split.
        side: Side of the images in pixels.
        unlabelled: Every n-th row has no label; 0 for none.
    """

    splits = ("train", "val", "test")

    def __init__(self, rows: int = 48, side: int = 8, *, unlabelled: int = 0) -> None:
        self.rows, self.side, self.unlabelled = rows, side, unlabelled
        self.inputs = {"image": InputShape(shape=(3, side, side))}
        self.targets = {"kind": TargetInfo(kind="class", names=("dark", "bright"))}

    def dataset(self, split: str) -> Dataset[Any]:
        """Return the rows of `split`."""
        return _TinyRows(self, self.splits.index(split))

    def labels(self, split: str, target: str) -> list[int | None]:
        """Return every row's label."""
        return [self.label(index) for index in range(self.rows)]

    def label(self, index: int) -> int | None:
        """Return a row's label, None for a row without."""
        return None if self.unlabelled and index % self.unlabelled == 0 else index % 2

    def fingerprint(self) -> str:
        """Return what the rows depend on."""
        return f"tiny-{self.rows}-{self.side}-{self.unlabelled}"


class _TinyRows(Dataset[Any]):
    def __init__(self, source: TinySource, number: int) -> None:
        self.source, self.number = source, number

    def __len__(self) -> int:
        return self.source.rows

    def __getitem__(self, index: int) -> dict[str, Any]:
        generator = torch.Generator().manual_seed(self.number * 1_000_003 + index)
        noise = torch.randint(0, 120, (3, self.source.side, self.source.side), generator=generator)
        image = (noise + 60 * (index % 2)).to(torch.uint8)
        return {"image": image, "kind": self.source.label(index)}


def tiny_batch(rows: int = 8, size: int = 8, *, seed: int = 0) -> Batch:
    """Return uint8 images of noise with a target `kind` of two classes.

    Args:
        rows: How many.
        size: Their side in pixels.
        seed: Of noise and classes.
    """
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 256, (rows, 3, size, size), dtype=torch.uint8, generator=generator)
    kinds = torch.randint(0, 2, (rows,), generator=generator)
    return Batch(inputs={"image": images}, targets={"kind": kinds}, ids=torch.arange(rows))
