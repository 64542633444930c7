"""Alignment: Umeyama's estimate by its own formula, pixels where they should be, squares by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from auxlearn.data import Region
from auxlearn.data.alignment import STANDARD_FACE, align_face, cut_square, five_points, similarity, square_of

POINT = st.tuples(st.floats(-100, 100), st.floats(-100, 100))


def umeyama(source, target):
    """Equations 40 to 42 of the paper, in two dimensions."""
    source, target = np.array(source), np.array(target)
    off_source, off_target = source - source.mean(0), target - target.mean(0)
    covariance = off_target.T @ off_source / len(source)
    left, singular, right = np.linalg.svd(covariance)
    sign = np.diag([1, np.sign(np.linalg.det(left) * np.linalg.det(right))])
    rotation = left @ sign @ right
    scale = np.trace(np.diag(singular) @ sign) / off_source.var(0).sum()
    return scale * rotation, target.mean(0) - scale * rotation @ source.mean(0)


@pytest.mark.parametrize("seed", range(20))
def test_similarity_is_umeyamas(seed):
    draws = np.random.default_rng(seed)
    source, target = draws.normal(size=(5, 2)) * 30, draws.normal(size=(5, 2)) * 30
    linear, shift = umeyama(source, target)
    turn, move = similarity(source.tolist(), target.tolist())
    np.testing.assert_allclose([[turn.real, -turn.imag], [turn.imag, turn.real]], linear, atol=1e-9)
    np.testing.assert_allclose([move.real, move.imag], shift, atol=1e-9)


@given(st.lists(POINT, min_size=3, max_size=8, unique=True), st.floats(-3, 3), st.floats(0.1, 5), POINT)
def test_a_similarity_is_found_again(points, angle, scale, shift):
    spread = np.ptp(np.array(points), axis=0).max()
    turn = scale * np.exp(1j * angle)
    moved = [turn * complex(*point) + complex(*shift) for point in points]
    if spread < 1e-3:
        return
    found, move = similarity(points, [(z.real, z.imag) for z in moved])
    assert abs(found - turn) < 1e-6 / spread * 100
    assert abs(move - complex(*shift)) < 1e-3


def face(turn=0.0, scale=1.0, shift=(0.0, 0.0)):
    """Return a picture with a dot at each landmark, white to grey in their order, and the landmarks."""
    z = [
        scale * np.exp(1j * turn) * complex(x - 56, y - 72) + complex(200, 160) + complex(*shift)
        for x, y in STANDARD_FACE
    ]
    points = [(w.real, w.imag) for w in z]
    across, down = np.meshgrid(np.arange(400), np.arange(320))
    picture = np.zeros((320, 400))
    for number, (x, y) in enumerate(points):
        picture += (250 - 30 * number) * np.exp(-((across - x) ** 2 + (down - y) ** 2) / (2 * (2 * scale) ** 2))
    grey = np.clip(picture, 0, 255).astype(np.uint8)
    return Image.fromarray(np.stack([grey] * 3, axis=2)), points


def dots(picture, expected, radius):
    """Return the centre of brightness round each expected place."""
    grey = np.asarray(picture)[:, :, 0].astype(float)
    found = []
    for x, y in expected:
        rows = np.arange(max(0, round(y) - radius), round(y) + radius + 1)
        columns = np.arange(max(0, round(x) - radius), round(x) + radius + 1)
        part = grey[np.ix_(rows, columns)]
        found.append(((part.sum(0) * columns).sum() / part.sum(), (part.sum(1) * rows).sum() / part.sum()))
    return np.array(found)


@pytest.mark.parametrize("size", [112, 56, 224])
@pytest.mark.parametrize(("turn", "scale"), [(0.0, 1.0), (0.4, 1.7), (-0.6, 0.8)])
def test_aligned_landmarks_stand_at_the_template(size, turn, scale):
    picture, points = face(turn, scale)
    aligned = align_face(picture, points, size)
    assert aligned.size == (size, size)
    wanted = (np.array(STANDARD_FACE) + 0.5) * size / 112 - 0.5
    np.testing.assert_allclose(dots(aligned, wanted, round(7 * size / 112)), wanted, atol=0.15)


def test_an_aligned_face_stays_as_it_is():
    random = np.random.default_rng(0).integers(0, 256, (112, 112, 3), dtype=np.uint8)
    aligned = np.asarray(align_face(Image.fromarray(random), STANDARD_FACE, 112))
    assert np.abs(aligned.astype(int) - random).max() <= 1


def test_beyond_the_picture_is_black():
    picture = Image.new("RGB", (30, 30), "white")
    aligned = np.asarray(align_face(picture, [(x - 60, y) for x, y in STANDARD_FACE], 112))
    assert not aligned[:, :55].any()


def test_five_of_sixty_eight():
    landmarks = [(float(number), 2.0 * number) for number in range(68)]
    assert five_points(landmarks) == [(38.5, 77.0), (44.5, 89.0), (30.0, 60.0), (48.0, 96.0), (54.0, 108.0)]
    with pytest.raises(ValueError, match="has 7 landmarks"):
        five_points(landmarks[:7])
    with pytest.raises(ValueError, match="all at one place"):
        similarity([(1.0, 1.0)] * 5, STANDARD_FACE)


def test_squares_by_hand():
    assert square_of(Region(box=(10, 20, 30, 30)), "box", 0) == (10, 15, 30, 35)
    assert square_of(Region(landmarks=((0, 0), (8, 4))), "landmarks", 0.5) == (-4, -6, 12, 10)
    for region, what in ((Region(), "box"), (Region(), "landmarks"), (Region(box=(5, 5, 5, 9)), "box")):
        with pytest.raises(ValueError, match=f"{what}"):
            square_of(region, what, 0)


def test_cut():
    picture = Image.fromarray(np.arange(48, dtype=np.uint8).reshape(4, 4, 3))
    cut = np.asarray(cut_square(picture, (-1, 2, 3, 6), 100))
    np.testing.assert_array_equal(cut[:2, 1:], np.asarray(picture)[2:, :3])
    assert not cut[2:].any()
    assert not cut[:, 0].any()
    with pytest.raises(ValueError, match="outside of its 4 x 4 pixels"):
        cut_square(picture, (4, 0, 8, 4), 100)
    with pytest.raises(ValueError, match="more than the limit of 100"):
        cut_square(picture, (0, 0, 20, 20), 100)
