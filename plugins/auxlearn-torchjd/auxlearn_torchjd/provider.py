"""What the plugin offers, told without torch."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable, Mapping
from typing import Any, Literal

import attrs

from auxlearn.errors import Problem, SpecError
from auxlearn.registry import CheckContext, Provider, hookimpl, option

__all__ = ["TorchJDParams", "auxlearn_balancers"]

# The settings of each aggregator, with their values if the spec leaves them out.
_PROJECTING: Mapping[str, Any] = {"pref_vector": None, "norm_eps": 1e-4, "reg_eps": 1e-4}
_SETTINGS: Mapping[str, Mapping[str, Any]] = {
    "UPGrad": _PROJECTING,
    "DualProj": _PROJECTING,
    "CAGrad": {"c": 0.5, "norm_eps": 1e-4},
    "MGDA": {"epsilon": 1e-3, "max_iters": 100},
    "IMTLG": {},
    "AlignedMTL": {"pref_vector": None, "scale_mode": "min"},
    "FairGrad": {"alpha": 1.0, "max_iters": None},
    "PCGrad": {},
    "Mean": {},
    "Sum": {},
    "Random": {},
}
# What an aggregator imports, and which extra of this distribution brings it.
_EXTRAS: Mapping[str, tuple[str, tuple[str, ...]]] = {"CAGrad": ("cagrad", ("cvxpy", "clarabel"))}


@attrs.frozen(kw_only=True)
class TorchJDParams:
    """Settings of the balancer `torchjd`.

    Examples:
        >>> from auxlearn_torchjd import TorchJDParams
        >>> TorchJDParams().aggregator, TorchJDParams(aggregator="CAGrad").settings()
        ('UPGrad', {'c': 0.5, 'norm_eps': 0.0001})
    """

    aggregator: Literal[
        "UPGrad",
        "DualProj",
        "CAGrad",
        "MGDA",
        "IMTLG",
        "AlignedMTL",
        "FairGrad",
        "PCGrad",
        "Mean",
        "Sum",
        "Random",
    ] = option("UPGrad", help="The class of torchjd.aggregation that combines the gradients of the tasks.")
    pref_vector: tuple[float, ...] | None = option(
        None, ge=0, help="UPGrad, DualProj, AlignedMTL: what each task counts, primary tasks first; null: all the same."
    )
    norm_eps: float | None = option(
        None,
        ge=0,
        help="If the squared norms of all tasks' gradients add up to less, UPGrad and DualProj take their mean, CAGrad "
        "takes none of them; null: 0.0001.",
    )
    reg_eps: float | None = option(
        None, gt=0, help="UPGrad, DualProj: added to the diagonal of the normalised Gramian; null: 0.0001."
    )
    c: float | None = option(None, ge=0, help="CAGrad: radius of the search around the mean gradient; null: 0.5.")
    epsilon: float | None = option(None, gt=0, help="MGDA: step below which the optimisation ends; null: 0.001.")
    max_iters: int | None = option(None, ge=1, help="MGDA, FairGrad: the most iterations; null: 100, and 100 a task.")
    alpha: float | None = option(
        None, ge=0, help="FairGrad: 0 is the mean, 1 proportional fairness, the more the closer to max-min; null: 1."
    )
    scale_mode: Literal["min", "median", "rmse"] | None = option(
        None, help="AlignedMTL: the eigenvalue that all become; null: min."
    )

    def settings(self) -> dict[str, Any]:
        """Return the settings of the aggregator, with its defaults."""
        given = {name: getattr(self, name) for name in _SETTINGS[self.aggregator]}
        return {n: _SETTINGS[self.aggregator][n] if value is None else value for n, value in given.items()}


def check(params: TorchJDParams, _context: CheckContext) -> Iterable[Problem]:
    """Find settings that the aggregator does not have, and packages that it lacks."""
    known = _SETTINGS[params.aggregator]
    for field in attrs.fields(TorchJDParams):
        if field.name != "aggregator" and field.name not in known and getattr(params, field.name) is not None:
            what = f"{params.aggregator} has no such setting"
            yield Problem(where=f"/{field.name}", what=what, allowed=", ".join(known) or "none")
    extra, modules = _EXTRAS.get(params.aggregator, ("", ()))
    missing = [name for name in modules if importlib.util.find_spec(name) is None]
    if missing:
        yield Problem(
            where="/aggregator",
            what=f"{params.aggregator} needs {' and '.join(missing)}, not installed",
            fix=f'pip install "auxlearn-torchjd[{extra}]"',
        )


def build(params: TorchJDParams, context: Any) -> Any:
    """Make the balancer for the tasks of `context`."""
    from auxlearn_torchjd.balancer import TorchJD

    settings = params.settings()
    preferences = settings.get("pref_vector")
    if preferences is not None and len(preferences) != len(context.tasks):
        what = f"has {len(preferences)} values for {len(context.tasks)} tasks"
        raise SpecError(Problem(where="/pref_vector", what=what, allowed=f"one for each of {', '.join(context.tasks)}"))
    return TorchJD(params.aggregator, context.tasks, **settings)


def trial() -> Any:
    """Return the conditions of the checks."""
    from auxlearn.testing import Trial

    return Trial(expected_failures={"no-host-read": "torchjd solves on the host: one small matrix a step is read"})


@hookimpl
def auxlearn_balancers() -> Iterable[Provider]:
    """Offer `torchjd`."""
    yield Provider(
        name="torchjd",
        summary="Aggregators of TorchJD on the gradients of tasks: UPGrad, MGDA, CAGrad, ... (arXiv 2406.16232).",
        params=TorchJDParams,
        build=build,
        check=check,
        needs="gradients",
        trial=trial,
    )
