"""The pretext task: what it shows, what it asks, and the loss against the formula."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from auxlearn.data import Batch
from auxlearn.learning import Draws, Feature, Features, StepContext, View
from auxlearn_puzzling import Puzzling, shuffle_tiles

STEP = StepContext()


def draws(**changes):
    return Draws(**{"seed": 0, "name": "puzzle", "step": 3, **changes})


def batch_of(images, **changes):
    return Batch(inputs={"image": images}, ids=torch.arange(len(images)), **changes)


def features_of(pooled, maps=()):
    return (Features({"image": Feature(pooled=pooled, maps=maps)}),)


def view_of(order, **answers):
    images = torch.rand(len(order), 3, 12, 12)
    return (View(inputs={"image": images}, answers={"order": order, **answers}),)


def orders(rows, grid):
    return torch.rand(rows, grid**2, generator=torch.Generator().manual_seed(1)).argsort(1)


def plain(width=5, **options):
    """A task without dropout, in float64."""
    torch.manual_seed(0)
    return Puzzling(width, **{"dropout": 0.0, **options}).double()


def test_shows_the_shuffled_image_and_asks_for_its_order():
    images = torch.rand(6, 3, 12, 12)
    (view,) = Puzzling(5, grid=3).views(batch_of(images), draws())
    assert torch.equal(view.inputs["image"], shuffle_tiles(images, view.answers["order"], 3))
    assert view.motion is None


def test_the_answers_are_what_the_network_sees():
    """Tiles carry their number as colour, so the order can be read off the picture."""
    numbers = torch.arange(9.0).view(1, 1, 3, 3).expand(20, 3, -1, -1) / 8
    images = F.interpolate(numbers, size=(12, 12), mode="nearest-exact")
    (view,) = Puzzling(5, grid=3).views(batch_of(images), draws())
    read = (view.inputs["image"][:, 0, 2::4, 2::4] * 8).round().long().flatten(1)
    assert torch.equal(read, view.answers["order"])


def test_every_permutation_is_as_likely_as_the_others():
    (view,) = Puzzling(5, grid=2).views(batch_of(torch.zeros(4800, 1, 2, 2)), draws())
    kinds, counts = view.answers["order"].unique(dim=0, return_counts=True)
    assert len(kinds) == 24  # the identity among them
    assert counts.min() > 130  # 200 expected, standard deviation 14
    assert counts.max() < 270


def test_randomness_comes_from_the_draws_alone():
    task, batch = Puzzling(5, grid=3), batch_of(torch.rand(6, 3, 12, 12))
    torch.manual_seed(1)
    first = task.views(batch, draws())[0]
    state = torch.get_rng_state()
    torch.manual_seed(2)
    again = task.views(batch, draws())[0]
    torch.manual_seed(1)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(first.inputs["image"], again.inputs["image"])
    for other in (draws(step=4), draws(seed=1), draws(name="other"), draws(micro=1)):
        assert not torch.equal(task.views(batch, other)[0].answers["order"], first.answers["order"])


def test_two_processes_make_the_puzzles_of_one():
    task, images = Puzzling(5, grid=3), torch.rand(8, 3, 12, 12)
    whole = task.views(batch_of(images), draws())[0].inputs["image"]
    halves = [
        task.views(batch_of(images[4 * r : 4 * r + 4]), draws(rank=r, world=2))[0].inputs["image"] for r in (0, 1)
    ]
    assert torch.equal(torch.cat(halves), whole)


def test_the_batch_and_other_modalities_are_left_alone():
    images, sound = torch.rand(4, 3, 12, 12), torch.rand(4, 7)
    before = images.clone()
    batch = Batch(inputs={"image": images, "sound": sound}, ids=torch.arange(4))
    (view,) = Puzzling(5, grid=3).views(batch, draws())
    assert view.inputs["sound"] is sound
    assert torch.equal(images, before)


@pytest.mark.parametrize(("grid", "chance"), [(2, 1.386), (3, 2.197)])
def test_without_knowledge_each_head_loses_ln_n(grid, chance):
    task = plain(grid=grid, reduction="mean")
    nn.init.zeros_(task.heads[-1].weight)
    nn.init.zeros_(task.heads[-1].bias)
    result = task.loss(features_of(torch.rand(4, 5).double()), view_of(orders(4, grid)), STEP)
    assert result.loss.item() / 4 == pytest.approx(math.log(grid**2))
    assert result.loss.item() / 4 == pytest.approx(chance, abs=1e-3)


def test_a_case_by_hand():
    """One image, 2 x 2: three heads are undecided, head 0 gives tile 3 odds of e to 1 against each other tile."""
    task = plain(1, grid=2)
    nn.init.zeros_(task.heads[-1].weight)
    nn.init.zeros_(task.heads[-1].bias)
    with torch.no_grad():
        task.heads[-1].weight[3] = 0.5  # head 0, tile 3; the feature is 2
    feature = features_of(torch.tensor([[2.0]]).double())
    right = task.loss(feature, view_of(torch.tensor([[3, 0, 1, 2]])), STEP)
    wrong = task.loss(feature, view_of(torch.tensor([[0, 3, 1, 2]])), STEP)
    assert right.loss.item() == pytest.approx(3 * math.log(4) + math.log(math.e + 3) - 1)
    assert wrong.loss.item() == pytest.approx(3 * math.log(4) + math.log(math.e + 3))
    assert right.output["logits"][0, 0].tolist() == [0, 0, 0, 1]


@pytest.mark.parametrize("reduction", ["sum", "mean"])
def test_equals_one_small_layer_for_each_head(reduction):
    """The paper's K layers of K outputs, written with loops."""
    task, pooled, order = plain(grid=3, reduction=reduction), torch.rand(4, 5).double(), orders(4, 3)
    weight, bias = task.heads[-1].weight, task.heads[-1].bias
    expected = 0.0
    for row in range(4):
        terms = []
        for head in range(9):
            logits = weight[9 * head : 9 * head + 9] @ pooled[row] + bias[9 * head : 9 * head + 9]
            terms.append(-torch.log(logits.exp() / logits.exp().sum())[order[row, head]])
        expected = expected + (sum(terms) if reduction == "sum" else sum(terms) / 9)
    torch.testing.assert_close(task.loss(features_of(pooled), view_of(order), STEP).loss, expected)


def test_gradient_reaches_the_backbone_s_feature():
    task, order = plain(grid=2), orders(3, 2)
    pooled = torch.rand(3, 5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda p: task.loss(features_of(p), view_of(order), STEP).loss, (pooled,))
    task.loss(features_of(pooled), view_of(order), STEP).loss.backward()
    assert (pooled.grad != 0).all()


def test_dropout_works_in_training_only():
    task = Puzzling(64, grid=2, dropout=0.5)
    features, views = features_of(torch.rand(4, 64)), view_of(orders(4, 2))
    assert task.loss(features, views, STEP).loss != task.loss(features, views, STEP).loss
    task.eval()
    assert task.loss(features, views, STEP).loss == task.loss(features, views, STEP).loss


def test_rows_without_the_modality_do_not_count():
    task, pooled = plain(grid=2), torch.rand(4, 5).double()
    images = torch.rand(4, 3, 12, 12)
    given = torch.tensor([True, False, True, False])
    views = task.views(batch_of(images, present={"inputs/image": given}), draws())
    assert task.count(views) == 2
    partial = task.loss(features_of(pooled), views, STEP)
    two = task.loss(features_of(pooled[given]), view_of(views[0].answers["order"][given]), STEP)
    torch.testing.assert_close(partial.loss, two.loss)
    torch.testing.assert_close(partial.metrics, two.metrics)
    none = task.views(batch_of(images, present={"inputs/image": torch.zeros(4, dtype=torch.bool)}), draws())
    result = task.loss(features_of(pooled.requires_grad_()), none, STEP)
    assert result.loss == 0
    result.loss.backward()
    assert (pooled.grad == 0).all()


def test_counts_rows():
    views = Puzzling(5, grid=2).views(batch_of(torch.rand(7, 3, 8, 8)), draws())
    assert Puzzling(5, grid=2).count(views) == 7


def test_metrics_count_tiles_and_whole_puzzles():
    task = plain(4, grid=2)
    order = torch.tensor([[0, 1, 2, 3], [1, 0, 3, 2]])
    with torch.no_grad():  # every head says its own position: the first puzzle is right, the second all wrong
        task.heads[-1].weight.zero_()
        task.heads[-1].bias.copy_(torch.eye(4).flatten())
    metrics = task.loss(features_of(torch.rand(2, 4).double()), view_of(order), STEP).metrics
    assert {name: value.item() for name, value in metrics.items()} == {"tile_accuracy": 0.5, "solved": 0.5}
    assert not any(value.requires_grad for value in metrics.values())


def test_bf16_autocast_loses_only_what_the_layer_loses():
    torch.manual_seed(0)
    task, pooled, order = Puzzling(32, grid=3, dropout=0.0), torch.rand(64, 32), orders(64, 3)
    exact = task.loss(features_of(pooled), view_of(order), STEP).loss
    with torch.autocast("cpu", dtype=torch.bfloat16):
        result = task.loss(features_of(pooled), view_of(order), STEP)
        logits = task.heads(pooled).view(64, 9, 9)
    assert logits.dtype == torch.bfloat16
    assert result.loss.dtype == torch.float32
    expected = F.cross_entropy(logits.double().flatten(0, 1), order.flatten(), reduction="sum")
    assert result.loss.item() == pytest.approx(expected.item(), rel=1e-6)
    assert result.loss.item() == pytest.approx(exact.item(), rel=1e-3)


def test_float64_stays_float64():
    result = plain(grid=2).loss(features_of(torch.rand(4, 5).double()), view_of(orders(4, 2)), STEP)
    assert result.loss.dtype == torch.float64


def test_hidden_layer_and_feature_level():
    task = Puzzling(6, grid=2, dropout=0.0, hidden=10, level=0)
    fine, coarse = torch.rand(3, 6, 4, 4), torch.rand(3, 8, 2, 2)
    logits = task.loss(features_of(torch.rand(3, 5), (fine, coarse)), view_of(orders(3, 2)), STEP).output["logits"]
    first, last = task.heads[1], task.heads[3]
    expected = last(first(fine.mean((2, 3))).relu()).view(3, 4, 4)
    torch.testing.assert_close(logits, expected)


def test_picture_solves_the_puzzle_if_the_heads_are_right():
    task, images = Puzzling(5, grid=3), torch.rand(4, 1, 12, 12)
    views = task.views(batch_of(images), draws())
    result = task.loss(features_of(torch.rand(4, 5)), views, STEP)
    right = F.one_hot(views[0].answers["order"], 9).float() * 20
    shown = task.picture(views, type(result)(loss=result.loss, output={"logits": right}))
    assert {name: tuple(picture.shape) for name, picture in shown.items()} == dict.fromkeys(
        ("image", "puzzled", "solved"), (4, 3, 12, 12)
    )
    assert torch.equal(shown["image"], images.expand(-1, 3, -1, -1))
    assert torch.equal(shown["solved"], shown["image"])
    assert torch.equal(shown["puzzled"][:, :1], views[0].inputs["image"])
    guessed = task.picture(views, result)["solved"]
    assert not guessed.requires_grad
    assert not torch.equal(guessed, shown["image"])


def test_loss_reads_nothing_back_from_the_device():
    """Fake tensors raise on every read of a value by the host."""
    with FakeTensorMode(), torch.device("cuda"):
        task = Puzzling(5, grid=3, hidden=4)
        views = view_of(torch.empty(4, 9, dtype=torch.long), present=torch.empty(4, dtype=torch.bool))
        result = task.loss(features_of(torch.empty(4, 5)), views, STEP)
        shown = task.picture(views, result)
    assert {t.device.type for t in (result.loss, *result.metrics.values(), *shown.values())} == {"cuda"}


def test_can_be_learned():
    """Tiles of four brightnesses, read by the average brightness of each quarter: a feature that says it all."""
    torch.manual_seed(0)
    task = Puzzling(4, grid=2, dropout=0.0)
    optimizer = torch.optim.Adam(task.parameters(), lr=0.1)
    images = F.interpolate(torch.arange(4.0).view(1, 1, 2, 2).expand(64, 3, -1, -1) / 3, size=(8, 8))
    for step in range(150):
        views = task.views(batch_of(images), draws(step=step))
        seen = F.adaptive_avg_pool2d(views[0].inputs["image"][:, :1], 2).flatten(1) * 2 - 1
        result = task.loss(features_of(seen), views, STEP)
        optimizer.zero_grad()
        (result.loss / task.count(views)).backward()
        optimizer.step()
    assert result.metrics["tile_accuracy"] > 0.95


@pytest.mark.parametrize(
    ("options", "message"),
    [({"grid": 1}, "`grid` should be at least 2, found 1"), ({"reduction": "max"}, "'sum' or 'mean', found 'max'")],
)
def test_says_what_is_wrong(options, message):
    with pytest.raises(ValueError, match=message):
        Puzzling(5, **options)
