"""k-means and the queue: against loops, by hand, and their laws."""

import itertools
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch._subclasses.fake_tensor import FakeTensorMode

from auxlearn.learning import Draws
from auxlearn_conclugen import RowQueue, kmeans


def draws(**changes):
    return Draws(**{"seed": 0, "name": "kmeans", "step": 0, **changes})


def lloyd_by_loops(rows, weights, centroids, iterations):
    """Spherical k-means as in the paper, row by row; an empty cluster is not expected."""
    unit = [row / np.linalg.norm(row) for row in rows]
    for _ in range(iterations):
        labels = [int(np.argmax([u @ c for c in centroids])) for u in unit]
        for k in range(len(centroids)):
            total = sum((w * u for u, w, label in zip(unit, weights, labels, strict=True) if label == k), 0 * unit[0])
            if np.linalg.norm(total) > 0:
                centroids[k] = total / np.linalg.norm(total)
    labels = [int(np.argmax([u @ c for c in centroids])) for u in unit]
    inertia = sum(w * (1 - u @ centroids[k]) for u, w, k in zip(unit, weights, labels, strict=True))
    return np.array(centroids), labels, inertia


def rows_of(seed, rows, width, *, dtype=torch.float64):
    return torch.randn(rows, width, dtype=dtype, generator=torch.Generator().manual_seed(seed))


@st.composite
def tables(draw):
    rows = rows_of(draw(st.integers(0, 9999)), draw(st.integers(3, 14)), draw(st.integers(2, 4)))
    return rows, draw(st.integers(2, min(4, len(rows))))


@given(tables(), st.integers(0, 6), st.booleans())
@settings(deadline=None, max_examples=25)
def test_is_lloyds_algorithm_on_the_sphere(table, iterations, weighted):
    rows, clusters = table
    start = rows[:clusters]
    weights = torch.linspace(0.5, 2, len(rows)).double() if weighted else torch.ones(len(rows)).double()
    found = kmeans(rows, clusters, draws(), weights=weights, start=start, iterations=iterations)
    begin = [row / np.linalg.norm(row) for row in start.numpy()]
    centroids, labels, inertia = lloyd_by_loops(rows.numpy(), weights.tolist(), begin, iterations)
    if len(set(labels)) == clusters:  # else one would be mended
        np.testing.assert_allclose(found.centroids, centroids, rtol=1e-9, atol=1e-12)
        assert found.labels.tolist() == labels
        assert found.inertia.item() == pytest.approx(inertia, abs=1e-9)


def test_by_hand():
    """Two directions, one of them with two rows at 30 degrees to either side."""
    side = math.sqrt(3) / 2
    rows = torch.tensor([[side, 0.5], [10 * side, -5.0], [-1.0, 0.0]], dtype=torch.float64)
    found = kmeans(rows, 2, draws(), start=torch.tensor([[1.0, 0.1], [-1.0, 0.1]]))
    torch.testing.assert_close(found.centroids, torch.tensor([[1.0, 0.0], [-1.0, 0.0]], dtype=torch.float64))
    assert found.labels.tolist() == [0, 0, 1]
    assert found.inertia.item() == pytest.approx(2 * (1 - side))
    plain = kmeans(rows, 2, draws(), start=torch.tensor([[1.0, 0.1], [-1.0, 0.1]]), spherical=False)
    torch.testing.assert_close(plain.centroids[0], rows[:2].mean(0))


@given(tables(), st.integers(0, 99))
@settings(deadline=None, max_examples=25)
def test_the_inertia_never_grows(table, seed):
    rows, clusters = table
    weights = torch.rand(len(rows), generator=torch.Generator().manual_seed(seed)).double()
    # From seeds, which leave no cluster empty; from other places, mending one may lead to another minimum.
    run = {"weights": weights, "restarts": 1}
    inertias = [kmeans(rows, clusters, draws(seed=seed), iterations=n, **run).inertia.item() for n in range(5)]
    assert inertias == pytest.approx(list(itertools.accumulate(inertias, min)), abs=1e-9)


@given(tables(), st.integers(0, 99))
@settings(deadline=None, max_examples=25)
def test_the_order_of_the_rows_does_not_matter(table, seed):
    rows, clusters = table
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed))
    start = rows[:clusters]
    begin = [row / np.linalg.norm(row) for row in start.numpy()]
    # Where a cluster is empty, of two rows that are equally far one has to be chosen.
    assume(len(set(lloyd_by_loops(rows.numpy(), [1.0] * len(rows), begin, 10)[1])) == clusters)
    found, again = (kmeans(one, clusters, draws(), start=start) for one in (rows, rows[order]))
    torch.testing.assert_close(again.centroids, found.centroids)
    assert again.labels.tolist() == found.labels[order].tolist()


@given(tables(), st.integers(0, 99))
@settings(deadline=None, max_examples=25)
def test_the_length_of_the_rows_does_not_matter(table, seed):
    rows, clusters = table
    lengths = torch.empty(len(rows), 1).uniform_(0.1, 9, generator=torch.Generator().manual_seed(seed)).double()
    found, again = (kmeans(one, clusters, draws(seed=seed)) for one in (rows, rows * lengths))
    torch.testing.assert_close(again.centroids, found.centroids)
    assert again.labels.equal(found.labels)


@given(
    st.integers(1, 12),
    st.integers(0, 9999),
    st.integers(1, 12),
    st.sampled_from([0, 1, 10]),
    st.booleans(),
    st.booleans(),
)
@settings(deadline=None, max_examples=60)
def test_no_cluster_is_empty_if_there_are_enough_directions(distinct, seed, clusters, iterations, spherical, bad_start):
    """Rows on a circle, some of them several times; warm starts may be as bad as they like."""
    generator = torch.Generator().manual_seed(seed)
    angles = torch.randperm(40, generator=generator)[:distinct].double() * (2 * math.pi / 40)
    angles = torch.cat([angles, angles[torch.randint(distinct, (5,), generator=generator)]])
    rows = torch.stack([angles.cos(), angles.sin()], 1) * torch.rand(len(angles), 1, generator=generator).add(0.1)
    start = torch.ones(clusters, 2).double() if bad_start else None
    found = kmeans(rows, clusters, draws(seed=seed), iterations=iterations, start=start, spherical=spherical)
    assert found.centroids.isfinite().all()
    assert (torch.linalg.vector_norm(found.centroids, dim=1) > 0).all()
    if clusters <= distinct:
        assert len(found.labels.unique()) == clusters
    cosines = F.normalize(rows, dim=1) @ F.normalize(found.centroids, dim=1).T
    own = cosines.gather(1, found.labels.unsqueeze(1)).squeeze(1)
    torch.testing.assert_close(own, cosines.amax(1))
    torch.testing.assert_close(found.inertia, (1 - own).sum())


@given(tables(), st.integers(0, 99))
@settings(deadline=None, max_examples=20)
def test_rows_of_weight_zero_change_nothing(table, seed):
    rows, clusters = table
    weights = (torch.arange(len(rows)) < max(clusters, len(rows) // 2)).double()
    start = rows_of(seed, clusters, rows.shape[1])
    found = kmeans(rows, clusters, draws(), weights=weights, start=start)
    some = kmeans(rows[weights > 0], clusters, draws(), start=start)
    torch.testing.assert_close(found.centroids, some.centroids)
    torch.testing.assert_close(found.inertia, some.inertia)
    free = kmeans(rows, clusters, draws(seed=seed), weights=weights)
    other = rows.where(weights.bool().unsqueeze(1), torch.full_like(rows, 7.0))
    torch.testing.assert_close(kmeans(other, clusters, draws(seed=seed), weights=weights).centroids, free.centroids)


def test_finds_clusters_that_are_there_and_more_restarts_find_better_ones():
    generator = torch.Generator().manual_seed(0)
    truth = torch.arange(8).repeat_interleave(20)
    rows = torch.eye(8)[truth] + 0.1 * torch.randn(160, 8, generator=generator)
    found = kmeans(rows, 8, draws(), restarts=4)
    assert all(len(found.labels[truth == k].unique()) == 1 for k in range(8))
    assert len(found.labels.unique()) == 8
    noise = torch.randn(200, 6, generator=generator)
    for seed in range(5):
        one, many = (kmeans(noise, 16, draws(seed=seed), restarts=n).inertia.item() for n in (1, 16))
        assert many <= one + 1e-4


def test_seeds_are_derived_and_the_same_in_every_process():
    rows = rows_of(0, 40, 5)
    torch.manual_seed(1)
    found = kmeans(rows, 6, draws(), iterations=1)
    torch.manual_seed(2)
    assert torch.equal(kmeans(rows, 6, draws(), iterations=1).centroids, found.centroids)
    assert torch.equal(kmeans(rows, 6, draws(rank=1, world=2), iterations=1).centroids, found.centroids)
    assert not torch.equal(kmeans(rows, 6, draws(step=1), iterations=1).centroids, found.centroids)


def test_iterations_after_convergence_change_no_bit():
    rows = rows_of(3, 60, 4, dtype=torch.float32)
    many, more = (kmeans(rows, 5, draws(), iterations=n) for n in (60, 90))
    assert torch.equal(many.centroids, more.centroids)
    assert torch.equal(many.labels, more.labels)


def test_half_precision_is_computed_in_single():
    rows = rows_of(0, 20, 4, dtype=torch.float32).bfloat16()
    assert kmeans(rows, 3, draws()).centroids.dtype == torch.float32
    assert kmeans(rows.double(), 3, draws()).centroids.dtype == torch.float64


@pytest.mark.parametrize("warm", [False, True])
def test_reads_nothing_back_from_the_device(warm):
    with FakeTensorMode(), torch.device("cuda"):
        start = torch.empty(3, 4) if warm else None
        found = kmeans(torch.empty(9, 4), 3, draws(), weights=torch.empty(9), start=start)
    assert found.centroids.device.type == "cuda"


@pytest.mark.parametrize(("rows", "clusters"), [(0, 2), (3, 0)])
def test_says_what_is_wrong(rows, clusters):
    with pytest.raises(ValueError, match=f"found {rows} and {clusters}"):
        kmeans(torch.rand(rows, 2), clusters, draws())


# --- the queue


@given(st.integers(0, 7), st.lists(st.lists(st.booleans(), max_size=10), max_size=8))
@settings(deadline=None)
def test_the_queue_holds_the_last_rows_for_any_batches(size, batches):
    queue, pushed, number = RowQueue(size, 2), [], 0
    for valid in batches:
        rows = torch.arange(number, number + len(valid)).float().unsqueeze(1).expand(-1, 2)
        number += len(valid)
        pushed += [row for row, keep in zip(rows.tolist(), valid, strict=True) if keep]
        queue.push(rows, torch.tensor(valid, dtype=torch.bool))
        wanted = pushed[len(pushed) - min(size, len(pushed)) :]
        assert queue.ordered().tolist() == wanted
        assert int(queue.length) == int(queue.filled.sum()) == len(wanted)
        assert sorted(queue.rows[queue.filled].tolist()) == sorted(wanted)


def test_the_queue_is_part_of_the_state():
    queue = RowQueue(4, 2)
    queue.push(torch.rand(6, 2))
    other = RowQueue(4, 2)
    other.load_state_dict(queue.state_dict())
    for one in (queue, other):
        one.push(torch.zeros(1, 2))
    assert torch.equal(other.ordered(), queue.ordered())
    assert (queue.pointer.dtype, queue.length.dtype) == (torch.int64, torch.int64)
    with pytest.raises(ValueError, match="at least 0, found -1"):
        RowQueue(-1, 2)


def test_pushing_reads_nothing_back_from_the_device():
    with FakeTensorMode(), torch.device("cuda"):
        queue = RowQueue(4, 2)
        queue.push(torch.empty(6, 2), torch.empty(6, dtype=torch.bool))
