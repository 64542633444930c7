"""Decoder and pretext task: what is shown and asked, and the loss put together by hand."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from auxlearn.data import Batch
from auxlearn.learning import Draws, Feature, Features, StepContext, View
from auxlearn_inpainting import BlockMask, Decoder, FaceMask, FreeformMask, GridMask, Inpainting, PerceptualLoss

STEP = StepContext()


def draws(**changes):
    return Draws(**{"seed": 0, "name": "paint", "step": 3, **changes})


def batch_of(images, **changes):
    return Batch(inputs={"image": images}, ids=torch.arange(len(images)), **changes)


def features_of(*maps):
    return (Features({"image": Feature(pooled=torch.zeros(len(maps[0]), 1), maps=maps)}),)


def view_of(image, mask, **answers):
    return (View(inputs={"image": image}, answers={"image": image, "mask": mask, **answers}),)


class Given(nn.Module):
    """A decoder that returns the map itself, so a test decides what is predicted."""

    def forward(self, features, size):
        assert features.shape[2:] == size
        return features


def halves(rows=1, side=4):
    """A mask of the left half."""
    mask = torch.zeros(rows, 1, side, side, dtype=torch.bool)
    mask[..., : side // 2] = True
    return mask


@pytest.mark.parametrize("separable", [True, False])
@pytest.mark.parametrize(
    ("size", "reduction"),
    [((33, 33), 32), ((50, 50), 32), ((65, 65), 16), ((97, 97), 32), ((260, 260), 32), ((48, 31), 14), ((9, 9), 1)],
)
def test_the_decoder_draws_any_size(size, reduction, separable):
    decoder = Decoder(6, reduction, width=16, narrowest=4, separable=separable)
    cells = tuple(-(-side // reduction) for side in size)
    image = decoder(torch.randn(2, 6, *cells), size)
    assert image.shape == (2, 3, *size)
    assert 0 <= image.min() < image.max() <= 1
    image.sum().backward()
    assert all((p.grad != 0).any() for p in decoder.parameters())


def test_the_decoder_s_size_does_not_depend_on_the_map_s():
    """A backbone may round its maps up or down, and an own view may have another resolution."""
    decoder = Decoder(6, 32, image_channels=1, width=16)
    for cells in (2, 3, 4, 7):
        assert decoder(torch.randn(2, 6, cells, cells), (97, 65)).shape == (2, 1, 97, 65)


def test_light_by_default():
    """Less than the 4 million parameters of the smallest EfficientNet by a factor of 50; full convolutions are not."""
    count = {s: sum(p.numel() for p in Decoder(320, 32, separable=s).parameters()) for s in (True, False)}
    assert count[True] < 80_000
    assert count[False] > 2 * count[True]
    assert [stage.norm.num_features for stage in Decoder(320, 32).stages] == [64, 32, 16, 16]


def test_each_place_of_the_map_draws_its_place_of_the_image():
    """No place is mirrored or lost: a change in one cell of 4 x 4 shows there, and not two cells away."""
    torch.manual_seed(0)
    decoder = Decoder(6, 8, width=16).eval()
    plain = torch.randn(1, 6, 4, 4)
    for y in range(4):
        for x in range(4):
            other = plain.clone()
            other[0, :, y, x] += 3
            change = (decoder(other, (32, 32)) - decoder(plain, (32, 32))).abs().sum((0, 1))
            change = F.max_pool2d(change[None, None], 8)[0, 0]
            assert change[y, x] > 0
            far = [(v, u) for v in range(4) for u in range(4) if max(abs(v - y), abs(u - x)) > 1]
            assert all(change[place] == 0 for place in far)


@pytest.mark.parametrize("mask", [BlockMask(), GridMask(cells=3), FreeformMask(), FaceMask()])
def test_shows_the_image_but_for_the_mask(mask):
    images = torch.rand(6, 3, 24, 24)
    before = images.clone()
    (view,) = Inpainting(Given(), mask=mask).views(batch_of(images), draws())
    shown, hidden = view.inputs["image"], view.answers["mask"]
    assert torch.equal(images, before)
    assert view.answers["image"] is images
    assert torch.equal(hidden, mask.draw(draws().uniform(6, mask.numbers), 24, 24))
    assert torch.equal(torch.where(hidden, 0, shown), torch.where(hidden, 0, images))
    assert torch.equal(view.motion.matrix, torch.eye(2, 3).expand(6, 2, 3))


@pytest.mark.parametrize("fill", ["mean", "noise"])
def test_randomness_comes_from_the_draws_alone(fill):
    task, images = Inpainting(Given(), fill=fill), torch.rand(8, 3, 16, 16)
    torch.manual_seed(1)
    state = torch.get_rng_state()
    whole = task.views(batch_of(images), draws())[0].inputs["image"]
    assert torch.equal(torch.get_rng_state(), state)
    halves = [
        task.views(batch_of(images[4 * r : 4 * r + 4]), draws(rank=r, world=2))[0].inputs["image"] for r in (0, 1)
    ]
    assert torch.equal(torch.cat(halves), whole)
    for other in (draws(step=4), draws(seed=1), draws(name="other"), draws(micro=1)):
        assert not torch.equal(task.views(batch_of(images), other)[0].inputs["image"], whole)


def test_noise_is_uniform():
    (view,) = Inpainting(Given(), mask=GridMask(portion=1.0), fill="noise").views(
        batch_of(torch.zeros(8, 3, 32, 32)), draws()
    )
    noise = view.inputs["image"]
    assert noise.mean().item() == pytest.approx(0.5, abs=0.01)
    assert noise.std().item() == pytest.approx(12**-0.5, abs=0.01)


def test_other_modalities_are_left_alone():
    sound = torch.rand(4, 7)
    batch = Batch(inputs={"image": torch.rand(4, 3, 12, 12), "sound": sound}, ids=torch.arange(4))
    (view,) = Inpainting(Given()).views(batch, draws())
    assert view.inputs["sound"] is sound


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, 0.5 + 0.1 * 0.25),
        ({"unmasked": 0.0}, 0.5),
        ({"unmasked": 2.0}, 0.5 + 2 * 0.25),
        ({"loss": "l2"}, 0.25 + 0.1 * 0.0625),
        ({"loss": "charbonnier", "epsilon": 1.0, "unmasked": 0.0}, 1.25**0.5 - 1),
    ],
)
def test_a_case_by_hand(options, expected):
    """The left half is masked and off by a half, the right one by a quarter; two images alike: a sum."""
    target = torch.full((2, 3, 4, 4), 0.25).double()
    prediction = torch.where(halves(), 0.75, 0.5).double().expand(2, 3, 4, 4)
    result = Inpainting(Given(), **options).loss(features_of(prediction), view_of(target, halves(2)), STEP)
    assert result.loss.item() == pytest.approx(2 * expected)
    assert result.loss.dtype == torch.float64
    assert result.metrics["masked_l1"].item() == pytest.approx(0.5)
    assert result.metrics["masked_psnr"].item() == pytest.approx(-10 * math.log10(0.25))
    assert not any(value.requires_grad for value in result.metrics.values())


@pytest.mark.parametrize(("on", "expected"), [("composed", 0.25), ("prediction", 0.375)])
def test_the_perceptual_loss_sees_the_composed_image_or_the_prediction(on, expected):
    target = torch.full((2, 3, 4, 4), 0.25)
    prediction = torch.where(halves(), 0.75, 0.5).expand(2, 3, 4, 4)
    task = Inpainting(
        Given(),
        unmasked=0.0,
        perceptual=PerceptualLoss(lambda inputs: [inputs["image"]], distance="l1"),
        perceptual_weight=3.0,
        perceptual_on=on,
    )
    result = task.loss(features_of(prediction), view_of(target, halves(2)), STEP)
    assert result.loss.item() == pytest.approx(2 * (0.5 + 3 * expected))
    assert result.metrics["perceptual"].item() == pytest.approx(expected)


def test_a_perceptual_loss_of_weight_0_is_not_computed():
    def never(prediction, target):
        raise RuntimeError

    task = Inpainting(Given(), perceptual=never, perceptual_weight=0.0)
    result = task.loss(features_of(torch.rand(1, 3, 4, 4)), view_of(torch.rand(1, 3, 4, 4), halves()), STEP)
    assert "perceptual" not in result.metrics


def perceiving(**options):
    """A task with a frozen network, for maps of 5 channels, 8 times coarser than the image."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU())
    loss = PerceptualLoss(FromImages(network))
    return Inpainting(Decoder(5, 8, width=16), perceptual=loss, **options), network


class FromImages(nn.Module):
    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, inputs):
        return [self.network(inputs["image"])]


def test_gradient_reaches_the_backbone_s_map_and_never_the_frozen_network():
    task, network = perceiving(unmasked=0.0)
    views = task.views(batch_of(torch.rand(4, 3, 24, 24)), draws())
    before = {name: t.clone() for name, t in network.state_dict().items()}
    for part in ("pixels", "perceptual"):
        maps = torch.randn(4, 5, 3, 3, requires_grad=True)
        factor = 1.0 if part == "perceptual" else 0.0
        task.perceptual_weight = 1e6 * factor  # so that the other part of the gradient does not count
        task.loss(features_of(torch.randn(4, 9, 6, 6), maps), views, STEP).loss.backward()
        assert (maps.grad != 0).all()
    assert all(p.grad is None for p in network.parameters())
    assert all(torch.equal(t, before[name]) for name, t in network.state_dict().items())


def test_the_frozen_network_is_no_part_of_the_task_s_state():
    task, network = perceiving()
    assert all(name.startswith("decoder.") for name in task.state_dict())
    mine = {id(p) for p in network.parameters()}
    assert not any(id(p) in mine for p in task.parameters())
    task.train()
    assert not network.training
    task.double()
    assert next(network.parameters()).dtype == torch.float64


def test_rows_without_the_modality_do_not_count():
    task, _ = perceiving()
    task.eval()  # BatchNorm of the decoder mixes rows in training
    images, maps = torch.rand(4, 3, 24, 24), torch.randn(4, 5, 3, 3)
    given = torch.tensor([True, False, True, False])
    views = task.views(batch_of(images, present={"inputs/image": given}), draws())
    assert task.count(views) == 2
    partial = task.loss(features_of(maps), views, STEP)
    two = task.loss(features_of(maps[given]), view_of(images[given], views[0].answers["mask"][given]), STEP)
    torch.testing.assert_close(partial.loss, two.loss)
    torch.testing.assert_close(dict(partial.metrics), dict(two.metrics))
    none = task.views(batch_of(images, present={"inputs/image": torch.zeros(4, dtype=torch.bool)}), draws())
    result = task.loss(features_of(maps.requires_grad_()), none, STEP)
    assert result.loss == 0
    assert result.metrics["masked_psnr"] == 0
    result.loss.backward()
    assert (maps.grad == 0).all()


def test_counts_rows():
    task = Inpainting(Given())
    assert task.count(task.views(batch_of(torch.rand(7, 3, 8, 8)), draws())) == 7


@pytest.mark.parametrize("loss", ["l1", "l2", "charbonnier", "ssim"])
def test_bf16_autocast_loses_only_what_the_layers_lose(loss):
    task, _ = perceiving(loss=loss)
    views = task.views(batch_of(torch.rand(8, 3, 24, 24)), draws())
    features = features_of(torch.randn(8, 5, 3, 3, generator=torch.Generator().manual_seed(1)))
    exact = task.loss(features, views, STEP)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        result = task.loss(features, views, STEP)
    assert result.loss.dtype == torch.float32
    assert result.output["prediction"].dtype == torch.float32
    assert result.loss.item() == pytest.approx(exact.loss.item(), rel=0.01)


def test_double_and_half_precision_of_all_weights():
    task, _ = perceiving()
    views = task.views(batch_of(torch.rand(4, 3, 24, 24)), draws())
    for dtype, expected in ((torch.float64, torch.float64), (torch.bfloat16, torch.float32)):
        task.to(dtype)
        result = task.loss(features_of(torch.randn(4, 5, 3, 3, dtype=dtype)), views, STEP)
        assert result.loss.dtype == expected
        assert result.loss.isfinite()


def test_reads_the_level_it_is_told():
    task = Inpainting(Given(), level=0)
    fine, coarse = torch.rand(2, 3, 4, 4), torch.rand(2, 3, 2, 2)
    result = task.loss(features_of(fine, coarse), view_of(torch.rand(2, 3, 4, 4), halves(2)), STEP)
    assert result.output["prediction"] is fine


@pytest.mark.parametrize("channels", [1, 3])
def test_picture_puts_the_prediction_into_the_hole(channels):
    task, images = Inpainting(Given()), torch.rand(4, channels, 12, 12)
    views = task.views(batch_of(images), draws())
    result = task.loss(features_of(torch.rand(4, channels, 12, 12, requires_grad=True)), views, STEP)
    shown = task.picture(views, result)
    assert {name: tuple(one.shape) for name, one in shown.items()} == dict.fromkeys(
        ("image", "masked", "predicted"), (4, 3, 12, 12)
    )
    mask = views[0].answers["mask"]
    assert not shown["predicted"].requires_grad
    assert torch.equal(shown["image"], images.expand(-1, 3, -1, -1))
    assert torch.equal(shown["masked"][:, :channels], views[0].inputs["image"])
    expected = torch.where(mask, result.output["prediction"], images)
    assert torch.equal(shown["predicted"][:, :channels], expected)


def test_reads_nothing_back_from_the_device():
    """Fake tensors raise on every read of a value by the host."""
    with FakeTensorMode(), torch.device("cuda"):
        task, _ = perceiving(loss="ssim", fill="noise")
        present = {"inputs/image": torch.ones(4, dtype=torch.bool)}
        batch = batch_of(torch.empty(4, 3, 24, 24), present=present)
        views = task.views(batch, draws(device="cuda"))
        assert task.count(views).device.type == "cuda"
        result = task.loss(features_of(torch.empty(4, 5, 3, 3)), views, STEP)
        shown = task.picture(views, result)
    assert {t.device.type for t in (result.loss, *result.metrics.values(), *shown.values())} == {"cuda"}


def test_can_be_learned():
    """Images of one colour with a hole: the colour can be told from the part that is left."""
    torch.manual_seed(0)
    task = Inpainting(Decoder(3, 8, width=16), fill="zero")
    optimizer = torch.optim.Adam(task.parameters(), lr=0.02)
    for step in range(80):
        images = torch.rand(32, 3, 1, 1, generator=torch.Generator().manual_seed(step)).expand(-1, -1, 16, 16)
        views = task.views(batch_of(images.contiguous()), draws(step=step))
        kept = ~views[0].answers["mask"]
        colour = (views[0].inputs["image"] * kept).sum((2, 3)) / kept.sum((2, 3))
        result = task.loss(features_of(colour.view(32, 3, 1, 1).expand(-1, -1, 2, 2)), views, STEP)
        optimizer.zero_grad()
        (result.loss / 32).backward()
        optimizer.step()
    assert result.metrics["masked_l1"] < 0.1  # the best guess without looking, a half, is off by a quarter


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"fill": "median"}, r"`fill` should be one of \('mean', 'zero', 'noise'\), found 'median'"),
        ({"loss": "l3"}, "`loss`.*'l3'"),
        ({"perceptual_on": "mask"}, "`perceptual_on`.*'mask'"),
    ],
)
def test_says_what_is_wrong(options, message):
    with pytest.raises(ValueError, match=message):
        Inpainting(Given(), **options)


def test_a_decoder_has_sizes():
    with pytest.raises(ValueError, match=r"positive.*'channels': 0"):
        Decoder(0, 32)
