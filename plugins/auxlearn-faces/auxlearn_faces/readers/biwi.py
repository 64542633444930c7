r"""BIWI Kinect head poses: 24 sequences of 20 people, 15,678 frames.

Paper: "Random Forests for Real Time 3D Face Analysis" (IJCV 2013, doi 10.1007/s11263-012-0549-0). In `hpdb` there is a
folder for each sequence, 01 to 24, with `frame_00003_rgb.png` (640 x 480), `frame_00003_pose.txt` (a rotation matrix,
and the head's centre in millimetres before the depth camera) and `rgb.cal` (intrinsic matrix in lines 1 to 3, rotation
in lines 7 to 9 and translation in line 11, from the depth camera to the colour camera):
https://huggingface.co/datasets/biwi_kinect_head_pose, whose list of who is in which sequence gives the groups.

Angles: with $M$ the transpose of the file's matrix,

    pitch = atan2(M[2,1], M[2,2])
    yaw   = -atan2(-M[2,0], sqrt(M[2,1]^2 + M[2,2]^2))
    roll  = -atan2(M[1,0], M[0,0])

as https://github.com/shamangary/FSA-Net (`data/TYY_create_db_biwi.py`), which 6DRepNet and others use. That is the
rotation of 300W-LP's convention, seen by the camera: yaw > 0 turns the nose to the viewer's left, pitch > 0 up,
roll > 0 clockwise. The two sets' neutral heads still differ by some degrees (arXiv 2401.05807).

The field crops with a face detector. Here the crop is a square around the projected centre of the head, which needs no
other model; the published numbers are not comparable to the last digit.

There is no official split. The published "70/30" tests on 8 of the 24 sequences, drawn at random: name them with
`test_sequences` (a person in both splits is reported as a leak), or divide by person with
`"split": {"by": "group", "test": 0.3}`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import attrs
import numpy as np

from auxlearn.data import DataContext, Region, TableRow, TableSource
from auxlearn_faces.readers.layout import Layout
from auxlearn_faces.readers.params import BiwiParams
from auxlearn_faces.readers.rows import POSE, make_source

__all__ = ["Camera", "build", "pose_angles", "read_biwi"]

# Four people were recorded twice.
_PEOPLE = (
    *("F01", "F02", "F03", "F04", "F05", "F06", "M01", "M02", "M03", "M04", "M05", "M06"),
    *("M07", "M08", "F03", "M09", "M10", "F05", "M11", "M12", "F02", "M01", "M13", "M14"),
)


@attrs.frozen(eq=False)
class Camera:
    """The colour camera: its intrinsic matrix, and the motion from the depth camera's coordinates to its own."""

    intrinsic: np.ndarray[Any, Any]
    rotation: np.ndarray[Any, Any]
    translation: np.ndarray[Any, Any]

    def square(self, centre: Sequence[float], side: float) -> tuple[float, float, float, float]:
        """Return the square of `side` millimetres around a point as left, top, right, bottom in pixels.

        Raises:
            ValueError: If the point is not before the camera.
        """
        x, y, z = self.rotation @ np.asarray(centre) + self.translation
        if z <= 0:
            raise ValueError("the head is not before the camera")
        u = self.intrinsic[0, 0] * x / z + self.intrinsic[0, 2]
        v = self.intrinsic[1, 1] * y / z + self.intrinsic[1, 2]
        half = self.intrinsic[0, 0] * side / (2 * z)
        return float(u - half), float(v - half), float(u + half), float(v + half)


def pose_angles(matrix: np.ndarray[Any, Any]) -> tuple[float, float, float]:
    """Return yaw, pitch, roll in degrees of a matrix [3, 3] of a `_pose.txt`.

    Examples:
        >>> import numpy as np
        >>> from auxlearn_faces.readers.biwi import pose_angles
        >>> quarter = np.array([[0.0, 0.0, 1.0], [0.0, 1.0, 0.0], [-1.0, 0.0, 0.0]])
        >>> [round(angle) for angle in pose_angles(quarter)]
        [90, 0, 0]
    """
    m = matrix.T
    pitch = math.atan2(m[2, 1], m[2, 2])
    yaw = -math.atan2(-m[2, 0], math.hypot(m[2, 1], m[2, 2]))
    roll = -math.atan2(m[1, 0], m[0, 0])
    return math.degrees(yaw), math.degrees(pitch), math.degrees(roll)


def build(params: BiwiParams, context: DataContext) -> TableSource:
    """Return BIWI.

    Raises:
        DataError: If the folder is not laid out as `hpdb`.
    """
    layout, rows = read_biwi(params, context)
    return make_source(layout, rows, {"pose": POSE}, params, context)


def read_biwi(params: BiwiParams, context: DataContext, split: str | None = None) -> tuple[Layout, list[TableRow]]:
    """Return the folder and its rows: of `split`, or of the splits that `params` say."""
    layout = Layout.open(params.path, context)
    layout.need("01/rgb.cal")
    layout.settle()
    rows = []
    for sequence, person in enumerate(_PEOPLE, start=1):
        if layout.has(f"{sequence:02d}/"):
            own = split or ("test" if sequence in params.test_sequences else "train")
            rows += _sequence(layout, f"{sequence:02d}", person, own, params)
        elif sequence in params.test_sequences:
            layout.wrong("sequences", str(layout.path / f"{sequence:02d}"), "there is no such folder")
    if not rows:
        layout.wrong("frames", str(layout.path), "there are no frames NN/frame_*_rgb.png")
    layout.settle()
    return layout, rows


def _sequence(layout: Layout, folder: str, person: str, split: str, params: BiwiParams) -> list[TableRow]:
    camera = _camera(layout, f"{folder}/rgb.cal")
    if camera is None:
        return []
    rows = []
    for image in sorted((layout.path / folder).glob("frame_*_rgb.png")):
        where = f"{folder}/{image.name.replace('_rgb.png', '_pose.txt')}"
        try:
            numbers = [float(word) for word in (layout.path / where).read_text(encoding="ascii").split()]
            if len(numbers) != 12:
                raise ValueError(f"it has {len(numbers)} numbers")
            square = camera.square(numbers[9:], params.side)
        except (OSError, ValueError) as error:
            missing = isinstance(error, FileNotFoundError)
            what = "the file is missing" if missing else f"it cannot be used: {error}"
            layout.wrong("poses", where, what, allowed="a matrix of 3 x 3 numbers, and a point of 3")
            continue
        rows.append(
            TableRow(
                path=f"{folder}/{image.name}",
                targets={"pose": pose_angles(np.array(numbers[:9]).reshape(3, 3))},
                split=split,
                group=person,
                region=Region(box=square),
                crop=square if params.crop == "head" else None,
                where=where,
            )
        )
    return rows


def _camera(layout: Layout, relative: str) -> Camera | None:
    try:
        lines = Path(layout.path, relative).read_text(encoding="ascii").splitlines()
        numbers = [[float(word) for word in line.split()] for line in lines]
        found = Camera(np.array(numbers[:3]), np.array(numbers[6:9]), np.array(numbers[10]))
        if (found.intrinsic.shape, found.rotation.shape, found.translation.shape) != ((3, 3), (3, 3), (3,)):
            raise ValueError("its matrices have another form")
    except (OSError, ValueError, IndexError) as error:
        layout.wrong("calibrations", relative, f"it cannot be used: {error}")
        return None
    return found
