from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest

from auxlearn.testing import plugin as tiny


@pytest.fixture(scope="session")
def plugins():
    """Tiny components, and noise as data; other processes find them too."""
    sys.path.insert(0, str(Path(__file__).parent))
    yield [tiny, importlib.import_module("noise_plugin")]
    sys.path.remove(str(Path(__file__).parent))


@pytest.fixture(scope="session")
def base():
    return {
        "auxlearn": 1,
        "data": {"type": "tiny"},
        "backbone": {"type": "tiny"},
        "primary": {"kind": {"type": "tiny"}},
        "optimizer": {"lr": 0.05},
        "train": {"epochs": 1, "batch_size": 16},
        "checkpoint": {"keep_last": 1},
    }


@pytest.fixture(scope="session")
def small(base):
    """Two arms, two fractions, two seeds."""
    turned = {"pretext.turned.type": "tiny", "pretext.turned.weight": 0.5}
    return {
        "auxlearn_study": 1,
        "name": "small",
        "base": base,
        "arms": {"plain": {}, "turned": turned},
        "seeds": [0, 1],
        "fractions": [0.5, 1],
    }


@pytest.fixture(scope="session")
def done(small, plugins, tmp_path_factory):
    """The result of that study."""
    import auxlearn

    return auxlearn.study(small, out=tmp_path_factory.mktemp("studies") / "small", plugins=plugins)
