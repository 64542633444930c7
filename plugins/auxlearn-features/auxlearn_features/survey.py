"""What is in an array of feature vectors: which rows have some, whether they are finite, their statistics.

Arrays are gone through in blocks of rows, so that one that is mapped from a file need not fit into memory.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any, TypeAlias

import attrs
import numpy as np

__all__ = ["Array", "Flaw", "Statistics", "Survey", "fits", "statistics", "survey"]

Array: TypeAlias = "np.ndarray[Any, Any]"

_BLOCK = 1 << 18  # numbers that are looked at together
_SINGLE = np.finfo(np.float32)
_NOISE = 8 * float(_SINGLE.eps)  # what a few roundings to float32 make of a constant, relative to it


@attrs.frozen
class Flaw:
    """A row whose vectors cannot be used, and why."""

    row: int
    what: str


@attrs.frozen(eq=False)
class Survey:
    """What is in one array of vectors [rows, copies, width].

    Attributes:
        counts: How many copies each row has, 0 for a row that lacks the modality: int64 [rows].
        digests: A hash of each row's numbers.
        flaws: The rows with numbers that are not finite, or would not be in float32.
    """

    counts: Array
    digests: tuple[bytes, ...]
    flaws: tuple[Flaw, ...]


@attrs.frozen
class Statistics:
    """Mean and (population) standard deviation of each component; both empty if there was no row."""

    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()


def fits(values: Array) -> bool:
    """Return whether all numbers that are finite are so in float32 too.

    >>> import numpy as np
    >>> from auxlearn_features.survey import fits
    >>> fits(np.array([1e30, np.inf])), fits(np.array([1e300]))
    (True, False)
    """
    return bool((np.isfinite(_single(values)) | ~np.isfinite(values)).all())


def survey(values: Array) -> Survey:
    """Return what is in `values`: a copy that is NaN throughout is one that is not there.

    Args:
        values: Feature vectors [rows, copies, width].

    Examples:
        >>> import numpy as np
        >>> from auxlearn_features.survey import survey
        >>> found = survey(np.array([[[1.0, 2.0]], [[np.nan, np.nan]], [[np.nan, 2.0]]]))
        >>> found.counts.tolist(), [flaw.what for flaw in found.flaws]
        ([1, 0, 0], ['has nan as component 0 of copy 0'])
    """
    counts, digests, flaws = np.zeros(len(values), dtype=np.int64), [], []
    for start, block in _blocks(values, np.arange(len(values))):
        whole = np.logical_and.reduce(np.isfinite(_single(block)), axis=2)
        counts[start : start + len(block)] = whole.sum(1)
        for row in np.flatnonzero(~whole.all(1)).tolist():
            what = _flaw(block[row])
            if what is not None:
                flaws.append(Flaw(start + row, what))
        digests += [hashlib.blake2b(row.tobytes(), digest_size=16).digest() for row in block]
    return Survey(counts, tuple(digests), tuple(flaws))


def statistics(values: Array, counts: Array, rows: Array) -> Statistics:
    """Return mean and standard deviation over all copies of those of `rows` that have some.

    Blocks are summed in float64 and merged by the update of Chan, Golub & LeVeque ("Algorithms for computing the sample
    variance", The American Statistician 37(3), 1983). The standard deviation of a constant component is exactly 0; and
    so is one of at most 1 that is below 8 roundings of float32, 9.5e-7 of the mean: divided by it, mere noise of
    rounding would become as large as what other components tell. (One above 1 makes noise smaller, not larger.)

    Args:
        values: Feature vectors [rows, copies, width].
        counts: How many copies each row has.
        rows: The rows to look at.

    Examples:
        >>> import numpy as np
        >>> from auxlearn_features.survey import statistics
        >>> values = np.array([[[1.0, 5.0]], [[3.0, 5.0]], [[9.0, 9.0]]])
        >>> found = statistics(values, np.array([1, 1, 1]), np.array([0, 1]))
        >>> found.mean, found.std
        ((2.0, 5.0), (1.0, 0.0))
    """
    seen, width = 0, values.shape[2]
    mean, squares = np.zeros(width), np.zeros(width)
    rows = rows[counts[rows] > 0]
    for start, block in _blocks(values, rows):
        there = np.arange(values.shape[1]) < counts[rows[start : start + len(block)], None]
        given = block.reshape(-1, width) if there.all() else block[there]
        own = given.mean(0, dtype=np.float64)
        spread = given - own
        apart, total = own - mean, seen + len(given)
        mean += apart * (len(given) / total)
        squares += np.einsum("ij,ij->j", spread, spread) + apart**2 * (seen * len(given) / total)
        seen = total
    if not seen:
        return Statistics()
    std = np.sqrt(squares / seen)
    std[std <= np.clip(_NOISE * np.abs(mean), float(_SINGLE.tiny), 1.0)] = 0.0
    return Statistics(tuple(mean.tolist()), tuple(std.tolist()))


def _single(values: Array) -> Array:
    """Return `values` as float32, as they are shown: too large ones are infinite."""
    with np.errstate(over="ignore"):
        return values.astype(np.float32, copy=False)


def _flaw(copies: Array) -> str | None:
    """Return what is wrong with a row that does not have all of its copies, if anything."""
    finite = np.isfinite(_single(copies))
    absent, whole = (np.logical_and.reduce(flags, axis=1) for flags in (np.isnan(copies), finite))
    for copy in np.flatnonzero(~absent & ~whole).tolist():
        place = int(np.flatnonzero(~finite[copy])[0])
        found = copies[copy, place]
        too_large = ", which is too large for float32" if np.isfinite(found) else ""
        return f"has {found} as component {place} of copy {copy}{too_large}"
    return "lacks a copy before others that it has" if (whole[1:] & absent[:-1]).any() else None


def _blocks(values: Array, rows: Array) -> Iterator[tuple[int, Array]]:
    """Yield these rows of `values` in blocks, each with the place of its first row in `rows`."""
    size = max(1, _BLOCK // max(1, values.shape[1] * values.shape[2]))
    for start in range(0, len(rows), size):
        own = rows[start : start + size]
        beside = own[-1] - own[0] == len(own) - 1 and (np.diff(own) == 1).all()
        yield start, np.asarray(values[own[0] : own[-1] + 1] if beside else values[own])
