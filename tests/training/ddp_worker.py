"""The steps of every scenario, in one process or in two that share each batch. Run as a script: see `test_ddp.py`.

`python ddp_worker.py FOLDER` imports once, then forks one process that takes the steps alone (`alone.pt`) and two
that take them together (`rank0.pt`, `rank1.pt`).
"""

import sys
from functools import partial
from pathlib import Path

import attrs
import torch
import torch._dynamo  # what the first optimizer imports: once here instead of in every process
from torch import Tensor

from auxlearn import Arrangement, Learner, Trainer
from auxlearn.data import Batch
from auxlearn.errors import DivergedError
from auxlearn.learning import Augmentation, Balanced, Balancer, Motion, Preprocess, TaskResult
from auxlearn.learning.balancing import Geometric
from auxlearn.spec.models import Ramp, TrainKeys
from auxlearn.testing.fakes import TinyBackbone, TinyPretext, TinyPrimary
from auxlearn.testing.processes import alone_and_together
from auxlearn.training.devices import make_fabric

ROWS = 8


class Recording(torch.optim.SGD):
    """Notes the gradients of every step."""

    def __init__(self, learner: Learner) -> None:
        super().__init__(learner.parameters(), lr=0.3)
        self.names = [name for name, _ in learner.named_parameters()]
        self.seen: list[dict[str, Tensor | None]] = []

    def step(self, closure=None):
        parameters = self.param_groups[0]["params"]
        self.seen.append(
            {n: None if p.grad is None else p.grad.clone() for n, p in zip(self.names, parameters, strict=True)}
        )
        return super().step(closure)


class Contrast(TinyPretext):
    """Rows should be unlike all other rows of the joint batch; keeps what it was carried."""

    def __init__(self) -> None:
        super().__init__()
        self.kept: list[Tensor] = []

    def loss(self, features, views, step):
        own = features[0].only.pooled
        everyone = step.gather(own, grad=True)
        first = views[0].inputs["image"][:, 0, 0, 0]
        head = self.head(own).square().sum()
        return TaskResult(loss=(own @ everyone.T).square().sum() + head, carry={"first": first})

    def after_step(self, carry, step):
        self.kept.append(carry["first"])


class Breaks(Contrast):
    """Not finite where an image is too bright."""

    def loss(self, features, views, step):
        result = super().loss(features, views, step)
        factor = torch.where(views[0].inputs["image"].amax() > 2, torch.nan, 1.0)
        return attrs.evolve(result, loss=result.loss * factor)


class Opposing(Balancer):
    """Weighs each gradient by how well it agrees with all others; learns a factor, remembers a loss."""

    needs = "gradients"

    def __init__(self) -> None:
        super().__init__()
        self.factor = torch.nn.Parameter(torch.tensor(1.0))
        self.register_buffer("seen", torch.zeros(()))

    def combine(self, losses, gram, step):
        total = self.factor * torch.stack(list(losses.values())).sum() + 0.1 * self.seen
        shared = dict(zip(losses, gram.sum(1) / gram.trace(), strict=True))
        return Balanced(total=total, weights=dict.fromkeys(losses, self.factor), shared=shared)

    def after_step(self, losses, step):
        self.seen += torch.stack(list(losses.values())).sum()


class Noise(Augmentation):
    """Adds a number to each image."""

    def __init__(self) -> None:
        super().__init__()
        self.preprocess = Preprocess()

    def forward(self, inputs, draws):
        image = inputs["image"]
        return {"image": image + draws.normal(len(image), 1, 1, 1)}, Motion.still(len(image))


@attrs.frozen
class Scenario:
    """What to build and how to step."""

    pretext: dict = attrs.field(factory=dict)
    arrange: dict = attrs.field(factory=dict)
    norm: bool = False
    primary: bool = True
    labels: tuple = (1,) * ROWS
    unused: bool = False
    steps: int = 2
    trainer: dict = attrs.field(factory=dict)
    learner: dict = attrs.field(factory=dict)
    bright_step: int = -1
    labelled: int | None = None
    epochs: float = 0.0


OWN = Arrangement(view="own")
UNEVEN = (1, 1, 0, 1, 0, 0, 1, 0)
ONE_SIDED = (1, 0, 1, 1, 0, 0, 0, 0)

SCENARIOS = {
    "supervised": Scenario(labels=UNEVEN),
    "one rank without labels": Scenario(labels=ONE_SIDED),
    "no labels": Scenario(pretext={"a": TinyPretext}, arrange={"a": OWN}, labels=(0,) * ROWS),
    "own and shared": Scenario(
        pretext={"a": TinyPretext, "b": TinyPretext, "c": TinyPretext},
        arrange={
            "a": Arrangement(view="own", portion=0.5, weight=0.3, supervise=True),
            "b": Arrangement(view="shared", portion=0.5, supervise=False),
            "c": Arrangement(view="clean", portion=0.25),
        },
        labels=UNEVEN,
    ),
    "fused": Scenario(pretext={"a": TinyPretext}, arrange={"a": OWN}, learner={"forward_mode": "fused"}),
    "geometric": Scenario(
        pretext={"a": TinyPretext},
        arrange={"a": Arrangement(view="own", supervise=True, weight=0.3)},
        labels=UNEVEN,
        learner={"balancer": Geometric()},
    ),
    "geometric, one rank without labels": Scenario(
        pretext={"a": TinyPretext},
        arrange={"a": Arrangement(view="own", supervise=True, weight=0.3)},
        labels=ONE_SIDED,
        learner={"balancer": Geometric(over="tasks")},
    ),
    "repeated rows": Scenario(
        pretext={"a": TinyPretext, "b": TinyPretext},
        arrange={"a": Arrangement(view="own", portion=0.5), "b": Arrangement(view="shared", portion=0.5)},
        labels=(1, 0, 1, 1),
        labelled=4,
        learner={"repeats": 3, "augmentation": Noise()},
    ),
    "watched": Scenario(
        pretext={"a": TinyPretext, "b": Contrast},
        arrange={"a": Arrangement(view="own", supervise=True, weight=0.3), "b": OWN},
        labels=ONE_SIDED,
        trainer={"accumulate": 2, "watch_every": 1},
    ),
    "a gradient of each loss": Scenario(
        pretext={"a": TinyPretext, "b": TinyPretext},
        arrange={
            "a": Arrangement(view="own", every=2, supervise=True, weight=0.3),
            "b": Arrangement(view="own", weight=0.5),
        },
        labels=UNEVEN,
        steps=3,
        learner={"balancer": Opposing()},
    ),
    "a gradient of each loss, in micro-batches": Scenario(
        pretext={"a": Contrast},
        arrange={"a": Arrangement(view="own", portion=0.5)},
        labels=ONE_SIDED,
        trainer={"accumulate": 2},
        learner={"balancer": Opposing()},
    ),
    "frozen statistics": Scenario(
        pretext={"a": TinyPretext},
        arrange={"a": Arrangement(view="own", statistics="frozen")},
        norm=True,
        primary=False,
    ),
    "frozen backbone": Scenario(
        pretext={"a": TinyPretext},
        arrange={"a": OWN},
        norm=True,
        labels=UNEVEN,
        learner={"freeze_backbone": True},
    ),
    "sometimes": Scenario(
        pretext={"a": TinyPretext, "b": TinyPretext},
        arrange={
            "a": Arrangement(view="own", every=2),
            "b": Arrangement(view="own", weight=Ramp(start=0, end=1, begin=1, until=3)),
        },
        labels=UNEVEN,
        unused=True,
        steps=4,
        epochs=1.0,
    ),
    "micro-batches": Scenario(pretext={"a": TinyPretext}, arrange={"a": OWN}, labels=UNEVEN, trainer={"accumulate": 2}),
    "backward in parts": Scenario(
        pretext={"a": TinyPretext, "b": TinyPretext},
        arrange={"a": OWN, "b": Arrangement(view="own", portion=0.5)},
        labels=ONE_SIDED,
        unused=True,
        learner={"backward_mode": "accumulate"},
    ),
    "micro-batches in parts, sometimes": Scenario(
        pretext={"a": TinyPretext, "b": TinyPretext},
        arrange={"a": Arrangement(view="own", every=2), "b": OWN},
        labels=UNEVEN,
        unused=True,
        steps=3,
        trainer={"accumulate": 2},
        learner={"backward_mode": "accumulate"},
    ),
    "gathered": Scenario(pretext={"a": Contrast}, arrange={"a": OWN}, trainer={"clip_norm": 0.5, "ema": 0.9}),
    "gathered micro-batches": Scenario(
        pretext={"a": Contrast}, arrange={"a": Arrangement(view="own", portion=0.5)}, trainer={"accumulate": 2}
    ),
    "batch statistics": Scenario(
        pretext={"a": TinyPretext, "b": TinyPretext},
        arrange={"a": Arrangement(view="own", statistics="separate"), "b": OWN},
        norm=True,
        trainer={"ema": 0.5},
    ),
    "unlabelled rows": Scenario(
        pretext={"a": TinyPretext, "b": TinyPretext, "c": TinyPretext, "d": Contrast},
        arrange={
            "a": Arrangement(view="own", portion=0.5, weight=0.3, supervise=True),
            "b": Arrangement(view="shared", portion=0.5, supervise=False),
            "c": Arrangement(view="clean", portion=0.5),
            "d": OWN,
        },
        labels=(1, 0, 1, 1),
        labelled=4,
    ),
    "stops": Scenario(pretext={"a": Breaks, "b": Contrast}, arrange={"a": OWN, "b": OWN}, norm=True, bright_step=1),
    "skips": Scenario(
        pretext={"a": Breaks}, arrange={"a": OWN}, bright_step=1, steps=3, trainer={"non_finite": "skip"}
    ),
}


def learner_of(case: Scenario) -> Learner:
    torch.manual_seed(0)
    backbone = TinyBackbone(norm=case.norm)
    if case.norm:
        backbone.norm.running_mean.uniform_(-1, 1)
        backbone.norm.running_var.uniform_(0.5, 2)
    primary = {"kind": TinyPrimary()} if case.primary else {}
    pretext = {name: make() for name, make in case.pretext.items()}
    return Learner(backbone, primary=primary, pretext=pretext, arrange=case.arrange, **case.learner)


def joint_batch(case: Scenario, step: int) -> Batch:
    generator = torch.Generator().manual_seed(step)
    images = torch.rand(ROWS, 3, 8, 8, generator=generator)
    if step == case.bright_step:
        images[-1] += 5  # a row of the last process
    return Batch(
        inputs={"image": images},
        targets={"kind": torch.randint(0, 2, (case.labelled or ROWS,), generator=generator)},
        present={"targets/kind": torch.tensor(case.labels, dtype=torch.bool)},
        ids=torch.arange(ROWS),
        labelled=case.labelled,
    )


def own_rows(batch: Batch, micros: int, rank: int, world: int) -> Batch:
    """Return this process's rows: of each micro-batch of the joint batch its share."""
    if batch.labelled is not None:
        return batch.split(world)[rank]
    rows = torch.arange(len(batch)).view(micros, world, -1)[:, rank].flatten()
    return batch.take(rows)


def run(case: Scenario, keys: TrainKeys) -> dict:
    fabric = make_fabric(keys, unused_parameters=case.unused)
    fabric.launch()
    learner = learner_of(case)
    optimizer = Recording(learner)
    trainer = Trainer(learner, optimizer, fabric=fabric, **case.trainer)
    losses, error = [], ""
    try:
        for step in range(case.steps):
            batch = own_rows(joint_batch(case, step), trainer.accumulate, fabric.global_rank, fabric.world_size)
            result = trainer.step(batch, epoch=step * case.epochs)
            watched = {name: value for name, value in result.metrics.items() if "/cosine/" in name}
            losses.append({**{str(key): loss for key, loss in result.losses.items()}, **watched})
    except DivergedError as raised:
        error = str(raised)
    return {
        "gradients": optimizer.seen,
        "losses": losses,
        "state": dict(learner.state_dict()),
        "scored": dict(trainer.scored.state_dict()),
        "kept": {n: task.kept for n, task in learner.pretext.items() if isinstance(task, Contrast)},
        "error": error,
        "counters": [trainer.steps, trainer.updates, trainer.skips],
    }


def work(folder: Path, name: str, world: int) -> None:
    keys = TrainKeys(devices=world, accelerator="cpu", precision="32-true")
    torch.save({case: run(SCENARIOS[case], keys) for case in SCENARIOS}, folder / f"{name}.pt")


if __name__ == "__main__":
    sys.exit(alone_and_together(partial(work, Path(sys.argv[1]))))
