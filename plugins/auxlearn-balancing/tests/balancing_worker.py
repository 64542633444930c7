"""Steps with each balancer, in one process or in two that share each batch. See `test_balancing_ddp.py`.

`python balancing_worker.py FOLDER` imports once, then forks one process that takes the steps alone (`alone.pt`) and two
that take them together (`rank0.pt`, `rank1.pt`).
"""

import sys
from functools import partial
from pathlib import Path

import attrs
import torch
import torch._dynamo  # what the first optimizer imports: once here instead of in every process

from auxlearn import Arrangement, Learner, Trainer
from auxlearn.learning.context import Shared
from auxlearn.spec.models import TrainKeys
from auxlearn.testing.fakes import TinyBackbone, TinyPretext, TinyPrimary, tiny_batch
from auxlearn.testing.processes import alone_and_together
from auxlearn.training.devices import make_fabric
from auxlearn_balancing import CosineGate, DynamicWeightAverage, GradNorm, PCGrad, Uncertainty

ROWS = 8
TASKS = ("kind", "a", "b")
BALANCERS = {
    "uncertainty": lambda: Uncertainty(TASKS),
    "dwa": lambda: DynamicWeightAverage(TASKS),
    "gradnorm": lambda: GradNorm(TASKS),
    "cosine_gate": CosineGate,
    "pcgrad": PCGrad,
}


class Projecting(TinyPretext):
    """Asks through a module that only pretext tasks use."""

    def __init__(self, shared: Shared, **options: int) -> None:
        super().__init__(**options)
        self.projector = shared

    def loss(self, features, views, step):
        result = super().loss(features, views, step)
        projected = torch.stack([self.projector(f.only.pooled).square().sum() for f in features]).sum()
        return attrs.evolve(result, loss=result.loss + projected)


def run(name: str, keys: TrainKeys) -> dict:
    fabric = make_fabric(keys, unused_parameters=True)
    fabric.launch()
    torch.manual_seed(0)
    projector = Shared("projector", torch.nn.Linear(8, 4), {})
    learner = Learner(
        TinyBackbone(norm=False),
        primary={"kind": TinyPrimary()},
        pretext={"a": Projecting(projector), "b": Projecting(projector, views=2)},
        shared={"projector": projector},
        arrange={
            "a": Arrangement(view="own", supervise=True, weight=0.5),
            "b": Arrangement(view="own", every=2),
        },
        balancer=BALANCERS[name](),
    )
    trainer = Trainer(learner, torch.optim.SGD(learner.parameters(), lr=0.1), fabric=fabric)
    totals = []
    for step in range(5):
        batch = tiny_batch(ROWS, seed=step)
        rows = torch.arange(ROWS).view(fabric.world_size, -1)[fabric.global_rank]
        totals.append(trainer.step(batch.take(rows), epoch=step / 2).total)
    return {"totals": torch.stack(totals), "state": dict(learner.state_dict())}


def work(folder: Path, name: str, world: int) -> None:
    keys = TrainKeys(devices=world, accelerator="cpu", precision="32-true")
    torch.save({balancer: run(balancer, keys) for balancer in BALANCERS}, folder / f"{name}.pt")


if __name__ == "__main__":
    sys.exit(alone_and_together(partial(work, Path(sys.argv[1]))))
