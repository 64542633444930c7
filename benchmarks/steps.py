"""The step that several benchmarks take: with the engine, and written by hand in plain PyTorch."""

from __future__ import annotations

import timm
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from auxlearn import Arrangement, Learner, Moment, Trainer
from auxlearn.data import Batch, InputShape
from auxlearn.learning import BuildContext
from auxlearn_puzzling import Puzzling, shuffle_tiles
from auxlearn_supervised.classification import Classification
from auxlearn_timm import TimmParams
from auxlearn_timm.backbone import TimmBackbone

__all__ = ["ByHand", "faces", "make_trainer", "require_same_loss"]

MODEL, WIDTH, CLASSES, GRID = "efficientnet_b0", 1280, 8, 3
SIZE, ROWS = 96, 32
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def faces(*, rows: int = ROWS, size: int = SIZE, seed: int = 0) -> Batch:
    """Return a batch of uint8 images with labels, as a loader gives it."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 256, (rows, 3, size, size), dtype=torch.uint8, generator=generator)
    kinds = torch.randint(0, CLASSES, (rows,), generator=generator)
    return Batch(inputs={"image": images}, targets={"kind": kinds}, ids=torch.arange(rows))


def make_trainer(*, puzzling: bool = True, dropout: float = 0.2) -> Trainer:
    """Return the engine's trainer: EfficientNet-B0, a classification and, if asked for, puzzling on the shared view."""
    context = BuildContext(inputs={"image": InputShape(shape=(3, SIZE, SIZE), dtype="float32")}, size=SIZE)
    backbone = TimmBackbone.build(TimmParams(model=MODEL, mean=MEAN, std=STD), context)
    names = [str(number) for number in range(CLASSES)]
    learner = Learner(
        backbone,
        primary={"kind": Classification(backbone.shapes, target="kind", names=names)},
        pretext={"puzzle": Puzzling(width=WIDTH, grid=GRID, dropout=dropout)} if puzzling else {},
        arrange={"puzzle": Arrangement(view="shared")} if puzzling else {},
    )
    optimizer = torch.optim.AdamW(learner.parameters(), lr=1e-4, fused=True)
    return Trainer(learner, optimizer, channels_last=True)


class ByHand(nn.Module):
    """The same step as one writes it for this one experiment.

    Args:
        dropout: Dropout before the heads of the puzzle.
        metrics: Also compute the two metrics that the engine's task reports.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, *, dropout: float = 0.2, metrics: bool = False) -> None:
        super().__init__()
        self.metrics = metrics
        self.network = timm.create_model(MODEL, num_classes=0)
        self.kind = nn.Linear(WIDTH, CLASSES)
        self.tile = nn.Sequential(nn.Dropout(dropout), nn.Linear(WIDTH, GRID**4))
        self.register_buffer("mean", torch.tensor(MEAN).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(STD).view(1, 3, 1, 1))
        self.to(memory_format=torch.channels_last)
        self.optimizer = torch.optim.AdamW(self.parameters(), lr=1e-4, fused=True)

    def loss(self, images: Tensor, kinds: Tensor, order: Tensor) -> Tensor:
        """Return the cross entropy of the class plus that of the tiles, summed over an image's tiles."""
        pixels = images.contiguous(memory_format=torch.channels_last).float().div_(255.0)
        pooled = self.network((shuffle_tiles(pixels, order, GRID) - self.mean) / self.std)
        tiles = self.tile(pooled).view(-1, GRID**2)
        if self.metrics:
            right = (tiles.detach().argmax(1) == order.flatten()).view(order.shape)
            self.scores = right.mean(dtype=torch.float32), right.all(1).mean(dtype=torch.float32)
        return F.cross_entropy(self.kind(pooled), kinds) + F.cross_entropy(tiles, order.flatten()) * GRID**2

    def step(self, images: Tensor, kinds: Tensor) -> None:
        """Take one optimizer step."""
        order = torch.rand(len(images), GRID**2).argsort(1)
        self.loss(images, kinds, order).backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)


def require_same_loss() -> None:
    """Raise a RuntimeError unless both steps compute the same loss from the same weights and permutations."""
    trainer, by_hand, batch = make_trainer(dropout=0.0), ByHand(dropout=0.0), faces()
    learner = trainer.learner
    by_hand.network.load_state_dict(learner.backbone.network.state_dict())  # type: ignore[union-attr]
    by_hand.kind.load_state_dict(learner.primary["kind"].head.state_dict())  # type: ignore[union-attr]
    by_hand.tile.load_state_dict(learner.pretext["puzzle"].heads.state_dict())  # type: ignore[union-attr]
    order = learner.plan(batch, Moment(seed=learner.seed)).asks[-1].views[0].answers["order"]
    mine, plain = trainer.step(batch).total, by_hand.loss(batch.image, batch.targets["kind"], order).detach()
    if not torch.allclose(mine, plain, rtol=1e-4):
        raise RuntimeError(f"The engine's loss is {mine.item()}, by hand it is {plain.item()}: not the same step.")
