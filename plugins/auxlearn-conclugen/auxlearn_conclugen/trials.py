"""The conditions under which `auxlearn plugins check` checks what the plugin offers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["trial_of_backbone", "trial_of_clustering", "trial_of_simclr", "trial_of_task"]


def trial_of_task(*, params: Mapping[str, Any] | None = None, least_rows: int = 2) -> Any:
    """Return a trial with feature vectors of three modalities."""
    from auxlearn.data import InputShape
    from auxlearn.testing import Trial

    inputs = {
        name: InputShape(shape=(d,), dtype="float32", kind="feature", mean=(0.5,) * d, std=(2.0,) * (d - 1) + (0.0,))
        for name, d in (("video", 6), ("audio", 5), ("text", 4))
    }
    return Trial(params=params or {}, inputs=inputs, least_rows=least_rows)


def trial_of_clustering() -> Any:
    """Return a trial with a queue that wraps round, and fewer clusters than rows."""
    return trial_of_task(params={"clusters": 4, "queue": 20}, least_rows=4)


def trial_of_simclr() -> Any:
    """Return a trial with one copy of each row, of which the second view is corrupted."""
    import attrs

    known = {"one-process-equals-two": "corrupted components are those of other rows of the same process"}
    return attrs.evolve(trial_of_task(), expected_failures=known)


def trial_of_backbone() -> Any:
    """Return a trial with two modalities joined into one, and one in three copies."""
    import attrs

    from auxlearn.data import InputShape

    params = {"width": 12, "join": {"speech": ["audio", "text"]}, "units": {"video": {"width": 5}}}
    trial = trial_of_task(params=params, least_rows=1)
    copies = InputShape(shape=(3, 6), dtype="float32", kind="feature", mean=(1.0,) * 6, std=(3.0,) * 6)
    return attrs.evolve(trial, inputs={**trial.inputs, "video": copies}, compiles=True)
