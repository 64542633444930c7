"""Where patches lie in an image, in whole pixels. No torch here, since a spec is checked with it."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["LEAST_PATCH", "Layout"]

LEAST_PATCH = 4


class Layout(NamedTuple):
    """A grid of 3 x 3 patches, all in pixels.

    Attributes:
        patch: Side of a patch.
        gap: Space between two of them.
        jitter: How far each patch may be moved along each axis.
    """

    patch: int
    gap: int
    jitter: int

    @classmethod
    def of(cls, side: int, *, gap: float, jitter: float) -> Layout:
        """Return the largest grid in an image of `side` pixels; gap and jitter are parts of a patch.

        Examples:
            >>> Layout.of(398, gap=1 / 2, jitter=7 / 96)  # the paper's patches
            Layout(patch=96, gap=48, jitter=7)
        """
        patch = int(side / (3 + 2 * gap + 2 * jitter))
        between = int(gap * patch)
        return cls(patch, between, min(round(jitter * patch), (side - 3 * patch - 2 * between) // 2))

    @property
    def side(self) -> int:
        """The side of all of it, with the room that the outer patches may be moved into."""
        return 3 * self.patch + 2 * self.gap + 2 * self.jitter
