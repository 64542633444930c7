"""`head_pose`: where a head looks, as a rotation."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor
from torchmetrics import MetricCollection

from auxlearn.data import Batch
from auxlearn.errors import Problem, SpecError, escape
from auxlearn.learning import (
    BuildContext,
    Feature,
    Features,
    FeatureShape,
    Motion,
    PrimaryTask,
    StepContext,
    TaskResult,
)
from auxlearn_faces.choosing import Chosen, choose_numbers
from auxlearn_faces.numbers import given_rows, read_numbers, write_numbers
from auxlearn_faces.params import ANGLES, HeadPoseParams
from auxlearn_faces.rotations import (
    angle_difference,
    columns_to_matrix,
    euler_to_matrix,
    geodesic_angle,
    matrix_to_euler,
    move_euler,
    nearest_euler,
)
from auxlearn_faces.scores import MeanError
from auxlearn_supervised.heads import at_least_float32, last_layer, make_head, read_head

__all__ = ["HeadPose"]

Loss = Literal["geodesic", "l1", "l2", "smooth_l1"]

_IDENTITY = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
_DEGREES = ("degree", "degrees", "deg", "°")


class HeadPose(PrimaryTask):
    """Regression of yaw, pitch and roll, in degrees as 300W-LP gives them; see `auxlearn_faces.rotations`.

    With `representation="6d"` the head gives six numbers that are made a rotation ("6D Rotation Representation For
    Unconstrained Head Pose Estimation", arXiv 2202.12555), and the loss is the angle between that and the
    rotation wanted, in radians, in a form that has the right slope near 0 also in low precision;
    see `geodesic_angle`. With `"euler"` it gives the three angles in radians, and the loss is the absolute, squared or
    smooth L1 error on the circle, also in radians, the mean of the three angles, or the geodesic one.

    Differences from 6DRepNet: before training the head says "straight ahead" on average, where the six numbers of a
    plain initialisation have no preferred rotation; and what follows the backbone is computed in float32 also under
    autocast, as rounding the six numbers to bfloat16 alone costs a fifth of a degree.

    Args:
        features: The form of the backbone's features.
        chosen: Where the angles stand in the data.
        representation: What the head gives.
        loss: The error; only the geodesic one for `"6d"`.
        beta: Degrees at which `smooth_l1` turns straight.
        dropout: Dropout on the pooled feature.
        hidden: Width of a hidden layer of the head; None for a linear head.

    Examples:
        >>> import torch
        >>> from auxlearn.learning import Feature, Features, FeatureShape
        >>> from auxlearn_faces.choosing import Chosen
        >>> from auxlearn_faces.head_pose import HeadPose
        >>> task = HeadPose({"image": FeatureShape(pooled=8)}, chosen=Chosen(("pose",), (0, 1, 2)))
        >>> found = task.predict(Features({"image": Feature(pooled=torch.zeros(5, 8))}))
        >>> {name: tuple(tensor.shape) for name, tensor in found.items()}
        {'yaw': (5,), 'pitch': (5,), 'roll': (5,), 'rotation': (5, 3, 3)}
    """

    needs_geometry = True

    def __init__(
        self,
        features: Mapping[str, FeatureShape],
        *,
        chosen: Chosen,
        representation: Literal["6d", "euler"] = "6d",
        loss: Loss = "geodesic",
        beta: float = 5.0,
        dropout: float = 0.0,
        hidden: int | None = None,
    ) -> None:
        super().__init__()
        if representation == "6d" and loss != "geodesic":
            raise ValueError(f'Parameter `loss` should be "geodesic" for the representation "6d", found "{loss}".')
        self.chosen, self.targets = chosen, chosen.targets
        self.representation, self.kind, self.beta, self.dropout = representation, loss, math.radians(beta), dropout
        self.head = make_head(features, 6 if representation == "6d" else 3, hidden)
        bias = _IDENTITY if representation == "6d" else (0.0, 0.0, 0.0)
        with torch.no_grad():
            last_layer(self.head).bias.copy_(torch.tensor(bias))

    @classmethod
    def build(cls, params: HeadPoseParams, context: BuildContext) -> HeadPose:
        """Return the task that `params` asks for; SpecError if the data has no such angles in degrees."""
        chosen = choose_numbers(params.target, context.targets, ANGLES, "/target")
        for name in chosen.targets:
            unit = context.targets[name].unit
            if unit is not None and unit.lower() not in _DEGREES:
                what = f'target "{escape(name)}" has the unit "{escape(unit)}"'
                raise SpecError(Problem(where="/target", what=what, allowed="degree", fix="convert the angles"))
        return cls(
            context.features,
            chosen=chosen,
            representation=params.representation,
            loss=params.error,
            beta=params.beta,
            dropout=params.dropout,
            hidden=params.hidden,
        )

    def count(self, batch: Batch) -> Tensor | int:
        """Return how many rows have all angles."""
        given = given_rows(self.chosen, batch)
        return len(batch) if given is None else given.sum()

    def loss(self, features: Features, batch: Batch, step: StepContext) -> TaskResult:
        """Return the sum of the errors in radians; `output` has what the `head` gives [N, 6 or 3]."""
        given = given_rows(self.chosen, batch)
        found = self._read(features)
        wanted = read_numbers(self.chosen, batch.targets).to(found.dtype)
        if given is not None:
            wanted = torch.where(given[:, None], wanted, 0.0)  # whatever stands there, even NaN
        error = self._error(found, wanted)
        if given is not None:
            error = torch.where(given, error, 0.0)
        return TaskResult(loss=error.sum(), output={"head": found.detach()})

    def predict(self, features: Features) -> Mapping[str, Tensor]:
        """Return `yaw`, `pitch` and `roll` [N] in degrees and the matrix R as `rotation` [N, 3, 3].

        R turns roll, yaw and pitch into a matrix as `auxlearn_faces.rotations` says; its transpose turns the points of
        the head.
        """
        return self._answers(self._read(features))

    def metrics(self) -> MetricCollection:
        """Return the mean absolute error of the angles, of each angle, and the mean geodesic error, all in degrees.

        Errors are those on the circle: 359 degrees are 1, and 180 are 180. (6DRepNet's own test also takes the least of
        the errors at ±180 degrees, so that a head seen the wrong way round counts as right.) A rotation has two triples
        of angles, and the one nearer to the label counts, as a whole: it is needed for heads beyond 90 degrees.
        """
        scores = MetricCollection({"mae": MeanError()}, compute_groups=False)
        scores.add_metrics({f"mae_{name}": MeanError() for name in ANGLES})
        scores.add_metrics({"geodesic_error": MeanError()})  # after `mae`, which is the one to monitor
        return scores

    def update(self, metrics: MetricCollection, features: Features, batch: Batch) -> None:
        """Add the rows of a batch that have the angles."""
        given = given_rows(self.chosen, batch)
        rows = slice(None) if given is None else given
        found = self._answers(self._read(features))
        wanted = read_numbers(self.chosen, batch.targets).to(found["rotation"].dtype)[rows]
        angles = torch.stack([found[name] for name in ANGLES], dim=1)[rows]
        errors = angle_difference(nearest_euler(angles, wanted), wanted).abs()
        metrics["mae"].update(errors)
        for name, error in zip(ANGLES, errors.unbind(1), strict=True):
            metrics[f"mae_{name}"].update(error)
        metrics["geodesic_error"].update(geodesic_angle(found["rotation"][rows], euler_to_matrix(wanted)).rad2deg())

    def move_targets(self, targets: Mapping[str, Tensor], motion: Motion) -> Mapping[str, Tensor]:
        """Return the angles after the pictures were turned or mirrored; scale, shear and shift do not count."""
        if not all(name in targets for name in self.targets):
            return targets
        angles = read_numbers(self.chosen, targets)
        moved = move_euler(angles.to(motion.matrix.dtype), motion.matrix[:, :, :2]).to(angles.dtype)
        return {**targets, **write_numbers(self.chosen, moved)}

    def describe(self) -> Mapping[str, Any]:
        """Return the targets, and what the angles mean."""
        return {
            "target": self.targets[0] if len(self.targets) == 1 else list(self.targets),
            "components": [],  # the outputs have names of their own, and the rows of the matrix are no angles
            "unit": "degree",
            "convention": "300W-LP: rotation = Rz(roll) Ry(yaw) Rx(pitch)",
        }

    def _read(self, features: Features) -> Tensor:
        """Return what the head gives [N, 6 or 3], computed in float32 or more."""
        pooled = next(iter(features.values())).pooled
        if not torch.is_autocast_enabled(pooled.device.type):
            return read_head(self.head, features, self.dropout)
        with torch.autocast(pooled.device.type, enabled=False):
            parts = {name: Feature(pooled=at_least_float32(part.pooled)) for name, part in features.items()}
            return read_head(self.head, Features(parts), self.dropout)

    def _matrix(self, found: Tensor) -> Tensor:
        return columns_to_matrix(found) if self.representation == "6d" else euler_to_matrix(found.rad2deg())

    def _answers(self, found: Tensor) -> dict[str, Tensor]:
        matrix = self._matrix(found)
        # The angles of the Euler head are its own as they are, except for whole turns.
        whole = angle_difference(found.rad2deg(), torch.zeros_like(found)) if self.representation == "euler" else None
        angles = matrix_to_euler(matrix) if whole is None else whole
        return {**dict(zip(ANGLES, angles.unbind(1), strict=True)), "rotation": matrix}

    def _error(self, found: Tensor, wanted: Tensor) -> Tensor:
        """Return the error of each row in radians (squared for `l2`): [N]."""
        if self.kind == "geodesic":
            return geodesic_angle(self._matrix(found), euler_to_matrix(wanted))
        away = angle_difference(found.rad2deg(), wanted).deg2rad()
        if self.kind == "l1":
            return away.abs().mean(1)
        if self.kind == "l2":
            return away.square().mean(1)
        return F.smooth_l1_loss(away, torch.zeros_like(away), beta=self.beta, reduction="none").mean(1)
