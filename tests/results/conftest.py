from __future__ import annotations

import pytest

from auxlearn import api
from auxlearn.registry import discover
from auxlearn.results import LoadedRun
from auxlearn.testing import plugin as tiny

SPEC = {
    "auxlearn": 1,
    "name": "tiny",
    "data": {"type": "tiny", "side": 12},
    "augment": {"size": 8},
    "backbone": {"type": "tiny"},
    "primary": {"kind": {"type": "tiny"}},
    "pretext": {"flip": {"type": "tiny", "statistics": "separate"}},
    "optimizer": {"lr": 0.05},
    "train": {"epochs": 4, "batch_size": 16, "ema": 0.8},
    "checkpoint": {"keep_last": 4},
}


@pytest.fixture(scope="session")
def registry():
    return discover([tiny])


@pytest.fixture(scope="session")
def result(tmp_path_factory, registry):
    """A whole run: a moving average, a pretext task with its own BatchNorm, several checkpoints."""
    return api.run(SPEC, out=tmp_path_factory.mktemp("runs") / "tiny", registry=registry)


@pytest.fixture
def run(result, registry):
    return LoadedRun.open(result.path, registry=registry)
