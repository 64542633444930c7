"""Tiny components of several modalities, as those of `auxlearn.testing.fakes` are of images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from auxlearn.data import DataSource, InputShape, TargetInfo
from auxlearn.learning import Backbone, Feature, Features, FeatureShape

__all__ = ["TinyEncoders", "TinyFeatures"]


class TinyEncoders(Backbone):
    """A layer for each of several modalities: of a vector once it is standardised, of an image once it is averaged.

    Args:
        inputs: The form of each modality.
        width: Width of each pooled feature.

    Examples:
        >>> from auxlearn.testing.modalities import TinyEncoders, TinyFeatures
        >>> backbone = TinyEncoders(TinyFeatures().inputs, width=4)
        >>> {name: shape.pooled for name, shape in backbone.shapes.items()}
        {'video': 4, 'audio': 4}
    """

    def __init__(self, inputs: Mapping[str, InputShape], width: int = 8) -> None:
        super().__init__()
        self.shapes, self.layers_of = {}, nn.ModuleDict()
        for name, one in inputs.items():
            is_image = one.kind == "image"
            read = one.shape[0] if is_image else one.shape[-1]
            self.layers_of[name] = nn.Linear(read, width)
            self.shapes[name] = FeatureShape(pooled=width, source=None if is_image else read)
            self.register_buffer(f"mean_{name}", torch.tensor(one.mean or (0.0,) * read))
            self.register_buffer(f"std_{name}", torch.tensor(one.std or (1.0,) * read))

    def forward(self, inputs: Mapping[str, Tensor]) -> Features:
        """Return the features of each modality: vectors [N, D] or images [N, C, H, W]."""
        return Features({name: self._one(name, inputs[name]) for name in self.shapes})

    def _one(self, name: str, given: Tensor) -> Feature:
        vectors = given.mean((2, 3)) if given.ndim == 4 else given
        seen = (vectors - self.get_buffer(f"mean_{name}")) / self.get_buffer(f"std_{name}")
        pooled = torch.tanh(self.layers_of[name](seen))
        return Feature(pooled=pooled, source=seen if given.ndim == 2 else None)


class TinyFeatures(DataSource):
    """Feature vectors of two modalities, `video` and `audio`, in three splits; beside images if asked for.

    Targets are a class `kind`, which both modalities show, and two labels `tags`. A row that lacks `audio` holds the
    mean of the training rows that have it.

    Args:
        rows: Rows of each split.
        lacking: Every n-th row lacks `audio`; 0 for none.
        side: Side of images in pixels, as a third modality `image`; 0 for none.

    Examples:
        >>> from auxlearn.testing.modalities import TinyFeatures
        >>> source = TinyFeatures(rows=6, lacking=3)
        >>> source.dataset("train").__getitems__([0, 1])["present"]["inputs/audio"].tolist()
        [False, True]
    """

    splits = ("train", "val", "test")

    def __init__(self, rows: int = 48, *, lacking: int = 0, side: int = 0) -> None:
        self.rows, self.side = rows, side
        self.there = torch.tensor([not (lacking and index % lacking == 0) for index in range(rows)])
        self.columns = {split: self._made(place) for place, split in enumerate(self.splits)}
        self.inputs = {name: self._measured(name) for name in ("video", "audio")}
        mean = torch.tensor(self.inputs["audio"].mean)
        for columns in self.columns.values():
            columns["audio"] = torch.where(self.there[:, None], columns["audio"], mean)
        if side:
            self.inputs["image"] = InputShape(shape=(3, side, side))
        self.targets = {
            "kind": TargetInfo(kind="class", names=("dark", "bright")),
            "tags": TargetInfo(kind="multilabel", names=("loud", "fast"), shape=(2,)),
        }

    def _made(self, place: int) -> dict[str, Tensor]:
        generator = torch.Generator().manual_seed(place)
        kind = torch.arange(self.rows) % 2
        video = 3 + 2 * torch.randn(self.rows, 5, generator=generator) + 2 * kind[:, None]
        audio = 40 - torch.randn(self.rows, 3, generator=generator) * 5 + 6 * kind[:, None]
        tags = torch.stack([audio[:, 0] > 43, video[:, 0] > 6], 1).float()
        return {"video": video, "audio": audio, "kind": kind, "tags": tags}

    def _measured(self, name: str) -> InputShape:
        known = self.columns["train"][name][self.there if name == "audio" else slice(None)]
        mean, std = tuple(known.mean(0).tolist()), tuple(known.std(0, correction=0).tolist())
        return InputShape(shape=tuple(known.shape[1:]), dtype="float32", kind="feature", mean=mean, std=std)

    def dataset(self, split: str) -> Dataset[Any]:
        """Return the rows of `split`."""
        return _TinyVectors(self, split)

    def labels(self, split: str, target: str) -> list[Any]:
        """Return every row's label."""
        found: list[Any] = self.columns[split][target].tolist()
        return found

    def fingerprint(self) -> str:
        """Return what the rows depend on."""
        return f"tiny-features-{self.rows}-{int(self.there.sum())}-{self.side}"


class _TinyVectors(Dataset[Any]):
    def __init__(self, source: TinyFeatures, split: str) -> None:
        self.source, self.columns = source, source.columns[split]

    def __len__(self) -> int:
        return self.source.rows

    def __getitem__(self, index: int) -> dict[str, Any]:
        item = {name: column[0] for name, column in self.__getitems__([index]).items() if name != "present"}
        return item if self.source.there[index] else {**item, "audio": None}

    def __getitems__(self, indices: Sequence[int]) -> dict[str, Any]:
        rows = torch.tensor(list(indices))
        found: dict[str, Any] = {name: column[rows] for name, column in self.columns.items()}
        if side := self.source.side:
            found["image"] = (60 + 120 * found["kind"]).to(torch.uint8)[:, None, None, None].expand(-1, 3, side, side)
        return {**found, "present": {"inputs/audio": self.source.there[rows]}}
