"""Laws of shares, divisions and folds."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from auxlearn.data.splits import codes, fold, group_fold, group_share, spread, stratified_share

strata = st.lists(st.integers(0, 6), min_size=1, max_size=80).map(codes)
seeds = st.integers(0, 2**32)
shares = st.floats(0.0, 1.0)


def test_codes_by_hand():
    assert codes(["b", "a", "b", None, None]).tolist() == [0, 1, 0, 2, 2]
    assert codes(["b", None, None, "b"], apart=True).tolist() == [0, 1, 2, 0]


@given(strata, seeds)
def test_every_beginning_of_a_spread_is_stratified_to_within_a_row(strata, seed):
    order = spread(strata, seed)
    assert sorted(order) == list(range(len(strata)))
    counts = np.eye(strata.max() + 1)[strata[order]].cumsum(0)
    ideal = np.arange(1, len(strata) + 1)[:, None] * np.bincount(strata) / len(strata)
    assert np.abs(counts - ideal).max() < 1


@given(strata, seeds, shares, shares)
def test_shares_are_stratified_and_nested(strata, seed, one, other):
    small, large = (stratified_share(strata, share, seed) for share in sorted((one, other)))
    assert set(small) <= set(large)
    assert len(large) == round(max(one, other) * len(strata))
    assert list(large) == sorted(set(large))


def test_a_fraction_by_hand():
    # 20 of 0, 10 of 1, 4 of 2: a half is 10, 5, 2.
    rows = np.array([0] * 20 + [1] * 10 + [2] * 4)
    assert np.bincount(rows[stratified_share(rows, 0.5, 3)]).tolist() == [10, 5, 2]


def test_seeds_give_other_rows():
    rows = np.zeros(100, dtype=np.int64)
    assert set(stratified_share(rows, 0.3, 0)) != set(stratified_share(rows, 0.3, 1))
    assert list(stratified_share(rows, 0.3, 0)) == list(stratified_share(rows, 0.3, 0))


@given(strata, seeds, st.integers(2, 6))
def test_folds_are_disjoint_complete_and_stratified(strata, seed, count):
    folds = [fold(strata, count, index, seed) for index in range(count)]
    assert sorted(np.concatenate(folds)) == list(range(len(strata)))
    sizes = [len(rows) for rows in folds]
    assert max(sizes) - min(sizes) <= 1
    per_class = np.array([np.bincount(strata[rows], minlength=7) for rows in folds])
    assert (per_class.max(0) - per_class.min(0)).max() <= 1


@given(strata, seeds, shares)
def test_groups_are_never_divided_and_the_share_is_near(groups, seed, share):
    rows = group_share(groups, share, seed)
    inside = np.isin(np.arange(len(groups)), rows)
    assert not set(groups[inside]) & set(groups[~inside])
    largest = np.bincount(groups).max()
    alone = len(set(groups[inside])) == 1
    assert abs(len(rows) - share * len(groups)) <= largest / 2 or alone


@given(strata, seeds, st.integers(2, 6))
def test_group_folds_are_disjoint_complete_and_even(groups, seed, count):
    folds = [group_fold(groups, count, index, seed) for index in range(count)]
    assert sorted(np.concatenate(folds)) == list(range(len(groups)))
    homes = {}
    for index, rows in enumerate(folds):
        for group in groups[rows]:
            assert homes.setdefault(group, index) == index
    sizes = [len(rows) for rows in folds]
    assert max(sizes) - min(sizes) <= np.bincount(groups).max()


@pytest.mark.parametrize("share", [0.01, 0.2, 0.5])
def test_a_share_of_few_large_groups_is_not_empty(share):
    assert len(group_share(np.array([0] * 10 + [1] * 10), share, 0)) == 10
