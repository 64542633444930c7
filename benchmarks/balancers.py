"""What each balancer costs beside the weighted sum of the losses."""

from __future__ import annotations

from typing import Any

import attrs

from auxlearn import Trainer
from auxlearn.data import InputShape, TargetInfo
from auxlearn.spec import load_spec
from auxlearn.training.build import DataShape, build_component, build_learner
from auxlearn.training.optimisation import parameter_groups
from benchmarks.paired import Line, compare, take_turns, timed
from benchmarks.steps import CLASSES, MODEL, SIZE, faces

__all__ = ["run"]

ROWS = 16
_OWN, _SHARED = "fixed", "fixed, shared views"
BALANCERS: dict[str, tuple[dict[str, Any], float]] = {
    "uncertainty": ({"type": "uncertainty"}, 1.05),
    "dwa": ({"type": "dwa"}, 1.05),
    "gradnorm": ({"type": "gradnorm"}, 1.15),
    "cosine_gate": ({"type": "cosine_gate"}, 1.15),
    "pcgrad": ({"type": "pcgrad"}, 1.15),
    "torchjd, UPGrad": ({"type": "torchjd", "aggregator": "UPGrad"}, 1.15),
}
_ONE_GRAPH = "pcgrad, shared views"


def run(rounds: int) -> list[Line]:
    """Measure a step with each balancer against one with fixed weights, puzzling and rotation on own views.

    On shared views all tasks have one graph, through which each goes backward on its own: no goal, but to be known.
    """
    batch = attrs.evolve(faces(rows=ROWS), targets={"expression": faces(rows=ROWS).targets["kind"]})
    trainers = {_OWN: _trainer({"type": "fixed"}), _SHARED: _trainer({"type": "fixed"}, view="shared")}
    trainers |= {name: _trainer(balance) for name, (balance, _) in BALANCERS.items()}
    trainers[_ONE_GRAPH] = _trainer({"type": "pcgrad"}, view="shared")
    timings = take_turns({name: timed(lambda t=one: t.step(batch)) for name, one in trainers.items()}, rounds)
    lines = [compare(timings, name, _OWN, goal=goal) for name, (_, goal) in BALANCERS.items()]
    return [*lines, compare(timings, _ONE_GRAPH, _SHARED)]


def _trainer(balance: dict[str, Any], view: str = "own") -> Trainer:
    """Return the trainer of a spec with EfficientNet-B0, a classification, puzzling and rotation."""
    spec = load_spec(
        {
            "auxlearn": 1,
            "data": {"type": "synthfaces", "size": SIZE},
            "backbone": {"type": "timm", "model": MODEL},
            "primary": {"emotion": {"type": "classification", "target": "expression"}},
            "pretext": {
                "puzzle": {"type": "puzzling", "view": view},
                "turn": {"type": "rotation", "view": view, "tiles": 3},
            },
            "balance": balance,
            "train": {"batch_size": ROWS},
        }
    )
    shape = DataShape(
        inputs={"image": InputShape(shape=(3, SIZE, SIZE))},
        targets={"expression": TargetInfo(kind="class", names=tuple(map(str, range(CLASSES))))},
        class_counts={"expression": (1,) * CLASSES},
    )
    learner = build_learner(spec, shape)
    optimizer = build_component(spec.optimizer, parameter_groups(learner, spec.optimizer.keys))
    return Trainer(learner, optimizer, channels_last=True)
