"""300W-LP, AFLW2000-3D and BIWI: the angles against scipy, the crops against Pillow and by hand."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from scipy.io import loadmat
from scipy.spatial.transform import Rotation

from auxlearn.data import DataContext
from auxlearn_faces import auxlearn_data_sources, testing
from auxlearn_faces.readers.biwi import Camera, pose_angles
from auxlearn_faces.readers.mat import loose_crop
from auxlearn_faces.rotations import euler_to_matrix
from auxlearn_faces.testing.poses import write_mat

PROVIDERS = {provider.name: provider for provider in auxlearn_data_sources()}


def source(name, path, size=None, **settings):
    provider = PROVIDERS[name]
    return provider.build(provider.params(path=str(path), **settings), DataContext(size=size))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("poses")
    testing.write_300w_lp(path / "300W_LP")
    testing.write_aflw2000(path / "AFLW2000")
    testing.write_biwi(path / "hpdb")
    return path


def names(made, split):
    return [made.name(split, index) for index in range(len(made.dataset(split)))]


def degrees(mat):
    pitch, yaw, roll = np.degrees(loadmat(mat)["Pose_Para"][0, :3])
    return [yaw, pitch, roll]


def test_300w_lp(folder):
    made = source("pose_300w_lp", folder / "300W_LP", size=16)
    made.check()
    assert made.splits == ("train",)
    assert (made.targets["pose"].names, made.targets["pose"].unit) == (("yaw", "pitch", "roll"), "degree")
    paths = names(made, "train")
    assert len(paths) == 4 * 4 * 2 - 4 * 2  # 1.8 radians are more than 99 degrees
    assert "AFW/AFW_1000_1_0.jpg" not in paths
    row = paths.index("AFW_Flip/AFW_1001_1_1.jpg")
    mat = folder / "300W_LP" / "AFW_Flip" / "AFW_1001_1_1.mat"
    assert made.dataset("train")[row]["pose"].tolist() == pytest.approx(degrees(mat), abs=1e-4)
    assert made.groups("train")[row] == "AFW_1001_1"
    x, y = loadmat(mat)["pt2d"]
    region = made.region("train", row)
    assert region.landmarks[67] == pytest.approx((x[67], y[67]))


def test_300w_lp_is_cropped_as_6drepnet_does(folder):
    """The edges as its `datasets.py` computes them, the crop by Pillow itself."""
    made = source("pose_300w_lp", folder / "300W_LP", size=16, margin=0.25)
    row = names(made, "train").index("LFPW/LFPW_1001_1_0.jpg")
    path = folder / "300W_LP" / "LFPW" / "LFPW_1001_1_0"
    x, y = loadmat(f"{path}.mat")["pt2d"]
    left = x.min() - 0.6 * 0.25 * (x.max() - x.min())
    top = y.min() - 2 * 0.25 * (y.max() - y.min())
    right = x.max() + 0.6 * 0.25 * (x.max() - left)
    bottom = y.max() + 0.6 * 0.25 * (y.max() - top)
    with Image.open(f"{path}.jpg") as image:
        face = image.crop((int(left), int(top), int(right), int(bottom)))
    side, width, height = min(face.size), *face.size
    box = ((width - side) / 2, (height - side) / 2, (width + side) / 2, (height + side) / 2)
    expected = np.asarray(face.resize((16, 16), Image.Resampling.BILINEAR, box=box))
    assert np.array_equal(made.dataset("train")[row]["image"].permute(1, 2, 0).numpy(), expected)
    whole = source("pose_300w_lp", folder / "300W_LP", crop="none")
    assert whole.inputs["image"].shape == (3, 40, 40)


def test_the_crop_by_hand():
    # 100 wide, k = 0.2: 40 to the left, then 0.4 of 140 to the right; 40 up, then 0.12 of 140 down.
    assert loose_crop((100, 100, 200, 200), 0.2, side=2) == (60, 60, 256, 216)
    # 12 to the left, then 0.12 of 112; edges beyond the picture are cut towards zero.
    assert loose_crop((5, 5, 105, 105), 0.2, side=0.6) == (-7, -35, 118, 121)


def test_without_copies_and_without_the_limit(folder):
    made = source("pose_300w_lp", folder / "300W_LP", size=16, flipped=False, limit=None)
    assert len(names(made, "train")) == 16
    assert max(abs(float(item["pose"][0])) for item in map(made.dataset("train").__getitem__, range(16))) > 99


def test_aflw2000(folder):
    made = source("aflw2000", folder / "AFLW2000", size=16)
    made.check()
    assert made.splits == ("test",)
    assert names(made, "test") == ["image00002.jpg", "image00003.jpg", "image00004.jpg"]
    mat = folder / "AFLW2000" / "image00003.mat"
    assert made.dataset("test")[1]["pose"].tolist() == pytest.approx(degrees(mat), abs=1e-4)
    assert made.region("test", 1).landmarks[5] == pytest.approx(tuple(loadmat(mat)["pt3d_68"][:2, 5]))
    other = source("aflw2000", folder / "AFLW2000", size=16, landmarks="pt3d_68")
    assert not torch.equal(made.dataset("test")[1]["image"], other.dataset("test")[1]["image"])
    assert other.fingerprint() != made.fingerprint()


def test_training_and_both_test_sets_together(folder):
    made = source("pose_300w_lp", folder / "300W_LP", 16, aflw2000=str(folder / "AFLW2000"), biwi=str(folder / "hpdb"))
    made.check()
    assert made.splits == ("train", "test", "biwi")
    assert [len(made.dataset(split)) for split in made.splits] == [24, 3, 15]
    assert made.name("test", 0) == "AFLW2000/image00002.jpg"
    alone = source("aflw2000", folder / "AFLW2000", size=16).dataset("test")[0]
    item = made.dataset("test")[0]
    assert torch.equal(item["image"], alone["image"])
    assert torch.equal(torch.as_tensor(item["pose"]), torch.as_tensor(alone["pose"]))
    assert torch.equal(
        made.dataset("biwi")[4]["image"], source("biwi", folder / "hpdb", 16).dataset("train")[4]["image"]
    )


def test_biwi(folder):
    made = source("biwi", folder / "hpdb", size=32, test_sequences=(7, 24))
    made.check()
    assert made.splits == ("train", "test")
    assert made.groups("train") == ["F01"] * 3 + ["F03"] * 6
    assert made.groups("test") == ["M01"] * 3 + ["M14"] * 3
    assert made.name("test", 0) == "07/frame_00003_rgb.png"
    text = (folder / "hpdb/07/frame_00003_pose.txt").read_text().split()
    matrix = np.array(text[:9], dtype=float).reshape(3, 3)
    assert made.dataset("test")[0]["pose"].tolist() == pytest.approx(pose_angles(matrix), abs=1e-4)
    left, top, right, bottom = made.region("test", 0).box
    rotation = np.array(
        [[0.999947, 0.00432361, 0.00929419], [-0.00446314, 0.999877, 0.0150443], [-0.009228, -0.015085, 0.999844]]
    )
    x, y, z = rotation @ np.array(text[9:], dtype=float) + [-24.0198, 5.8896, -13.2308]
    assert ((left + right) / 2, (top + bottom) / 2) == pytest.approx((517.679 * x / z + 320, 517.679 * y / z + 240.5))
    assert right - left == pytest.approx(bottom - top) == pytest.approx(517.679 * 280 / z)
    with Image.open(folder / "hpdb/07/frame_00003_rgb.png") as image:
        face = image.crop(tuple(map(round, (left, top, right, bottom))))
    side = min(face.size)
    corner = ((face.width - side) / 2, (face.height - side) / 2)
    box = (*corner, corner[0] + side, corner[1] + side)
    expected = np.asarray(face.resize((32, 32), Image.Resampling.BILINEAR, box=box))
    assert np.array_equal(made.dataset("test")[0]["image"].permute(1, 2, 0).numpy(), expected)
    assert source("biwi", folder / "hpdb", crop="none").inputs["image"].shape == (3, 480, 640)


angles = st.floats(-85, 85)


@given(angles, angles, angles)
def test_biwi_angles_are_the_rotation_seen_from_the_camera(yaw, pitch, roll):
    """What 6DRepNet makes of the angles, Rz(roll) Ry(yaw) Rx(pitch), is F R^T F with F = diag(-1, 1, 1)."""
    trained = Rotation.from_euler("ZYX", [roll, yaw, pitch], degrees=True).as_matrix()
    flip = np.diag([-1.0, 1, 1])
    assert pose_angles((flip @ trained @ flip).T) == pytest.approx((yaw, pitch, roll), abs=1e-6)
    here = euler_to_matrix(torch.tensor([yaw, pitch, roll], dtype=torch.float64))
    assert np.allclose(here.numpy(), trained)


@pytest.mark.parametrize(
    ("axis", "degrees", "moved", "expected"),
    [  # camera coordinates: x to the viewer's right, y down, z away; a nose points to -z, a crown to -y
        ("y", 30, ("nose", 0, -1), (30, 0, 0)),  # the nose goes to the viewer's left: yaw > 0
        ("x", -20, ("nose", 1, -1), (0, 20, 0)),  # the nose goes up: pitch > 0
        ("z", 10, ("crown", 0, 1), (0, 0, 10)),  # the crown goes to the viewer's right, clockwise: roll > 0
    ],
)
def test_the_signs_of_biwi_are_those_of_300w_lp(axis, degrees, moved, expected):
    matrix = Rotation.from_euler(axis, degrees, degrees=True).as_matrix()
    part, coordinate, sign = moved
    place = matrix @ {"nose": [0, 0, -1], "crown": [0, -1, 0]}[part]
    assert math.copysign(1, place[coordinate]) == sign
    assert pose_angles(matrix) == pytest.approx(expected, abs=1e-9)


def test_a_square_by_hand():
    intrinsic = np.array([[500.0, 0, 320], [0, 500, 240], [0, 0, 1]])
    camera = Camera(intrinsic, np.eye(3), np.array([100.0, 0, 0]))
    assert camera.square((0, 50, 1000), 200) == pytest.approx((320, 215, 420, 315))
    with pytest.raises(ValueError, match="not before the camera"):
        camera.square((0, 0, -10), 200)


def test_a_pose_in_radians_is_told_in_degrees(tmp_path):
    testing.write_aflw2000(tmp_path, heads=2)
    points = np.random.default_rng(0).uniform(10, 30, (2, 21))
    write_mat(tmp_path / "image00002.mat", 0.1, 0.2, -0.3, pt2d=points, pt3d_68=points)
    item = source("aflw2000", tmp_path, size=8).dataset("test")[0]
    assert item["pose"].tolist() == pytest.approx([11.4592, 5.7296, -17.1887], abs=1e-4)
