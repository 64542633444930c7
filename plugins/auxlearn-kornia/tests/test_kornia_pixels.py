"""Colours, blur, noise and cutout: against kornia's operations, against loops, and their magnitudes."""

import kornia.enhance as E
import pytest
import torch
from kornia.color import rgb_to_grayscale
from kornia.filters import gaussian_blur2d, get_gaussian_kernel1d

from auxlearn.learning import Draws
from auxlearn_kornia import Level, LevelParams, SimCLR, SimCLRParams, StrongParams, WeakParams
from auxlearn_kornia.pixels import blur, colour_basis, cutout, recolour

NEUTRAL = {"brightness": 1.0, "contrast": 1.0, "saturation": 1.0, "hue": 0.0}


def draws(step=0):
    return Draws(seed=0, name="augment", step=step)


def images(rows=6, side=12):
    return torch.rand(rows, 3, side, side, generator=torch.Generator().manual_seed(0)) * 0.2 + 0.4


def recoloured(given, **factors):
    return recolour(
        given, colour_basis(), **{k: torch.as_tensor(v).expand(len(given)) for k, v in {**NEUTRAL, **factors}.items()}
    )


def assert_near(found, expected, atol=1e-5):
    torch.testing.assert_close(found, expected, atol=atol, rtol=0)


FACTORS = torch.tensor([0.5, 0.8, 1.0, 1.2, 1.5, 0.0])


def test_brightness_is_kornia_s():
    assert_near(recoloured(images(), brightness=FACTORS), E.adjust_brightness_accumulative(images(), FACTORS))


def test_contrast_is_kornia_s():
    assert_near(
        recoloured(images(), contrast=FACTORS), E.adjust_contrast_with_mean_subtraction(images(), FACTORS), 1e-4
    )


def test_saturation_is_kornia_s():
    assert_near(
        recoloured(images(), saturation=FACTORS), E.adjust_saturation_with_gray_subtraction(images(), FACTORS), 1e-4
    )


def test_greyscale_is_kornia_s():
    assert_near(recoloured(images(), saturation=0.0, hue=0.1), rgb_to_grayscale(images()).expand(-1, 3, -1, -1), 1e-4)


def test_all_together_are_kornia_s_one_after_the_other():
    one = E.adjust_brightness_accumulative(images(), FACTORS[:5].repeat(2)[:6])
    two = E.adjust_contrast_with_mean_subtraction(one, FACTORS.flip(0) * 0.5 + 0.5)
    three = E.adjust_saturation_with_gray_subtraction(two, FACTORS)
    found = recoloured(
        images(), brightness=FACTORS[:5].repeat(2)[:6], contrast=FACTORS.flip(0) * 0.5 + 0.5, saturation=FACTORS
    )
    assert_near(found, three, 1e-4)


def test_hue_turns_like_hsv_but_keeps_the_luma():
    given = images()
    turned = recoloured(given, hue=0.05)
    luma = colour_basis()[0, :3].view(1, 3, 1, 1)
    assert_near((turned * luma).sum(1), (given * luma).sum(1))
    there, expected = turned - given, E.adjust_hue(given, torch.tensor(0.05 * 2 * torch.pi)) - given
    expected = expected - (expected * luma).sum(1, keepdim=True)  # HSV does not keep it
    assert torch.nn.functional.cosine_similarity(there.flatten(), expected.flatten(), 0) > 0.8


def test_hue_is_a_circle():
    given = images()
    assert_near(recoloured(recoloured(given, hue=0.3), hue=-0.3), given)
    assert_near(recoloured(given, hue=1.0), given)
    grey = given[:, :1].expand(-1, 3, -1, -1)
    assert_near(recoloured(grey, hue=0.2), grey, 1e-4)


def test_neutral_changes_nothing_and_the_result_is_clamped():
    assert_near(recoloured(images()), images())
    assert recoloured(images(), brightness=9.0).max() == 1


def test_one_channel_has_brightness_and_contrast():
    grey = images()[:, :1]
    found = recoloured(grey, brightness=1.5, contrast=0.5, saturation=0.0, hue=0.2)
    mean = 1.5 * grey.mean((1, 2, 3), keepdim=True)
    assert_near(found, (0.5 * (1.5 * grey - mean) + mean).clamp(0, 1))


@pytest.mark.parametrize("taps", [3, 7, 9])
def test_blur_is_kornia_s(taps):
    sigma = torch.tensor([0.1, 0.5, 1.0, 1.5, 2.0, 3.0])
    found = blur(images(), get_gaussian_kernel1d(taps, sigma.unsqueeze(1)))
    assert_near(found, gaussian_blur2d(images(), taps, sigma.unsqueeze(1).expand(-1, 2)))


def test_cutout_against_a_loop():
    generator = torch.Generator().manual_seed(0)
    x, y = torch.rand(50, generator=generator), torch.rand(50, generator=generator)
    found = cutout(torch.ones(50, 2, 20, 30), x, y, 6)
    for n in range(50):
        left, top = int(x[n] * 30) - 3, int(y[n] * 20) - 3
        expected = torch.ones(2, 20, 30)
        expected[:, max(0, top) : max(0, top + 6), max(0, left) : max(0, left + 6)] = 0
        assert torch.equal(found[n], expected)


def run(params, given):
    return Level(params, size=given.shape[-1])({"image": given}, draws())[0]["image"]


def test_contrast_is_about_the_mean_of_each_channel():
    given = images(1000)
    found = run(LevelParams(contrast=0.4), given)
    mean = given.mean((2, 3), keepdim=True)
    gain = ((found - mean) * (given - mean)).sum((1, 2, 3)) / ((given - mean) ** 2).sum((1, 2, 3))
    assert_near(found, (given - mean) * gain.view(-1, 1, 1, 1) + mean, 1e-4)
    assert 0.5999 < gain.min() < 0.61
    assert 1.39 < gain.max() < 1.4001
    assert gain.mean().item() == pytest.approx(1.0, abs=0.03)


def test_brightness_is_added():
    shift = run(LevelParams(brightness=0.05), images(1000)) - images(1000)
    amount = shift.mean((1, 2, 3))
    assert_near(shift, amount.view(-1, 1, 1, 1).expand_as(shift), 1e-4)
    assert -0.0501 < amount.min() < -0.048
    assert 0.048 < amount.max() < 0.0501


def test_noise_has_a_random_strength():
    found = run(LevelParams(noise=0.05), torch.full((1000, 3, 24, 24), 0.5))
    strength = found.std((1, 2, 3))
    assert strength.max() < 0.052
    assert strength.mean().item() == pytest.approx(0.05 / 4, rel=0.1)  # two uniform factors of mean 1/2
    assert_near(found.mean((0, 2, 3)), torch.full((3,), 0.5), 1e-3)
    between = torch.corrcoef(found[:500].flatten(1)[:, :50].T)
    assert (between - torch.eye(50)).abs().max() < 0.35  # pixels are independent


def test_noise_is_added_to_what_can_be_shown():
    """The code clips before the noise and after it: white that got brighter is noise about white, not above it."""
    white = torch.ones(200, 3, 24, 24)
    found = run(LevelParams(brightness=1.0, noise=0.05), white)
    brighter = found.amin((1, 2, 3)) > 0.7  # others got darker
    assert brighter.sum() > 50
    assert (found[brighter].mean((1, 2, 3)) < 1).all()
    assert found.max() == 1


def test_half_of_the_images_are_blurred():
    given = images(1000)
    found = run(LevelParams(blur=0.5, blur_sigma=1.5), given)
    blurred = gaussian_blur2d(given, 3, (1.5, 1.5))
    same = (found - given).abs().amax((1, 2, 3)) < 1e-4
    assert abs(same.float().mean() - 0.5) < 0.05
    assert_near(found[~same], blurred[~same], 1e-4)


def test_cutout_is_sixty_of_224_pixels():
    params = LevelParams(cutout=StrongParams().cutout)
    black = (run(params, torch.ones(200, 1, 224, 224)) == 0).sum((1, 2, 3))
    assert black.max() == 60 * 60
    assert black.min() < 60 * 45  # some are cut off at the edge
    centre = (run(params, torch.ones(400, 1, 28, 28)) == 0).float().mean((0, 1))
    assert centre[10:18, 10:18].std() < 0.03  # anywhere


def test_the_weak_level_in_one_formula():
    """Contrast first, on the whole image; then the geometry."""
    given, weak = images(4, 32), WeakParams()
    found, motion = Level(weak, size=32)({"image": given}, draws())
    units = dict(zip(Level.names, draws().uniform(4, len(Level.names)).unbind(1), strict=True))
    gain = (0.6 + 0.8 * units["contrast"]).view(-1, 1, 1, 1)
    mean = given.mean((2, 3), keepdim=True)
    only = Level(LevelParams(rotation=15.0, crop_min=0.69, crop_max=0.99), size=32)
    expected, same = only({"image": (given - mean) * gain + mean}, draws())
    assert_near(found["image"], expected["image"])
    assert torch.equal(motion.matrix, same.matrix)


def test_simclr_probabilities_and_magnitudes():
    off = {"scale_min": 1.0, "ratio": 1.0, "flip": 0.0, "blur": 0.0}
    given = images(2000, 8)
    simclr = SimCLR(SimCLRParams(**off, jitter=0.0), size=8)
    found = simclr({"image": given}, draws())[0]["image"]
    grey = (found - found.mean(1, keepdim=True)).abs().amax((1, 2, 3)) < 1e-4
    assert abs(grey.float().mean() - 0.2) < 0.03
    assert_near(found[~grey], given[~grey], 1e-4)
    jittered = SimCLR(SimCLRParams(**off, grayscale=0.0), size=8)({"image": given}, draws())[0]["image"]
    same = (jittered - given).abs().amax((1, 2, 3)) < 1e-4
    assert abs(same.float().mean() - 0.2) < 0.03
    dark = SimCLR(SimCLRParams(**off, grayscale=0.0, jitter=1.0, contrast=0.0, saturation=0.0, hue=0.0), size=8)
    level = dark({"image": given * 0.5}, draws())[0]["image"].mean((1, 2, 3)) / (given * 0.5).mean((1, 2, 3))
    assert 0.2 <= level.min() < 0.22
    assert 1.78 < level.max() <= 1.8001


def test_simclr_blurs_over_a_tenth_of_the_image():
    given = images(400, 32)
    params = {"scale_min": 1.0, "ratio": 1.0, "flip": 0.0, "jitter": 0.0, "grayscale": 0.0}
    fixed = SimCLRParams(**params, blur_sigma_min=1.0, blur_sigma_max=1.0)
    found = SimCLR(fixed, size=32)({"image": given}, draws())[0]["image"]
    same = (found - given).abs().amax((1, 2, 3)) < 1e-4
    assert abs(same.float().mean() - 0.5) < 0.08
    assert_near(found[~same], gaussian_blur2d(given, 3, (1.0, 1.0))[~same], 1e-4)


def test_simclr_s_kernel_ends_where_it_is_almost_zero():
    given = torch.rand(4, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    params = {"scale_min": 1.0, "ratio": 1.0, "flip": 0.0, "jitter": 0.0, "grayscale": 0.0, "blur": 1.0}
    found = SimCLR(SimCLRParams(**params, blur_sigma_min=2.0), size=224)({"image": given}, draws())[0]["image"]
    assert_near(found, gaussian_blur2d(given, 23, (2.0, 2.0)), 2e-3)
