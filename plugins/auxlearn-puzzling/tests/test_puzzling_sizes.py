"""The puzzle in several sizes: what is shown, which sizes are drawn, and the loss over all of them."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from auxlearn import Arrangement, Learner, Moment
from auxlearn.data import Batch
from auxlearn.learning import Draws, Feature, Features, StepContext
from auxlearn.testing.fakes import TinyBackbone, TinyPrimary, tiny_batch
from auxlearn_puzzling import Puzzling, puzzle

STEP = StepContext()
SIAMESE = ((113, 127), 112, (64, 110))


def draws(**changes):
    return Draws(**{"seed": 0, "name": "puzzle", "step": 3, **changes})


def batch_of(images, **changes):
    return Batch(inputs={"image": images}, ids=torch.arange(len(images)), **changes)


def features_of(*pooled):
    return tuple(Features({"image": Feature(pooled=one)}) for one in pooled)


def sides(task, images, **changes):
    return [tuple(view.inputs["image"].shape[2:]) for view in task.views(batch_of(images), draws(**changes))]


def test_every_view_shows_the_same_puzzle_in_its_size():
    images = torch.rand(4, 3, 128, 128)
    views = Puzzling(5, sizes=SIAMESE).views(batch_of(images), draws())
    (alone,) = Puzzling(5).views(batch_of(images), draws())
    puzzled = puzzle(images, alone.answers["order"], 3)
    assert len(views) == 3
    for view in views:
        assert torch.equal(view.answers["order"], alone.answers["order"])
        assert view.motion is None
        size = view.inputs["image"].shape[2:]
        expected = F.interpolate(puzzled, size, mode="bilinear", antialias=True)
        assert torch.equal(view.inputs["image"], expected)


def test_sizes_are_drawn_within_their_bounds_and_all_of_them_occur():
    task, images = Puzzling(5, grid=2, sizes=((10, 12), 8)), torch.rand(1, 1, 16, 16)
    seen = [sides(task, images, step=step) for step in range(60)]
    assert {first for first, _ in seen} == {(10, 10), (11, 11), (12, 12)}
    assert {second for _, second in seen} == {(8, 8)}


def test_all_processes_draw_the_same_sizes():
    task, images = Puzzling(5, grid=2, sizes=((4, 60), (4, 60))), torch.rand(4, 1, 16, 16)
    assert sides(task, images, rank=0, world=2) == sides(task, images, rank=1, world=2) != sides(task, images, step=4)


def test_a_size_is_that_of_the_shorter_side():
    assert sides(Puzzling(5, grid=2, sizes=(8, 16)), torch.rand(1, 1, 16, 24)) == [(8, 12), (16, 24)]


@pytest.mark.parametrize("reduction", ["sum", "mean"])
def test_the_loss_is_that_of_the_same_heads_on_each_view(reduction):
    torch.manual_seed(0)
    task = Puzzling(5, dropout=0.0, reduction=reduction, sizes=SIAMESE).double()
    views = task.views(batch_of(torch.rand(4, 3, 128, 128)), draws())
    pooled = [torch.rand(4, 5).double() for _ in views]
    each = [task.loss(features_of(one), views[:1], STEP) for one in pooled]
    result = task.loss(features_of(*pooled), views, STEP)
    total = sum(one.loss for one in each)
    torch.testing.assert_close(result.loss, total if reduction == "sum" else total / 3)
    torch.testing.assert_close(result.metrics["tile_accuracy"], sum(one.metrics["tile_accuracy"] for one in each) / 3)
    assert task.count(views) == 4
    assert result.output["logits"].shape == (12, 9, 9)


def test_without_knowledge_an_image_loses_27_times_ln_9():
    task = Puzzling(5, dropout=0.0, sizes=SIAMESE)
    nn.init.zeros_(task.heads[-1].weight)
    nn.init.zeros_(task.heads[-1].bias)
    views = task.views(batch_of(torch.rand(2, 3, 128, 128)), draws())
    loss = task.loss(features_of(*(torch.rand(2, 5) for _ in views)), views, STEP).loss
    assert loss.item() / task.count(views) == pytest.approx(27 * math.log(9), rel=1e-5)


def test_rows_without_the_modality_do_not_count_in_any_view():
    task, given = Puzzling(5, dropout=0.0, sizes=(8, 12)).double(), torch.tensor([True, False, True])
    views = task.views(batch_of(torch.rand(3, 3, 12, 12), present={"inputs/image": given}), draws())
    pooled = [torch.rand(3, 5).double() for _ in views]
    result = task.loss(features_of(*pooled), views, STEP)
    for one in pooled:
        one[1] = torch.rand(5)
    torch.testing.assert_close(task.loss(features_of(*pooled), views, STEP).loss, result.loss)
    assert task.count(views) == 2


def test_picture_is_that_of_the_first_view():
    task, images = Puzzling(5, grid=2, sizes=(8, 16)), torch.rand(4, 3, 12, 12)
    views = task.views(batch_of(images), draws())
    result = task.loss(features_of(torch.rand(4, 5), torch.rand(4, 5)), views, STEP)
    right = F.one_hot(views[0].answers["order"], 4).float().repeat(2, 1, 1)
    shown = task.picture(views, type(result)(loss=result.loss, output={"logits": right}))
    assert {name: tuple(one.shape) for name, one in shown.items()} == dict.fromkeys(shown, (4, 3, 8, 8))
    assert torch.equal(shown["solved"], shown["image"])


def test_the_primary_task_has_the_mean_over_the_clean_image_and_all_sizes():
    learner = Learner(
        TinyBackbone(norm=False),
        primary={"kind": TinyPrimary()},
        pretext={"puzzle": Puzzling(8, grid=2, sizes=((9, 12), 8, (4, 7)))},
        arrange={"puzzle": Arrangement(view="own", supervise=True, weight=0.3)},
    )
    result = learner.step(tiny_batch(), Moment(step=0))
    assert result.passes == ("clean", "puzzle/0", "puzzle/1", "puzzle/2")
    primary = [loss for key, loss in result.losses.items() if key.role == "primary"]
    (pretext,) = (loss for key, loss in result.losses.items() if key.role == "pretext")
    assert len(primary) == 4
    torch.testing.assert_close(result.total, sum(primary) / 4 + 0.3 * pretext)


def test_no_size_at_all_is_refused():
    with pytest.raises(ValueError, match="`sizes` should be None or name at least one size"):
        Puzzling(5, sizes=())
