"""From the record of a run to its model, without the data, and without the plugins that only training needs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from torch import Tensor

from auxlearn.data import DataContext
from auxlearn.errors import CheckpointError, DataError, Problem, error_of
from auxlearn.learning import PrimaryTask
from auxlearn.registry import Found, Provider, Registry
from auxlearn.results.model import TrainedModel
from auxlearn.spec.assembly import assemble
from auxlearn.spec.models import Spec
from auxlearn.spec.sections import COMPONENTS
from auxlearn.training.build import DataShape, build_learner

__all__ = ["build_model", "kept_sections", "load_weights", "read_kept"]

_KEPT = ("auxlearn", "name", "seed", "augment", "backbone", "primary", "train")
_PARTS = ("backbone.", "primary.", "shared.")
_RECORDED = "recorded"
_MOST_KEYS = 5


def kept_sections(resolved: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a trained model is made of, from a resolved spec."""
    missing = [name for name in _KEPT if name not in resolved]
    if missing:
        raise CheckpointError(Problem(what=f"the resolved spec of the run lacks {', '.join(missing)}", exit_code=6))
    return {name: resolved[name] for name in _KEPT}


def read_kept(resolved: Mapping[str, Any], registry: Registry) -> Spec:
    """Return those sections of a resolved spec that the trained model is made of; pretext tasks are left out.

    Raises:
        PluginError: If the plugin of a part that is needed is missing.
        SpecError: If a plugin no longer knows the settings of its part.
    """
    registry = Registry((*registry.found, _recorded()), registry.broken, registry.blocked)
    document = {**kept_sections(resolved), "data": {"type": _RECORDED}}
    assembly = assemble(document, registry)
    if assembly.problems:
        raise error_of([problem for _, problem in assembly.problems])
    components = (section.name for section in COMPONENTS if not section.table)
    sections: dict[str, Any] = {name: assembly.selected[name,].choice for name in components} | assembly.plain
    return Spec(
        name=resolved["name"],
        seed=resolved["seed"],
        primary={name: item.choice for name, item in assembly.table("primary").items()},
        pretext={},
        root=".",
        given=document,
        resolved=document,
        **sections,
    )


def build_model(resolved: Mapping[str, Any], shape: DataShape, registry: Registry) -> TrainedModel:
    """Return the model of a resolved spec with weights that mean nothing yet, for data of `shape`."""
    spec = read_kept(resolved, registry)
    learner = build_learner(spec, shape, restoring=True)
    primary = cast(dict[str, PrimaryTask], dict(learner.primary.items()))
    return TrainedModel(learner.backbone, primary, learner.augmentation.preprocess, shape, choices=spec.choices)


def load_weights(model: TrainedModel, tensors: Mapping[str, Tensor], where: str) -> None:
    """Load the weights of a training state into `model`; those of auxiliary parts are passed over.

    Raises:
        CheckpointError: If a weight is missing, superfluous, or of another shape.
    """
    needed = model.state_dict()
    given = {name: t for name, t in tensors.items() if name.startswith(_PARTS)}
    # Shared modules that only pretext tasks used are auxiliary.
    given = {name: t for name, t in given.items() if name in needed or not name.startswith("shared.")}
    faults = [f"{name} is missing" for name in needed.keys() - given.keys()]
    faults += [f"{name} is unknown" for name in given.keys() - needed.keys()]
    faults += [
        f"{name} is {list(given[name].shape)}, not {list(tensor.shape)}"
        for name, tensor in needed.items()
        if name in given and given[name].shape != tensor.shape
    ]
    if faults:
        shown = "; ".join(sorted(faults)[:_MOST_KEYS])
        more = f"; and {len(faults) - _MOST_KEYS} more" if len(faults) > _MOST_KEYS else ""
        raise CheckpointError(Problem(where=where, what=f"the weights do not fit the model: {shown}{more}"))
    model.load_state_dict(given, strict=True)


def _recorded() -> Found:
    """Return a stand-in for the data source, since a model is built from what the run has recorded about its data."""

    def build(_params: Any, _context: DataContext) -> Any:
        raise DataError("the model was loaded without its data")

    provider = Provider(name=_RECORDED, summary="What a run has recorded about its data.", build=build)
    return Found(kind="data_source", provider=provider, distribution="auxlearn", version="", entry_point="", file="")
