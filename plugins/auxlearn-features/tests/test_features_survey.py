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
    np.testing.assert_allclose(found.std, there.std(0), rtol=1e-9, atol=1e-12)


def test_a_constant_component_has_no_spread_at_all():
    values = np.full((1000, 1, 2), 0.1, dtype=np.float32)
    values[::2, 0, 1] = 7
    found = statistics(values, np.ones(1000, dtype=np.int64), np.arange(1000))
    assert found.std[0] == 0.0
    assert found.mean[0] == float(np.float32(0.1))
    assert found.std[1] == pytest.approx(3.45)


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


def test_whole_numbers_are_vectors_too():
    found = survey(np.arange(6).reshape(3, 1, 2))
    assert found.counts.tolist() == [1, 1, 1]
    assert not found.flaws
