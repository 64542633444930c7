"""`merge`: JSON Merge Patch, by which a stage changes its run and a spec changes its preset."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["merge"]


def merge(base: Any, patch: Any) -> Any:
    """Return `base` as changed by `patch` (RFC 7396): objects are merged, null removes a key, all else replaces.

    Neither argument is changed.

    Examples:
        >>> from auxlearn.spec.merge import merge
        >>> merge({"train": {"epochs": 30, "batch_size": 64}, "pretext": {}}, {"train": {"epochs": 5}, "pretext": None})
        {'train': {'epochs': 5, 'batch_size': 64}}
    """
    if not isinstance(patch, Mapping):
        return patch
    merged = dict(base) if isinstance(base, Mapping) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = merge(merged.get(key), value)
    return merged
