"""`merge`: how a spec changes its preset, and a stage its run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["merge"]


def merge(base: Any, patch: Any) -> Any:
    """Return `base` as changed by `patch`; neither argument is changed.

    Objects are merged, all else replaces, as in a JSON Merge Patch (RFC 7396), but for two things: an object with
    another `type` replaces the whole object, since the options of one component mean nothing to another; and null
    removes objects only: it is a value like any other in the place of a number or a text. An object in the place of a
    text replaces it, so over the short form `"unlabelled": "rest"` it has to say the `type` itself.

    Examples:
        >>> from auxlearn.spec.merge import merge
        >>> base = {"train": {"epochs": 30, "ema": 0.9}, "augment": {"type": "weak", "turn": 15}, "pretext": {}}
        >>> merge(base, {"train": {"ema": None}, "augment": {"type": "none"}, "pretext": None})
        {'train': {'epochs': 30, 'ema': None}, 'augment': {'type': 'none'}}
    """
    if not isinstance(patch, Mapping):
        return patch
    merged = dict(base) if isinstance(base, Mapping) and not _of_different_types(base, patch) else {}
    for key, value in patch.items():
        if value is None and isinstance(merged.get(key), Mapping):
            del merged[key]
        else:
            merged[key] = merge(merged.get(key), value)
    return merged


def _of_different_types(base: Mapping[str, Any], patch: Mapping[str, Any]) -> bool:
    return "type" in base and "type" in patch and base["type"] != patch["type"]
