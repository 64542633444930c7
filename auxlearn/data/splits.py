"""Which rows go where: shares, divisions and folds as pure functions of labels, groups and a seed.

All of them take numpy arrays of row-wise facts and return arrays of row numbers, ascending.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np

from auxlearn.seeds import derive_seed

__all__ = ["Rows", "codes", "fold", "group_fold", "group_share", "spread", "stratified_share"]

Rows: TypeAlias = "np.ndarray[Any, Any]"


def codes(values: Sequence[Any], *, apart: bool = False) -> Rows:
    """Return a number for each distinct value, in order of first appearance.

    Args:
        values: Labels or groups; None for a row without.
        apart: Every None is a value of its own, as a row without a group is; otherwise all are one.

    >>> codes(["b", "a", "b", None, None], apart=True).tolist()
    [0, 1, 0, 2, 3]
    """
    known: dict[Any, int] = {}
    keys = (object() if apart and value is None else value for value in values)
    return np.array([known.setdefault(key, len(known)) for key in keys], dtype=np.int64)


def spread(strata: Rows, seed: int) -> Rows:
    """Return an order of all rows, random within each stratum, that any beginning of it is a stratified sample.

    The first `k` rows hold less than one row more or less than `k` times the share of each stratum, for every
    `k`. So the samples for several `k` are nested. It is the rule of apportionment by quotas: the `j`-th row of a
    stratum with share `q` may come from place `(j - 1) / q` on and has to come by place `j / q`, and the most
    urgent comes first (Steiner & Yeomans, "Level schedules for mixed-model, just-in-time processes", Management
    Science 39(6), 1993, https://doi.org/10.1287/mnsc.39.6.728).

    Args:
        strata: The stratum of each row, as `codes` gives it.
        seed: Seed of the order.
    """
    total = len(strata)
    shuffled = _generator(seed).permutation(total)
    members = [shuffled[strata[shuffled] == stratum].tolist() for stratum in np.unique(strata)]
    waiting = [(0, which) for which in range(len(members))]  # (place from which its next row may come, stratum)
    urgent: list[tuple[int, int]] = []  # (place by which its next row has to come, stratum)
    taken = [0] * len(members)
    order: list[int] = []
    for place in range(total):
        while waiting and waiting[0][0] <= place:
            which = heapq.heappop(waiting)[1]
            heapq.heappush(urgent, (-(-(taken[which] + 1) * total // len(members[which])), which))
        which = heapq.heappop(urgent)[1]
        order.append(members[which][taken[which]])
        taken[which] += 1
        if taken[which] < len(members[which]):
            heapq.heappush(waiting, (taken[which] * total // len(members[which]), which))
    return np.array(order, dtype=np.int64)


def stratified_share(strata: Rows, share: float, seed: int) -> Rows:
    """Return `share` of the rows, each stratum by its share to within one row; smaller shares are parts of larger ones.

    >>> import numpy as np
    >>> import numpy as np
    >>> stratified_share(np.array([0] * 8 + [1] * 4), 0.25, seed=0).size
    3
    """
    return np.sort(spread(strata, seed)[: round(share * len(strata))])


def group_share(groups: Rows, share: float, seed: int) -> Rows:
    """Return about `share` of the rows, in whole groups.

    Groups are tried in random order, and each is taken that brings the number of rows nearer to the share. So it
    is off by at most half of the largest group, unless it takes a single one so as not to be empty.
    """
    sizes = np.bincount(groups)
    goal = share * len(groups)
    rows, chosen = 0, []
    for group in _generator(seed).permutation(len(sizes)).tolist():
        if abs(rows + sizes[group] - goal) <= abs(rows - goal):
            rows += sizes[group]
            chosen.append(group)
    if not chosen and share > 0:
        chosen = [int(sizes.argmin())]
    return np.flatnonzero(np.isin(groups, chosen))


def fold(strata: Rows, count: int, index: int, seed: int) -> Rows:
    """Return fold `index` of `count`: sizes, overall and in each stratum, differ by at most one between folds."""
    shuffled = _generator(seed).permutation(len(strata))
    by_stratum = shuffled[np.argsort(strata[shuffled], kind="stable")]
    return np.sort(by_stratum[index::count])


def group_fold(groups: Rows, count: int, index: int, seed: int) -> Rows:
    """Return fold `index` of `count`, in whole groups: the largest first, each to the fold with the fewest rows."""
    sizes = np.bincount(groups)
    shuffled = _generator(seed).permutation(len(sizes))
    folds = [(0, which) for which in range(count)]  # (rows, fold): a heap
    home = np.zeros(len(sizes), dtype=np.int64)
    for group in shuffled[np.argsort(-sizes[shuffled], kind="stable")].tolist():
        rows, home[group] = folds[0]
        heapq.heapreplace(folds, (rows + int(sizes[group]), int(home[group])))
    return np.flatnonzero(home[groups] == index)


def _generator(seed: int) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(derive_seed(seed, "division")))
