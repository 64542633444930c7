"""`Arrangement`: how a pretext task shares the step with the primary tasks, and the weights that change in time."""

from __future__ import annotations

from typing import Literal

import attrs

from auxlearn.registry import option

__all__ = ["Arrangement", "Ramp"]


@attrs.frozen(kw_only=True)
class Ramp:
    """A weight that changes linearly from `start` to `end` between two epochs, and is constant outside."""

    start: float = option(0.0, ge=0, help="Weight up to epoch `begin`.")
    end: float = option(1.0, ge=0, help="Weight from epoch `until` on.")
    begin: float = option(0.0, ge=0, help="Epoch at which the change begins.")
    until: float = option(1.0, ge=0, help="Epoch at which the change ends.")

    def at(self, epoch: float) -> float:
        """Return the weight at `epoch`, which may be a fraction."""
        span = self.until - self.begin
        done = 1.0 if epoch >= self.until else max(0.0, (epoch - self.begin) / span) if span > 0 else 0.0
        return self.start + (self.end - self.start) * done


@attrs.frozen(kw_only=True)
class Arrangement:
    """How a pretext task shares the step with the primary tasks: one row of the plan of passes.

    Examples:
        >>> from auxlearn import Arrangement
        >>> Arrangement(view="own", portion=0.25, weight=0.3).weight_at(epoch=0)
        0.3
    """

    view: Literal["shared", "own", "clean"] | None = option(
        None,
        help="`shared`: the primary sees the transformed image too (one pass). `own`: a further pass on its own copy. "
        "`clean`: no transform. null: the task's own default.",
    )
    portion: float = option(
        1.0, gt=0, le=1, help="Part of the rows that is transformed (`shared`), passed again (`own`) or read (`clean`)."
    )
    resolution: float = option(1.0, gt=0, le=1, help="Scale of the images of an own view.")
    every: int = option(1, ge=1, help="Compute the task every n steps.")
    start_epoch: int = option(0, ge=0, help="First epoch in which the task is computed.")
    weight: float | Ramp = option(1.0, ge=0, help="Factor of the loss: a number, or a ramp over epochs.")
    supervise: bool | tuple[str, ...] | None = option(
        None,
        help="Which primary tasks learn from this view too: all, none, or a list. null: true if shared, else false.",
    )
    statistics: Literal["shared", "frozen", "batch", "separate"] = option(
        "shared",
        help="BatchNorm on an own pass: as everywhere; by the running statistics; by the pass's own; or its own set.",
    )

    def weight_at(self, epoch: float) -> float:
        """Return the weight of the task at `epoch`, which may be a fraction."""
        return self.weight.at(epoch) if isinstance(self.weight, Ramp) else self.weight

    def supervises(self, primary: str) -> bool | None:
        """Return whether `primary` learns from these views; None: only where the geometry is intact."""
        if isinstance(self.supervise, tuple):
            return primary in self.supervise
        return None if self.supervise else False

    def active(self, step: int, epoch: float) -> bool:
        """Return whether the task is computed in this step."""
        return epoch >= self.start_epoch and step % self.every == 0 and self.weight_at(epoch) > 0
