"""Means, paired differences and tests against hand-computed cases, formulas and scipy's own paired tests."""

from __future__ import annotations

import itertools
import math

import attrs
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from auxlearn.errors import EnvironmentProblem
from auxlearn.studies import statistics
from auxlearn.studies.statistics import estimate, holm, paired, smallest_p

SCORES = st.floats(-1, 1, allow_nan=False, width=32)
PAIRS = st.lists(st.tuples(SCORES, SCORES), min_size=2, max_size=8)


def by_seed(values):
    return dict(enumerate(values))


def test_a_mean_by_hand():
    # Deviations -2, 0, 2: variance 4, standard error 2 / sqrt(3); t with 2 degrees of freedom at 0.975 is 4.3027.
    found = estimate([1.0, 3.0, 5.0])
    assert (found.mean, found.count) == (3.0, 3)
    assert found.error == pytest.approx(2 / math.sqrt(3))
    assert found.high - found.mean == pytest.approx(4.30265 * 2 / math.sqrt(3), rel=1e-5)


def test_one_value_has_no_interval_and_equal_values_no_width():
    assert estimate([0.4]) == statistics.Estimate(mean=0.4, error=None, low=None, high=None, count=1)
    assert attrs.astuple(estimate([0.1] * 5)) == (0.1, 0.0, 0.1, 0.1, 5)


def test_a_paired_difference_by_hand():
    # Differences 1, 2, 3, all positive: of the 8 choices of signs, +++ and --- are as far from 0 as the mean 2.
    found = paired({0: 2.0, 1: 4.0, 2: 6.0}, {0: 1.0, 1: 2.0, 2: 3.0})
    assert (found.mean, found.p, found.count, found.sign) == (2.0, 0.25, 3, 0)


@given(PAIRS)
def test_the_interval_is_that_of_the_paired_t_test(pairs):
    one, other = map(np.array, zip(*pairs, strict=True))
    found = paired(by_seed(one), by_seed(other))
    if np.ptp(one - other) > 1e-6:
        interval = stats.ttest_rel(one, other).confidence_interval(0.95)
        np.testing.assert_allclose([found.low, found.high], interval, rtol=1e-6, atol=1e-9)


def share(numerator, rows):
    """Return what a metric that is computed in float32 says of so many rows."""
    return float(np.float32(numerator / rows))


def test_signs_that_tie_count_by_hand():
    # Of the 256 choices of signs 10 put the sum of the gains farther from 0 than 30, and 8 just as far.
    hits, gains = [642, 657, 660, 665, 663, 670, 661, 642], [9, -2, 8, -2, 3, 8, 2, 4]
    after = [share(hit + gain, 780) for hit, gain in zip(hits, gains, strict=True)]
    assert paired(by_seed(after), by_seed([share(hit, 780) for hit in hits])).p == 18 / 256


HITS_AND_GAINS = st.lists(st.tuples(st.floats(0.05, 0.9), st.integers(-4, 8)), min_size=2, max_size=10)


@given(HITS_AND_GAINS, st.integers(100, 20_000))
def test_the_p_value_is_the_share_of_signs_as_extreme(pairs, rows):
    hits, gains = [int(rows * hit) for hit, _ in pairs], [gain for _, gain in pairs]
    after = [share(hit + gain, rows) for hit, gain in zip(hits, gains, strict=True)]
    found = paired(by_seed(after), by_seed([share(hit, rows) for hit in hits]))
    sums = [int(np.dot(gains, signs)) for signs in itertools.product((1, -1), repeat=len(gains))]
    assert found.p == sum(abs(one) >= abs(sum(gains)) for one in sums) / len(sums)


@given(PAIRS, st.randoms())
def test_the_order_of_seeds_changes_no_bit(pairs, random):
    seeds = list(range(len(pairs)))
    random.shuffle(seeds)
    one = paired({s: pairs[s][0] for s in seeds}, {s: pairs[s][1] for s in seeds})
    other = paired(by_seed([a for a, _ in pairs]), by_seed([b for _, b in pairs]))
    assert one == other


@given(PAIRS)
def test_swapping_the_arms_flips_the_signs(pairs):
    one, other = by_seed([a for a, _ in pairs]), by_seed([b for _, b in pairs])
    there, back = paired(one, other), paired(other, one)
    np.testing.assert_allclose([there.mean, there.low, there.high], [-back.mean, -back.high, -back.low], atol=1e-12)
    assert (there.error, there.p) == (pytest.approx(back.error, abs=1e-12), back.p)


def test_only_common_seeds_are_pairs():
    assert paired({0: 1.0, 1: 2.0, 5: 9.0}, {1: 1.0, 0: 1.0, 7: 3.0}).mean == 0.5
    assert paired({0: 1.0}, {1: 1.0}) is None


def test_the_smallest_p_is_reached_and_no_smaller_one():
    for pairs in range(1, 8):
        assert paired(by_seed(range(1, pairs + 1)), by_seed([0.0] * pairs)).p == smallest_p(pairs)


def test_with_many_pairs_signs_are_drawn_the_same_each_time():
    values, zeros = by_seed(np.linspace(-0.1, 0.3, 20)), by_seed([0.0] * 20)
    found = paired(values, zeros)
    assert found == paired(values, zeros)
    assert found.p == pytest.approx(stats.ttest_rel([*values.values()], [*zeros.values()]).pvalue, abs=0.005)
    assert paired(by_seed([1.0] * 20), zeros).p == pytest.approx(smallest_p(20))


def test_holm_by_hand():
    def with_p(p):
        return attrs.evolve(paired({0: 1.0, 1: 2.0}, {0: 0.0, 1: 0.0}), p=p, p_holm=p)

    # 0.01 * 4; 0.02 * 3; 0.03 * 2, raised to the one before; 0.9 * 1.
    found = holm([with_p(0.03), with_p(0.01), with_p(0.9), with_p(0.02)])
    assert [one.p_holm for one in found] == pytest.approx([0.06, 0.04, 0.9, 0.06])
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), max_size=8))
def test_holm_is_between_none_and_bonferroni(values):
    made = [attrs.evolve(paired({0: 1.0, 1: 2.0}, {0: 0.0, 1: 0.0}), p=p) for p in values]
    for one in holm(made):
        assert one.p <= one.p_holm <= min(1.0, len(values) * one.p)


def test_a_missing_package_is_told_with_the_line_that_helps(monkeypatch):
    def absent(name):
        raise ModuleNotFoundError(name)

    monkeypatch.setattr(statistics.importlib, "import_module", absent)
    with pytest.raises(EnvironmentProblem, match=r'scipy.*pip install "auxlearn\[study\]"'):
        statistics.require_extra()
