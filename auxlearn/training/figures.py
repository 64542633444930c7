"""Figures of a run: what each pretext task shows the network, and what the network makes of it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import attrs
import torch
from PIL import Image
from torch import Tensor

from auxlearn.data import Batch
from auxlearn.learning import PretextTask, StepContext
from auxlearn.learning.draws import isolated_rng
from auxlearn.learning.learner import Learner
from auxlearn.learning.plan import Moment

__all__ = ["contact_sheet", "draw_figures"]

_ROWS = 8
_GAP = 2


@torch.no_grad()
def draw_figures(learner: Learner, batch: Batch, folder: Path) -> list[Path]:
    """Write `<task>.png` for each pretext task that has a picture: one sample a row, one kind of image a column.

    Args:
        learner: With the weights to show.
        batch: Rows as the data gives them; a few of them are shown.
        folder: Where to write.
    """
    apart = max(1, len(batch) // _ROWS)  # neighbours are often alike: the same person, the same class
    batch = batch.take(slice(0, apart * _ROWS, apart))
    batch = attrs.evolve(batch, inputs=learner.augmentation.evaluate(batch.inputs))
    moment = Moment(seed=learner.seed, device=batch.device)
    written = []
    was_training = learner.training
    learner.eval()
    with isolated_rng(batch.device):
        for name, task in learner.pretext.items():
            images = _picture(learner, task, batch, moment, name)  # type: ignore[arg-type]
            if images:
                folder.mkdir(parents=True, exist_ok=True)
                contact_sheet(images).save(folder / f"{name}.png")
                written.append(folder / f"{name}.png")
    learner.train(was_training)
    return written


def _picture(learner: Learner, task: PretextTask, batch: Batch, moment: Moment, name: str) -> Mapping[str, Tensor]:
    draws = moment.draws(f"figure/{name}")
    draws.seed_globally()
    views = task.views(batch, draws)
    features = tuple(learner.backbone(view.inputs) for view in views)
    return task.picture(views, task.loss(features, views, StepContext(draws=draws)))


def contact_sheet(images: Mapping[str, Tensor]) -> Image.Image:
    """Return images [N, 3, H, W] in [0, 1], by name, as one picture: a row for each sample, a column for each name."""
    columns = [torch.nn.functional.pad(part.float().cpu(), (0, _GAP, 0, _GAP), value=1.0) for part in images.values()]
    sheet = torch.cat([torch.cat(list(column), dim=1) for column in columns], dim=2)
    pixels = (sheet.clamp(0, 1) * 255).round().to(torch.uint8).permute(1, 2, 0)
    return Image.fromarray(pixels.numpy())
