"""Laws of the order of rows."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from auxlearn.data import Order

lengths = st.integers(1, 60)
batches = st.integers(1, 20)
seeds = st.integers(0, 2**32)


def taken(order, first, steps):
    return [row for step in range(first, first + steps) for row in order.at(step)]


@given(lengths, batches, seeds)
def test_each_epoch_is_a_permutation_and_batches_are_full(length, batch, seed):
    order = Order(length, batch, seed=seed)
    rows = taken(order, 0, -(-3 * length // batch))
    assert all(len(order.at(step)) == batch for step in range(5))
    for epoch in range(3):
        own = rows[epoch * length : (epoch + 1) * length]
        assert sorted(index for _, index in own) == list(range(length))
        assert {e for e, _ in own} == {epoch}


@given(lengths, batches, seeds, st.integers(0, 50))
def test_starting_late_is_skipping(length, batch, seed, start):
    late = iter(Order(length, batch, seed=seed, start=start))
    assert [next(late) for _ in range(4)] == [Order(length, batch, seed=seed).at(start + i) for i in range(4)]


@given(lengths, st.integers(1, 5), st.integers(1, 4), seeds, st.integers(0, 20))
def test_the_ranks_together_are_one_process(length, own, world, seed, step):
    parts = [Order(length, own * world, seed=seed, rank=rank, world=world).at(step) for rank in range(world)]
    assert [row for part in parts for row in part] == Order(length, own * world, seed=seed).at(step)


def test_asking_in_any_order_gives_the_same():
    order = Order(7, 3, seed=1)
    forward = [order.at(step) for step in range(40)]
    assert [order.at(step) for step in reversed(range(40))] == forward[::-1]
    assert [Order(7, 3, seed=1).at(step) for step in range(40)] == forward


def test_seed_stream_and_epoch_matter():
    def epoch(number=0, **changes):
        return Order(50, 5, **({"seed": 0} | changes)).epoch(number).tolist()

    orders = [epoch(), epoch(1), epoch(seed=1), epoch(stream="other")]
    assert len({tuple(order) for order in orders}) == 4
    assert epoch() == epoch()


def test_every_permutation_is_equally_likely():
    counts = np.zeros((4, 4))
    for seed in range(2000):
        counts[np.arange(4), Order(4, 1, seed=seed).epoch(0)] += 1
    # Each cell is binomial with mean 500 and standard deviation 19.4.
    assert np.abs(counts - 500).max() < 5 * 19.4


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"length": 0}, "length"),
        ({"batch_size": 3, "world": 2}, "batch_size"),
        ({"batch_size": 0}, "batch_size"),
        ({"rank": 1}, "rank"),
        ({"labels": [0, 1]}, "labels"),
    ],
)
def test_wrong_arguments_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        Order(**({"length": 5, "batch_size": 2, "seed": 0} | changes))


def test_balanced_draws_show_every_class_equally_often():
    labels = [0] * 900 + [2] * 90 + [3] * 10  # class 1 has no row
    rows = np.concatenate([Order(1000, 10, seed=0, labels=labels).epoch(epoch) for epoch in range(20)])
    shares = np.bincount(np.array(labels)[rows], minlength=4) / len(rows)
    # Standard deviation of a share: sqrt(1/3 * 2/3 / 20000) = 0.0033.
    assert np.abs(shares - [1 / 3, 0, 1 / 3, 1 / 3]).max() < 5 * 0.0033
    within = np.bincount(rows[rows >= 990] - 990)
    assert within.min() > 0.8 * within.mean()


def test_balanced_draws_keep_the_share_of_rows_without_a_label():
    labels = [-1] * 500 + [0] * 400 + [1] * 100
    rows = np.concatenate([Order(1000, 10, seed=0, labels=labels).epoch(epoch) for epoch in range(20)])
    shares = np.bincount(np.array(labels)[rows] + 1) / len(rows)
    assert np.abs(shares - [0.5, 0.25, 0.25]).max() < 5 * 0.0035


@given(st.lists(st.integers(-1, 4), min_size=1, max_size=30), batches, seeds, st.integers(0, 20))
def test_balanced_draws_are_pure_too(labels, batch, seed, step):
    order = Order(len(labels), batch, seed=seed, labels=labels)
    rows = order.at(step)
    assert rows == Order(len(labels), batch, seed=seed, labels=labels, start=step).at(step)
    assert all(0 <= index < len(labels) for _, index in rows)
