"""`Selection`: which checkpoint is the best, and when there is no hope of a better one."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping
from typing import Any, Literal

import attrs

from auxlearn.errors import Problem, SpecError, nearest
from auxlearn.learning import PrimaryTask
from auxlearn.spec.models import Monitor

__all__ = ["Selection", "default_monitor"]


def default_monitor(
    primary: Mapping[str, PrimaryTask], probes: Collection[str] = (), neighbours: Iterable[str] = ()
) -> Monitor | None:
    """Return the first metric of the first primary task, more or less of it being better as the metric itself says.

    Args:
        primary: The primary tasks by name.
        probes: Those that only watch, which come last.
        neighbours: Targets that are scored by nearest neighbours, which count if there is no primary task.
    """
    for name, task in sorted(primary.items(), key=lambda item: item[0] in probes):
        for metric, one in task.metrics().items():
            better: Literal["max", "min"] = "min" if one.higher_is_better is False else "max"
            return Monitor(metric=f"{name}/{metric}", mode=better)
    return next((Monitor(metric=f"knn/{target}/accuracy") for target in neighbours), None)


@attrs.define(kw_only=True)
class Selection:
    """Keeps track of the best scoring of a run.

    Attributes:
        monitor: The metric and its direction; None if nothing is scored, so the last checkpoint counts as best.
        patience: Scorings without improvement after which to stop; None: never.
        step: Step of the best scoring so far.
        value: Its value.
        waited: Scorings since.

    Examples:
        >>> from auxlearn.evaluation import Selection
        >>> from auxlearn.spec.models import Monitor
        >>> best = Selection(monitor=Monitor(metric="emotion/accuracy"), patience=1)
        >>> best.take(10, {"emotion/accuracy": 0.5}), best.take(20, {"emotion/accuracy": 0.4}), best.is_over
        (True, False, True)
    """

    monitor: Monitor | None = None
    patience: int | None = None
    step: int | None = None
    value: float | None = None
    waited: int = 0

    def take(self, step: int, scored: Mapping[str, Any]) -> bool:
        """Take in a scoring; return whether it is the best so far.

        Raises:
            SpecError: If the monitored metric is not among those scored, or is no number.
        """
        if self.monitor is None:
            return False
        value = self._find(scored)
        if not math.isfinite(value) or (self.value is not None and not self._is_better(value, self.value)):
            self.waited += 1
            return False
        self.step, self.value, self.waited = step, value, 0
        return True

    @property
    def is_over(self) -> bool:
        """Whether patience is at its end."""
        return self.patience is not None and self.waited >= self.patience

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint keeps."""
        return {"step": self.step, "value": self.value, "waited": self.waited}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go back to what `state` returned."""
        self.step, self.value, self.waited = state["step"], state["value"], state["waited"]

    def _is_better(self, value: float, than: float) -> bool:
        return value > than if self.monitor is None or self.monitor.mode == "max" else value < than

    def _find(self, scored: Mapping[str, Any]) -> float:
        name = self.monitor.metric if self.monitor is not None else ""
        numbers = [metric for metric, value in scored.items() if isinstance(value, (int, float))]
        if name not in numbers:
            raise SpecError(
                Problem(
                    where="/evaluate/monitor/metric",
                    what=f'there is no metric "{name}"',
                    allowed=", ".join(numbers),
                    meant=nearest(name, numbers),
                )
            )
        return float(scored[name])
