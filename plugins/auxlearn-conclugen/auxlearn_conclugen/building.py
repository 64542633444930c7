"""From settings and the form of the inputs to the backbone."""

from __future__ import annotations

from collections.abc import Mapping

from torch import nn

from auxlearn.data import InputShape
from auxlearn.errors import Problem, SpecError, nearest, pointer
from auxlearn.learning import BuildContext, FeatureShape, Standardise
from auxlearn_conclugen.backbone import GatedEmbedding, GatedMultimodal
from auxlearn_conclugen.joins import wrong_joins
from auxlearn_conclugen.params import GatedMultimodalParams, UnitParams

__all__ = ["build_gated_multimodal"]


def build_gated_multimodal(params: GatedMultimodalParams, context: BuildContext) -> GatedMultimodal:
    """Return the backbone that `params` asks for, for the inputs of `context`.

    Raises:
        SpecError: If the data lacks an input that is named, it is no feature, or has no statistics.
    """
    features = {name: form for name, form in context.inputs.items() if form.kind == "feature"}
    if not features:
        found = ", ".join(f"{name} ({form.kind})" for name, form in context.inputs.items())
        what = f"reads precomputed features, but the data has {found or 'no inputs'}"
        raise SpecError(Problem(where="/type", what=what, fix="choose a backbone for these inputs"))
    modalities = _modalities(params, features)
    shapes = {
        name: FeatureShape(pooled=params.width, source=sum(features[one].shape[-1] for one in inputs), inputs=inputs)
        for name, inputs in modalities.items()
    }
    for name in params.units:
        if name not in modalities:
            raise SpecError(_unknown(pointer("units", name), name, modalities))
    units = {
        name: _unit(params.units.get(name, UnitParams()), shape.source or 0, params.width)
        for name, shape in shapes.items()
    }
    read = dict.fromkeys(one for inputs in modalities.values() for one in inputs)
    standardise = {name: _standardise(name, features[name]) for name in read} if params.standardize else {}
    return GatedMultimodal(units, shapes, standardise)


def _modalities(params: GatedMultimodalParams, features: Mapping[str, InputShape]) -> dict[str, tuple[str, ...]]:
    """Return the inputs of each modality, those that the spec names or else all, joined ones at their first part."""
    wrong = list(wrong_joins(params.join, features))
    if wrong:
        raise SpecError(wrong)
    home = {part: name for name, parts in params.join.items() for part in parts}
    everything = dict.fromkeys(home.get(name, name) for name in features)
    known = {**{name: (name,) for name in features}, **{name: tuple(parts) for name, parts in params.join.items()}}
    for place, name in enumerate(params.modalities or ()):
        if name not in known:
            raise SpecError(_unknown(f"/modalities/{place}", name, known))
    return {name: known[name] for name in params.modalities or everything}


def _unit(params: UnitParams, width: int, out: int) -> nn.Module:
    if params.width is None:
        return GatedEmbedding(width, out)
    return nn.Sequential(GatedEmbedding(width, params.width), nn.Linear(params.width, out))


def _standardise(name: str, form: InputShape) -> Standardise:
    if len(form.mean) != form.shape[-1]:
        what = f'the data does not tell the mean and standard deviation of "{name}"'
        raise SpecError(Problem(where="/standardize", what=what, allowed="false"))
    return Standardise.of(form)


def _unknown(where: str, name: str, known: Mapping[str, object]) -> Problem:
    what, meant = f'there is no feature "{name}"', nearest(name, known)
    return Problem(where=where, what=what, allowed=", ".join(known), meant=meant)
