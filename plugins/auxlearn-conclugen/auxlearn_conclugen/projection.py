"""`Projection`: the network between a representation and the space in which modalities are compared."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal

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
        raise SpecError(list(_differences(params.name, before.arguments, wanted)))
    return context.shared(params.name, Projection, **wanted)


def _differences(name: str, before: Mapping[str, Any], wanted: Mapping[str, Any]) -> Iterator[Problem]:
    """Yield each setting in which two tasks want the module that they share to differ."""
    fix = "give both tasks the same, or another `name` to one of the projections"
    for key in wanted:
        if before.get(key) == wanted[key]:
            continue
        # What the module calls its input is the width of the representation, which is nothing of the projection.
        setting = {"out": "width", "width": "name"}.get(key, key)
        of = "representations of width" if key == "width" else f"`{setting}`"
        what = f'the projection "{name}" has {of} {before.get(key)} in an earlier task, and {wanted[key]} here'
        yield Problem(where=f"/projection/{setting}", what=what, fix=fix)
