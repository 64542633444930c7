"""`Motion`, `Preprocess` and `Identity`: what happens to pixels, and where it says they went."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from auxlearn.data import InputShape
from auxlearn.learning import BuildContext, Draws, Motion, Preprocess, scale_pixels
from auxlearn.learning.identity import Identity

MATRICES = arrays(np.float64, (2, 2, 3), elements=st.floats(-3, 3)).map(lambda a: Motion(torch.from_numpy(a)))
POINTS = arrays(np.float64, (2, 2), elements=st.floats(-50, 50)).map(torch.from_numpy)


def moved(motion, points):
    """Return points [N, 2] after `motion`, by its definition."""
    homogeneous = torch.cat([points, torch.ones(len(points), 1, dtype=points.dtype)], 1)
    return (motion.matrix.to(points.dtype) @ homogeneous.unsqueeze(2)).squeeze(2)


@given(MATRICES, MATRICES, POINTS)
def test_then_moves_points_one_after_the_other(first, second, points):
    torch.testing.assert_close(moved(first.then(second), points), moved(second, moved(first, points)))


@given(MATRICES, MATRICES, MATRICES)
def test_then_is_associative_and_still_is_its_unit(a, b, c):
    torch.testing.assert_close(a.then(b).then(c).matrix, a.then(b.then(c)).matrix)
    still = Motion(Motion.still(2).matrix.double())
    torch.testing.assert_close(a.then(still).matrix, a.matrix)
    torch.testing.assert_close(still.then(a).matrix, a.matrix)


@given(MATRICES, MATRICES)
def test_taking_rows_commutes_with_composition(a, b):
    rows = torch.tensor([1, 0, 1])
    assert torch.equal(a.then(b).take(rows).matrix, a.take(rows).then(b.take(rows)).matrix)


def centre_of_light(image):
    """Return x and y of the centre of mass of an image [H, W], pixel centres at whole numbers."""
    mass = image.sum()
    ys, xs = torch.arange(image.shape[0]), torch.arange(image.shape[1])
    return torch.stack([(image.sum(0) * xs).sum() / mass, (image.sum(1) * ys).sum() / mass])


@pytest.mark.parametrize(
    ("height", "width", "size", "crop"),
    [(16, 16, None, 1.0), (16, 16, 8, 1.0), (16, 24, 8, 1.0), (24, 16, 32, 1.0), (20, 20, 8, 0.8), (16, 24, None, 0.5),
     (12, 8, 8, 1.0), (8, 12, 8, 1.0)],
)  # fmt: skip
def test_motion_of_preprocessing_says_where_a_spot_went(height, width, size, crop):
    spot = torch.tensor([width / 2 - 1.5, height / 2 + 0.5])
    ys, xs = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    image = torch.exp(-((xs - spot[0]) ** 2 + (ys - spot[1]) ** 2) / 2).expand(1, 3, height, width)
    preprocess = Preprocess(size=size, crop=crop)
    result = preprocess({"image": image})["image"]
    found = centre_of_light(result[0, 0])
    said = moved(preprocess.motion(image), spot.unsqueeze(0))[0]
    torch.testing.assert_close(said, found, atol=0.15, rtol=0)
    inputs, motion = Identity(preprocess)({"image": image}, Draws(seed=0, name="augment", step=0))
    assert torch.equal(inputs["image"], result)
    assert torch.equal(motion.matrix, preprocess.motion(image).matrix)


def test_preprocess_values():
    ramp = torch.arange(16, dtype=torch.uint8).view(1, 1, 4, 4).expand(2, 3, 4, 4)
    half = Preprocess(size=2)({"image": ramp})["image"]
    reference = F.interpolate(ramp.float() / 255, size=(2, 2), mode="bilinear", antialias=True)
    torch.testing.assert_close(half, reference)
    middle = Preprocess(crop=0.5)({"image": ramp})["image"]
    assert torch.equal(middle[0, 0], torch.tensor([[5.0, 6.0], [9.0, 10.0]]) / 255)
    wide = torch.arange(24, dtype=torch.uint8).view(1, 1, 4, 6)
    assert torch.equal(Preprocess(size=4)({"image": wide})["image"], wide[..., 1:5].float() / 255)
    assert Preprocess()({"image": wide})["image"].shape == wide.shape


def test_preprocess_leaves_other_modalities_alone():
    audio = torch.rand(2, 5)
    result = Preprocess(size=4)({"audio": audio, "image": torch.zeros(2, 3, 8, 8, dtype=torch.uint8)})
    assert result["audio"] is audio
    assert result["image"].shape == (2, 3, 4, 4)


def test_pixels_are_scaled_once():
    pixels = torch.tensor([[0, 51, 255]], dtype=torch.uint8)
    torch.testing.assert_close(scale_pixels(pixels), torch.tensor([[0, 0.2, 1]]))
    assert scale_pixels(scale_pixels(pixels)).equal(scale_pixels(pixels))
    assert pixels.tolist() == [[0, 51, 255]]


@pytest.mark.parametrize("crop", [0.0, -0.1, 1.1])
def test_preprocess_refuses_an_impossible_crop(crop):
    with pytest.raises(ValueError, match=f"above 0 and at most 1, found {crop}"):
        Preprocess(crop=crop)


def test_identity_without_images_changes_nothing():
    context = BuildContext(inputs={"audio": InputShape(kind="feature", shape=(5,), dtype="float32")}, size=None)
    inputs = {"audio": torch.rand(3, 5)}
    result, motion = Identity.build(context)(inputs, Draws(seed=0, name="augment", step=0))
    assert result["audio"] is inputs["audio"]
    assert torch.equal(motion.matrix, Motion.still(3).matrix)
