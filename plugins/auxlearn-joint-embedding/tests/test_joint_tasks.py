"""The tasks: what they show, what they count, and that the sums they return are the papers' losses."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from auxlearn import Arrangement, Learner, Moment
from auxlearn.data import Batch
from auxlearn.learning import Draws, Feature, Features, StepContext, View
from auxlearn.testing.fakes import TinyBackbone, TinyPrimary, tiny_batch
from auxlearn_joint_embedding import BarlowTwins, SimCLR, contrastive_logits, cross_correlation, projector, redundancy
from auxlearn_kornia import SimCLR as Augmentation
from auxlearn_kornia import SimCLRParams

TASKS = [SimCLR, BarlowTwins]
STEP = StepContext()
both_tasks = pytest.mark.parametrize("kind", TASKS)


def task_of(kind, head=None, **options):
    torch.manual_seed(0)
    return kind(Augmentation(SimCLRParams(), size=None), head or nn.Linear(5, 4), **options)


def draws(**changes):
    return Draws(**{"seed": 0, "name": "twins", "step": 3, **changes})


def batch_of(images, **changes):
    return Batch(inputs={"image": images}, ids=torch.arange(len(images)), **changes)


def features_of(*pooled):
    return tuple(Features({"image": Feature(pooled=one)}) for one in pooled)


def views_of(rows, **answers):
    return tuple(View(inputs={"image": torch.rand(rows, 3, 8, 8)}, answers=answers) for _ in range(2))


@both_tasks
def test_shows_two_different_views_of_the_same_size(kind):
    images = torch.rand(6, 3, 16, 16)
    first, second = task_of(kind).views(batch_of(images), draws())
    assert first.inputs["image"].shape == second.inputs["image"].shape == images.shape
    assert not torch.equal(first.inputs["image"], second.inputs["image"])
    for view in (first, second):
        assert 0 <= view.inputs["image"].min() <= view.inputs["image"].max() <= 1


@both_tasks
def test_the_motion_says_where_the_pixels_went(kind):
    """A view made by cropping alone shows, at the moved place of a bright spot, the spot."""
    only_crop = SimCLRParams(scale_min=0.6, jitter=0, grayscale=0, blur=0)
    task = kind(Augmentation(only_crop, size=None), nn.Linear(5, 4))
    images = torch.zeros(16, 3, 33, 33)
    images[:, :, 15:18, 15:18] = 1
    for view in task.views(batch_of(images), draws()):
        places = (view.motion.matrix @ torch.tensor([16.0, 16.0, 1.0])).round().long().clamp(0, 32)
        inside = ((places > 1) & (places < 31)).all(1)
        assert inside.sum() > 8
        assert (view.inputs["image"][torch.arange(16), 0, places[:, 1], places[:, 0]][inside] > 0.5).all()


@both_tasks
def test_randomness_comes_from_the_draws_alone(kind):
    task, batch = task_of(kind), batch_of(torch.rand(6, 3, 16, 16))
    torch.manual_seed(1)
    shown = [view.inputs["image"] for view in task.views(batch, draws())]
    torch.manual_seed(2)
    again = [view.inputs["image"] for view in task.views(batch, draws())]
    assert all(torch.equal(one, other) for one, other in zip(shown, again, strict=True))
    assert not torch.equal(task.views(batch, draws(step=4))[0].inputs["image"], shown[0])


@both_tasks
def test_two_processes_make_the_views_of_one(kind):
    task, images = task_of(kind), torch.rand(8, 3, 16, 16)
    whole = task.views(batch_of(images), draws())
    parts = [task.views(batch_of(images[4 * r : 4 * r + 4]), draws(rank=r, world=2)) for r in (0, 1)]
    for number, view in enumerate(whole):
        joint = torch.cat([part[number].inputs["image"] for part in parts])
        torch.testing.assert_close(joint, view.inputs["image"])


@both_tasks
def test_other_modalities_are_left_alone(kind):
    sound = torch.rand(4, 7)
    batch = Batch(inputs={"image": torch.rand(4, 3, 8, 8), "sound": sound}, ids=torch.arange(4))
    assert all(view.inputs["sound"] is sound for view in task_of(kind).views(batch, draws()))


def test_the_mean_of_simclr_is_the_paper_s_loss():
    """Over the 2N views; and chance is ln(2N - 1)."""
    task, pooled = task_of(SimCLR, temperature=0.5), [torch.rand(6, 5), torch.rand(6, 5)]
    views = views_of(6)
    logits, targets = contrastive_logits(*(task.head(one) for one in pooled), temperature=0.5)
    result = task.loss(features_of(*pooled), views, STEP)
    assert task.count(views) == 12
    torch.testing.assert_close(result.loss / 12, F.cross_entropy(logits, targets))
    torch.testing.assert_close(result.metrics["accuracy"], (logits.argmax(1) == targets).float().mean())
    same = task.loss(features_of(torch.ones(6, 5), torch.ones(6, 5)), views, STEP)
    assert same.loss.item() / 12 == pytest.approx(math.log(11), rel=1e-5)


def test_simclr_is_right_where_the_views_are_the_nearest():
    apart = torch.eye(5)
    task = task_of(SimCLR, nn.Identity())
    assert task.loss(features_of(apart, apart), views_of(5), STEP).metrics["accuracy"] == 1
    assert task.loss(features_of(apart, apart.roll(1, 0)), views_of(5), STEP).metrics["accuracy"] == 0


def test_the_mean_of_barlow_twins_is_the_paper_s_loss():
    task, pooled = task_of(BarlowTwins, weight=0.1), [torch.rand(6, 5), torch.rand(6, 5)]
    views = views_of(6)
    matrix = cross_correlation(*(task.head(one) for one in pooled))
    result = task.loss(features_of(*pooled), views, STEP)
    assert task.count(views) == 6
    torch.testing.assert_close(result.loss / 6, redundancy(matrix, 0.1))
    torch.testing.assert_close(result.metrics["on_diagonal"], matrix.diagonal().mean())
    squares = matrix.square().sum() - matrix.diagonal().square().sum()
    torch.testing.assert_close(result.metrics["off_diagonal"], (squares / 12).sqrt())


@both_tasks
def test_rows_without_the_modality_do_not_count(kind):
    task, given = task_of(kind), torch.tensor([True, False, True, True])
    views = task.views(batch_of(torch.rand(4, 3, 8, 8), present={"inputs/image": given}), draws())
    pooled = [torch.rand(4, 5), torch.rand(4, 5)]
    some = task.loss(features_of(*(one[given] for one in pooled)), views_of(3), STEP)
    result = task.loss(features_of(*pooled), views, STEP)
    assert task.count(views) == task.count(views_of(3))
    torch.testing.assert_close(result.loss, some.loss)
    torch.testing.assert_close(result.metrics, some.metrics)
    leaf = pooled[0].clone().requires_grad_()
    none = task.loss(features_of(leaf, pooled[1]), views_of(4, present=torch.zeros(4, dtype=torch.bool)), STEP)
    assert none.loss == 0
    none.loss.backward()
    assert (leaf.grad == 0).all()


@both_tasks
def test_bf16_autocast_loses_only_what_the_projector_loses(kind):
    task = task_of(kind, projector(32, hidden=64, out=16, layers=1, norm=False))
    pooled = [torch.randn(64, 32), torch.randn(64, 32)]
    exact = task.loss(features_of(*pooled), views_of(64), STEP).loss
    with torch.autocast("cpu", dtype=torch.bfloat16):
        embedded = [task.head(one) for one in pooled]
        result = task.loss(features_of(*pooled), views_of(64), STEP)
    assert embedded[0].dtype == torch.bfloat16
    assert result.loss.dtype == torch.float32
    plain = task_of(kind, nn.Identity())
    after = plain.loss(features_of(*(one.float() for one in embedded)), views_of(64), STEP).loss
    torch.testing.assert_close(result.loss, after)
    torch.testing.assert_close(result.loss, exact, rtol=0.02, atol=0)


@both_tasks
def test_float64_stays_float64(kind):
    task = task_of(kind).double()
    pooled = features_of(torch.rand(4, 5).double(), torch.rand(4, 5).double())
    assert task.loss(pooled, views_of(4), STEP).loss.dtype == torch.float64


@both_tasks
def test_gradient_reaches_the_backbone_and_the_projector(kind):
    task = task_of(kind, projector(5, hidden=7, out=4, layers=2, norm=True))
    pooled = [torch.rand(6, 5, requires_grad=True) for _ in range(2)]
    task.loss(features_of(*pooled), views_of(6), STEP).loss.backward()
    assert all(one.grad.abs().sum() > 0 for one in (*pooled, *task.head.parameters()))


@both_tasks
def test_picture_shows_both_views(kind):
    task = task_of(kind)
    views = task.views(batch_of(torch.rand(4, 1, 8, 8)), draws())
    shown = task.picture(views, task.loss(features_of(torch.rand(4, 5), torch.rand(4, 5)), views, STEP))
    assert {name: tuple(one.shape) for name, one in shown.items()} == dict.fromkeys(("first", "second"), (4, 3, 8, 8))
    assert torch.equal(shown["second"][:, 2:], views[1].inputs["image"])


@both_tasks
@pytest.mark.parametrize("absent", [False, True])
def test_loss_reads_nothing_back_from_the_device(kind, absent):
    """Fake tensors raise on every read of a value by the host."""
    with FakeTensorMode(), torch.device("cuda"):
        task = task_of(kind)
        answers = {"present": torch.empty(4, dtype=torch.bool)} if absent else {}
        result = task.loss(features_of(torch.empty(4, 5), torch.empty(4, 5)), views_of(4, **answers), STEP)
    assert {t.device.type for t in (result.loss, *result.metrics.values())} == {"cuda"}


@both_tasks
def test_can_be_learned(kind):
    """Views are an image's own direction with a little noise; the projector must keep what they share."""
    task = task_of(kind, nn.Linear(8, 4), **({"temperature": 0.5} if kind is SimCLR else {"weight": 0.05}))
    optimizer = torch.optim.Adam(task.parameters(), lr=0.03)
    losses = []
    for _ in range(60):
        shared = torch.randn(32, 4)
        pooled = [torch.cat([shared + 0.1 * torch.randn(32, 4), torch.randn(32, 4)], 1) for _ in range(2)]
        result = task.loss(features_of(*pooled), views_of(32), STEP)
        losses.append(result.loss.item())
        optimizer.zero_grad()
        result.loss.backward()
        optimizer.step()
    assert losses[-1] < 0.7 * losses[0]


@both_tasks
def test_a_learner_shows_both_views_to_primary_tasks_if_asked(kind):
    learner = Learner(
        TinyBackbone(),
        primary={"kind": TinyPrimary()},
        pretext={"twins": task_of(kind, nn.Linear(8, 4))},
        arrange={"twins": Arrangement(view="own", supervise=True, portion=0.5)},
    )
    result = learner.step(tiny_batch(), Moment(step=0))
    assert result.passes == ("clean", "twins/0", "twins/1")
    assert [str(key) for key in result.losses] == ["kind@clean", "kind@twins/0", "kind@twins/1", "twins@twins"]


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        (SimCLR, {"temperature": 0.0}, "`temperature` should be above 0, found 0.0"),
        (BarlowTwins, {"weight": -1.0}, "`weight` should be at least 0, found -1.0"),
    ],
)
def test_says_what_is_wrong(kind, options, message):
    with pytest.raises(ValueError, match=message):
        task_of(kind, **options)
