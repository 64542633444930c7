"""Steps of each task, in one process or in two that share each batch. Run as a script: see `test_conclugen_ddp.py`.

`python conclugen_worker.py FOLDER` imports once, then forks one process that takes the steps alone (`alone.pt`) and two
that take them together (`rank0.pt`, `rank1.pt`).
"""

import sys
from functools import partial
from pathlib import Path

import torch
import torch._dynamo  # what the first optimizer imports: once here instead of in every process

from auxlearn import Arrangement, Learner, Trainer
from auxlearn.data import Batch
from auxlearn.learning import FeatureShape, Shared
from auxlearn.spec.models import TrainKeys
from auxlearn.testing.processes import alone_and_together
from auxlearn.training.devices import make_fabric
from auxlearn_conclugen import (
    FeatureSimCLR,
    GatedEmbedding,
    GatedMultimodal,
    MultimodalClustering,
    MultimodalContrastive,
    MultimodalReconstruction,
    Projection,
)

ROWS, STEPS = 8, 3
SHAPES = {name: FeatureShape(pooled=6, source=d) for name, d in (("video", 5), ("audio", 3), ("text", 4))}
MODALITIES = {name: (name,) for name in SHAPES}
# Rows without a modality: none; some of one process, which the other does not know of; all of one process.
ABSENT = {
    "": {},
    " some": {"audio": (1, 2), "text": (2,), "video": (2,)},
    " one process": {"audio": (4, 5, 6, 7)},
}
TASKS = ("all", "joint", "simclr")


def tasks_of(kind: str) -> tuple[dict, Shared]:
    shared = Shared("projection", Projection(6, out=5, hidden=7), {})
    cluster = {"width": 5, "clusters": 3, "queue": 11, "refit_every": 2}
    made = {
        "contrast": lambda: MultimodalContrastive(shared, MODALITIES),
        "cluster": lambda: MultimodalClustering(shared, MODALITIES, **cluster),
        "joint": lambda: MultimodalClustering(shared, MODALITIES, mode="joint", normalize=False, **cluster),
        "reconstruct": lambda: MultimodalReconstruction(SHAPES, targets="both", hidden=4),
        "simclr": lambda: FeatureSimCLR(SHAPES, hidden=4, width=5),
    }
    names = ("contrast", "cluster", "reconstruct") if kind == "all" else (kind,)
    return {name: made[name]() for name in names}, shared


class Recording(torch.optim.SGD):
    """Notes the gradients of every step."""

    def __init__(self, learner: Learner) -> None:
        super().__init__(learner.parameters(), lr=0.05)
        self.names = [name for name, _ in learner.named_parameters()]
        self.seen: dict[str, torch.Tensor] = {}

    def step(self, closure=None):
        for name, p in zip(self.names, self.param_groups[0]["params"], strict=True):
            if p.grad is not None:
                self.seen[f"{len(self.seen)} {name}"] = p.grad.clone()
        return super().step(closure)


def batch_of(step: int, absent: str, rank: int, world: int) -> Batch:
    seeded = torch.Generator().manual_seed(step)
    inputs = {name: torch.randn(ROWS, 2, s.source, generator=seeded) for name, s in SHAPES.items()}
    rows = torch.arange(ROWS).view(world, -1)[rank]
    present = {}
    for name, lacking in ABSENT[absent].items():
        mask = torch.ones(ROWS, dtype=torch.bool)
        mask[list(lacking)] = False
        if not mask[rows].all():
            present[f"inputs/{name}"] = mask[rows]
    return Batch(inputs={name: one[rows] for name, one in inputs.items()}, ids=rows, present=present)


def run(kind: str, absent: str, keys: TrainKeys) -> dict:
    fabric = make_fabric(keys, unused_parameters=True)
    fabric.launch()
    torch.manual_seed(0)
    units = {name: GatedEmbedding(s.source, s.pooled) for name, s in SHAPES.items()}
    tasks, shared = tasks_of(kind)
    arrange = {name: Arrangement(view="own" if name == "simclr" else "clean") for name in tasks}
    handles = {} if kind == "simclr" else {"projection": shared}
    learner = Learner(GatedMultimodal(units, SHAPES), pretext=tasks, arrange=arrange, shared=handles)
    optimizer = Recording(learner)
    trainer = Trainer(learner, optimizer, fabric=fabric)
    losses = []
    for step in range(STEPS):
        batch = batch_of(step, absent, fabric.global_rank, fabric.world_size)
        losses += list(trainer.step(batch).losses.values())
    return {"losses": torch.stack(losses), "gradients": optimizer.seen, "state": dict(learner.state_dict())}


def work(folder: Path, name: str, world: int) -> None:
    keys = TrainKeys(devices=world, accelerator="cpu", precision="64-true")  # so that nothing but rounding differs
    found = {f"{kind}{absent}": run(kind, absent, keys) for kind in TASKS for absent in ABSENT}
    torch.save(found, folder / f"{name}.pt")


if __name__ == "__main__":
    sys.exit(alone_and_together(partial(work, Path(sys.argv[1]))))
