"""300W-LP, AFLW2000-3D and BIWI in small."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from auxlearn_faces.testing.pictures import write_lines, write_picture

__all__ = ["CALIBRATION", "write_300w_lp", "write_aflw2000", "write_biwi", "write_mat"]

CALIBRATION = """\
517.679 0 320
0 517.679 240.5
0 0 1

0 0 0 0

0.999947 0.00432361 0.00929419
-0.00446314 0.999877 0.0150443
-0.009228 -0.015085 0.999844

-24.0198 5.8896 -13.2308

640 480
"""
"""A camera as `rgb.cal` describes it."""


def write_mat(
    path: Path, pitch: float, yaw: float, roll: float, **landmarks: np.ndarray[tuple[int, ...], np.dtype[np.float64]]
) -> None:
    """Write a `.mat` file with a pose in radians, some of the other arrays of the real ones, and landmarks."""
    from scipy.io import savemat

    path.parent.mkdir(parents=True, exist_ok=True)
    pose = np.array([[pitch, yaw, roll, 210.0, 190.0, 0.0, 0.001]], dtype=np.float32)
    savemat(path, {"Pose_Para": pose, "Shape_Para": np.zeros((199, 1)), "roi": np.array([[0, 0, 1, 1]]), **landmarks})


def write_300w_lp(folder: Path, photos: int = 2) -> Path:
    """Write 300W-LP: of each of its four parts some photos in two poses each, with mirrored copies.

    One pose of each part is beyond 99 degrees.
    """
    noise = np.random.default_rng(300)
    for part in ("AFW", "HELEN", "IBUG", "LFPW"):
        for number in range(photos):
            for pose in range(2):
                name = f"{part}_{1000 + number}_1_{pose}"
                pitch, yaw, roll = noise.uniform(-0.8, 0.8, 3)
                yaw = 1.8 if number == pose == 0 else yaw
                points = noise.uniform(14, 30, (2, 68))
                for end, sign in (("", 1), ("_Flip", -1)):
                    write_picture(folder / f"{part}{end}" / f"{name}.jpg", 40, 40)
                    mat = folder / f"{part}{end}" / f"{name}.mat"
                    mirrored = points if sign > 0 else np.stack([40 - points[0], points[1]])
                    write_mat(mat, pitch, sign * yaw, sign * roll, pt2d=mirrored)
    return folder


def write_aflw2000(folder: Path, heads: int = 4) -> Path:
    """Write AFLW2000-3D: some heads, the last of them beyond 99 degrees."""
    noise = np.random.default_rng(2000)
    for number in range(heads):
        pitch, yaw, roll = noise.uniform(-0.8, 0.8, 3)
        roll = -2.0 if number == heads - 1 else roll
        name = f"image{number + 2:05d}"
        write_picture(folder / f"{name}.jpg", 40, 40)
        points = noise.uniform(14, 26, (2, 21)), noise.uniform(12, 28, (3, 68))
        write_mat(folder / f"{name}.mat", pitch, yaw, roll, pt2d=points[0], pt3d_68=points[1])
    return folder


def write_biwi(folder: Path, sequences: tuple[int, ...] = (1, 3, 7, 15, 24), frames: int = 3) -> Path:
    """Write BIWI's `hpdb`: of some of its sequences some frames each. Sequences 3 and 15 show the same person."""
    from scipy.spatial.transform import Rotation

    noise = np.random.default_rng(24)
    for sequence in sequences:
        place = folder / f"{sequence:02d}"
        for frame in range(3, 3 + frames):
            write_picture(place / f"frame_{frame:05d}_rgb.png", 640, 480)
            matrix = Rotation.from_euler("xyz", noise.uniform(-50, 50, 3), degrees=True).as_matrix()
            rows = [" ".join(f"{value:.6f}" for value in row) + " " for row in matrix]
            centre = noise.uniform((-60, -60, 850), (60, 60, 1000))
            write_lines(place / f"frame_{frame:05d}_pose.txt", [*rows, "", " ".join(f"{v:.4f}" for v in centre) + " "])
        (place / "rgb.cal").write_text(CALIBRATION, encoding="ascii")
    return folder
