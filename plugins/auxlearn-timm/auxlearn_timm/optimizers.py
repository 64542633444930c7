"""timm's optimizers on the parameter groups of auxlearn."""

from __future__ import annotations

from typing import Any

import timm
import timm.optim
from torch.optim import Optimizer

from auxlearn.errors import EnvironmentProblem, Problem, SpecError, escape, nearest
from auxlearn_timm import TimmOptimizerParams

__all__ = ["build_optimizer"]

# timm is marked as typed, but does not say which names it exports.
_timm: Any = timm.optim


def build_optimizer(params: TimmOptimizerParams, groups: list[dict[str, Any]]) -> Optimizer:
    """Return timm's optimizer `params.name` for parameter groups that have their own `lr` and `weight_decay`.

    Raises:
        SpecError: If timm has no such optimizer, or it lacks or refuses a setting that is given.
        EnvironmentProblem: If it needs a GPU or a package that is not here (the names on `apex` and `bnb`).

    Examples:
        >>> import torch
        >>> from auxlearn_timm import TimmOptimizerParams
        >>> from auxlearn_timm.optimizers import build_optimizer
        >>> weights = torch.nn.Parameter(torch.ones(2, 2))
        >>> groups = [{"params": [weights], "lr": 1e-3, "weight_decay": 0.05}]
        >>> type(build_optimizer(TimmOptimizerParams(name="adabelief"), groups)).__name__
        'AdaBelief'
    """
    _check(params)
    given = {"momentum": params.momentum, "betas": params.betas, "eps": params.eps}
    settings = {name: value for name, value in given.items() if value is not None}
    try:
        optimizer: Optimizer = _timm.create_optimizer_v2(groups, opt=params.name, lr=groups[0]["lr"], **settings)
    except ValueError as error:
        raise SpecError(Problem(where="/name", what=f'optimizer "{params.name}": {escape(error, 200)}')) from error
    except (ImportError, AssertionError) as error:
        raise EnvironmentProblem(
            Problem(where="/name", what=f'optimizer "{params.name}" cannot be used here: {escape(error, 200)}')
        ) from error
    if not params.lookahead:
        return optimizer
    wrapped: Optimizer = _timm.Lookahead(optimizer, alpha=params.lookahead_rate, k=params.lookahead_steps)
    return wrapped


def _check(params: TimmOptimizerParams) -> None:
    """Raise a SpecError with everything wrong about `params`."""
    known = [name for name in _timm.list_optimizers() if not _timm.get_optimizer_info(name).second_order]
    if params.name not in known:
        raise SpecError(
            Problem(
                where="/name",
                what=f'timm {timm.__version__} has no first-order optimizer "{escape(params.name)}"',
                allowed=", ".join(known),
                meant=nearest(params.name.lower(), known),
            )
        )
    info = _timm.get_optimizer_info(params.name)
    problems = [
        Problem(where=f"/{name}", what=f'optimizer "{params.name}" has no `{name}`', fix="leave it out")
        for name, given, has in (
            ("momentum", params.momentum, info.has_momentum),
            ("betas", params.betas, info.has_betas),
            ("eps", params.eps, info.has_eps),
        )
        if given is not None and not has
    ]
    if params.betas is not None and info.has_betas and len(params.betas) != info.num_betas:
        problems.append(
            Problem(where="/betas", what=f"there are {len(params.betas)} numbers", allowed=f"{info.num_betas} numbers")
        )
    if problems:
        raise SpecError(problems)
