"""Steps with two aggregators, in one process or in two that share each batch. See `test_torchjd_ddp.py`."""

import sys
from functools import partial
from pathlib import Path

import torch
import torch._dynamo  # what the first optimizer imports: once here instead of in every process

from auxlearn import Arrangement, Learner, Trainer
from auxlearn.spec.models import TrainKeys
from auxlearn.testing.fakes import TinyBackbone, TinyPretext, TinyPrimary, tiny_batch
from auxlearn.testing.processes import alone_and_together
from auxlearn.training.devices import make_fabric
from auxlearn_torchjd import TorchJD

ROWS = 8


def run(aggregator: str, keys: TrainKeys) -> dict:
    fabric = make_fabric(keys, unused_parameters=True)
    fabric.launch()
    torch.manual_seed(0)
    learner = Learner(
        TinyBackbone(norm=False),
        primary={"kind": TinyPrimary()},
        pretext={"a": TinyPretext(), "b": TinyPretext()},
        arrange={"a": Arrangement(view="own", supervise=True), "b": Arrangement(view="own", every=2)},
        balancer=TorchJD(aggregator, ("kind", "a", "b")),
    )
    trainer = Trainer(learner, torch.optim.SGD(learner.parameters(), lr=0.1), fabric=fabric)
    totals = []
    for step in range(3):
        rows = torch.arange(ROWS).view(fabric.world_size, -1)[fabric.global_rank]
        totals.append(trainer.step(tiny_batch(ROWS, seed=step).take(rows)).total)
    return {"totals": torch.stack(totals), "state": dict(learner.state_dict())}


def work(folder: Path, name: str, world: int) -> None:
    keys = TrainKeys(devices=world, accelerator="cpu", precision="32-true")
    torch.save({aggregator: run(aggregator, keys) for aggregator in ("UPGrad", "Random")}, folder / f"{name}.pt")


if __name__ == "__main__":
    sys.exit(alone_and_together(partial(work, Path(sys.argv[1]))))
