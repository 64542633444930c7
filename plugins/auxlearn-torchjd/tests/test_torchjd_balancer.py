"""The balancer against TorchJD on explicit Jacobians, by hand, and by the laws of its aggregators."""

import itertools
import math
from typing import get_args, get_type_hints

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchjd import aggregation
from torchjd.linalg import DualConeProjector

from auxlearn.learning import Draws, LossKey, StepContext
from auxlearn_torchjd import NonNegativeProjector, TorchJD, TorchJDParams

KEYS = [
    LossKey("kind", "primary", "clean"),
    LossKey("kind", "primary", "a/0"),
    LossKey("a", "pretext", "a"),
    LossKey("b", "pretext", "b"),
]
TASKS = ("kind", "a", "b")
WEIGHTS = [0.5, 0.5, 2.0, 0.3]
EQUAL = [0.5, 0.5, 1.0, 1.0]  # each task has 1
UNDOING = ("MGDA", "IMTLG", "AlignedMTL", "FairGrad")
AGGREGATORS = get_args(get_type_hints(TorchJDParams)["aggregator"])
PREFERENCES = (1.0, 2.0, 0.5)

few = settings(max_examples=20)
seeds = st.integers(0, 10_000)


def gradients_of(seed, count=4, width=6):
    return torch.randn(count, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def combined(balancer, gradients, weights=WEIGHTS, keys=KEYS, **draws):
    """Return what the balancer makes of gradients, and the direction of the shared parameters."""
    losses = {key: torch.tensor(number + 1.0, dtype=gradients.dtype) for number, key in enumerate(keys)}
    step = StepContext(
        weights=dict(zip(keys, weights, strict=True)), draws=Draws(seed=0, name="balance", step=0, **draws)
    )
    balanced = balancer.combine(losses, gradients @ gradients.T, step)
    return balanced, torch.stack([balanced.shared[key] for key in keys]) @ gradients


def made(aggregator, tasks=TASKS, **changes):
    return TorchJD(aggregator, tasks, **TorchJDParams(aggregator=aggregator, **changes).settings())


def jacobian(gradients, weights=WEIGHTS):
    """Return the gradient of each task's weighted losses."""
    return torch.stack(
        [gradients[0] * weights[0] + gradients[1] * weights[1], gradients[2] * weights[2], gradients[3] * weights[3]]
    )


class AllActiveSets(DualConeProjector):
    """The projection by trial of every set of constraints that may hold with equality: the least of what is allowed."""

    def __init__(self, reg_eps=1e-4):
        self.reg_eps = reg_eps

    def __call__(self, U, G):
        gram = G / G.trace() + self.reg_eps * torch.eye(len(G), dtype=G.dtype)
        return torch.stack([self._least(gram, u) for u in U.reshape(-1, len(G))]).reshape(U.shape)

    def _least(self, gram, wanted):
        found = []
        for chosen in itertools.product([False, True], repeat=len(gram)):
            free, tight = torch.tensor(chosen), ~torch.tensor(chosen)
            tried = wanted.clone()
            tried[free] = -torch.linalg.solve(gram[free][:, free], gram[free][:, tight] @ wanted[tight])
            if (tried >= wanted - 1e-12).all():
                found.append(tried)
        return min(found, key=lambda v: (v @ gram @ v).item())


REFERENCES = {
    "UPGrad": (lambda: aggregation.UPGrad(projector=AllActiveSets()), {}),
    "UPGrad, preferring": (
        lambda: aggregation.UPGrad(torch.tensor(PREFERENCES).double(), projector=AllActiveSets()),
        {"pref_vector": PREFERENCES},
    ),
    "DualProj": (lambda: aggregation.DualProj(projector=AllActiveSets(reg_eps=1e-3)), {"reg_eps": 1e-3}),
    "CAGrad": (lambda: aggregation.CAGrad(c=0.4, norm_eps=1e-6), {"c": 0.4, "norm_eps": 1e-6}),
    "MGDA": (lambda: aggregation.MGDA(epsilon=1e-5, max_iters=250), {"epsilon": 1e-5, "max_iters": 250}),
    "IMTLG": (aggregation.IMTLG, {}),
    "AlignedMTL": (
        lambda: aggregation.AlignedMTL(torch.tensor(PREFERENCES).double(), scale_mode="rmse"),
        {"pref_vector": PREFERENCES, "scale_mode": "rmse"},
    ),
    "FairGrad": (lambda: aggregation.FairGrad(alpha=2.0), {"alpha": 2.0}),
    "PCGrad": (aggregation.PCGrad, {}),
    "Mean": (aggregation.Mean, {}),
    "Sum": (aggregation.Sum, {}),
    "Random": (aggregation.Random, {}),
}


def test_all_aggregators_have_a_reference():
    assert {name.partition(",")[0] for name in REFERENCES} == set(AGGREGATORS)


@pytest.mark.parametrize("name", REFERENCES)
@pytest.mark.parametrize("seed", range(3))
def test_it_is_the_aggregator_on_the_jacobian(name, seed):
    """TorchJD's own aggregation of the gradients of the tasks' weighted losses."""
    aggregator = name.partition(",")[0]
    if aggregator == "CAGrad":
        pytest.importorskip("cvxpy")
    reference, options = REFERENCES[name]
    gradients, weights = gradients_of(seed), EQUAL if aggregator in UNDOING else WEIGHTS
    balanced, direction = combined(made(aggregator, **options), gradients, weights)
    with Draws(seed=0, name="balance", step=0).seeded(joint=True):
        expected = reference()(jacobian(gradients, weights))
    tolerance = 1e-5 if aggregator in {"CAGrad", "FairGrad"} else 1e-9  # what their solvers make of rounding
    torch.testing.assert_close(direction, expected, rtol=tolerance, atol=tolerance)
    assert balanced.total.item() == pytest.approx(math.fsum(w * v for w, v in zip(weights, (1, 2, 3, 4), strict=True)))
    assert list(balanced.weights.values()) == weights


@pytest.mark.parametrize("name", UNDOING)
@pytest.mark.parametrize("seed", range(3))
def test_weights_multiply_what_aggregators_find_that_would_undo_them(name, seed):
    gradients = gradients_of(seed)
    equal, weighted = (combined(made(name), gradients, weights)[0].shared for weights in (EQUAL, WEIGHTS))
    for key, whole in zip(KEYS, (1.0, 1.0, 2.0, 0.3), strict=True):
        assert weighted[key].item() == pytest.approx(equal[key].item() * whole)


@pytest.mark.parametrize("name", AGGREGATORS)
def test_a_lower_weight_makes_a_task_quieter(name):
    """On orthogonal gradients, where nothing is in conflict, the task is as much quieter as its weight is lower."""
    if name == "CAGrad":
        pytest.importorskip("cvxpy")
    keys, loudness, others = KEYS[1:3], [], []
    for weight in (1.0, 0.5, 0.1):
        _, direction = combined(made(name), torch.eye(2, dtype=torch.float64), [1.0, weight], keys)
        others.append(direction[0].item())
        loudness.append(direction[1].item())
    if name == "CAGrad":  # which raises the task that gains least: quieter, but less than its weight says
        assert loudness[0] > loudness[1] > loudness[2] > 0.1 * loudness[0]
    else:
        assert loudness == pytest.approx([loudness[0], 0.5 * loudness[0], 0.1 * loudness[0]], rel=1e-4)
        assert others == pytest.approx([others[0]] * 3)


def test_by_hand():
    """Three tasks, of which two are in conflict: by the definition of each aggregator."""
    keys = [LossKey(name, "pretext", name) for name in TASKS]
    gradients = torch.tensor([[1.0, 0, 0], [-1, 1, 0], [0, 0, 2]], dtype=torch.float64)

    def direction(aggregator, weights=(1.0, 1.0, 1.0), **options):
        return combined(made(aggregator, **options), gradients, list(weights), keys)[1].tolist()

    exact = {"reg_eps": 1e-12, "norm_eps": 0.0}
    # g1 projects to (1/2, 1/2, 0), g2 to (0, 1, 0), g3 is in nobody's way; a third each.
    assert direction("UPGrad", **exact) == pytest.approx([1 / 6, 1 / 2, 2 / 3], abs=1e-6)
    # The mean, (0, 1/3, 2/3), opposes nobody.
    assert direction("DualProj", **exact) == pytest.approx([0, 1 / 3, 2 / 3], abs=1e-6)
    # g1 and g2 come nearest to 0 at (1/5, 2/5, 0), of squared length 1/5, g3 has 4: shares of 20/21 and 1/21.
    found = direction("MGDA", epsilon=1e-9, max_iters=2000)
    assert found == pytest.approx([0.2 * 20 / 21, 0.4 * 20 / 21, 2 / 21], abs=1e-3)
    # The spec's weights are part of the gradients.
    assert direction("Sum", (2.0, 1.0, 0.5)) == pytest.approx([1, 1, 1])
    assert direction("Mean", (2.0, 1.0, 0.5)) == pytest.approx([1 / 3, 1 / 3, 1 / 3])


@few
@given(seeds, st.integers(2, 5))
def test_the_projection_solves_its_quadratic_programme(seed, count):
    """Necessary and sufficient: v >= u, G v >= 0, and the one is an equality wherever the other is none."""
    gradients = gradients_of(seed, count, 4)
    gram = gradients @ gradients.T
    wanted = torch.rand(count, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    found = NonNegativeProjector(norm_eps=0.0, reg_eps=1e-6)(wanted, gram)
    slope = (gram / gram.trace() + 1e-6 * torch.eye(count)) @ found
    assert (found - wanted).min() >= -1e-12
    assert slope.min() >= -1e-9
    assert ((found - wanted) * slope).abs().max() <= 1e-9 * max(1.0, found.abs().max().item() ** 2)


@few
@given(seeds)
def test_the_projection_is_the_least_of_all_active_sets(seed):
    gradients = gradients_of(seed)
    gradients[3] = -gradients[0]
    gram, wanted = gradients @ gradients.T, torch.eye(4, dtype=torch.float64)
    expected = AllActiveSets()(wanted, gram)
    assert not torch.equal(expected, wanted)
    torch.testing.assert_close(NonNegativeProjector()(wanted, gram), expected, rtol=1e-6, atol=1e-6)


def test_a_gramian_of_nothing_projects_nothing():
    wanted = torch.tensor([1.0, 2.0])
    assert torch.equal(NonNegativeProjector()(wanted, torch.zeros(2, 2)), wanted)
    tiny = torch.tensor([[1.0, -1.0], [-1.0, 1.0]]) * 1e-6
    assert torch.equal(NonNegativeProjector()(wanted, tiny), wanted)
    assert not torch.equal(NonNegativeProjector(norm_eps=0.0)(wanted, tiny), wanted)


@few
@given(seeds)
def test_upgrad_opposes_no_task(seed):
    gradients = gradients_of(seed, width=3)
    _, direction = combined(made("UPGrad", reg_eps=1e-9, norm_eps=0.0), gradients)
    rows = jacobian(gradients)
    assert (rows @ direction).min() >= -1e-6 * rows.norm() ** 2


@few
@given(seeds)
def test_upgrad_is_linear_under_scaling(seed):
    """The paper's third property: the task that is scaled pulls so much more, and nothing else changes."""
    gradients, options = gradients_of(seed), {"reg_eps": 1e-12, "norm_eps": 0.0}
    found = [combined(made("UPGrad", **options), gradients, [0.5, 0.5, w, 1.0])[1] for w in (1.0, 2.0, 3.0)]
    torch.testing.assert_close(found[2] - found[1], found[1] - found[0], rtol=1e-4, atol=1e-6)


@few
@given(seeds)
def test_imtlg_has_equal_projections_on_all_tasks(seed):
    gradients = gradients_of(seed)
    _, direction = combined(made("IMTLG"), gradients, EQUAL)
    parts = [row @ direction / row.norm() for row in jacobian(gradients, EQUAL)]
    assert [p.item() for p in parts] == pytest.approx([parts[0].item()] * 3)


@few
@given(seeds)
def test_mgda_is_the_shortest_convex_combination(seed):
    gradients = gradients_of(seed)
    _, direction = combined(made("MGDA", epsilon=1e-9, max_iters=500), gradients, EQUAL)
    assert (jacobian(gradients, EQUAL) @ direction).min() >= direction @ direction - 0.05


@pytest.mark.parametrize("name", ["UPGrad", "DualProj", "MGDA", "IMTLG", "AlignedMTL", "FairGrad", "Mean", "Sum"])
def test_tasks_in_another_order_have_the_same_factors(name):
    gradients = gradients_of(1)
    plain, _ = combined(made(name), gradients)
    for order in itertools.permutations(range(4)):
        turned, _ = combined(made(name), gradients[list(order)], [WEIGHTS[i] for i in order], [KEYS[i] for i in order])
        for key in KEYS:
            assert turned.shared[key].item() == pytest.approx(plain.shared[key].item(), rel=1e-4)


def test_a_preference_is_cut_to_the_tasks_that_are_on():
    balancer, gradients = made("AlignedMTL", pref_vector=PREFERENCES), gradients_of(2)
    _, direction = combined(balancer, gradients[[0, 3]], [1.0, 1.0], [KEYS[0], KEYS[3]])
    reference = aggregation.AlignedMTL(torch.tensor([1.0, 0.5], dtype=torch.float64))
    torch.testing.assert_close(direction, reference(gradients[[0, 3]]))
    _, direction = combined(balancer, gradients, EQUAL)
    reference = aggregation.AlignedMTL(torch.tensor(PREFERENCES, dtype=torch.float64))
    torch.testing.assert_close(direction, reference(jacobian(gradients, EQUAL)))


@pytest.mark.parametrize("name", ["PCGrad", "Random"])
def test_what_is_drawn_is_drawn_by_name_and_step(name):
    gradients, before = gradients_of(3, width=3), torch.random.get_rng_state()
    first, again, other = (
        combined(made(name), gradients, rank=rank, world=world)[1] for rank, world in ((0, 1), (0, 2), (1, 2))
    )
    assert torch.equal(first, again)
    assert torch.equal(first, other)
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize("name", AGGREGATORS)
def test_what_is_not_finite_is_told_to_the_trainer(name):
    if name == "CAGrad":
        pytest.importorskip("cvxpy")
    gradients = gradients_of(0)
    gradients[2, 0] = math.inf
    balanced, _ = combined(made(name), gradients)
    assert all(factor.isnan() for factor in balanced.shared.values())


@pytest.mark.parametrize("name", AGGREGATORS)
def test_gradients_of_zero_have_finite_factors(name):
    if name == "CAGrad":
        pytest.importorskip("cvxpy")
    balanced, direction = combined(made(name), torch.zeros(4, 3))
    assert all(factor.isfinite() for factor in balanced.shared.values())
    assert direction.tolist() == [0, 0, 0]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: NonNegativeProjector(reg_eps=0.0), "`reg_eps` above 0, found 0.0001 and 0.0"),
        (lambda: made("Mean").combine({}, None, StepContext()), "needs the inner products"),
    ],
)
def test_says_what_is_wrong(call, message):
    with pytest.raises(ValueError, match=message):
        call()
