"""Head pose, camera and vertex normals.

Pose follows 300W-LP (Zhu et al., "Face Alignment Across Large Poses: A 3D Solution", https://arxiv.org/abs/1511.07212):
``R = Rx(pitch) Ry(yaw) Rz(roll)`` acts on points with x to the viewer's right, y up and z towards the viewer, where
each factor turns the other way round than the textbook's right-handed one. So yaw > 0 turns the nose to the viewer's
left, pitch > 0 turns it up, and roll > 0 turns the head clockwise as the viewer sees it.
"""

import numpy as np

from auxlearn_synthfaces.generate.mesh import Floats, Ints

__all__ = ["FACE", "PIVOT", "project", "rotation", "vertex_normals"]

PIVOT = np.array([0.0, 6.95, 0.35], np.float32)
"""The point in the skull about which heads turn, in mesh coordinates."""

FACE = np.array([0.0, 7.08, 1.15], np.float32)
"""The point between eyes and mouth on which a crop is centred, in mesh coordinates."""


def rotation(yaw: float, pitch: float, roll: float) -> Floats:
    """Rotation matrix [3, 3] of a pose in degrees, in the convention of 300W-LP.

    Examples:
        >>> from auxlearn_synthfaces.generate.geometry import rotation
        >>> (rotation(90, 0, 0) @ [0, 0, 1]).round().tolist()  # the nose points to the viewer's left
        [-1.0, 0.0, 0.0]
    """
    (cy, sy), (cp, sp), (cr, sr) = ((np.cos(a), np.sin(a)) for a in np.radians([yaw, pitch, roll]))
    about_x = np.array([[1, 0, 0], [0, cp, sp], [0, -sp, cp]])
    about_y = np.array([[cy, 0, -sy], [0, 1, 0], [sy, 0, cy]])
    about_z = np.array([[cr, sr, 0], [-sr, cr, 0], [0, 0, 1]])
    result: Floats = (about_x @ about_y @ about_z).astype(np.float32)
    return result


def project(points: Floats, distance: float, span: float, centre: Floats) -> Floats:
    """Perspective projection of posed points [V, 3] to image coordinates in [0, 1], x right, y down, and depth.

    Args:
        points: Posed points about the pivot, z towards the camera.
        distance: From the camera to the pivot.
        span: Width in mesh units, at the face's depth, that the image shows.
        centre: Posed point [3] that lies in the middle of the image.

    Returns:
        x, y and the distance to the camera's plane [V, 3].
    """
    depth = distance - points[:, 2]
    scale = (distance - centre[2]) / depth / span
    middle = centre[:2] / span
    flat = points[:, :2] * scale[:, None] - middle
    return np.stack([0.5 + flat[:, 0], 0.5 - flat[:, 1], depth], axis=1).astype(np.float32)


def vertex_normals(points: Floats, triangles: Ints) -> Floats:
    """Unit normals [V, 3]: the mean of the adjacent triangles' normals, weighted by area."""
    corners = points[triangles]
    face = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    flat = triangles.ravel()
    normals = np.stack(
        [np.bincount(flat, np.repeat(face[:, axis], 3), minlength=len(points)) for axis in range(3)], axis=1
    )
    length = np.linalg.norm(normals, axis=1, keepdims=True)
    result: Floats = (normals / np.maximum(length, 1e-12)).astype(np.float32)
    return result
