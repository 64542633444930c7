"""The objectives against loops in numpy written from the papers' equations, cases by hand, and their laws."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from auxlearn_joint_embedding import contrastive_logits, cross_correlation, redundancy
from auxlearn_joint_embedding.objectives import off_diagonal


def nt_xent(first, second, temperature=0.5, **more):
    """The loss of each view, through the function under test."""
    logits, targets = contrastive_logits(first, second, temperature=temperature, **more)
    return F.cross_entropy(logits, targets, reduction="none")


def nt_xent_by_loops(first, second, temperature):
    """Equation 1 of arXiv 2002.05709, term by term."""
    z = np.concatenate([first, second])
    z = z / np.linalg.norm(z, axis=1, keepdims=True)
    rows, terms = len(first), []
    for i in range(2 * rows):
        j = (i + rows) % (2 * rows)
        below = sum(math.exp(z[i] @ z[k] / temperature) for k in range(2 * rows) if k != i)
        terms.append(-math.log(math.exp(z[i] @ z[j] / temperature) / below))
    return np.array(terms)


def twins_by_loops(first, second, weight):
    """Equations 1 and 2 of arXiv 2103.03230, element by element, with the BatchNorm of the paper's code."""
    first, second = first - first.mean(0), second - second.mean(0)
    total, least = 0.0, 1e-5 * len(first)
    for i in range(first.shape[1]):
        for j in range(first.shape[1]):
            above = sum(a[i] * b[j] for a, b in zip(first, second, strict=True))
            lengths = (sum(a[i] ** 2 for a in first) + least) * (sum(b[j] ** 2 for b in second) + least)
            c = above / math.sqrt(lengths)
            total += (1 - c) ** 2 if i == j else weight * c**2
    return total


@st.composite
def pairs(draw, least=2):
    rows, width = draw(st.integers(least, 6)), draw(st.integers(2, 5))
    seeded = torch.Generator().manual_seed(draw(st.integers(0, 9999)))
    return tuple(torch.randn(rows, width, dtype=torch.float64, generator=seeded) for _ in range(2))


@given(pairs(least=1), st.floats(0.05, 2))
@settings(deadline=None)
def test_nt_xent_is_that_of_the_paper(pair, temperature):
    expected = nt_xent_by_loops(*(z.numpy() for z in pair), temperature)
    np.testing.assert_allclose(nt_xent(*pair, temperature), expected, rtol=1e-9, atol=1e-12)


@given(pairs(), st.floats(0, 1))
@settings(deadline=None)
def test_barlow_twins_is_that_of_the_paper(pair, weight):
    expected = twins_by_loops(*(z.numpy() for z in pair), weight)
    assert redundancy(cross_correlation(*pair), weight).item() == pytest.approx(expected, rel=1e-9, abs=1e-12)


def test_nt_xent_of_two_images_by_hand():
    """Orthogonal images, identical views: similarity 1 to the positive, 0 to both negatives."""
    terms = nt_xent(torch.eye(2), torch.eye(2), temperature=1.0)
    assert terms.tolist() == pytest.approx([math.log(math.e + 2) - 1] * 4)
    worse = nt_xent(torch.eye(2), torch.eye(2).flip(0), temperature=1.0)
    assert worse.tolist() == pytest.approx([math.log(math.e + 2)] * 4)


def test_barlow_twins_of_two_images_by_hand():
    """Component 0 agrees; component 1 has the opposite sign in the other view, so C = [[1, -1], [1, -1]]."""
    first, second = torch.tensor([[0.0, 1.0], [2.0, 5.0]]), torch.tensor([[1.0, 3.0], [4.0, 2.0]])
    matrix = cross_correlation(first, second)
    torch.testing.assert_close(matrix, torch.tensor([[1.0, -1.0], [1.0, -1.0]]), atol=1e-4, rtol=0)
    assert redundancy(matrix, 0.1).item() == pytest.approx((1 + 1) ** 2 + 0.1 * 2, abs=1e-4)


@given(pairs(), st.integers(0, 99))
@settings(deadline=None)
def test_the_order_of_the_rows_does_not_matter(pair, seed):
    order = torch.randperm(len(pair[0]), generator=torch.Generator().manual_seed(seed))
    shuffled = tuple(z[order] for z in pair)
    torch.testing.assert_close(nt_xent(*shuffled), nt_xent(*pair).view(2, -1)[:, order].flatten())
    torch.testing.assert_close(cross_correlation(*shuffled), cross_correlation(*pair))


@given(pairs())
@settings(deadline=None)
def test_the_order_of_the_views_does_not_matter(pair):
    torch.testing.assert_close(nt_xent(*pair[::-1]).sum(), nt_xent(*pair).sum())
    torch.testing.assert_close(cross_correlation(*pair[::-1]), cross_correlation(*pair).T)
    swapped, loss = (redundancy(cross_correlation(*views), 0.1) for views in (pair[::-1], pair))
    torch.testing.assert_close(swapped, loss)


@given(pairs(), st.floats(0.1, 10))
@settings(deadline=None)
def test_what_they_do_not_see(pair, factor):
    """NT-Xent sees directions only; a correlation sees no offset, nor the scale of a component that varies enough."""
    torch.testing.assert_close(nt_xent(pair[0] * factor, pair[1]), nt_xent(*pair))
    torch.testing.assert_close(cross_correlation(pair[0] + 3, pair[1]), cross_correlation(*pair))
    large = tuple(1e5 * z for z in pair)
    scaled = large[0] * torch.linspace(1, factor, pair[0].shape[1])
    torch.testing.assert_close(cross_correlation(scaled, large[1]), cross_correlation(*large))


@pytest.mark.parametrize("width", [2, 4, 7])
def test_barlow_twins_is_zero_for_equal_and_decorrelated_components(width):
    hadamard = torch.ones(1, 1)
    for _ in range(3):
        hadamard = torch.cat([torch.cat([hadamard, hadamard], 1), torch.cat([hadamard, -hadamard], 1)])
    embeddings = hadamard[:, 1 : width + 1] * torch.arange(1, width + 1) + 5
    matrix = cross_correlation(embeddings, embeddings)
    torch.testing.assert_close(matrix, torch.eye(width), atol=2e-5, rtol=0)
    assert redundancy(matrix, 1.0).item() == pytest.approx(0, abs=1e-8)


def test_a_component_that_does_not_vary_correlates_with_nothing():
    first = torch.tensor([[0.3, 0.1], [0.3, 0.7], [0.3, 0.9]], requires_grad=True)
    matrix = cross_correlation(first, first)
    torch.testing.assert_close(matrix.detach(), torch.tensor([[0.0, 0.0], [0.0, 1.0]]), atol=2e-4, rtol=0)
    redundancy(matrix, 0.1).backward()
    assert first.grad.isfinite().all()


@pytest.mark.parametrize("value", [0.3, 12.3, -250.7])
@pytest.mark.parametrize("masked", [False, True])
def test_a_collapsed_embedding_is_as_far_from_the_goal_as_can_be(value, masked):
    """What is left of x - mean is rounding, and grows with x: correlated, it would look like perfect agreement."""
    collapsed = torch.full((30, 4), value)
    present = torch.ones(30, dtype=torch.bool) if masked else None
    matrix = cross_correlation(collapsed, 1.1 * collapsed, present)
    assert matrix.abs().max() < 1e-3
    assert redundancy(matrix, 5e-3).item() == pytest.approx(4, rel=1e-3)


@pytest.mark.parametrize("spread", [1.0, 1e-2, 1e-4, 1e-6, 1e-8])
def test_the_slope_of_a_nearly_dead_component_is_bounded(spread):
    """As BatchNorm's of the paper's code: it is 1 / sqrt(1e-5 N) times that of the standardised component at most."""
    torch.manual_seed(0)
    first = (spread * torch.randn(32, 1, dtype=torch.float64)).requires_grad_()
    second = torch.randn(32, 1, dtype=torch.float64)
    redundancy(cross_correlation(first, second), 0.0).backward()
    assert first.grad.norm() < 2 * 2 / math.sqrt(1e-5 * 32)  # |d(1 - C)²/dC| <= 4


def test_elements_off_the_diagonal():
    square = torch.arange(16).view(4, 4)
    assert sorted(off_diagonal(square).flatten().tolist()) == [k for k in range(16) if k % 5]


@given(pairs(least=3), st.integers(0, 99))
@settings(deadline=None)
def test_absent_rows_are_as_if_they_were_not_there(pair, seed):
    present = torch.rand(len(pair[0]), generator=torch.Generator().manual_seed(seed)) < 0.6
    some = tuple(z[present] for z in pair)
    both = present.repeat(2)
    torch.testing.assert_close(nt_xent(*pair, present=present)[both], nt_xent(*some))
    if present.sum() > 1:
        torch.testing.assert_close(cross_correlation(*pair, present), cross_correlation(*some))
    filled = tuple(z.where(present.unsqueeze(1), torch.full_like(z, torch.nan)) for z in pair)
    if present.sum() > 1:
        torch.testing.assert_close(cross_correlation(*filled, present), cross_correlation(*some))


def test_without_any_row_all_is_finite():
    leaves = [torch.rand(3, 4, requires_grad=True) for _ in range(2)]
    nobody = torch.zeros(3, dtype=torch.bool)
    (nt_xent(*leaves, present=nobody).sum() + redundancy(cross_correlation(*leaves, nobody), 0.1)).backward()
    assert all(leaf.grad.isfinite().all() for leaf in leaves)


def test_gradients():
    first, second = (torch.randn(3, 4, dtype=torch.float64, requires_grad=True) for _ in range(2))
    present = torch.tensor([True, False, True])
    for mask in (None, present):
        kept = slice(None) if mask is None else mask.repeat(2)
        assert torch.autograd.gradcheck(lambda a, b, m=mask, k=kept: nt_xent(a, b, present=m)[k].sum(), (first, second))
        assert torch.autograd.gradcheck(lambda a, b, m=mask: cross_correlation(a, b, m), (first, second))


@pytest.mark.parametrize("absent", [(), (1,), (0, 5)])
def test_two_processes_have_the_terms_of_one(absent):
    first, second = torch.randn(6, 4), torch.randn(6, 4)
    present = torch.ones(6, dtype=torch.bool)
    present[list(absent)] = False
    joint = torch.cat([F.normalize(first, dim=1), F.normalize(second, dim=1), present.unsqueeze(1)], 1)
    whole = nt_xent(first, second, present=present).view(2, 6)
    for rank in (0, 1):
        rows = slice(3 * rank, 3 * rank + 3)
        part = nt_xent(first[rows], second[rows], present=present[rows], gather=lambda _: joint, rank=rank).view(2, 3)
        torch.testing.assert_close(part[:, present[rows]], whole[:, rows][:, present[rows]])
