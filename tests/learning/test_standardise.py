"""Feature vectors by their statistics."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from auxlearn.data import InputShape
from auxlearn.learning import Standardise


def form(mean=(), std=(), shape=(3,)):
    return InputShape(shape=shape, dtype="float32", kind="feature", mean=mean, std=std)


@given(arrays.arrays(np.float32, (6, 3), elements=st.floats(-100, 100, width=32)))
def test_the_rows_that_were_measured_have_mean_zero_and_deviation_one(rows):
    wide = rows.astype(np.float64)
    mean, std = wide.mean(0), np.where(np.ptp(wide, 0) == 0, 0, wide.std(0))
    found = Standardise.of(form(tuple(mean), tuple(std))).double()(torch.from_numpy(wide)).numpy()
    varying = std > 1e-3
    np.testing.assert_allclose(found.mean(0)[varying], 0, atol=0.1)  # the statistics are float32
    np.testing.assert_allclose(found.std(0)[varying], 1, rtol=1e-5)


def test_a_component_that_does_not_vary_is_only_centred():
    one = Standardise((1.0, 2.0), (0.0, 4.0))
    assert one(torch.tensor([[3.0, 4.0]])).tolist() == [[2.0, 0.5]]
    assert sorted(one.state_dict()) == ["mean", "std"]
    assert not list(one.parameters())


def test_without_statistics_nothing_changes_and_of_several_copies_each_is_standardised():
    rows = torch.randn(4, 2, 3)
    assert torch.equal(Standardise.of(form(shape=(2, 3)))(rows), rows)
    one = Standardise.of(form((1.0, 2.0, 3.0), (2.0, 2.0, 2.0), shape=(2, 3)))
    assert torch.equal(one(rows)[:, 1], one(rows[:, 1]))


@pytest.mark.parametrize("sizes", [(1, 3), (3, 0), (2, 2)])
def test_statistics_of_another_width_are_refused(sizes):
    with pytest.raises(ValueError, match=f"found {sizes[0]}"):
        Standardise.of(form((0.0,) * sizes[0], (1.0,) * sizes[1]))
