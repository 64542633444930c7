"""Two steps of each task, in one process or in two that share each batch. Run as a script: see `test_joint_ddp.py`.

`python joint_worker.py FOLDER` imports once, then forks one process that takes the steps alone (`alone.pt`) and two
that take them together (`rank0.pt`, `rank1.pt`).
"""

import sys
from functools import partial
from pathlib import Path

import torch
import torch._dynamo  # what the first optimizer imports: once here instead of in every process

from auxlearn import Arrangement, Learner, Trainer
from auxlearn.data import Batch
from auxlearn.spec.models import TrainKeys
from auxlearn.testing.fakes import TinyBackbone
from auxlearn.testing.processes import alone_and_together
from auxlearn.training.devices import make_fabric
from auxlearn_joint_embedding import BarlowTwins, SimCLR, projector
from auxlearn_kornia import SimCLR as Augmentation
from auxlearn_kornia import SimCLRParams

ROWS = 8
TASKS = {"simclr": SimCLR, "barlow_twins": BarlowTwins}
# Rows without the modality: none; some of one process, which the other does not know of; all of one process.
ABSENT = {"": (), "some": (1, 2), "one process": (4, 5, 6, 7)}


def run(kind: str, absent: str, keys: TrainKeys) -> dict:
    fabric = make_fabric(keys, unused_parameters=False)
    fabric.launch()
    torch.manual_seed(0)
    head = projector(8, hidden=16, out=6, layers=1, norm=False)
    task = TASKS[kind](Augmentation(SimCLRParams(blur=0.0), size=None), head)
    learner = Learner(TinyBackbone(norm=False), pretext={kind: task}, arrange={kind: Arrangement(view="own")})
    trainer = Trainer(learner, torch.optim.SGD(learner.parameters(), lr=0.1), fabric=fabric)
    losses = []
    for step in range(2):
        images = torch.rand(ROWS, 3, 16, 16, generator=torch.Generator().manual_seed(step))
        batch = Batch(inputs={"image": images}, ids=torch.arange(ROWS))
        given = torch.ones(ROWS, dtype=torch.bool)
        given[list(ABSENT[absent])] = False
        rows = torch.arange(ROWS).view(fabric.world_size, -1)[fabric.global_rank]
        batch = batch.take(rows)
        if not given[rows].all():
            batch = Batch(inputs=batch.inputs, ids=batch.ids, present={"inputs/image": given[rows]})
        losses += list(trainer.step(batch).losses.values())
    return {"losses": torch.stack(losses), "state": dict(learner.state_dict())}


def work(folder: Path, name: str, world: int) -> None:
    keys = TrainKeys(devices=world, accelerator="cpu", precision="32-true")
    found = {f"{kind} {absent}".strip(): run(kind, absent, keys) for kind in TASKS for absent in ABSENT}
    torch.save(found, folder / f"{name}.pt")


if __name__ == "__main__":
    sys.exit(alone_and_together(partial(work, Path(sys.argv[1]))))
