"""Whether a run can go on as the same run: every difference is named."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric

from auxlearn.data import Prepared
from auxlearn.errors import CheckpointError, Problem, escape
from auxlearn.registry.provenance import drift, provenance, read_provenance, refused
from auxlearn.spec.models import LOADING, Spec
from auxlearn.spec.pointers import differences, parse
from auxlearn.training.devices import precision_of
from auxlearn.training.folder import RunFolder, environment, plugins_of
from auxlearn.training.progress import Logged, Reporter, Silent

__all__ = [
    "changes",
    "check_same_chain",
    "check_same_run",
    "free_changes",
    "plugin_changes",
    "tell_changes",
]

# Settings that cannot change a bit of the result.
_FREE = (*(f"/data/{key}" for key in LOADING), "/checkpoint")


def check_same_run(spec: Spec, folder: RunFolder, data: Prepared, fabric: Fabric, *, allow_inexact: bool) -> None:
    """Raise a CheckpointError if the run in `folder` would not go on bit for bit.

    A changed spec is always refused, but for settings that cannot change the result, such as `data.workers`. What
    changes bits only, i.e. versions, threads, devices and a data set whose fingerprint differs, is allowed with
    `allow_inexact`.
    """
    problems = changes(folder.read("resolved.json"), spec.resolved)
    if not allow_inexact:
        problems += _circumstances(spec, folder, data, fabric)
    if problems:
        raise CheckpointError(problems)


def check_same_chain(spec: Spec, folder: RunFolder) -> None:
    """Raise a CheckpointError if a stage of `spec`, done or not, is not that of the run in `folder`."""
    problems = changes(folder.read("resolved.json"), spec.resolved)
    if problems:
        raise CheckpointError(problems)


def changes(before: Mapping[str, Any], now: Mapping[str, Any], pointer: str = "") -> list[Problem]:
    """Return the differences between two resolved specs that can change the result, those of every stage."""
    stages, others = before.get("stages", ()), now.get("stages", ())
    if stages and len(stages) == len(others):
        pairs = enumerate(zip(stages, others, strict=True))
        return [problem for i, (one, other) in pairs for problem in changes(one, other, f"/stages/{i}")]
    free = [pointer + one for one in _FREE]
    # Which distributions there are; their versions are circumstances, as other versions are.
    before, now = ({**one, "plugins": sorted(one.get("plugins", ()))} for one in (before, now))
    fix = "resume means the same run; `init_from` begins a new one"
    return [
        Problem(where=where, what=f"the run was started with {old!r}, the spec now says {new!r}", fix=fix, exit_code=6)
        for where, old, new in differences(before, now, pointer)
        if not any(where == one or where.startswith(f"{one}/") for one in free)
    ]


def free_changes(before: Mapping[str, Any], now: Mapping[str, Any], pointer: str = "") -> list[str]:
    """Return the overrides that give a run what two resolved specs differ in and what cannot change the result.

    >>> free_changes({"data": {"workers": 0, "cache": None}}, {"data": {"workers": 2, "cache": None}})
    ['/data/workers=2']
    """
    stages, others = before.get("stages", ()), now.get("stages", ())
    if stages and len(stages) == len(others):
        pairs = enumerate(zip(stages, others, strict=True))
        return [one for i, (old, new) in pairs for one in free_changes(old, new, f"/stages/{i}")]
    values = {path: (_at(before, path), _at(now, path)) for path in _FREE}
    return [f"{pointer}{path}={json.dumps(new)}" for path, (old, new) in values.items() if old != new]


def _at(document: Any, pointer: str) -> Any:
    """Return what stands there; None if nothing does."""
    for step in parse(pointer):
        document = document.get(step) if isinstance(document, Mapping) else None
    return document


def _circumstances(spec: Spec, folder: RunFolder, data: Prepared, fabric: Fabric) -> list[Problem]:
    manifest = folder.read("manifest.json")
    now = environment()
    pairs: dict[str, tuple[Any, Any]] = {
        "data": (manifest["data"]["fingerprint"], data.fingerprint),
        "threads": (manifest["threads"], torch.get_num_threads()),
        "device": (manifest["device"].partition(":")[0], fabric.device.type),
        "processes": (manifest["processes"], fabric.world_size),
        "torch": (manifest["packages"]["torch"], now["packages"]["torch"]),
        "auxlearn": (manifest["packages"]["auxlearn"], now["packages"]["auxlearn"]),
    }
    told = {"precision": (manifest.get("precision"), precision_of(fabric)), "gpu": _gpus(manifest, now)}
    pairs |= {name: pair for name, pair in told.items() if None not in pair}  # earlier versions did not tell
    before = {line["section"]: f"{line['distribution']} {line['version']}" for line in manifest["plugins"]}
    current = {line["section"]: f"{line['distribution']} {line['version']}" for line in plugins_of(spec)}
    pairs |= {f"plugin of {section}": (before.get(section), current.get(section)) for section in current}
    fix = "restore it, or --allow-inexact to go on although bits may differ"
    return [
        Problem(where=f"manifest.json {name}", what=f"was {old!r}, is {new!r}", fix=fix, exit_code=6)
        for name, (old, new) in pairs.items()
        if old != new
    ]


def _gpus(manifest: Mapping[str, Any], now: Mapping[str, Any]) -> tuple[str | None, str | None]:
    """Return the name of the GPU that the run was started on, and of the one in its place."""
    kind, _, number = manifest["device"].partition(":")
    names = (dict(enumerate(facts.get("gpus", ()))) for facts in (manifest, now))
    old, new = (known.get(int(number or 0)) if kind == "cuda" else None for known in names)
    return old, new


def plugin_changes(path: Path, spec: Spec, *, locked: bool) -> Sequence[Problem]:
    """Return how the plugins that `spec` uses differ from those that the run at `path` began with.

    Raises:
        CheckpointError: If they do, or it is not known, and `locked`.
    """
    try:
        changed = drift(read_provenance(path), provenance(spec.used))
    except CheckpointError as error:
        if locked:
            raise
        return error.problems
    if locked and changed:
        raise CheckpointError(refused(changed))
    return changed


def tell_changes(changed: Sequence[Problem], folder: RunFolder, reporter: Reporter | None, *, first: bool) -> None:
    """Say how the plugins have changed since, and write it into `train.log`; `first`: this is the first process."""
    told = Logged(reporter or Silent(), folder.path / "train.log") if first else Silent()
    for problem in changed:
        told.say(f"note: {escape(problem.where, 400)}: {escape(problem.what, 400)}")
