"""Figures of a run: what each pretext task shows the network, and what the network makes of it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import attrs
import torch
from PIL import Image
from torch import Tensor

from auxlearn.data import Batch
from auxlearn.learning import Features, LossKey, PretextTask, StepContext, View
from auxlearn.learning.asking import ask_loss, ask_picture, ask_views, evaluated, featured
from auxlearn.learning.draws import isolated_rng
from auxlearn.learning.features import in_dtype_of
from auxlearn.learning.learner import Learner
from auxlearn.learning.modes import evaluating
from auxlearn.learning.plan import Ask, Moment
from auxlearn.learning.showing import scaled
from auxlearn.learning.statistics import batch_norms

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
    batch = attrs.evolve(batch, inputs=evaluated(learner.augmentation, batch.inputs))
    moment = Moment(seed=learner.seed, device=batch.device)
    written = []
    with evaluating(learner), isolated_rng(batch.device):
        for name in learner.pretext:
            images, views = _picture(learner, name, batch, moment)
            if learner.arrange[name].view == "shared":  # the next one gets what this one made of it
                batch = attrs.evolve(batch, inputs=views[0].inputs)
            if images:
                folder.mkdir(parents=True, exist_ok=True)
                contact_sheet(images).save(folder / f"{name}.png")
                written.append(folder / f"{name}.png")
    return written


def _picture(
    learner: Learner, name: str, batch: Batch, moment: Moment
) -> tuple[Mapping[str, Tensor], tuple[View, ...]]:
    """Return the pictures of a task, and the views that they are of."""
    task: PretextTask = learner.pretext[name]  # type: ignore[assignment]
    draws = moment.draws(f"figure/{name}")
    draws.seed_globally()
    how = learner.arrange[name]
    views = ask_views(name, task, scaled(batch, how.resolution), draws, shared=how.view == "shared")
    features = tuple(_features(learner, name, view) for view in views)
    ask = Ask(key=LossKey(name, "pretext", how.view or "own"), passes=(), views=views)
    return ask_picture(name, task, views, ask_loss(task, ask, features, StepContext(draws=draws))), views


def _features(learner: Learner, name: str, view: View) -> Features:
    """Return the features of a view, with the BatchNorm that the task is trained with."""
    statistics = learner.arrange[name].statistics
    separate = learner.norms[name] if statistics == "separate" else None
    norms = batch_norms(learner.backbone).values() if statistics == "batch" and not learner.freeze_backbone else ()
    for norm in norms:
        norm.train()
    found = featured(learner.backbone, in_dtype_of(learner.backbone, view.inputs), statistics, separate)  # type: ignore[arg-type]
    for norm in norms:
        norm.eval()
    return found


def contact_sheet(images: Mapping[str, Tensor]) -> Image.Image:
    """Return images [N, 3, H, W] in [0, 1], by name, as one picture: a row for each sample, a column for each name."""
    columns = [torch.nn.functional.pad(part.float().cpu(), (0, _GAP, 0, _GAP), value=1.0) for part in images.values()]
    sheet = torch.cat([torch.cat(list(column), dim=1) for column in columns], dim=2)
    pixels = (sheet.clamp(0, 1) * 255).round().to(torch.uint8).permute(1, 2, 0)
    return Image.fromarray(pixels.numpy())
