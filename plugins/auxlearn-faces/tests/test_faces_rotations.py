"""Rotations against scipy, motions against projected points, and the laws that both have."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from auxlearn.learning import Motion
from auxlearn_faces.rotations import (
    angle_difference,
    columns_to_matrix,
    euler_to_matrix,
    geodesic_angle,
    matrix_to_euler,
    move_euler,
    nearest_euler,
)
from auxlearn_synthfaces.generate.geometry import project, rotation

HEADS = st.tuples(st.floats(-75, 75), st.floats(-60, 60), st.floats(-60, 60))
TURNS = st.floats(-180, 180)
SIZES = st.floats(0.2, 4)
MIRRORED = st.booleans()


def head(angles):
    return torch.tensor([angles], dtype=torch.float64)


def similarity(turn, size, mirrored):
    """Return a map of pixels, y down: clockwise by `turn` degrees on the screen, after a flip."""
    cosine, sine = np.cos(np.radians(turn)), np.sin(np.radians(turn))
    linear = size * np.array([[cosine, -sine], [sine, cosine]]) @ np.diag([-1.0 if mirrored else 1.0, 1.0])
    return torch.tensor(linear)[None]


def same(found, wanted, degrees=1e-5):
    return bool(angle_difference(found, wanted).abs().max() < degrees)


def scipys(angles):
    yaw, pitch, roll = angles
    return Rotation.from_euler("ZYX", [roll, yaw, pitch], degrees=True)  # intrinsic: Rz Ry Rx


@given(HEADS)
def test_matrix_is_scipys(angles):
    np.testing.assert_allclose(euler_to_matrix(head(angles))[0], scipys(angles).as_matrix(), atol=1e-12)


@given(HEADS)
def test_round_trip(angles):
    assert same(matrix_to_euler(euler_to_matrix(head(angles))), head(angles))


@given(st.floats(-180, 180), st.floats(-180, 180), st.sampled_from([-90.0, 90.0]))
def test_at_gimbal_lock_the_rotation_is_kept(pitch, roll, yaw):
    matrix = euler_to_matrix(head((yaw, pitch, roll)))
    angles = matrix_to_euler(matrix)
    assert angles[0, 2] == 0
    torch.testing.assert_close(euler_to_matrix(angles), matrix, atol=1e-9, rtol=0)


@given(st.tuples(TURNS, TURNS, TURNS), st.tuples(TURNS, TURNS, TURNS))
def test_of_two_triples_of_one_rotation_the_nearer(angles, reference):
    found = nearest_euler(head(angles), head(reference))
    torch.testing.assert_close(euler_to_matrix(found), euler_to_matrix(head(angles)), atol=1e-9, rtol=0)
    far = angle_difference(found, head(reference)).abs().sum()
    assert far <= angle_difference(head(angles), head(reference)).abs().sum() + 1e-6
    assert found.abs().max() <= 180 + 1e-9


def test_a_head_beyond_ninety_degrees_keeps_its_angles():
    wanted = head((99.0, 10.0, -5.0))
    found = matrix_to_euler(euler_to_matrix(wanted))
    torch.testing.assert_close(found, head((81.0, -170.0, 175.0)))  # the same rotation
    torch.testing.assert_close(nearest_euler(found, wanted), wanted)


YAWS = st.one_of(TURNS, st.sampled_from([-90.0, 90.0]), st.floats(-7, -1).map(lambda power: 90 - 10**power))
PRECISIONS = st.sampled_from([(torch.float32, 0.2), (torch.float64, 1e-3)])


@given(YAWS, TURNS, TURNS, PRECISIONS)
def test_a_perfect_answer_has_the_angles_of_the_label_also_at_gimbal_lock(yaw, pitch, roll, precision):
    dtype, tolerance = precision
    wanted = head((yaw, pitch, roll)).to(dtype)
    assert same(nearest_euler(matrix_to_euler(euler_to_matrix(wanted)), wanted), wanted, tolerance)


@given(YAWS, TURNS, TURNS, PRECISIONS)
def test_a_picture_that_does_not_move_keeps_its_label(yaw, pitch, roll, precision):
    dtype, tolerance = precision
    wanted = head((yaw, pitch, roll)).to(dtype)
    still = Motion.still(1).matrix[:, :, :2].to(dtype)
    assert same(move_euler(wanted, still), wanted, tolerance)


@given(YAWS, TURNS, TURNS)
def test_angles_of_a_matrix_describe_it_also_near_gimbal_lock(yaw, pitch, roll):
    matrix = euler_to_matrix(head((yaw, pitch, roll)).float())
    torch.testing.assert_close(euler_to_matrix(matrix_to_euler(matrix)), matrix, atol=3e-6, rtol=0)


@pytest.mark.parametrize("yaw", [90.0, -90.0])
def test_at_gimbal_lock_roll_is_that_of_the_reference(yaw):
    wanted = head((yaw, 10.0, 20.0))
    found = nearest_euler(matrix_to_euler(euler_to_matrix(wanted)), head((yaw, 0.0, 5.0)))
    torch.testing.assert_close(found, head((yaw, -5.0 if yaw > 0 else 25.0, 5.0)))


@pytest.mark.parametrize(
    ("found", "wanted", "difference"),
    [(179, -179, -2), (-179, 179, 2), (180, 0, 180), (0, 180, 180), (359, 0, -1), (-725, 0, -5), (170, 0, 170)],
)
def test_difference_on_the_circle(found, wanted, difference):
    assert angle_difference(torch.tensor(float(found)), torch.tensor(float(wanted))) == difference


@given(HEADS, st.floats(0.1, 9), st.floats(-5, 5), st.floats(0.1, 9))
def test_columns_of_a_rotation_give_it_back(angles, first, along, second):
    """Whatever the lengths of the two columns, and however much of the first is in the second."""
    matrix = euler_to_matrix(head(angles))
    columns = torch.cat([first * matrix[..., 0], along * matrix[..., 0] + second * matrix[..., 1]], dim=-1)
    torch.testing.assert_close(columns_to_matrix(columns), matrix, atol=1e-9, rtol=0)


def test_columns_make_rotations():
    matrix = columns_to_matrix(torch.randn(500, 6, dtype=torch.float64))
    eye = torch.eye(3, dtype=torch.float64).expand(500, 3, 3)
    torch.testing.assert_close(matrix @ matrix.mT, eye)
    torch.testing.assert_close(torch.linalg.det(matrix), torch.ones(500, dtype=torch.float64))
    assert columns_to_matrix(torch.zeros(1, 6)).isfinite().all()


AXIS = st.tuples(*[st.sampled_from([-1.0, 0.0, 0.5, 1.0])] * 3)


@given(AXIS, st.sampled_from([-3.0, 0.0, 1.0]), HEADS)
def test_columns_without_a_plane_make_a_rotation_too(axis, along, wanted):
    """Parallel columns, or none: what they say of the direction is kept, the rest is arbitrary but no answer at all."""
    first = torch.tensor([axis], dtype=torch.float64)
    columns = torch.cat([first, along * first], dim=1).requires_grad_()
    matrix = columns_to_matrix(columns)
    torch.testing.assert_close(matrix @ matrix.mT, torch.eye(3, dtype=torch.float64)[None])
    assert float(torch.linalg.det(matrix).detach()) == pytest.approx(1)
    if any(axis):
        torch.testing.assert_close(matrix[..., 0], torch.nn.functional.normalize(first, dim=1))
    loss = geodesic_angle(matrix, euler_to_matrix(head(wanted)))
    away = Rotation.from_matrix(matrix[0].detach().numpy()).inv() * scipys(wanted)
    assert float(loss.detach()) == pytest.approx(away.magnitude(), abs=1e-7)
    loss.backward()
    assert columns.grad.isfinite().all()


@given(HEADS, HEADS, HEADS)
def test_geodesic_angle_is_scipys_and_does_not_depend_on_the_frame(one, other, common):
    found = geodesic_angle(euler_to_matrix(head(one)), euler_to_matrix(head(other)))
    assert float(found) == pytest.approx((scipys(one).inv() * scipys(other)).magnitude(), abs=1e-7)
    frame = euler_to_matrix(head(common))
    for left, right in ((frame, torch.eye(3, dtype=torch.float64)), (torch.eye(3, dtype=torch.float64), frame)):
        moved = [left @ euler_to_matrix(head(angles)) @ right for angles in (one, other)]
        assert float(geodesic_angle(*moved)) == pytest.approx(float(found), abs=1e-7)


@pytest.mark.parametrize("away", [1e-3, 1e-2, 1.0, 90.0, 179.0, 179.9])
@pytest.mark.parametrize("autocast", [False, True])
def test_slope_of_the_geodesic_angle_is_one(away, autocast):
    """By a thousandth of a degree from the target, and near a half turn, where the clamped arc cosine has none."""
    angle = torch.tensor(away, requires_grad=True)
    zero = torch.zeros(())
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        found = geodesic_angle(euler_to_matrix(torch.stack([angle, zero, zero])), euler_to_matrix(torch.zeros(3)))
    assert found.dtype == torch.float32
    assert float(found.detach().rad2deg()) == pytest.approx(away, rel=1e-3)
    found.rad2deg().backward()
    assert float(angle.grad) == pytest.approx(1, rel=2e-2)


@pytest.mark.parametrize("away", [0.0, 180.0])
def test_without_a_direction_there_is_no_slope_and_no_nan(away):
    columns = torch.tensor([1.0, 0, 0, 0, 1, 0], requires_grad=True)
    target = torch.tensor([1.0, -1, -1]).diag() if away else torch.eye(3)
    found = geodesic_angle(columns_to_matrix(columns), target)
    found.backward()
    assert float(found.detach().rad2deg()) == away
    assert columns.grad.isfinite().all()


def test_arc_cosine_in_low_precision_has_no_slope_near_the_target():
    """Why the loss has the form it has."""
    columns = torch.tensor([1.0, 0, 0.02, 0, 1, 0], dtype=torch.bfloat16, requires_grad=True)  # a degree away
    cosine = (columns_to_matrix(columns).diagonal().sum() - 1) / 2
    torch.acos(cosine.clamp(-1 + 1e-7, 1 - 1e-7)).backward()
    assert not columns.grad.any()
    precise = columns.detach().float().requires_grad_()
    geodesic_angle(columns_to_matrix(precise), torch.eye(3)).backward()
    assert precise.grad.abs().max() > 0.5


def picture(angles, points):
    """Return where points of a head are in the picture, x right and y down, by the renderer's own pose and camera."""
    turned = points @ rotation(*angles).astype(float).T
    return project(turned, distance=1e4, span=2.0, centre=np.zeros(3))[:, :2].astype(float) - 0.5


@settings(max_examples=60, deadline=None)
@given(HEADS, TURNS, SIZES, MIRRORED)
def test_moved_head_is_where_the_moved_picture_shows_it(angles, turn, size, mirrored):
    points = np.random.default_rng(0).normal(size=(20, 3))
    linear = similarity(turn, size, mirrored)
    moved = move_euler(head(angles), linear)[0].tolist()
    # A picture of the mirrored head: the point on its left is now on its right.
    own = points * [-1, 1, 1] if mirrored else points
    wanted = picture(angles, points) @ linear[0].numpy().T
    np.testing.assert_allclose(size * picture(moved, own), wanted, atol=5e-3 * size)


@given(HEADS)
def test_a_flip_turns_yaw_and_roll_round(angles):
    flip = torch.tensor([[[-1.0, 0.0], [0.0, 1.0]]], dtype=torch.float64)
    yaw, pitch, roll = angles
    assert same(move_euler(head(angles), flip), head((-yaw, pitch, -roll)))
    assert same(move_euler(move_euler(head(angles), flip), flip), head(angles))


def test_a_turn_changes_all_angles_of_a_head_that_looks_aside():
    quarter = similarity(90, 1, mirrored=False)  # clockwise: what was on the left is now above
    torch.testing.assert_close(move_euler(head((30.0, 0, 0)), quarter), head((0.0, 30, 90)), atol=1e-9, rtol=0)
    torch.testing.assert_close(move_euler(head((0.0, 0, 20)), quarter), head((0.0, 0, 110)), atol=1e-9, rtol=0)


@given(HEADS, TURNS, TURNS, SIZES, MIRRORED, MIRRORED)
def test_moving_twice_is_moving_by_both(angles, first, second, size, flipped, again):
    motions = [
        Motion(torch.nn.functional.pad(similarity(*how), (0, 1)))
        for how in ((first, size, flipped), (second, 1 / size, again))
    ]
    both = motions[0].then(motions[1])
    stepwise = move_euler(move_euler(head(angles), motions[0].matrix[:, :, :2]), motions[1].matrix[:, :, :2])
    at_once = move_euler(head(angles), both.matrix[:, :, :2])
    assert float(geodesic_angle(euler_to_matrix(stepwise), euler_to_matrix(at_once))) < 1e-6


@given(HEADS, SIZES)
def test_scale_and_shift_do_not_count(angles, size):
    assert same(move_euler(head(angles), similarity(0, size, mirrored=False)), head(angles), 1e-4)


def test_of_a_shear_its_rotation_counts():
    linear = torch.tensor([[[1.3, 0.4], [-0.2, 0.9]], [[-1.3, 0.4], [-0.2, 0.9]]], dtype=torch.float64)
    angles = torch.tensor([[20.0, -10, 5], [20.0, -10, 5]], dtype=torch.float64)
    left, _, right = torch.linalg.svd(linear)
    torch.testing.assert_close(move_euler(angles, linear), move_euler(angles, left @ right))


def test_motion_law_that_the_engine_relies_on():
    still = Motion.still(3).matrix[:, :, :2]
    angles = torch.tensor([[99.0, 4, -3], [-90, 0, 0], [0, 0, 0]])
    torch.testing.assert_close(move_euler(angles, still), angles, atol=1e-4, rtol=0)
