"""The parts of a network whose learning rate a spec may scale."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from auxlearn.errors import Problem, escape, nearest

__all__ = ["PARTS", "unknown_parts"]

PARTS = ("backbone", "primary", "pretext", "shared", "norms", "balance")
"""Those that every network has, if only in name: `norms` are the BatchNorm layers of separate statistics."""


def unknown_parts(scaled: Iterable[str], named: Iterable[str]) -> Iterator[tuple[str, Problem]]:
    """Yield those of the `scaled` parts that do not exist, and what to say of them.

    Args:
        scaled: The keys of `lr_scale`.
        named: The tasks and shared modules there are, as `<section>.<name>`.

    Examples:
        >>> from auxlearn.spec.parts import unknown_parts
        >>> [(part, problem.meant) for part, problem in unknown_parts(["norms", "pretext.puzle"], ["pretext.puzzle"])]
        [('pretext.puzle', 'pretext.puzzle')]
    """
    known = [*PARTS, *named]
    for part in scaled:
        if part not in known:
            what = f'there is no part "{escape(part)}"'
            yield part, Problem(what=what, allowed=", ".join(known), meant=nearest(part, known))
