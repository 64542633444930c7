"""300W-LP's and AFLW2000's `.mat` files: a head pose and landmarks."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import numpy as np

from auxlearn.errors import PluginError, Problem

__all__ = ["Head", "loose_crop", "mat_reader", "read_head"]


@attrs.frozen
class Head:
    """A head.

    Attributes:
        pose: Yaw, pitch, roll in degrees.
        box: left, top, right, bottom of its landmarks.
    """

    pose: tuple[float, float, float]
    box: tuple[float, float, float, float]


def mat_reader() -> Callable[[Path, str], dict[str, np.ndarray[Any, Any]]]:
    """Return what reads the arrays of a `.mat` file: `Pose_Para` and the landmarks that are asked for.

    Raises:
        PluginError: If scipy is not installed.
    """
    try:
        from scipy.io import loadmat
    except ImportError as error:
        what, fix = "its .mat files need scipy", "pip install 'auxlearn-faces[mat]'"
        raise PluginError(Problem(where="/data", what=what, fix=fix, exit_code=3)) from error

    def read(path: Path, landmarks: str) -> dict[str, np.ndarray[Any, Any]]:
        return {
            name: np.asarray(value, dtype=float)
            for name, value in loadmat(path, variable_names=["Pose_Para", landmarks]).items()
            if not name.startswith("__")
        }

    return read


def read_head(arrays: dict[str, np.ndarray[Any, Any]], landmarks: str) -> Head:
    """Return the head that the arrays describe. `Pose_Para` begins with pitch, yaw and roll in radians.

    Args:
        arrays: What `mat_reader` read.
        landmarks: Name of the array with the landmarks, x and y in its first rows.

    Raises:
        ValueError: If an array is missing or has another form.
    """
    for name, least in (("Pose_Para", 3), (landmarks, 2)):
        if name not in arrays:
            raise ValueError(f"it has no array {name}, but {', '.join(arrays) or 'nothing of use'}")
        if arrays[name].ndim != 2 or arrays[name].size < least or not np.isfinite(arrays[name]).all():
            raise ValueError(f"{name} has the form {arrays[name].shape}, or numbers that are not finite")
    pitch, yaw, roll = (math.degrees(angle) for angle in arrays["Pose_Para"].ravel()[:3])
    x, y = arrays[landmarks][:2]
    return Head((yaw, pitch, roll), (float(x.min()), float(y.min()), float(x.max()), float(y.max())))


def loose_crop(
    box: tuple[float, float, float, float], k: float, *, side: float, top: float = 2.0, bottom: float = 0.6
) -> tuple[int, int, int, int]:
    """Return a loose crop around a face: `sixdrepnet/datasets.py` of https://github.com/thohemp/6DRepNet.

    The edges move one after the other, each by a multiple of the width or height as it is by then, so the right and
    the bottom move further; then all are cut to whole pixels, towards zero.

    Args:
        box: left, top, right, bottom of the landmarks.
        k: How loose.
        side: Factor of `k` for the left and right edges: 0.6 for 300W-LP, 2 for AFLW2000.
        top: Factor of `k` for the upper edge.
        bottom: Factor of `k` for the lower edge.

    Examples:
        >>> from auxlearn_faces.readers.mat import loose_crop
        >>> loose_crop((100.0, 100.0, 200.0, 200.0), 0.5, side=0.6)
        (70, 0, 239, 260)
    """
    x_min, y_min, x_max, y_max = box
    x_min -= side * k * abs(x_max - x_min)
    y_min -= top * k * abs(y_max - y_min)
    x_max += side * k * abs(x_max - x_min)
    y_max += bottom * k * abs(y_max - y_min)
    return int(x_min), int(y_min), int(x_max), int(y_max)
