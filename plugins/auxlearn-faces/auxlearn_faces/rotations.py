r"""Rotations of heads as functions on tensors: Euler angles, matrices, the 6D representation, distances, motions.

Angles are yaw, pitch, roll in degrees, as 300W-LP gives them ("Face Alignment Across Large Poses: A 3D Solution",
arXiv 1511.07212), and belong to the matrix that the field trains on,

$$R = R_z(\mathrm{roll})\, R_y(\mathrm{yaw})\, R_x(\mathrm{pitch})$$

with right-handed factors. What turns a head's points, with x to the viewer's right, y up and z to the viewer, is
$R^\top$: 300W-LP multiplies left-handed factors in the order $R_x R_y R_z$, which is the same. So yaw > 0 turns the
nose to the viewer's left, pitch > 0 up, and roll > 0 turns the head clockwise as the viewer sees it; and turning the
*picture* multiplies $R$ from the right, which changes all three angles unless yaw and pitch are zero.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = [
    "angle_difference",
    "columns_to_matrix",
    "euler_to_matrix",
    "geodesic_angle",
    "matrix_to_euler",
    "move_euler",
    "nearest_euler",
]

_LEAST_LENGTH = 1e-6  # below it a column of the 6D representation has no direction
_LOCKED = 1e-6  # cosine of yaw below which pitch and roll turn about the same axis


def euler_to_matrix(angles: Tensor) -> Tensor:
    """Return the rotation matrices [..., 3, 3] of yaw, pitch, roll [..., 3] in degrees.

    Examples:
        >>> import torch
        >>> from auxlearn_faces.rotations import euler_to_matrix
        >>> euler_to_matrix(torch.tensor([0.0, 0.0, 90.0]))[0].round().abs().tolist()
        [0.0, 1.0, 0.0]
    """
    sine_yaw, sine_pitch, sine_roll = angles.deg2rad().sin().unbind(-1)
    yaw, pitch, roll = angles.deg2rad().cos().unbind(-1)
    rows = (
        (
            roll * yaw,
            roll * sine_yaw * sine_pitch - sine_roll * pitch,
            roll * sine_yaw * pitch + sine_roll * sine_pitch,
        ),
        (
            sine_roll * yaw,
            sine_roll * sine_yaw * sine_pitch + roll * pitch,
            sine_roll * sine_yaw * pitch - roll * sine_pitch,
        ),
        (-sine_yaw, yaw * sine_pitch, yaw * pitch),
    )
    return torch.stack([torch.stack(row, dim=-1) for row in rows], dim=-2)


def matrix_to_euler(matrix: Tensor) -> Tensor:
    """Return yaw, pitch, roll [..., 3] in degrees of rotation matrices [..., 3, 3], yaw in [-90, 90].

    Where yaw is 90 or -90 degrees, pitch and roll turn about the same axis; roll is then 0. Near it roll is uncertain;
    pitch is what is left of the matrix after that roll, so that the angles describe the matrix wherever it is.
    """
    across = torch.linalg.vector_norm(matrix[..., :2, 0], dim=-1)
    locked = across < _LOCKED
    yaw = torch.atan2(-matrix[..., 2, 0], across)
    roll = torch.where(locked, 0.0, torch.atan2(matrix[..., 1, 0], matrix[..., 0, 0]))
    sine, cosine = roll.sin()[..., None], roll.cos()[..., None]
    beneath = cosine * matrix[..., 1, :] - sine * matrix[..., 0, :]  # of Ry(yaw) Rx(pitch): 0, cos pitch, -sin pitch
    pitch = torch.atan2(-beneath[..., 2], beneath[..., 1])
    return torch.stack([yaw, pitch, roll], dim=-1).rad2deg()


def angle_difference(found: Tensor, wanted: Tensor) -> Tensor:
    """Return `found - wanted` in degrees on the circle, in (-180, 180].

    >>> import torch
    >>> angle_difference(torch.tensor([179.0, 10.0]), torch.tensor([-179.0, 190.0])).tolist()
    [-2.0, 180.0]
    """
    difference = found - wanted
    return difference - 360 * ((difference.detach() - 180) / 360).ceil()


def nearest_euler(angles: Tensor, reference: Tensor) -> Tensor:
    """Return, of the triples [..., 3] that describe the same rotation as `angles`, the one nearest to `reference`.

    They are (yaw, pitch, roll) and (180 - yaw, pitch + 180, roll + 180); a head that looks more than 90 degrees away
    needs the second. Where yaw is 90 or -90 degrees, only the difference or the sum of pitch and roll counts: roll is
    then that of `reference`. So it is where the cosine of yaw is below the root of the precision: there roll is lost to
    rounding, and the rotation stays the same to some hundredths of a degree (in float32).
    """
    angles = _unlocked(angles, reference)
    other = torch.stack([180 - angles[..., 0], angles[..., 1] + 180, angles[..., 2] + 180], dim=-1)
    far = [angle_difference(one, reference).abs().sum(-1, keepdim=True) for one in (angles, other)]
    return angle_difference(torch.where(far[1] < far[0], other, angles), torch.zeros_like(angles))


def _unlocked(angles: Tensor, reference: Tensor) -> Tensor:
    """Return the angles, where pitch and roll turn about the same axis with the roll of `reference`."""
    yaw, pitch, roll = angles.unbind(-1)
    locked = yaw.deg2rad().cos().abs() < max(_LOCKED, torch.finfo(angles.dtype).eps ** 0.5)
    wanted = torch.where(locked, reference[..., 2], roll)
    return torch.stack([yaw, pitch + yaw.sign() * (wanted - roll), wanted], dim=-1)


def columns_to_matrix(columns: Tensor) -> Tensor:
    """Return the rotation matrices [..., 3, 3] that the 6D representation [..., 6] stands for.

    The first three numbers, a, and the last three, b, are the first two columns before orthonormalisation ("On the
    Continuity of Rotation Representations in Neural Networks", arXiv 1812.07035), in the order of 6DRepNet (arXiv
    2202.12555): x is a normalised, z the cross product of x and b normalised, y that of z and x. (PyTorch3D's
    are rows, so its weights do not transfer.) Where a has no length, x is the first axis; where b is parallel to x, a
    fixed axis takes its place. So the result is a rotation always; 6DRepNet's is none there.

    >>> import torch
    >>> columns_to_matrix(torch.tensor([2.0, 0, 0, 5, 3, 0])).diagonal().tolist()
    [1.0, 1.0, 1.0]
    """
    first, second = columns[..., :3], columns[..., 3:]
    axis, other = torch.eye(3, dtype=columns.dtype, device=columns.device)[:2]
    x = F.normalize(torch.where(_short(first), axis, first), dim=-1)
    across = torch.linalg.cross(x, second)
    aside = torch.linalg.cross(x, torch.where(x[..., :1].abs() < 0.9, axis, other))
    z = F.normalize(torch.where(_short(across), aside, across), dim=-1)
    return torch.stack([x, torch.linalg.cross(z, x), z], dim=-1)


def _short(vectors: Tensor) -> Tensor:
    """Return which vectors [..., 3] have no direction: [..., 1]."""
    return vectors.square().sum(-1, keepdim=True) < _LEAST_LENGTH**2


def geodesic_angle(found: Tensor, wanted: Tensor) -> Tensor:
    r"""Return the angle [...] in radians of the rotation between matrices [..., 3, 3], in [0, π].

    With $M = A^\top B$ it is $\mathrm{atan2}(|v|, \tfrac12(\mathrm{tr} M - 1))$, where $v$ has the three entries of the
    skew part $\tfrac12(M - M^\top)$, so that $|v|$ is the sine.

    The usual $\arccos(\tfrac12(\mathrm{tr} M - 1))$ has an infinite slope at both ends, so it is clamped (6DRepNet:
    to 1 - 1e-7), and where the clamp holds there is no gradient: within 0.03 degrees of the target in float32, within
    5 degrees in bfloat16. The slope of this form is 1 everywhere. Where sine is exactly 0 there is no direction: at 0
    the loss is at its minimum, and of a half turn every direction is as good, so the gradient there is 0, not NaN.

    Both matrices have to be float32 or float64. Nothing here is computed in less under autocast.
    """
    relative = _product(found.mT, wanted)
    skew = (relative - relative.mT) / 2
    sine = torch.linalg.vector_norm(torch.stack([skew[..., 2, 1], skew[..., 0, 2], skew[..., 1, 0]], dim=-1), dim=-1)
    cosine = (relative.diagonal(dim1=-2, dim2=-1).sum(-1) - 1) / 2
    return torch.atan2(sine, cosine)


def move_euler(angles: Tensor, linear: Tensor) -> Tensor:
    """Return the yaw, pitch, roll [N, 3] in degrees of heads after their pictures moved.

    Of the motion counts what it does to directions: the orthogonal matrix nearest to its linear part, a rotation of
    the picture or a mirroring. A mirrored picture is taken for a picture of the mirrored head.

    Args:
        angles: Before.
        linear: [N, 2, 2], the linear part of the map of pixel coordinates, y down.
    """
    orthogonal, sign = _nearest_orthogonal(linear.to(angles.dtype))
    matrix = euler_to_matrix(angles)
    # What turns the points is the transpose: `plane @ matrix.mT @ side`, where `side` mirrors the head itself.
    matrix = torch.cat([matrix[:, :1] * sign[:, None, None], matrix[:, 1:]], dim=1)
    moved = torch.cat([_product(matrix[:, :, :2], orthogonal.mT), matrix[:, :, 2:]], dim=2)
    expected = torch.stack([angles[:, 0] * sign, angles[:, 1], angles[:, 2] * sign], dim=1)
    return nearest_euler(matrix_to_euler(moved), expected)


def _nearest_orthogonal(linear: Tensor) -> tuple[Tensor, Tensor]:
    """Return the orthogonal matrices [N, 2, 2] nearest to `linear`, y up instead of down, and their determinants [N].

    Of all [[p, -s q], [q, s p]] with determinant s it is the one with the largest inner product with the matrix: the
    orthogonal factor of its polar decomposition.
    """
    a, b, c, d = linear.flatten(1).unbind(1)
    b, c = -b, -c  # the second axis turned round
    sign = torch.where(a * d < b * c, -1.0, 1.0).to(a.dtype)
    p, q = F.normalize(torch.stack([a + sign * d, c - sign * b], dim=1), dim=1).unbind(1)
    return torch.stack([p, -sign * q, q, sign * p], dim=1).view(-1, 2, 2), sign


def _product(left: Tensor, right: Tensor) -> Tensor:
    """Return `left @ right` for small matrices, in their own precision also under autocast."""
    return (left.unsqueeze(-1) * right.unsqueeze(-3)).sum(-2)
