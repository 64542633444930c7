"""A plugin for the tests of extraction: rows of any length, and a network that says simple things about them.

Run as a program, it extracts into the folder that it is given and is killed by row number KILL, the hard way.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import attrs
import torch
from torch.utils.data import Dataset

from auxlearn import api
from auxlearn.data import DataSource, InputShape, TargetInfo
from auxlearn.errors import DataError, Problem
from auxlearn.learning import Backbone, Feature, Features, FeatureShape
from auxlearn.registry import Provider, discover, hookimpl, option
from auxlearn.results import extraction

SPLITS = {"train": 7, "test": 3}
TARGETS = {
    "mood": TargetInfo(kind="class", names=("sad", "happy")),
    "marks": TargetInfo(kind="multilabel", names=("a", "b"), shape=(2,)),
    "pose": TargetInfo(kind="continuous", names=("yaw", "pitch"), shape=(2,)),
}
SPEC = {
    "auxlearn": 1,
    "data": {"type": "lines", "split": {"val": 0.3}},
    "extract": {
        "short": {"type": "moments", "input": "sound", "window": 4, "stride": 3, "batch_size": 2},
        "text": {"type": "moments", "window": "all", "input": "text"},
    },
}


@attrs.frozen(kw_only=True)
class LinesParams:
    salt: int = option(0, help="Changes the rows.")
    bad: tuple[int, ...] = option((), help="Rows of `train` that cannot be read.")


@attrs.frozen(kw_only=True)
class MomentsParams:
    scale: float = option(1.0, help="Factor.")


class Lines(DataSource):
    splits = tuple(SPLITS)
    targets = TARGETS

    def __init__(self, salt, bad):
        self.salt, self.bad = salt, bad
        self.inputs = {
            "sound": InputShape(shape=(-1,), dtype="float32", kind="feature"),
            "text": InputShape(shape=(-1,), kind="feature"),
        }

    def dataset(self, split):
        return Rows(self, split)

    def groups(self, split):
        return [f"{split}-{index // 2}" for index in range(SPLITS[split])]

    def name(self, split, index):
        return f"{split}/{index}.wav"

    def fingerprint(self):
        return f"lines {self.salt}"


class Rows(Dataset):
    def __init__(self, source, split):
        self.source, self.split = source, split

    def __len__(self):
        return SPLITS[self.split]

    def __getitem__(self, index):
        if self.split == "train" and index in self.source.bad:
            raise DataError(Problem(where=f"{index}.wav", what="is damaged", exit_code=4))
        if str(index) == os.environ.get("KILL"):
            os.kill(os.getpid(), signal.SIGKILL)
        draws = torch.Generator().manual_seed(index + 100 * self.source.salt + 1000 * (self.split == "test"))
        item = {"sound": torch.randn(1 + 5 * index, generator=draws), "mood": index % 2}
        item["text"] = None if index == 2 else torch.arange(1, index + 2, dtype=torch.uint8)
        item["marks"] = torch.tensor([index % 2, 1.0])
        item["pose"] = None if index == 3 else torch.tensor([index / 3, -1.0])
        return item


class Moments(Backbone):
    """Mean, least and greatest value, each times a factor, and a random weight."""

    def __init__(self, modality, scale):
        super().__init__()
        self.modality, self.scale = modality, scale
        self.weight = torch.nn.Parameter(torch.randn(1))
        self.shapes = {modality: FeatureShape(pooled=4)}

    def forward(self, inputs):
        assert not self.training
        rows = inputs[self.modality].float()
        found = [rows.mean(1), rows.amin(1), rows.amax(1), self.weight.expand(len(rows))]
        return Features({self.modality: Feature(pooled=torch.stack(found, 1) * self.scale)})


@hookimpl
def auxlearn_data_sources():
    def build(params, context):
        return Lines(params.salt, params.bad)

    yield Provider(name="lines", summary="Rows of any length.", params=LinesParams, build=build)


@hookimpl
def auxlearn_backbones():
    def build(params, context):
        return Moments(next(iter(context.inputs)), params.scale)

    yield Provider(name="moments", summary="Simple things.", params=MomentsParams, build=build)


if __name__ == "__main__":
    extraction.COMMIT_SECONDS = 0.0
    api.extract(SPEC, Path(sys.argv[1]), registry=discover([sys.modules["__main__"]]))
