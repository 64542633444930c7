"""`Projection`: the network between a representation and the space in which modalities are compared."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import attrs
from torch import nn

from auxlearn.errors import Problem, SpecError
from auxlearn.learning import BuildContext, Shared
from auxlearn_conclugen.params import ProjectionParams

__all__ = ["Projection", "shared_projection"]

_LEAST_HIDDEN = 16  # of a small representation, an eighth would say next to nothing
_NORMS = {"layer": nn.LayerNorm, "batch": nn.BatchNorm1d}


class Projection(nn.Sequential):
    """A linear layer, a normalisation, ReLU and a linear layer, the same for all modalities.

    It is the projection of ConCluGen ([arXiv 2404.10904](https://arxiv.org/abs/2404.10904)), whose authors' code has
    BatchNorm in it and a ReLU at its end. LayerNorm, the default here, treats each row on its own: many processes give
    exactly what one gives, and rows that lack a modality do not disturb the others. A ReLU at the end leaves only
    similarities of at least 0, and lets outputs die.

    Args:
        width: Width of the representation.
        out: Width of the projection.
        hidden: Width between.
        norm: The normalisation.
        final_relu: End in ReLU.

    Examples:
        >>> from auxlearn_conclugen import Projection
        >>> [type(layer).__name__ for layer in Projection(16, out=4, hidden=2)]
        ['Linear', 'LayerNorm', 'ReLU', 'Linear']
    """

    def __init__(
        self,
        width: int,
        *,
        out: int,
        hidden: int,
        norm: Literal["layer", "batch", "none"] = "layer",
        final_relu: bool = False,
    ) -> None:
        between = [_NORMS[norm](hidden)] if norm in _NORMS else []
        last = [nn.ReLU()] if final_relu else []
        super().__init__(nn.Linear(width, hidden), *between, nn.ReLU(), nn.Linear(hidden, out), *last)


def shared_projection(params: ProjectionParams, context: BuildContext, modalities: Iterable[str]) -> Shared:
    """Return the projection that all tasks share which ask for its name.

    Args:
        params: Its settings.
        context: What the task is built with.
        modalities: Whose representations it will see.

    Raises:
        SpecError: If their widths differ, or another task asked for it with other settings.
    """
    widths = {name: context.features[name].pooled for name in modalities}
    width = next(iter(widths.values()))
    if len(set(widths.values())) > 1:
        found = ", ".join(f"{name} {one}" for name, one in widths.items())
        what = f"one projection for all modalities needs representations of one width, found {found}"
        raise SpecError(Problem(where="/projection", what=what, fix="choose a backbone that gives all the same width"))
    wanted = {
        "width": width,
        "out": params.width,
        "hidden": params.hidden or max(_LEAST_HIDDEN, width // 8),
        "norm": params.norm,
        "final_relu": params.final_relu,
    }
    before = context.shared_modules.get(params.name)
    if before is not None and before.arguments != wanted:
        names = attrs.fields_dict(ProjectionParams)
        differing = [key for key, value in wanted.items() if before.arguments.get(key) != value]
        where = {"out": "width", "width": "name"}.get(differing[0], differing[0])
        what = f'a task before shares the module "{params.name}" with other settings: {before.arguments}, here {wanted}'
        fix = "give both tasks the same settings, or another name to one of them"
        raise SpecError(Problem(where=f"/projection/{where if where in names else 'name'}", what=what, fix=fix))
    return context.shared(params.name, Projection, **wanted)
