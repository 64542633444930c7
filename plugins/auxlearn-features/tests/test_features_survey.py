"""What is found in arrays of vectors, against numpy on whole arrays."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from auxlearn_features import survey as module
from auxlearn_features.survey import statistics, survey


def array(rows, copies, width, seed):
    """Vectors of which each row has the first few copies, some rows none."""
    draws = np.random.default_rng(seed)
    counts = draws.integers(0, copies + 1, rows)
    values = (draws.standard_normal((rows, copies, width)) * 10 + 1000).astype(np.float32)
    values[np.arange(copies) >= counts[:, None]] = np.nan
    return values, counts


@given(st.integers(1, 40), st.integers(1, 3), st.integers(1, 5), st.integers(0, 99), st.integers(1, 64))
def test_statistics_are_those_of_all_copies_for_any_blocks_and_order(rows, copies, width, seed, block):
    values, counts = array(rows, copies, width, seed)
    chosen = np.random.default_rng(seed).permutation(rows)[: (rows + 1) // 2]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_BLOCK", block)
        found = statistics(values, counts, chosen)
        assert survey(values).counts.tolist() == counts.tolist()
    there = values[chosen].astype(np.float64).reshape(-1, width)
    there = there[~np.isnan(there).all(1)]
    if len(there) == 0:
        assert (found.mean, found.std) == ((), ())
        return
    np.testing.assert_allclose(found.mean, there.mean(0), rtol=1e-12)
    std = there.std(0)
    std[std <= 8 * np.finfo(np.float32).eps * np.abs(there.mean(0))] = 0
    np.testing.assert_allclose(found.std, std, rtol=1e-9, atol=0)


def test_a_constant_component_has_no_spread_at_all():
    values = np.full((1000, 1, 2), 0.1, dtype=np.float32)
    values[::2, 0, 1] = 7
    found = statistics(values, np.ones(1000, dtype=np.int64), np.arange(1000))
    assert found.std[0] == 0.0
    assert np.float32(found.mean[0]) == np.float32(0.1)
    assert found.std[1] == pytest.approx(3.45)


@pytest.mark.parametrize(
    ("mean", "spread", "constant"),
    [
        (1.0, 1.0e-7, True),
        (-1.0, 9.0e-7, True),
        (1.0, 1.1e-6, False),  # a few more than the roundings that are allowed for
        (1e5, 0.09, True),
        (1e5, 0.11, False),
        (1e9, 0.9, True),
        (1e9, 1.1, False),  # times, say: centred alone they would be larger than standardised
        (0.0, 1e-30, False),
        (0.0, 1e-38, True),  # not a normal number of float32: dividing by it need not be finite
    ],
)
def test_a_component_that_only_rounding_moves_is_constant(mean, spread, constant):
    values = np.array([mean - spread, mean + spread] * 50)[:, None, None]
    found = statistics(values, np.ones(100, dtype=np.int64), np.arange(100))
    assert found.std[0] == (0.0 if constant else pytest.approx(spread, rel=1e-3))
    assert found.mean[0] == pytest.approx(mean, abs=1e-6 * spread)


def test_a_mean_taken_in_float32_is_constant_in_every_order_of_its_terms():
    draws = np.random.default_rng(0)
    terms = draws.random(64).astype(np.float32)
    values = np.array([np.add.accumulate(draws.permutation(terms))[-1] / 64 for _ in range(200)], dtype=np.float32)
    assert len(set(values.tolist())) > 3
    assert statistics(values[:, None, None], np.ones(200, dtype=np.int64), np.arange(200)).std == (0.0,)


def test_equal_rows_have_equal_digests():
    values, _ = array(6, 2, 3, 0)
    values[4] = values[1]
    digests = survey(values).digests
    assert [digests[i] == digests[1] for i in range(6)] == [False, True, False, False, True, False]


def test_numbers_that_cannot_be_are_found_where_they_are():
    values = np.zeros((5, 2, 3))
    values[1, 0, 2] = np.inf
    values[2, 1] = np.nan  # a copy that is not there
    values[3, 1, :2] = np.nan
    values[4, 0] = np.nan
    found = survey(values)
    assert [(flaw.row, flaw.what) for flaw in found.flaws] == [
        (1, "has inf as component 2 of copy 0"),
        (3, "has nan as component 0 of copy 1"),
        (4, "lacks a copy before others that it has"),
    ]
    assert found.counts[[0, 2]].tolist() == [2, 1]


def test_numbers_too_large_for_float32_are_found():
    values = np.zeros((4, 2, 2))
    values[0, 0] = np.finfo(np.float32).max, -np.finfo(np.float32).max
    values[1, 1, 1] = 1e300
    values[2, 0] = np.nan, -1e39
    found = survey(values)
    assert [(flaw.row, flaw.what) for flaw in found.flaws] == [
        (1, "has 1e+300 as component 1 of copy 1, which is too large for float32"),
        (2, "has nan as component 0 of copy 0"),
    ]
    assert found.counts.tolist() == [2, 1, 1, 2]


def test_whole_numbers_are_vectors_too():
    found = survey(np.arange(6).reshape(3, 1, 2))
    assert found.counts.tolist() == [1, 1, 1]
    assert not found.flaws
