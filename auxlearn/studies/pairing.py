"""What runs of one seed share, and what they do not: which differences between two specs break the pairing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from auxlearn.studies.cells import Cell

__all__ = ["pairing_notes", "unpaired"]

_SECTIONS = {
    "data": "its data section differs, so that it may train and be scored on other rows",
    "augment": "it augments otherwise",
    "backbone": "it has another backbone, with other initial weights",
}
_FREE_OF_DATA = ("unlabelled", "fraction", "workers", "timeout", "cache", "cache_dir")


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


def pairing_notes(resolved: Mapping[str, Mapping[str, Any]], baseline: str, cells: Iterable[Cell]) -> list[str]:
    """Return a sentence for each arm whose runs are no pairs with the baseline's in all respects.

    Args:
        resolved: The resolved spec of a run of each arm.
        baseline: The arm that the others are compared with.
        cells: The runs.
    """
    notes = {}
    for arm, spec in resolved.items():
        if found := unpaired(spec, resolved[baseline]):
            notes[arm] = f"`{arm}` is paired with `{baseline}` in part only: {'; '.join(found)}."
    done = [cell for cell in cells if cell.state == "done"]
    partners = {(cell.key.fraction, cell.key.seed): cell for cell in done if cell.key.arm == baseline}
    for cell in done:
        partner = partners.get((cell.key.fraction, cell.key.seed))
        splits = [s for s in ("train", "val", "test") if partner is not None and _differ(cell, partner, s)]
        if splits and cell.key.arm not in notes:
            notes[cell.key.arm] = f"`{cell.key.arm}` and `{baseline}` have not the same rows of {', '.join(splits)}."
    return list(notes.values())


def _differ(cell: Cell, partner: Cell, split: str) -> bool:
    ours, theirs = cell.fingerprints.get(split), partner.fingerprints.get(split)
    return ours is not None and theirs is not None and ours != theirs


def _last(resolved: Mapping[str, Any]) -> Mapping[str, Any]:
    stages: Sequence[Mapping[str, Any]] = resolved.get("stages", ())
    return stages[-1] if stages else resolved


def _section(spec: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    free = _FREE_OF_DATA if name == "data" else ()
    return {key: value for key, value in spec[name].items() if key not in free}
