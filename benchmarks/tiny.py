"""What a loop costs by itself: a network so small that little else is left."""

from __future__ import annotations

import itertools
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import accelerate  # type: ignore[import-untyped]
import lightning
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from auxlearn import Learner, Trainer
from auxlearn.data import Batch
from auxlearn.learning import Backbone, Feature, Features, FeatureShape
from auxlearn_supervised.classification import Classification
from benchmarks.paired import Line, Timing, subtract, take_turns, timed

__all__ = ["run"]

STEPS = 100
INPUTS, WIDTH, CLASSES, ROWS = 32, 64, 8, 32


class _Vectors(Backbone):
    """A hidden layer, as a backbone of the engine."""

    def __init__(self) -> None:
        super().__init__()
        self.shapes = {"vector": FeatureShape(pooled=WIDTH)}
        self.hidden = nn.Linear(INPUTS, WIDTH)

    def forward(self, inputs: Mapping[str, Tensor]) -> Features:
        return Features({"vector": Feature(pooled=F.relu(self.hidden(inputs["vector"])))})


class _Lightning(lightning.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.network = _network()

    def training_step(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        return F.cross_entropy(self.network(batch[0]), batch[1])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return _optimizer(self)


class _Repeated:
    """One batch, so many times: the cheapest loader there is."""

    def __init__(self, batch: tuple[Tensor, Tensor], times: int) -> None:
        self.batch, self.times = batch, times

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        return itertools.repeat(self.batch, self.times)


class _Clock(lightning.Callback):
    """Reads the clocks after each step."""

    def __init__(self) -> None:
        self.readings: list[tuple[float, float]] = []

    def on_train_batch_end(self, *arguments: Any, **keywords: Any) -> None:
        self.readings.append((time.process_time(), time.perf_counter()))


def run(rounds: int) -> list[Line]:
    """Measure what loops add to a step of a perceptron with one hidden layer, in microseconds on the CPU."""
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
    vectors, kinds = torch.randn(ROWS, INPUTS), torch.randint(0, CLASSES, (ROWS,))
    loops = {
        "engine": _engine(vectors, kinds),
        "Lightning Fabric": _fabric(vectors, kinds),
        "accelerate": _accelerate(vectors, kinds),
    }
    variants = {"plain PyTorch": timed(_plain(vectors, kinds), STEPS)}
    variants |= {name: timed(step, STEPS) for name, step in loops.items()}
    variants |= {"Lightning Trainer": _lightning(vectors, kinds)}
    timings = take_turns(variants, rounds)
    return [subtract(timings, name, "plain PyTorch") for name in variants if name != "plain PyTorch"]


def _network() -> nn.Module:
    return nn.Sequential(nn.Linear(INPUTS, WIDTH), nn.ReLU(), nn.Linear(WIDTH, CLASSES))


def _optimizer(module: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.AdamW(module.parameters(), lr=1e-3, fused=True)


def _engine(vectors: Tensor, kinds: Tensor) -> Callable[[], object]:
    backbone = _Vectors()
    names = [str(number) for number in range(CLASSES)]
    learner = Learner(backbone, primary={"kind": Classification(backbone.shapes, target="kind", names=names)})
    trainer = Trainer(learner, _optimizer(learner))
    batch = Batch(inputs={"vector": vectors}, targets={"kind": kinds}, ids=torch.arange(ROWS))
    return lambda: trainer.step(batch)


def _plain(vectors: Tensor, kinds: Tensor) -> Callable[[], object]:
    network = _network()
    optimizer = _optimizer(network)

    def step() -> None:
        F.cross_entropy(network(vectors), kinds).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step


def _fabric(vectors: Tensor, kinds: Tensor) -> Callable[[], object]:
    fabric = lightning.Fabric(accelerator="cpu", devices=1)
    plain = _network()
    network, optimizer = fabric.setup(plain, _optimizer(plain))

    def step() -> None:
        fabric.backward(F.cross_entropy(network(vectors), kinds))
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step


def _accelerate(vectors: Tensor, kinds: Tensor) -> Callable[[], object]:
    accelerator = accelerate.Accelerator(cpu=True)
    plain = _network()
    network, optimizer = accelerator.prepare(plain, _optimizer(plain))

    def step() -> None:
        accelerator.backward(F.cross_entropy(network(vectors), kinds))
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step


def _lightning(vectors: Tensor, kinds: Tensor) -> Callable[[], Timing]:
    """Return the measurement of a bare Lightning Trainer, which has its loop inside: no logger, bar or checkpoint."""
    first = 5

    def measure() -> Timing:
        clock = _Clock()
        trainer = lightning.Trainer(
            accelerator="cpu", devices=1, barebones=True, callbacks=[clock], max_steps=first + STEPS
        )
        trainer.fit(_Lightning(), _Repeated((vectors, kinds), first + STEPS))
        begin, end = clock.readings[first - 1], clock.readings[-1]
        return Timing(cpu=(end[0] - begin[0]) / STEPS, wall=(end[1] - begin[1]) / STEPS)

    return measure
