"""Losses on pixels and perceptual losses, against the formulas of their papers and independent implementations."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from auxlearn.learning import Feature, Features
from auxlearn_inpainting import LpipsLoss, PerceptualLoss, pixel_loss
from auxlearn_inpainting.losses import masked_mean
from auxlearn_inpainting.perceptual import FrozenNetwork


def images(*shape, seed=0, dtype=torch.float64):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def by_formula(kind, difference, epsilon):
    each = {
        "l1": abs(difference),
        "l2": difference**2,
        "charbonnier": (difference**2 + epsilon**2) ** 0.5 - epsilon,
    }
    return each[kind]


@pytest.mark.parametrize("kind", ["l1", "l2", "charbonnier"])
@pytest.mark.parametrize("epsilon", [1e-3, 0.2])
def test_pixel_losses_follow_their_formulas(kind, epsilon):
    prediction, target = images(2, 3, 3, 4), images(2, 3, 3, 4, seed=1)
    found = pixel_loss(prediction, target, kind, epsilon=epsilon)
    assert found.shape == (2, 1, 3, 4)
    for row in range(2):
        for y in range(3):
            for x in range(4):
                apart = [(prediction[row, c, y, x] - target[row, c, y, x]).item() for c in range(3)]
                expected = sum(by_formula(kind, one, epsilon) for one in apart) / 3
                assert found[row, 0, y, x].item() == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(
    ("kind", "value"), [("l1", 0.3), ("l2", 0.09), ("charbonnier", (0.09 + 0.16) ** 0.5 - 0.4), ("ssim", None)]
)
def test_a_case_by_hand(kind, value):
    """Flat images of .8 and .5: all windows agree, so SSIM is its luminance term."""
    if value is None:
        value = (1 - (2 * 0.8 * 0.5 + 1e-4) / (0.64 + 0.25 + 1e-4)) / 2
    prediction, target = torch.full((1, 2, 12, 12), 0.8).double(), torch.full((1, 2, 12, 12), 0.5).double()
    found = pixel_loss(prediction, target, kind, epsilon=0.4)
    torch.testing.assert_close(found, torch.full((1, 1, 12, 12), value).double(), rtol=1e-6, atol=1e-9)


def test_ssim_is_that_of_the_paper():
    """Wang et al. 2004, equation 13, for the centre of an image of 11 x 11 pixels, with numbers instead of filters."""
    x, y = images(1, 1, 11, 11), images(1, 1, 11, 11, seed=1)
    place = torch.arange(11).double() - 5
    gauss = torch.exp(-place.square() / (2 * 1.5**2))
    weights = torch.outer(gauss, gauss)
    weights = weights / weights.sum()
    mx, my = (weights * x[0, 0]).sum(), (weights * y[0, 0]).sum()
    vx, vy = (weights * (x[0, 0] - mx) ** 2).sum(), (weights * (y[0, 0] - my) ** 2).sum()
    cov = (weights * (x[0, 0] - mx) * (y[0, 0] - my)).sum()
    ssim = (2 * mx * my + 1e-4) * (2 * cov + 9e-4) / ((mx**2 + my**2 + 1e-4) * (vx + vy + 9e-4))
    assert pixel_loss(x, y, "ssim")[0, 0, 5, 5].item() == pytest.approx(((1 - ssim) / 2).item(), rel=1e-6)


@pytest.mark.parametrize("kind", ["l1", "l2", "charbonnier", "ssim"])
def test_equal_images_lose_nothing_and_gradients_are_finite(kind):
    target = images(1, 3, 12, 12)
    prediction = target.clone().requires_grad_()
    loss = pixel_loss(prediction, target, kind).sum()
    loss.backward()
    assert loss.item() == pytest.approx(0, abs=1e-6)
    assert prediction.grad.isfinite().all()


@pytest.mark.parametrize("kind", ["l1", "l2", "charbonnier", "ssim"])
def test_pixel_losses_keep_their_digits_in_bf16(kind):
    prediction, target = images(2, 3, 16, 16, dtype=torch.bfloat16), images(2, 3, 16, 16, seed=1, dtype=torch.float32)
    found = pixel_loss(prediction, target, kind)
    exact = pixel_loss(prediction.double(), target.double(), kind)
    assert (found.dtype, exact.dtype) == (torch.float32, torch.float64)
    torch.testing.assert_close(found.double(), exact, rtol=1e-4, atol=1e-5)


def test_masked_mean_is_that_of_the_chosen_pixels():
    loss, mask = images(5, 1, 6, 7), images(5, 1, 6, 7, seed=1) > 0.6
    mask[4] = False
    found = masked_mean(loss, mask)
    for row in range(4):
        assert found[row].item() == pytest.approx(loss[row][mask[row]].mean().item())
    assert found[4] == 0


class Pyramid(nn.Module):
    """Two feature maps, with dropout and BatchNorm that would betray training mode."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.fine = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.Dropout(0.5))
        self.coarse = nn.Conv2d(4, 6, 2, stride=2)

    def forward(self, inputs):
        fine = self.fine(inputs["image"])
        coarse = self.coarse(fine)
        return Features({"image": Feature(pooled=coarse.mean((2, 3)), maps=(fine, coarse))})


def expected_distance(kind, a, b):
    """The formulas with loops over places."""
    terms = []
    for y in range(a.shape[1]):
        for x in range(a.shape[2]):
            u, v = a[:, y, x], b[:, y, x]
            if kind == "unit":
                terms.append((u / u.norm() - v / v.norm()).square().sum())
            else:
                terms.append((u - v).abs().mean() if kind == "l1" else (u - v).square().mean())
    return torch.stack(terms).mean().item()


@pytest.mark.parametrize("kind", ["unit", "l1", "l2"])
@pytest.mark.parametrize("levels", [None, (0,), (-1,), (-1, 0)])
def test_perceptual_loss_follows_its_formula(kind, levels):
    network = Pyramid().double()
    prediction, target = images(2, 3, 6, 6), images(2, 3, 6, 6, seed=1)
    found = PerceptualLoss(network, levels=levels, distance=kind)(prediction, target)
    maps = [network({"image": one})["image"].maps for one in (prediction, target)]
    for row in range(2):
        expected = sum(expected_distance(kind, maps[0][i][row], maps[1][i][row]) for i in levels or (0, 1))
        assert found[row].item() == pytest.approx(expected, rel=1e-6)


def test_perceptual_loss_is_the_baseline_of_the_lpips_package():
    """`lpips.LPIPS(lpips=False)` is equation 1 of the paper without learned weights; SqueezeNet has seven levels."""
    lpips = pytest.importorskip("lpips")
    torch.manual_seed(0)
    with pytest.warns(UserWarning, match="weights"):  # torchvision, about how lpips calls it
        reference = lpips.LPIPS(net="squeeze", lpips=False, pnet_rand=True, verbose=False).double()
    prediction, target = images(2, 3, 40, 40), images(2, 3, 40, 40, seed=1)
    scaled = reference.scaling_layer

    def network(inputs):
        return list(reference.net(scaled(inputs["image"] * 2 - 1)))

    found = PerceptualLoss(network)(prediction, target)
    torch.testing.assert_close(found, reference(prediction * 2 - 1, target * 2 - 1).flatten(), rtol=1e-6, atol=1e-9)
    torch.testing.assert_close(LpipsLoss(reference)(prediction, target), found, rtol=1e-6, atol=1e-9)


def test_only_the_prediction_gets_a_gradient():
    network = Pyramid()
    loss = PerceptualLoss(network)
    prediction, target = (images(2, 3, 6, 6, seed=s, dtype=torch.float32).requires_grad_() for s in (0, 1))
    loss(prediction, target).sum().backward()
    assert prediction.grad.abs().sum() > 0
    assert target.grad is None
    assert all(p.grad is None and not p.requires_grad for p in network.parameters())


@pytest.mark.parametrize("kind", ["unit", "l1", "l2"])
def test_gradient_is_that_of_the_distance(kind):
    loss = PerceptualLoss(Pyramid().double(), distance=kind)
    prediction, target = images(1, 3, 4, 4).requires_grad_(), images(1, 3, 4, 4, seed=1)
    assert torch.autograd.gradcheck(lambda p: loss(p, target), (prediction,))


def test_unit_vectors_of_nothing_have_a_gradient():
    zeros = torch.zeros(1, 3, 4, 4, requires_grad=True)
    loss = PerceptualLoss(lambda inputs: [inputs["image"].relu()])(zeros, torch.rand(1, 3, 4, 4))
    loss.sum().backward()
    assert zeros.grad.isfinite().all()
    assert loss.item() == pytest.approx(1)


@pytest.mark.parametrize("make", [PerceptualLoss, LpipsLoss])
def test_the_network_is_no_part_of_the_module_but_moves_with_it(make):
    network = Pyramid()
    whole = nn.Sequential(make(network))
    assert not whole.state_dict()
    assert not list(whole.parameters())
    assert not list(whole.buffers())
    whole.train()
    assert not any(part.training for part in network.modules())
    whole.double()
    assert {t.dtype for t in network.state_dict().values() if t.is_floating_point()} == {torch.float64}
    whole.to("meta")
    assert {t.device.type for t in network.state_dict().values()} == {"meta"}


def test_a_handle_is_called_as_it_is():
    network = Pyramid()
    handle = FrozenNetwork(network)
    assert not network.training
    loss = PerceptualLoss(handle)
    assert loss.network is handle
    prediction = torch.rand(2, 3, 6, 6)
    assert loss(prediction, prediction).abs().max() < 1e-6


def test_lpips_gets_images_from_minus_one_to_one():
    seen = []

    def network(a, b):
        seen.extend([a, b])
        return (a - b).abs().mean((1, 2, 3)).view(-1, 1, 1, 1).bfloat16()

    found = LpipsLoss(network)(torch.ones(2, 3, 4, 4), torch.full((2, 3, 4, 4), 0.25))
    assert [one.unique().item() for one in seen] == [1.0, -0.5]
    assert found.tolist() == [1.5, 1.5]
    assert found.dtype == torch.float32


def test_autocast_rounds_the_network_and_not_the_distance():
    network = Pyramid()
    loss = PerceptualLoss(network)
    prediction, target = (F.interpolate(images(8, 3, 4, 4, seed=s).float(), size=(16, 16)) for s in (0, 1))
    exact = loss(prediction, target)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = loss(prediction, target)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, exact, rtol=0.03, atol=0)


def test_says_what_is_wrong():
    with pytest.raises(ValueError, match="'unit', 'l1' or 'l2', found 'cosine'"):
        PerceptualLoss(lambda inputs: [inputs["image"]], distance="cosine")
    with pytest.raises(ValueError, match="feature maps, found none"):
        PerceptualLoss(lambda inputs: [])(torch.rand(1, 3, 4, 4), torch.rand(1, 3, 4, 4))
    with pytest.raises(ValueError, match="found 'l3'"):
        pixel_loss(torch.rand(1, 3, 4, 4), torch.rand(1, 3, 4, 4), "l3")
