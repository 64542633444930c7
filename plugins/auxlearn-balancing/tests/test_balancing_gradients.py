"""`cosine_gate` and `pcgrad` against their papers: by hand, against loops over explicit gradients, and by laws."""

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from auxlearn.learning import Draws, LossKey, StepContext
from auxlearn_balancing import CosineGate, PCGrad, TaskLosses

KEYS = [
    LossKey("kind", "primary", "clean"),
    LossKey("kind", "primary", "a/0"),
    LossKey("a", "pretext", "a"),
    LossKey("b", "pretext", "b"),
]
ROWS = {"kind": (0, 1), "a": (2,), "b": (3,)}

few = settings(max_examples=40)
seeds = st.integers(0, 10_000)
weightings = st.lists(st.floats(0.01, 10), min_size=4, max_size=4)


def gradients_of(seed, count=4, width=3):
    """Gradients of few dimensions, so that conflicts are common."""
    return torch.randn(count, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def combined(balancer, gradients, weights, keys=KEYS, step=0, losses=None):
    """Return what the balancer makes of gradients, and the direction of the shared parameters."""
    values = [1.0] * len(keys) if losses is None else losses
    given_losses = {
        key: torch.tensor(value, dtype=torch.float64, requires_grad=True)
        for key, value in zip(keys, values, strict=True)
    }
    context = StepContext(
        step=step,
        weights=dict(zip(keys, weights, strict=True)),
        draws=Draws(seed=0, name="balance", step=step),
    )
    balanced = balancer.combine(given_losses, gradients @ gradients.T, context)
    return balanced, torch.stack([balanced.shared[key] for key in keys]) @ gradients


def tasks_of(gradients, weights):
    """Return the gradient of each task's weighted losses."""
    return {name: sum(gradients[i] * weights[i] for i in rows) for name, rows in ROWS.items()}


# Cosine gating


def test_the_gate_by_hand():
    gradients = torch.tensor([[1.0, 0, 0], [1, 0, 0], [3, 4, 0], [-1, 0, 9]], dtype=torch.float64)
    balanced, direction = combined(CosineGate(), gradients, [0.5, 0.5, 2.0, 1.0], losses=[1.0, 2.0, 3.0, 4.0])
    assert list(map(float, balanced.shared.values())) == pytest.approx([0.5, 0.5, 2 * 0.6, 0])
    assert direction.tolist() == pytest.approx([1 + 3.6, 4.8, 0])
    assert balanced.total.item() == pytest.approx(0.5 + 1 + 6 + 4)
    assert list(balanced.weights.values()) == [0.5, 0.5, 2.0, 1.0]
    _, direction = combined(CosineGate("unweighted"), gradients, [0.5, 0.5, 2.0, 1.0])
    assert direction.tolist() == pytest.approx([1 + 6, 8, 0])


@few
@given(seeds, weightings, st.sampled_from(["weighted", "unweighted"]))
def test_the_gate_is_the_paper_s_rule(seed, weights, mode):
    gradients = gradients_of(seed)
    tasks = tasks_of(gradients, weights)
    expected = tasks["kind"].clone()
    for name in ("a", "b"):
        cosine = torch.nn.functional.cosine_similarity(tasks["kind"], tasks[name], dim=0)
        expected += tasks[name] * (max(0.0, cosine.item()) if mode == "weighted" else float(cosine > 0))
    _, direction = combined(CosineGate(mode), gradients, weights)
    torch.testing.assert_close(direction, expected)


@few
@given(seeds, weightings, st.sampled_from(["weighted", "unweighted"]))
def test_the_gate_never_makes_it_worse_for_the_primary_task(seed, weights, mode):
    gradients = gradients_of(seed)
    primary = tasks_of(gradients, weights)["kind"]
    _, direction = combined(CosineGate(mode), gradients, weights)
    assert direction @ primary >= primary @ primary * (1 - 1e-12)


@few
@given(seeds, weightings, st.floats(0.01, 100))
def test_the_gate_is_blind_to_the_scale_of_the_primary_task(seed, weights, scale):
    gradients = gradients_of(seed)
    plain, _ = combined(CosineGate(), gradients, weights)
    scaled, _ = combined(CosineGate(), gradients, [weights[0] * scale, weights[1] * scale, *weights[2:]])
    for key in KEYS[2:]:
        assert float(scaled.shared[key]) == pytest.approx(float(plain.shared[key]), rel=1e-9, abs=1e-12)


def test_several_primary_tasks_judge_together():
    keys = [LossKey("one", "primary", "clean"), LossKey("two", "primary", "clean"), LossKey("a", "pretext", "a")]
    gradients = torch.tensor([[1.0, 0], [-3, 0], [-1, 0]], dtype=torch.float64)
    balanced, _ = combined(CosineGate(), gradients, [1.0, 1.0, 1.0], keys)
    assert list(map(float, balanced.shared.values())) == [1, 1, 1]
    balanced, _ = combined(CosineGate(), gradients, [4.0, 1.0, 1.0], keys)
    assert list(map(float, balanced.shared.values())) == [4, 1, 0]


@pytest.mark.parametrize("mode", ["weighted", "unweighted"])
def test_without_a_primary_gradient_nothing_is_gated(mode):
    gradients = gradients_of(0)
    balanced, _ = combined(CosineGate(mode), gradients[2:], [2.0, 3.0], KEYS[2:])
    assert list(map(float, balanced.shared.values())) == [2, 3]
    gradients[:2] = 0
    balanced, _ = combined(CosineGate(mode), gradients, [0.5, 0.5, 2.0, 3.0])
    assert list(map(float, balanced.shared.values())) == [0.5, 0.5, 2, 3]


# PCGrad


def surgery(tasks, orders):
    """Algorithm 1 on explicit gradients: task i visits the others in the order `orders[i]`."""
    projected = []
    for i, gradient in enumerate(tasks):
        made = gradient.clone()
        for j in orders[i]:
            if j != i and made @ tasks[j] < 0:
                made = made - (made @ tasks[j]) / (tasks[j] @ tasks[j]) * tasks[j]
        projected.append(made)
    return sum(projected)


def test_surgery_by_hand():
    keys = KEYS[1:3]
    gradients = torch.tensor([[1.0, 0], [-1, 1]], dtype=torch.float64)
    balanced, direction = combined(PCGrad(), gradients, [1.0, 1.0], keys, losses=[2.0, 3.0])
    # (1, 0) becomes (1/2, 1/2), and (-1, 1) becomes (0, 1).
    assert direction.tolist() == pytest.approx([0.5, 1.5])
    assert (balanced.total.item(), list(balanced.weights.values())) == (5, [1, 1])


@few
@given(seeds, weightings, st.integers(0, 50))
def test_surgery_is_algorithm_1_with_one_of_its_orders(seed, weights, step):
    gradients = gradients_of(seed)
    tasks = list(tasks_of(gradients, weights).values())
    _, direction = combined(PCGrad(), gradients, weights, step=step)
    drawn = Draws(seed=0, name="balance/pcgrad", step=step).permutations(3, 3).tolist()
    torch.testing.assert_close(direction, surgery(tasks, drawn))


def test_surgery_draws_each_order_equally_often():
    gradients = gradients_of(3)
    tasks = list(tasks_of(gradients, [1.0] * 4).values())
    every = [[(1, 2), (2, 1)], [(0, 2), (2, 0)], [(0, 1), (1, 0)]]
    expected = torch.stack([surgery(tasks, orders) for orders in itertools.product(*every)]).mean(0)
    found = torch.stack([combined(PCGrad(), gradients, [1.0] * 4, step=step)[1] for step in range(400)])
    assert found.std(0).max() > 0
    torch.testing.assert_close(found.mean(0), expected, rtol=0.05, atol=0.05)


def test_surgery_is_torchjd_s():
    """Another implementation, with which it agrees where the order does not matter, and on average."""
    reference = pytest.importorskip("torchjd.aggregation").PCGrad()
    two = gradients_of(7, count=2)
    _, direction = combined(PCGrad(), two, [1.0, 1.0], KEYS[1:3])
    torch.testing.assert_close(direction, reference(two))
    three = gradients_of(3, count=3)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        expected = torch.stack([reference(three) for _ in range(400)]).mean(0)
    found = torch.stack([combined(PCGrad(), three, [1.0] * 3, KEYS[1:], step=step)[1] for step in range(400)])
    torch.testing.assert_close(found.mean(0), expected, rtol=0.05, atol=0.05)


@few
@given(seeds)
def test_with_two_tasks_surgery_opposes_neither(seed):
    gradients = gradients_of(seed, count=2)
    _, direction = combined(PCGrad(), gradients, [1.0, 1.0], KEYS[1:3])
    assert (gradients @ direction).min() >= -1e-12
    if gradients[0] @ gradients[1] >= 0:
        torch.testing.assert_close(direction, gradients.sum(0))


@few
@given(seeds, st.floats(0.01, 100))
def test_surgery_scales_with_the_gradients(seed, scale):
    gradients = gradients_of(seed)
    (_, plain), (_, scaled) = (combined(PCGrad(), gradients * s, [1.0] * 4) for s in (1, scale))
    torch.testing.assert_close(scaled, plain * scale)


@few
@given(seeds)
def test_two_tasks_in_the_other_order_have_the_same_surgery(seed):
    gradients = gradients_of(seed, count=2)
    _, plain = combined(PCGrad(), gradients, [1.0, 1.0], KEYS[1:3])
    _, turned = combined(PCGrad(), gradients.flip(0), [1.0, 1.0], KEYS[2:0:-1])
    torch.testing.assert_close(turned, plain)


def test_a_gradient_of_zero_is_left_alone():
    gradients = gradients_of(5)
    gradients[2] = 0
    _, direction = combined(PCGrad(), gradients, [1.0] * 4)
    _, without = combined(PCGrad(), gradients[[0, 1, 3]], [1.0] * 3, [KEYS[0], KEYS[1], KEYS[3]])
    torch.testing.assert_close(direction, without)


def test_processes_draw_the_same_orders():
    gradients, found = gradients_of(3), []
    for rank, world in ((0, 1), (0, 2), (1, 2)):
        draws = Draws(seed=0, name="balance", step=4, rank=rank, world=world)
        step = StepContext(weights=dict.fromkeys(KEYS, 1.0), draws=draws)
        shared = PCGrad().combine(dict.fromkeys(KEYS, torch.ones(())), gradients @ gradients.T, step).shared
        found.append(torch.stack(list(shared.values())))
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0], found[2])


# Both


@few
@given(seeds, weightings)
def test_tasks_have_the_gradients_of_their_weighted_losses(seed, weights):
    gradients = gradients_of(seed)
    losses = dict.fromkeys(KEYS, torch.ones((), dtype=torch.float64))
    tasks = TaskLosses(losses, StepContext(weights=dict(zip(KEYS, weights, strict=True))))
    rows = torch.stack(list(tasks_of(gradients, weights).values()))
    torch.testing.assert_close(tasks.gram(gradients @ gradients.T), rows @ rows.T)
    assert (tasks.tasks, tasks.primary) == (("kind", "a", "b"), (True, False, False))


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (lambda: CosineGate("hard"), "`mode` should be 'weighted' or 'unweighted', found 'hard'"),
        (lambda: CosineGate().combine({}, None, StepContext()), "CosineGate needs the inner products"),
        (lambda: PCGrad().combine({}, None, StepContext()), "PCGrad needs the inner products"),
    ],
)
def test_says_what_is_wrong_with_gradients(made, message):
    with pytest.raises(ValueError, match=message):
        made()
