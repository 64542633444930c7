"""`load_spec`: from a file, bytes or a mapping to a `Spec` in which everything is checked and filled in."""

from __future__ import annotations

import copy
import os
from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from auxlearn.errors import Problem, error_of
from auxlearn.registry import Registry, discover
from auxlearn.spec.assembly import Assembly, Selected, assemble
from auxlearn.spec.checks import check
from auxlearn.spec.models import DEFAULT_EPOCHS, Arrangement, Choice, Spec, TrainKeys
from auxlearn.spec.overrides import apply_overrides
from auxlearn.spec.pointers import Path, in_document_order
from auxlearn.spec.presets import Expanded, expand_preset
from auxlearn.spec.reading import Document, read
from auxlearn.spec.sections import COMPONENTS, SPEC_VERSION, Section
from auxlearn.spec.stages import Part, check_devices, check_sources, expand_stages, gather
from auxlearn.spec.structure import unstructure

__all__ = ["load_spec"]


def load_spec(
    source: str | os.PathLike[str] | bytes | Mapping[str, Any],
    overrides: Sequence[str] = (),
    *,
    registry: Registry | None = None,
    seed: int | None = None,
    plugins: Sequence[Any] = (),
    recorded: bool = False,
    root: str | os.PathLike[str] | None = None,
) -> Spec:
    """Read, check and complete a spec, without importing torch.

    Args:
        source: Path of a JSON file; or JSON as bytes; or a mapping, whose relative paths refer to the working folder.
        overrides: `a.b=c`, applied before anything is checked.
        registry: What is installed; by default `discover(plugins)`.
        seed: Replaces the spec's seed.
        plugins: Modules to register besides the installed plugins.
        recorded: It is what a run has recorded: that of a stage may begin from a stage beside it.
        root: The folder that relative paths refer to, instead of that of the file.

    Returns:
        The spec, with the JSON as given and with every default filled in, which is again a valid spec. One with stages
        has them in `stages`.

    Raises:
        SpecError: It is no spec; every mistake is in `error.problems`, in the order of the document.
        PluginError: A plugin that it needs is missing, broken, blocked, or offers an ambiguous name.

    Examples:
        >>> from auxlearn.errors import SpecError
        >>> from auxlearn.spec import load_spec
        >>> try:
        ...     load_spec({"auxlearn": 1, "trian": {}})
        ... except SpecError as error:
        ...     print(error.problems[-1].where, error.problems[-1].meant)
        /trian train
    """
    if registry is not None and plugins:
        raise ValueError("`plugins` should be empty where a `registry` is given; it is made by `discover(plugins)`")
    document = read(source)
    document = document if root is None else attrs.evolve(document, root=os.fspath(root))
    given = document.value
    registry = registry or discover(plugins)
    expanded, misplaced = _expanded(given, overrides, seed, registry)
    parts, misfits = expand_stages(expanded.document, recorded=recorded)
    assemblies = [_checked(part, registry) for part in parts]
    misfits += check_devices(parts, [assembly.plain.get("train") for assembly in assemblies])
    misfits += check_sources(parts, [assembly.plain for assembly in assemblies])
    unread = [path for path, _ in document.problems]
    found = [
        (path, expanded.traced(path, problem))
        for path, problem in [*misfits, *gather(parts, [assembly.problems for assembly in assemblies])]
        if not any(path[: len(one)] == one for one in unread)
    ]
    problems = in_document_order([*document.problems, *found], expanded.document)
    if misplaced or problems:
        raise error_of([*misplaced, *problems])
    specs = [_spec(assembly, document, part) for assembly, part in zip(assemblies, parts, strict=True)]
    return specs[0] if parts[0].stage is None else _whole(specs, document)


def _expanded(
    given: dict[str, Any], overrides: Sequence[str], seed: int | None, registry: Registry
) -> tuple[Expanded, list[Problem]]:
    """Change `given` by the overrides and the seed; return it laid over its preset, and what is wrong with them."""
    names = [one for one in overrides if one.startswith(("preset=", "/preset="))]
    misplaced = apply_overrides(given, names)  # first, as the preset decides what stages there are
    if overrides or seed is not None:
        whole = expand_preset(given, registry).document
        misplaced += apply_overrides(given, [one for one in overrides if one not in names], whole)
        if seed is not None:
            _set_seed(given, whole, seed)
    return expand_preset(given, registry), misplaced


def _set_seed(given: dict[str, Any], whole: Mapping[str, Any], seed: int) -> None:
    """Set the seed of the spec, for its stages too, which those of `whole`, laid over its preset, may be."""
    given["seed"] = seed
    stages = given.get("stages", whole.get("stages"))
    if isinstance(stages, list) and any(isinstance(stage, dict) and "seed" in stage for stage in stages):
        given["stages"] = stages = copy.deepcopy(stages)
    for stage in stages if isinstance(stages, list) else ():
        if isinstance(stage, dict):
            stage.pop("seed", None)


def _checked(part: Part, registry: Registry) -> Assembly:
    assembly = assemble(part.document, registry)
    check(assembly)
    return assembly


def _whole(stages: Sequence[Spec], document: Document) -> Spec:
    """Return the spec of all stages."""
    name, seed = document.value.get("name", document.name), int(document.value.get("seed", 0))
    own = ("auxlearn", "name", "plugins")
    resolved = {
        "auxlearn": SPEC_VERSION,
        "name": name,
        "seed": seed,
        "stages": [
            {"name": one.stage, **{key: value for key, value in one.resolved.items() if key not in own}}
            for one in stages
        ],
        "plugins": {name: version for one in stages for name, version in one.resolved["plugins"].items()},
    }
    whole: dict[str, Any] = {
        "name": name,
        "given": document.value,
        "resolved": resolved,
        "stage": None,
        "stages": tuple(stages),
    }
    return attrs.evolve(stages[-1], **whole)


def _spec(assembly: Assembly, document: Document, part: Part) -> Spec:
    given = assembly.document
    sections: dict[str, Any] = {}
    for section in COMPONENTS:
        chosen = {name: _completed(item) for name, item in assembly.table(section.name).items()}
        sections[section.name] = chosen if section.table else _with_inside(assembly, section)
    plain = dict(assembly.plain)
    train: TrainKeys = plain["train"]
    if train.steps is None and train.epochs is None:
        plain["train"] = attrs.evolve(train, epochs=DEFAULT_EPOCHS)
    name, seed = part.name(given.get("name", document.name)), int(given.get("seed", 0))
    resolved = {
        "auxlearn": SPEC_VERSION,
        "name": name,
        "seed": seed,
        **{section.name: _resolved(assembly, sections[section.name], (section.name,)) for section in COMPONENTS},
        **{name: unstructure(value) for name, value in plain.items()},
        "plugins": {item.found.distribution: item.found.version for item in assembly.selected.values()},
    }
    facts: dict[str, Any] = {
        "name": name,
        "seed": seed,
        "root": document.root,
        "resolved": resolved,
        "stage": part.stage,
    }
    return Spec(given=document.value if part.stage is None else given, **facts, **sections, **plain)


def _with_inside(assembly: Assembly, section: Section) -> Choice:
    """Return the choice of a section with those that stand inside of it."""
    found = {inner.name: assembly.selected.get((section.name, inner.name)) for inner in section.inside}
    inside = {name: item.choice for name, item in found.items() if item is not None}
    return attrs.evolve(_completed(assembly.selected[section.name,]), inside=inside)


def _completed(item: Selected) -> Choice:
    """Return the choice with the parts of an arrangement filled in that depend on the component."""
    choice = item.choice
    keys = choice.keys
    if not isinstance(keys, Arrangement):
        return choice
    view = keys.view or choice.provider.view
    supervise = keys.supervise if keys.supervise is not None else view == "shared"
    return attrs.evolve(choice, keys=attrs.evolve(keys, view=view, supervise=supervise))


def _resolved(assembly: Assembly, value: Choice | Mapping[str, Choice], path: Path) -> dict[str, Any]:
    if isinstance(value, Mapping):
        return {name: _resolved(assembly, choice, (*path, name)) for name, choice in value.items()}
    item = assembly.selected[path]
    inside = {
        inner.name: _resolved(assembly, value.inside[inner.name], (*path, inner.name))
        if inner.name in value.inside
        else None
        for inner in item.section.inside
    }
    return {"type": item.type, **unstructure(value.params), **unstructure(value.keys), **inside}
