"""Images and motions: both against kornia, and the motion against where a blob really goes."""

import attrs
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from kornia.geometry.transform import warp_affine

from auxlearn.learning import Draws
from auxlearn_kornia import Level, LevelParams, NoneParams, SimCLR, SimCLRParams, StrongParams, WeakParams
from auxlearn_kornia.geometry import Window, _grid, resample

STILL = {"contrast": 0.0, "brightness": 0.0, "noise": 0.0, "blur": 0.0, "cutout": 0.0}
PLAIN = {"jitter": 0.0, "grayscale": 0.0, "blur": 0.0}


def draws(step=0, **changes):
    return Draws(**{"seed": 0, "name": "augment", "step": step, **changes})


def geometric(kind, size):
    """The augmentation `kind` with its geometry only."""
    if kind == "simclr":
        return SimCLR(attrs.evolve(SimCLRParams(), **PLAIN), size=size)
    params = {"none": NoneParams, "weak": WeakParams, "strong": StrongParams, "turned": LevelParams}[kind]()
    extra = {"rotation": 180.0, "flip": 0.5, "crop_min": 0.3} if kind == "turned" else {}
    return Level(attrs.evolve(params, **STILL, **extra), size=size)


KINDS = st.sampled_from(["none", "weak", "strong", "turned", "simclr"])


def blob(centres, height, width, spread):
    """Images with a round blob at each centre (x, y)."""
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    squares = (x - centres[:, 0].view(-1, 1, 1)) ** 2 + (y - centres[:, 1].view(-1, 1, 1)) ** 2
    return (-squares / (2 * spread**2)).exp().unsqueeze(1).expand(-1, 3, -1, -1).contiguous()


@given(KINDS, st.integers(40, 90), st.integers(40, 90), st.sampled_from([32, 48, 64]), st.integers(0, 999))
@settings(deadline=None, max_examples=40)
def test_the_motion_says_where_a_blob_goes(kind, height, width, size, step):
    generator = torch.Generator().manual_seed(step)
    centres = torch.rand(16, 2, generator=generator) * torch.tensor([width - 1.0, height - 1.0])
    images, motion = geometric(kind, size)({"image": blob(centres, height, width, 2.0)}, draws(step))
    expected = (motion.matrix @ torch.cat([centres, torch.ones(16, 1)], 1).unsqueeze(2)).squeeze(2)
    grow = motion.matrix[:, :, :2].norm(dim=1).amax(1)  # so that the whole blob is in the picture, on both sides
    margin = 7 * grow.unsqueeze(1)
    edge = torch.tensor([width, height]) - 1
    inside = ((expected > margin) & (expected < size - 1 - margin) & (centres > 7) & (centres < edge - 7)).all(1)
    weights = images["image"][:, 0]
    places = torch.arange(size, dtype=torch.float32)
    total = weights.sum((1, 2)).clamp(min=1e-6)
    found = torch.stack([(weights.sum(1) * places).sum(1) / total, (weights.sum(2) * places).sum(1) / total], 1)
    torch.testing.assert_close(found[inside], expected[inside], atol=0.1, rtol=0)


def test_the_blob_test_sees_blobs():
    """The property above would be empty if no blob were ever inside."""
    centres = torch.full((16, 2), 31.5)
    images, motion = geometric("strong", 64)({"image": blob(centres, 64, 64, 2.0)}, draws())
    middle = (motion.matrix @ torch.tensor([31.5, 31.5, 1.0])).round(decimals=3)
    assert torch.equal(middle, torch.full((16, 2), 31.5))
    assert (images["image"][:, :, 31:33, 31:33] > 0.8).all()


@given(KINDS, st.integers(20, 60), st.integers(20, 60), st.sampled_from([16, 32, 48]), st.integers(0, 999))
@settings(deadline=None, max_examples=40)
def test_equals_kornia_s_warp_by_the_motion(kind, height, width, size, step):
    size = max(size, (min(height, width) + 1) // 2)  # from twice the result's size on, images are shrunk first
    images = torch.rand(4, 3, height, width, generator=torch.Generator().manual_seed(step))
    result, motion = geometric(kind, size)({"image": images}, draws(step))
    expected = warp_affine(images, motion.matrix, (size, size), align_corners=True)
    torch.testing.assert_close(result["image"], expected, atol=2e-3, rtol=0)


@pytest.mark.parametrize("padding", ["zeros", "border", "reflection"])
def test_beyond_the_edge(padding):
    level = Level(LevelParams(rotation=180.0, padding=padding), size=32)
    result = level({"image": torch.ones(8, 3, 32, 32)}, draws())[0]["image"]
    corners = result[:, 0, 0, 0]
    assert (corners < 0.5).any() if padding == "zeros" else (result > 0.999).all()


def test_shrinks_large_images_with_antialiasing():
    """A checkerboard of single pixels turns grey; without a filter it would alias."""
    board = (torch.arange(256).view(-1, 1) + torch.arange(256)).remainder(2).float().expand(2, 3, 256, 256)
    result, motion = Level(LevelParams(), size=32)({"image": board}, draws())
    torch.testing.assert_close(result["image"], torch.full((2, 3, 32, 32), 0.5), atol=0.02, rtol=0)
    assert motion.matrix[0, 0, 0] == 32 / 256


@given(st.integers(200, 400), st.integers(200, 400), st.integers(0, 99))
@settings(deadline=None, max_examples=10)
def test_the_motion_holds_for_large_images(height, width, step):
    centres = torch.tensor([[width / 2 + 9, height / 2 - 14]]).expand(8, 2)
    images, motion = geometric("weak", 48)({"image": blob(centres, height, width, 8.0)}, draws(step))
    expected = (motion.matrix @ torch.cat([centres, torch.ones(8, 1)], 1).unsqueeze(2)).squeeze(2)
    weights, places = images["image"][:, 0], torch.arange(48.0)
    found = torch.stack([weights.sum(1) @ places, weights.sum(2) @ places], 1) / weights.sum((1, 2)).view(-1, 1)
    torch.testing.assert_close(found, expected, atol=0.1, rtol=0)


def test_nothing_to_do_changes_nothing():
    images = torch.randint(256, (4, 3, 32, 32), dtype=torch.uint8)
    result, motion = Level(LevelParams(), size=32)({"image": images}, draws())
    torch.testing.assert_close(result["image"], images / 255, atol=1e-5, rtol=0)
    torch.testing.assert_close(motion.matrix, torch.eye(2, 3).expand(4, 2, 3))


def test_mirroring():
    images = torch.rand(4, 3, 32, 32)
    result, motion = Level(LevelParams(flip=1.0), size=32)({"image": images}, draws())
    torch.testing.assert_close(result["image"], images.flip(3), atol=1e-4, rtol=0)
    assert motion.matrix[0].tolist() == [[-1, 0, 31], [0, 1, 0]]


def test_a_quarter_turn_has_the_sign_of_the_motion():
    window = Window(
        width=torch.tensor([8.0]),
        height=torch.tensor([8.0]),
        x=torch.zeros(1),
        y=torch.zeros(1),
        angle=torch.tensor([torch.pi / 2]),
        mirror=torch.ones(1),
        source=(8, 8),
        size=8,
    )
    images = torch.rand(1, 3, 8, 8)
    torch.testing.assert_close(resample(images, window), images.rot90(1, (2, 3)), atol=1e-5, rtol=0)
    torch.testing.assert_close(
        window.motion().matrix @ torch.tensor([7.0, 0.0, 1.0]), torch.zeros(1, 2), atol=1e-5, rtol=0
    )


def test_grid_is_torch_s():
    maps = torch.rand(3, 2, 3)
    torch.testing.assert_close(_grid(maps, 7), F.affine_grid(maps, [3, 1, 7, 7], align_corners=False))


def crops(result):
    """Side of the crops as part of the image (64 to 64 px), and their angles in degrees."""
    linear = result.matrix[:, :, :2]
    return 1 / linear[:, :, 0].norm(dim=1), torch.rad2deg(torch.atan2(linear[:, 0, 1], linear[:, 1, 1]))


@pytest.mark.parametrize(
    ("params", "degrees", "low", "high", "flips"),
    [(NoneParams(), 0, 0.69, 0.69, 0.5), (WeakParams(), 15, 0.69, 0.99, 0), (StrongParams(), 20, 0.69, 0.99, 0)],
)
def test_magnitudes_of_the_levels(params, degrees, low, high, flips):
    params = attrs.evolve(params, **STILL)
    _, motion = Level(params, size=64)({"image": torch.zeros(2000, 1, 64, 64, dtype=torch.uint8)}, draws())
    side, angle = crops(motion)
    mirrored = motion.matrix[:, :, :2].det() < 0
    assert abs(mirrored.float().mean() - flips) < 0.04
    assert angle.abs().max() <= degrees + 1e-3
    assert angle.abs().max() >= 0.98 * degrees
    assert angle.std().item() == pytest.approx(degrees / 3**0.5, rel=0.05, abs=1e-3)
    assert side.min().item() == pytest.approx(low, abs=0.005)
    assert side.max().item() == pytest.approx(high, abs=0.005)
    assert side.mean().item() == pytest.approx((low + high) / 2, abs=0.01)
    centre = motion.matrix @ torch.tensor([31.5, 31.5, 1.0])
    torch.testing.assert_close(centre, torch.full((2000, 2), 31.5), atol=1e-3, rtol=0)


def rectangles(motion, size):
    """Width and height of axis-parallel crops in source pixels, and their left and upper edges."""
    width, height = size / motion.matrix[:, 0, 0].abs(), size / motion.matrix[:, 1, 1]
    centre = ((size - 1) / 2 - motion.matrix[:, :, 2]) / torch.stack(
        [motion.matrix[:, 0, 0], motion.matrix[:, 1, 1]], 1
    )
    return width, height, centre[:, 0] + 0.5 - width / 2, centre[:, 1] + 0.5 - height / 2


@pytest.mark.parametrize(("height", "width"), [(64, 64), (40, 80)])
def test_random_resized_crops(height, width):
    _, motion = geometric("simclr", 32)({"image": torch.zeros(4000, 1, height, width, dtype=torch.uint8)}, draws())
    wide, high, left, top = rectangles(motion, 32)
    area, ratio = wide * high / (height * width), wide / high
    assert 0.0799 < area.min() < 0.09
    assert area.max() <= 1.001
    assert 0.749 < ratio.min() < 0.76
    assert 1.31 < ratio.max() < 1.334
    assert torch.stack([left, top]).min() > -1e-2
    assert (left + wide).max() < width + 1e-2
    assert (top + high).max() < height + 1e-2
    assert abs((motion.matrix[:, 0, 0] < 0).float().mean() - 0.5) < 0.03
    small = area < 0.2  # small crops fit everywhere: their places are uniform
    place = left[small] / (width - wide[small])
    assert place.std().item() == pytest.approx(12**-0.5, rel=0.08)


def test_a_crop_that_never_fits_is_the_largest_central_one():
    params = attrs.evolve(SimCLRParams(), **PLAIN, scale_min=1.0, ratio=1.0)
    _, motion = SimCLR(params, size=32)({"image": torch.zeros(4, 1, 30, 90, dtype=torch.uint8)}, draws())
    for found, expected in zip(rectangles(motion, 32), (30.0, 30.0, 30.0, 0.0), strict=True):
        torch.testing.assert_close(found, torch.full((4,), expected), atol=1e-3, rtol=1e-4)
