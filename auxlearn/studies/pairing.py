"""What runs of one seed share, and what they do not: which differences between two specs break the pairing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from auxlearn.spec.models import LOADING
from auxlearn.studies.cells import Cell

__all__ = ["pairing_notes", "unpaired"]

_SECTIONS = {
    "data": "its data section differs, so that it may train and be scored on other rows",
    "augment": "it augments otherwise",
    "backbone": "it has another backbone, with other initial weights",
}
_FREE_OF_DATA = ("unlabelled", "fraction", *LOADING)
# In an earlier stage all counts but this.
_FREE = ("name", "seed", "log", "checkpoint")


def unpaired(resolved: Mapping[str, Any], baseline: Mapping[str, Any]) -> list[str]:
    """Return what runs of one seed do not share because two resolved specs differ, as parts of a sentence.

    Otherwise they share the subset of the labels, the order of the rows, what the augmentation draws, and the initial
    weights of the backbone and of equal tasks: all that is random is derived from the seed and from names.
    """
    one, other = _last(resolved), _last(baseline)
    found = [text for name, text in _SECTIONS.items() if _section(one, name) != _section(other, name)]
    sizes = [spec["train"]["batch_size"] for spec in (one, other)]
    if sizes[0] != sizes[1]:
        found.append(f"its steps have {sizes[0]} rows instead of {sizes[1]}")
    if len(resolved.get("stages", ())) != len(baseline.get("stages", ())):
        found.append("it has other stages")
        return found
    if one.get("init_from") != other.get("init_from"):
        found.append("its `init_from` differs, so that it may begin with other weights")
    if _earlier(resolved) != _earlier(baseline):
        found.append("its earlier stages differ, so that the last one begins with other weights")
    return found


def pairing_notes(resolved: Mapping[str, Mapping[str, Any]], baseline: str, cells: Iterable[Cell]) -> list[str]:
    """Return a sentence for each arm whose runs are no pairs with the baseline's in all respects.

    Args:
        resolved: The resolved spec of a run of each arm.
        baseline: The arm that the others are compared with.
        cells: The runs.
    """
    notes = []
    for arm, spec in resolved.items():
        if found := unpaired(spec, resolved[baseline]):
            notes.append(f"`{arm}` is paired with `{baseline}` in part only: {'; '.join(found)}.")
    pairs = _pairs(baseline, cells)
    for arm in dict.fromkeys(cell.key.arm for cell, _ in pairs):
        mine = [(cell, partner) for cell, partner in pairs if cell.key.arm == arm]
        splits = [split for split in ("train", "val", "test") if any(_differ(*pair, split) for pair in mine)]
        if splits:
            notes.append(f"`{arm}` and `{baseline}` have not the same rows of {', '.join(splits)}.")
        if facts := _facts(mine):
            notes.append(
                f"Runs of `{arm}` and `{baseline}` differ in {', '.join(facts)}, which multiples of their times and "
                "memory measure too."
            )
    return notes


def _pairs(baseline: str, cells: Iterable[Cell]) -> list[tuple[Cell, Cell]]:
    """Return each run that is done with that of the baseline."""
    done = [cell for cell in cells if cell.state == "done"]
    partners = {(cell.key.fraction, cell.key.seed): cell for cell in done if cell.key.arm == baseline}
    found = [(cell, partners.get((cell.key.fraction, cell.key.seed))) for cell in done if cell.key.arm != baseline]
    return [(cell, partner) for cell, partner in found if partner is not None]


def _facts(pairs: Sequence[tuple[Cell, Cell]]) -> list[str]:
    """Return what of the machine differs within pairs, with the first two that do."""
    found: dict[str, str] = {}
    for machine, other in ((cell.machine, partner.machine) for cell, partner in pairs):
        for name in machine.keys() & other.keys():
            if machine[name] != other[name]:
                found.setdefault(name, f"{name} ({machine[name]}, {other[name]})")
    return [found[name] for name in sorted(found)]


def _differ(cell: Cell, partner: Cell, split: str) -> bool:
    ours, theirs = cell.fingerprints.get(split), partner.fingerprints.get(split)
    return ours is not None and theirs is not None and ours != theirs


def _last(resolved: Mapping[str, Any]) -> Mapping[str, Any]:
    stages: Sequence[Mapping[str, Any]] = resolved.get("stages", ())
    return stages[-1] if stages else resolved


def _earlier(resolved: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return what the weights that stages before the last leave depend on."""
    stages: Sequence[Mapping[str, Any]] = resolved.get("stages", ())[:-1]
    kept = [{key: value for key, value in stage.items() if key not in _FREE} for stage in stages]
    return [{**stage, "data": _without(stage["data"], _FREE_OF_DATA[1:])} for stage in kept]


def _section(spec: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    return _without(spec[name], _FREE_OF_DATA if name == "data" else ())


def _without(section: Mapping[str, Any], names: Sequence[str]) -> Mapping[str, Any]:
    return {key: value for key, value in section.items() if key not in names}
