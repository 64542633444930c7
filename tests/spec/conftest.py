import copy
from collections.abc import Mapping
from typing import Literal

import attrs
import pytest

from auxlearn.errors import Problem
from auxlearn.registry import DataFacts, Found, Provider, Registry, discover, option


@attrs.frozen(kw_only=True)
class Net:
    model: str = option(help="Name of the network.", pattern="[a-z0-9_]+")
    levels: tuple[int, ...] = option((), ge=0, le=4, max_items=3, help="Feature levels.")
    drop: float | None = option(None, ge=0, lt=1, help="Drop rate.")
    widths: Mapping[str, int] = option(attrs.Factory(dict), ge=1, help="Widths by stage.")


@attrs.frozen(kw_only=True)
class Crop:
    scale: float = option(0.8, gt=0, le=1, help="Least part of the area.")
    mode: Literal["near", "linear"] = option("linear", help="Interpolation.")


@attrs.frozen(kw_only=True)
class Puzzle:
    grid: int = option(3, ge=2, help="Tiles along each side.")
    crop: Crop | None = option(None, help="Crop the tiles.")
    angles: tuple[float, ...] = option((0.0, 90.0), help="Angles.")
    order: int | Literal["random", "fixed"] = option("random", help="Which permutation.")
    verbose: bool = option(False, help="Say more.")


def build(params, context):
    raise AssertionError("validation builds nothing")


def check_puzzle(params, context):
    if context.size is not None and context.size % params.grid:
        what = f"{context.size} pixels cannot be divided into {params.grid} tiles"
        yield Problem(what=what, where="/grid", allowed="a divisor")


def describe_faces(params):
    return DataFacts(inputs={"image": (3, 48, 48)}, targets={"emotion": ("happy", "sad")}, splits=("train", "val"))


OFFERS = (
    ("data_source", Provider(name="faces", summary="Faces.", build=build, describe=describe_faces)),
    ("data_source", Provider(name="files", summary="Files.", build=build)),
    ("backbone", Provider(name="net", summary="A network.", build=build, params=Net)),
    ("primary_task", Provider(name="emotion", summary="Emotions.", build=build)),
    ("pretext_task", Provider(name="puzzle", summary="A puzzle.", build=build, params=Puzzle, check=check_puzzle)),
    ("pretext_task", Provider(name="shuffle", summary="Shuffle.", build=build, view="shared", moves_pixels=True)),
    ("pretext_task", Provider(name="fill", summary="Fill.", build=build, view="shared", spatial_answers=True)),
    ("pretext_task", Provider(name="cluster", summary="Cluster.", build=build, view="clean")),
)


def found(kind, provider, distribution="fakes"):
    return Found(kind=kind, provider=provider, distribution=distribution, version="1.0", entry_point="x", file="x.py")


@pytest.fixture(scope="session")
def builtin():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AUXLEARN_PLUGINS", "")
        return discover().found


@pytest.fixture(scope="session")
def registry(builtin):
    """The built-in providers and fakes with every type of setting."""
    return Registry((*builtin, *(found(kind, provider) for kind, provider in OFFERS)))


@pytest.fixture
def with_offers(registry):
    """Return a function that adds providers to the registry."""

    def add(*offers, distribution="fakes"):
        return Registry((*registry.found, *(found(kind, provider, distribution) for kind, provider in offers)))

    return add


SPEC = {
    "auxlearn": 1,
    "name": "test",
    "seed": 3,
    "data": {"type": "faces", "size": 48, "fraction": 0.5, "split": {"val": 0.2, "by": "group"}},
    "augment": {"type": "identity"},
    "backbone": {"type": "net", "model": "tiny", "levels": [0, 2], "drop": 0.1, "widths": {"stem": 8}},
    "primary": {"emotion": {"type": "emotion", "weight": 2}},
    "pretext": {
        "puzzle": {
            "type": "puzzle",
            "grid": 4,
            "crop": {"scale": 0.5, "mode": "near"},
            "order": 3,
            "verbose": True,
            "view": "own",
            "portion": 0.25,
            "weight": {"start": 0.0, "end": 0.5, "until": 3},
            "supervise": ["emotion"],
            "statistics": "frozen",
        },
        "group": {"type": "cluster", "every": 2, "start_epoch": 1},
    },
    "balance": {"type": "fixed"},
    "optimizer": {"type": "adamw", "lr": 0.001, "lr_scale": {"backbone": 0.1, "pretext.puzzle": 2}, "clip_norm": 1.0},
    "schedule": {"type": "cosine", "warmup_epochs": 3},
    "train": {"epochs": 10, "batch_size": 32, "accumulate": 2, "precision": "32-true"},
    "checkpoint": {"every_epochs": 1, "keep_last": 2},
    "evaluate": {"every_epochs": 1, "monitor": {"metric": "emotion/accuracy", "mode": "max"}, "patience": None},
    "log": {"every_steps": 5, "to": ["csv"]},
}


@pytest.fixture(scope="session")
def original():
    """A spec that uses many of the keys, not to be changed."""
    return SPEC


@pytest.fixture
def spec(original):
    """A copy of it, to be changed at will."""
    return copy.deepcopy(original)


@pytest.fixture
def small():
    """The smallest spec."""
    return {
        "auxlearn": 1,
        "data": {"type": "faces"},
        "backbone": {"type": "net", "model": "tiny"},
        "primary": {"emotion": {"type": "emotion"}},
    }
