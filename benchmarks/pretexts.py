"""What each pretext task costs beside supervised training, by how it is arranged."""

from __future__ import annotations

from typing import Any

import attrs

from auxlearn import Trainer
from auxlearn.data import InputShape, TargetInfo
from auxlearn.spec import load_spec
from auxlearn.training.build import DataShape, build_component, build_learner
from auxlearn.training.optimisation import parameter_groups
from benchmarks.paired import Line, compare, take_turns, timed
from benchmarks.steps import CLASSES, MODEL, ROWS, SIZE, faces

__all__ = ["run"]

_OWN = {"view": "own"}
_PERCEPTUAL = {"network": "timm", "model": "tf_efficientnet_lite0", "weights": "packaged"}
_SIZES = [[SIZE // 2, SIZE - 1], SIZE // 2, [SIZE // 4, SIZE // 2]]

ARRANGED: dict[str, dict[str, Any]] = {
    "puzzling, shared": {"type": "puzzling", "view": "shared"},
    "puzzling, own": {"type": "puzzling", **_OWN},
    "puzzling, own, a quarter of the rows": {"type": "puzzling", **_OWN, "portion": 0.25},
    "puzzling, own, half the resolution": {"type": "puzzling", **_OWN, "resolution": 0.5},
    "puzzling, own, three sizes": {"type": "puzzling", **_OWN, "sizes": _SIZES},
    "rotation, shared": {"type": "rotation", "view": "shared"},
    "in-painting, shared": {"type": "inpainting", "view": "shared"},
    "in-painting, own": {"type": "inpainting", **_OWN},
    "in-painting, shared, perceptual by the EMA": {
        "type": "inpainting",
        "view": "shared",
        "perceptual": {"network": "ema"},
    },
    "in-painting, shared, perceptual by lite0": {"type": "inpainting", "view": "shared", "perceptual": _PERCEPTUAL},
    "simclr, two own views": {"type": "simclr"},
    "barlow_twins, two own views": {"type": "barlow_twins"},
}
_ALONE = "supervised"


def run(rounds: int) -> list[Line]:
    """Measure a step with each pretext task against one without."""
    batch = attrs.evolve(faces(), targets={"expression": faces().targets["kind"]})
    trainers = {name: _trainer({"aux": task}) for name, task in ARRANGED.items()} | {_ALONE: _trainer({})}
    timings = take_turns({name: timed(lambda t=one: t.step(batch)) for name, one in trainers.items()}, rounds)
    return [compare(timings, name, _ALONE) for name in ARRANGED]


def _trainer(pretext: dict[str, Any]) -> Trainer:
    """Return the trainer of a spec with EfficientNet-B0 and a classification; all keep a moving average."""
    spec = load_spec(
        {
            "auxlearn": 1,
            "data": {"type": "synthfaces", "size": SIZE},
            "backbone": {"type": "timm", "model": MODEL},
            "primary": {"emotion": {"type": "classification", "target": "expression"}},
            "pretext": pretext,
            "train": {"batch_size": ROWS, "ema": 0.999},
        }
    )
    shape = DataShape(
        inputs={"image": InputShape(shape=(3, SIZE, SIZE))},
        targets={"expression": TargetInfo(kind="class", names=tuple(map(str, range(CLASSES))))},
        class_counts={"expression": (1,) * CLASSES},
    )
    learner = build_learner(spec, shape)
    optimizer = build_component(spec.optimizer, parameter_groups(learner, spec.optimizer.keys))
    return Trainer(learner, optimizer, ema=spec.train.ema, channels_last=True)
