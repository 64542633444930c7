"""Parameter groups: which parameters learn, how fast, and which of them decay."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import attrs

from auxlearn.errors import Problem, SpecError
from auxlearn.learning.learner import Learner
from auxlearn.spec.models import OptimizerKeys
from auxlearn.spec.parts import unknown_parts

__all__ = ["parameter_groups"]


def parameter_groups(learner: Learner, keys: OptimizerKeys) -> list[dict[str, Any]]:
    """Return the trained parameters of `learner` in groups of equal learning rate and weight decay.

    Each group has `name`, `params`, `lr` and `weight_decay`. Biases and the parameters of normalisation layers, i.e.
    those with fewer than two dimensions, do not decay unless `keys.decay_norms`; those of the balancer never do.

    Raises:
        SpecError: If `keys.lr_scale` names a part that does not exist.
    """
    _check_scales(learner, keys.lr_scale)
    layers = _layer_factors(learner, keys.layer_decay)
    groups: dict[tuple[float, float], dict[str, Any]] = {}
    for name, parameter in learner.named_parameters():
        if not parameter.requires_grad:
            continue
        lr = keys.lr * _scale(name, keys.lr_scale) * layers.get(name, 1.0)
        # Weights of losses and the like: pulled to 0, they would mean something else.
        decays = (parameter.ndim > 1 or keys.decay_norms) and not name.startswith("balancer.")
        decay = keys.weight_decay if decays else 0.0
        group = groups.setdefault(
            (lr, decay), {"name": f"lr {lr:g}, decay {decay:g}", "params": [], "lr": lr, "weight_decay": decay}
        )
        group["params"].append(parameter)
    if not groups:
        raise SpecError(
            Problem(where="/backbone/freeze", what="nothing is left to train", fix="add a task with a head")
        )
    return list(groups.values())


def _parts(name: str) -> Iterator[str]:
    """Yield the names by which `lr_scale` may call the part that a parameter belongs to, the closest first."""
    pieces = name.split(".")
    if len(pieces) > 1:
        yield ".".join(pieces[:2])
    yield "balance" if pieces[0] == "balancer" else pieces[0]


def _scale(name: str, scales: Mapping[str, float]) -> float:
    return next((scales[part] for part in _parts(name) if part in scales), 1.0)


def _check_scales(learner: Learner, scales: Mapping[str, float]) -> None:
    named = [f"{kind}.{name}" for kind in ("primary", "pretext", "shared") for name in getattr(learner, kind)]
    problems = [
        attrs.evolve(problem, where=f"/optimizer/lr_scale/{part}") for part, problem in unknown_parts(scales, named)
    ]
    if problems:
        raise SpecError(problems)


def _layer_factors(learner: Learner, decay: float | None) -> dict[str, float]:
    """Return the factor of each backbone parameter: 1 for the last layer, `decay` times less for each below."""
    if decay is None:
        return {}
    layers = learner.backbone.layers()
    return {
        f"backbone.{name}": decay ** (len(layers) - 1 - depth) for depth, names in enumerate(layers) for name in names
    }
