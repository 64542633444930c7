"""Names of splits and classes as people write them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

__all__ = ["class_order", "split_name"]

_ALIASES = {"valid": "val", "validation": "val"}


def split_name(given: str, splits: Mapping[str, str]) -> str:
    """Return the split that `given` stands for.

    >>> split_name("validation", {}), split_name("Training", {"Training": "train"})
    ('val', 'train')
    """
    return splits.get(given, _ALIASES.get(given, given))


def class_order(found: Iterable[str], declared: Sequence[str] = ()) -> tuple[str, ...]:
    """Return the class names in the order of their indices: as declared, or sorted, whole numbers by value.

    >>> class_order({"10", "9"}), class_order({"b", "a"}), class_order({"b", "a"}, ["b"])
    (('9', '10'), ('a', 'b'), ('b',))
    """
    names = set(found)
    if declared:
        return tuple(declared)
    numbers = all(name.isascii() and name.isdigit() for name in names)
    return tuple(sorted(names, key=lambda name: (int(name), name) if numbers else (0, name)))
