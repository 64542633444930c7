"""The pretext task: what it shows, what it asks, the loss against the formula, and its place in a chain."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from auxlearn.data import Batch
from auxlearn.learning import Draws, Feature, Features, StepContext, View
from auxlearn_rotation import Rotation, quarter_turn

STEP = StepContext()


def draws(**changes):
    return Draws(**{"seed": 0, "name": "rotation", "step": 3, **changes})


def batch_of(images, **changes):
    return Batch(inputs={"image": images}, ids=torch.arange(len(images)), **changes)


def features_of(pooled, maps=()):
    return (Features({"image": Feature(pooled=pooled, maps=maps)}),)


def view_of(turns, **answers):
    return (View(inputs={"image": torch.rand(len(turns), 3, 12, 12)}, answers={"turns": turns, **answers}),)


def plain(width=5, **options):
    """A task without dropout, in float64."""
    torch.manual_seed(0)
    return Rotation(width, **{"dropout": 0.0, **options}).double()


@pytest.mark.parametrize("tiles", [None, 3])
def test_shows_the_turned_image_and_asks_for_the_turns(tiles):
    images = torch.rand(8, 3, 12, 12)
    (view,) = Rotation(5, tiles=tiles).views(batch_of(images), draws())
    turns = view.answers["turns"]
    assert turns.shape == (8, (tiles or 1) ** 2)
    assert torch.equal(view.inputs["image"], quarter_turn(images, turns, tiles or 1))
    assert (view.motion is None) == (tiles is not None)


def test_the_motion_of_a_whole_image_is_what_happened_to_it():
    images = torch.zeros(16, 1, 12, 12)
    images[:, :, 2, 7] = 1
    (view,) = Rotation(5).views(batch_of(images), draws())
    moved = view.motion.matrix @ torch.tensor([7.0, 2.0, 1.0])
    found = view.inputs["image"][:, 0].nonzero()
    assert torch.equal(found[:, [2, 1]].float(), moved)


def test_the_motion_turns_a_direction_as_a_head_s_roll():
    """The linear part is the rotation that in-plane angles change by: counterclockwise by 90 degrees a turn."""
    (view,) = Rotation(5).views(batch_of(torch.rand(16, 3, 8, 8)), draws())
    linear = view.motion.matrix[:, :, :2]
    angle = torch.atan2(-linear[:, 1, 0], linear[:, 0, 0])  # y points down, so a counterclockwise turn is negative
    expected = view.answers["turns"][:, 0] * math.pi / 2
    torch.testing.assert_close(angle.cos(), expected.cos(), atol=1e-6, rtol=0)
    torch.testing.assert_close(angle.sin(), expected.sin(), atol=1e-6, rtol=0)


def test_every_turn_is_as_likely_as_the_others():
    (view,) = Rotation(5, tiles=2).views(batch_of(torch.zeros(1000, 1, 2, 2)), draws())
    counts = torch.stack([(view.answers["turns"] == turn).sum(0) for turn in range(4)])
    assert counts.min() > 195  # 250 expected, standard deviation 14
    assert counts.max() < 305


def test_randomness_comes_from_the_draws_alone():
    task, batch = Rotation(5, tiles=3), batch_of(torch.rand(6, 3, 12, 12))
    torch.manual_seed(1)
    first = task.views(batch, draws())[0]
    torch.manual_seed(2)
    assert torch.equal(task.views(batch, draws())[0].inputs["image"], first.inputs["image"])
    for other in (draws(step=4), draws(seed=1), draws(name="other"), draws(micro=1)):
        assert not torch.equal(task.views(batch, other)[0].answers["turns"], first.answers["turns"])


@pytest.mark.parametrize("tiles", [None, 2])
def test_two_processes_turn_the_images_as_one(tiles):
    task, images = Rotation(5, tiles=tiles), torch.rand(8, 3, 12, 12)
    whole = task.views(batch_of(images), draws())[0].inputs["image"]
    halves = [
        task.views(batch_of(images[4 * r : 4 * r + 4]), draws(rank=r, world=2))[0].inputs["image"] for r in (0, 1)
    ]
    assert torch.equal(torch.cat(halves), whole)


def test_the_batch_and_other_modalities_are_left_alone():
    images, sound = torch.rand(4, 3, 12, 12), torch.rand(4, 7)
    before = images.clone()
    batch = Batch(inputs={"image": images, "sound": sound}, ids=torch.arange(4))
    (view,) = Rotation(5).views(batch, draws())
    assert view.inputs["sound"] is sound
    assert torch.equal(images, before)


@pytest.mark.parametrize("tiles", [None, 2])
def test_without_knowledge_each_head_loses_ln_4(tiles):
    task = plain(tiles=tiles, reduction="mean")
    nn.init.zeros_(task.heads[-1].weight)
    nn.init.zeros_(task.heads[-1].bias)
    views = task.views(batch_of(torch.rand(4, 3, 12, 12)), draws())
    result = task.loss(features_of(torch.rand(4, 5).double()), views, STEP)
    assert result.loss.item() / task.count(views) == pytest.approx(math.log(4))


def test_a_case_by_hand():
    """A feature of 2 and a weight of 0.5 give angle 3 odds of e to 1 against each other one."""
    task = plain(1)
    nn.init.zeros_(task.heads[-1].weight)
    nn.init.zeros_(task.heads[-1].bias)
    with torch.no_grad():
        task.heads[-1].weight[3] = 0.5
    feature = features_of(torch.tensor([[2.0], [2.0]]).double())
    result = task.loss(feature, view_of(torch.tensor([[3], [1]])), STEP)
    assert result.loss.item() == pytest.approx(2 * math.log(math.e + 3) - 1)
    assert result.output["logits"][0, 0].tolist() == [0, 0, 0, 1]
    assert result.metrics["accuracy"] == 0.5


@pytest.mark.parametrize("reduction", ["sum", "mean"])
def test_equals_one_small_layer_for_each_tile(reduction):
    task, pooled = plain(tiles=3, reduction=reduction), torch.rand(4, 5).double()
    turns = torch.randint(0, 4, (4, 9))
    weight, bias = task.heads[-1].weight, task.heads[-1].bias
    expected = 0.0
    for row in range(4):
        terms = []
        for tile in range(9):
            logits = weight[4 * tile : 4 * tile + 4] @ pooled[row] + bias[4 * tile : 4 * tile + 4]
            terms.append(-torch.log(logits.exp() / logits.exp().sum())[turns[row, tile]])
        expected = expected + (sum(terms) if reduction == "sum" else sum(terms) / 9)
    torch.testing.assert_close(task.loss(features_of(pooled), view_of(turns), STEP).loss, expected)


def test_gradient_reaches_the_backbone_s_feature():
    task, turns = plain(tiles=2), torch.randint(0, 4, (3, 4))
    pooled = torch.rand(3, 5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda p: task.loss(features_of(p), view_of(turns), STEP).loss, (pooled,))
    task.loss(features_of(pooled), view_of(turns), STEP).loss.backward()
    assert (pooled.grad != 0).all()


def test_rows_without_the_modality_do_not_count():
    task, pooled, images = plain(tiles=2), torch.rand(4, 5).double(), torch.rand(4, 3, 12, 12)
    given = torch.tensor([True, False, True, False])
    views = task.views(batch_of(images, present={"inputs/image": given}), draws())
    assert task.count(views) == 2
    partial = task.loss(features_of(pooled), views, STEP)
    two = task.loss(features_of(pooled[given]), view_of(views[0].answers["turns"][given]), STEP)
    torch.testing.assert_close(partial.loss, two.loss)
    torch.testing.assert_close(partial.metrics, two.metrics)
    none = task.views(batch_of(images, present={"inputs/image": torch.zeros(4, dtype=torch.bool)}), draws())
    result = task.loss(features_of(pooled.requires_grad_()), none, STEP)
    assert result.loss == 0
    result.loss.backward()
    assert (pooled.grad == 0).all()


def test_bf16_autocast_loses_only_what_the_layer_loses():
    torch.manual_seed(0)
    task, pooled, turns = Rotation(32, tiles=3, dropout=0.0), torch.rand(64, 32), torch.randint(0, 4, (64, 9))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        result = task.loss(features_of(pooled), view_of(turns), STEP)
        logits = task.heads(pooled).view(-1, 4)
    assert logits.dtype == torch.bfloat16
    assert result.loss.dtype == torch.float32
    expected = F.cross_entropy(logits.double(), turns.flatten(), reduction="sum")
    assert result.loss.item() == pytest.approx(expected.item(), rel=1e-6)


def test_float64_stays_float64():
    result = plain().loss(features_of(torch.rand(4, 5).double()), view_of(torch.zeros(4, 1, dtype=torch.long)), STEP)
    assert result.loss.dtype == torch.float64


def test_hidden_layer_and_feature_level():
    task = Rotation(6, dropout=0.0, hidden=10, level=0)
    fine, coarse = torch.rand(3, 6, 4, 4), torch.rand(3, 8, 2, 2)
    result = task.loss(features_of(torch.rand(3, 5), (fine, coarse)), view_of(torch.zeros(3, 1).long()), STEP)
    expected = task.heads[3](task.heads[1](fine.mean((2, 3))).relu()).view(3, 1, 4)
    torch.testing.assert_close(result.output["logits"], expected)


@pytest.mark.parametrize("tiles", [None, 3])
def test_picture_turns_the_image_back_if_the_heads_are_right(tiles):
    task, images = Rotation(5, tiles=tiles), torch.rand(6, 1, 12, 12)
    views = task.views(batch_of(images), draws())
    result = task.loss(features_of(torch.rand(6, 5)), views, STEP)
    right = F.one_hot(views[0].answers["turns"], 4).float()
    shown = task.picture(views, type(result)(loss=result.loss, output={"logits": right}))
    assert {name: tuple(picture.shape) for name, picture in shown.items()} == dict.fromkeys(
        ("image", "rotated", "turned_back"), (6, 3, 12, 12)
    )
    assert torch.equal(shown["image"], images.expand(-1, 3, -1, -1))
    assert torch.equal(shown["turned_back"], shown["image"])
    assert torch.equal(shown["rotated"][:, :1], views[0].inputs["image"])
    assert not torch.equal(task.picture(views, result)["turned_back"], shown["image"])


def test_loss_reads_nothing_back_from_the_device():
    """Fake tensors raise on every read of a value by the host."""
    with FakeTensorMode(), torch.device("cuda"):
        task = Rotation(5, tiles=3, hidden=4)
        views = view_of(torch.empty(4, 9, dtype=torch.long), present=torch.empty(4, dtype=torch.bool))
        result = task.loss(features_of(torch.empty(4, 5)), views, STEP)
        shown = task.picture(views, result)
    assert {t.device.type for t in (result.loss, *result.metrics.values(), *shown.values())} == {"cuda"}


def test_can_be_learned():
    """Images that are brighter above, read by the average brightness of each quarter: a feature that says it all."""
    torch.manual_seed(0)
    task = Rotation(4, dropout=0.0)
    optimizer = torch.optim.Adam(task.parameters(), lr=0.1)
    images = torch.linspace(1, 0, 8).view(1, 1, 8, 1).expand(64, 3, 8, 8)
    for step in range(100):
        views = task.views(batch_of(images), draws(step=step))
        seen = F.adaptive_avg_pool2d(views[0].inputs["image"][:, :1], 2).flatten(1)
        result = task.loss(features_of(seen), views, STEP)
        optimizer.zero_grad()
        (result.loss / task.count(views)).backward()
        optimizer.step()
    assert result.metrics["accuracy"] > 0.95


@pytest.mark.parametrize(
    ("options", "message"),
    [({"tiles": 1}, "`tiles` should be None or at least 2, found 1"), ({"reduction": "max"}, "'mean', found 'max'")],
)
def test_says_what_is_wrong(options, message):
    with pytest.raises(ValueError, match=message):
        Rotation(5, **options)
