"""Small tasks and a network that tells what it looked at."""

import attrs
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from auxlearn import Learner
from auxlearn.learning import Motion, PretextTask, PrimaryTask, TaskResult, View
from auxlearn.testing.fakes import TinyBackbone, TinyPrimary


class Spot(PrimaryTask):
    """Where a spot is, in pixels: its targets move with the image."""

    needs_geometry = True

    def __init__(self, width=8):
        super().__init__()
        self.targets = ("spot",)
        self.head = nn.Linear(width, 2)

    def loss(self, features, batch, step):
        each = (self.head(features.only.pooled) - batch.targets["spot"]).square().sum(1)
        return TaskResult(loss=(each * batch.has("spot")).sum())

    def predict(self, features):
        return {"spot": self.head(features.only.pooled)}

    def metrics(self):
        raise NotImplementedError

    def update(self, metrics, features, batch):
        raise NotImplementedError

    def move_targets(self, targets, motion):
        points = torch.cat([targets["spot"], torch.ones(len(targets["spot"]), 1)], 1)
        return {"spot": (motion.matrix @ points.unsqueeze(2)).squeeze(2)}


class Shift(PretextTask):
    """Adds a number to each image and asks for it; no randomness but, with `spread`, the number's."""

    def __init__(self, by=1.0, *, width=8, motion=True, spread=0.0):
        super().__init__()
        self.by, self.motion, self.spread = by, motion, spread
        self.head = nn.Linear(width, 1)
        self.saw = []

    def views(self, batch, draws):
        self.saw.append(batch)
        amount = self.by + self.spread * draws.uniform(len(batch), 1)
        inputs = {"image": batch.inputs["image"] + amount.view(-1, 1, 1, 1)}
        motion = Motion.still(len(batch)) if self.motion else None
        return (View(inputs=inputs, answers={"by": amount}, motion=motion),)

    def loss(self, features, views, step):
        error = F.mse_loss(self.head(features[0].only.pooled), views[0].answers["by"], reduction="sum")
        return TaskResult(loss=error, carry={"pooled": features[0].only.pooled.detach()})


@attrs.define
class Look:
    """One call of the backbone."""

    rows: int
    shape: tuple
    image: torch.Tensor
    norm_trains: bool
    norm_tracks: bool


@pytest.fixture
def spot():
    return Spot


@pytest.fixture
def shift():
    return Shift


@pytest.fixture
def watch():
    """Return a function that makes a list of what a learner's backbone looks at from now on."""

    def start(learner):
        looks = []

        def note(module, args):
            image = args[0]["image"]
            norm = module.norm
            tracks = getattr(norm, "track_running_stats", False)
            looks.append(Look(len(image), tuple(image.shape[1:]), image.detach().clone(), norm.training, tracks))

        learner.backbone.register_forward_pre_hook(note)
        return looks

    return start


@pytest.fixture
def build():
    """Return a function that builds a learner, each part initialised on its own."""

    def make(pretext=None, arrange=None, *, primary=None, norm=True, dropout=0.0, width=8, **more):
        torch.manual_seed(0)
        backbone = TinyBackbone(width, norm=norm, dropout=dropout)
        torch.manual_seed(1)
        tasks = {"kind": TinyPrimary(width)} if primary is None else primary
        return Learner(backbone, primary=tasks, pretext=pretext, arrange=arrange, **more)

    return make


@pytest.fixture
def gradients():
    """Return a function that gives the gradients of a learner's step, by name."""

    def compute(learner, batch, moment):
        learner.zero_grad(set_to_none=True)
        learner.step(batch, moment).total.backward()
        return {name: p.grad for name, p in learner.named_parameters()}

    return compute
