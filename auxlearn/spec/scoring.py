"""How a run is scored: when, by what, and which metric says that it is the best."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import attrs

from auxlearn.registry import option

__all__ = ["EvaluateKeys", "Knn", "Monitor"]


@attrs.frozen(kw_only=True)
class Monitor:
    """The metric that says which checkpoint is the best."""

    metric: str = option(help="E.g. `emotion/accuracy`: task and metric, on `val`; or `knn/expression/accuracy`.")
    mode: Literal["max", "min"] = option("max", help="Whether more or less is better.")


@attrs.frozen(kw_only=True)
class Knn:
    """Weighted nearest neighbours among training rows, for one class target."""

    k: int = option(20, ge=1, help="Neighbours that vote.")
    temperature: float = option(0.07, gt=0, help="A vote weighs exp(similarity / temperature).")
    rows: int | None = option(10000, ge=1, help="Training rows to look among, drawn by the run's seed; null: all.")


@attrs.frozen(kw_only=True)
class EvaluateKeys:
    """`evaluate`: scoring during and after training."""

    every_epochs: int = option(1, ge=1, help="Score `val` after every so many epochs, and at the end.")
    batch_size: int | None = option(None, ge=1, help="Rows scored at once; null: as in training.")
    monitor: Monitor | None = option(
        None, help="Null: the first metric of the first primary task, probes last; without one, of `knn`."
    )
    patience: int | None = option(None, ge=1, help="Stop after so many scorings without improvement.")
    knn: Mapping[str, Knn] = option(
        attrs.Factory(dict), help="Score the features by nearest neighbours too: settings by class target."
    )
    test: bool = option(True, help="Score `test` once, at the end, with the selected weights.")
