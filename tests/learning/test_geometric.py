"""The geometric mean of losses: by hand, its laws, its gradient, and over processes."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import auxlearn
from auxlearn import Arrangement, Learner, Moment
from auxlearn.learning import LossKey, StepContext
from auxlearn.learning.balancing import Geometric
from auxlearn.testing import plugin
from auxlearn.testing.fakes import TinyBackbone, TinyPretext, TinyPrimary, tiny_batch

KEYS = [
    LossKey("kind", "primary", "clean"),
    LossKey("kind", "primary", "puzzle/0"),
    LossKey("age", "primary", "clean"),
    LossKey("puzzle", "pretext", "puzzle"),
]
WEIGHTS = [0.5, 1.5, 1.0, 0.3]


def combined(values, weights=WEIGHTS, over="views", **context):
    """Return total, weights and gradients for losses of these values."""
    leaves = [torch.tensor(value, dtype=torch.float64, requires_grad=True) for value in values]
    keys = KEYS[: len(values)]
    given_weights = dict(zip(keys, weights, strict=False))
    balanced = Geometric(over).combine(
        dict(zip(keys, leaves, strict=True)), None, StepContext(weights=given_weights, **context)
    )
    balanced.total.backward()
    return balanced.total.item(), [balanced.weights[key].item() for key in keys], [leaf.grad.item() for leaf in leaves]


def by_formula(values, weights, over):
    """The definition with powers, in plain Python."""
    tasks = {}
    for key, value, weight in zip(KEYS, values, weights, strict=True):
        tasks.setdefault(key.task, []).append((value, weight))
    sums = {task: sum(w for _, w in views) for task, views in tasks.items()}
    if over == "views":
        return sum(sums[task] * math.prod(v ** (w / sums[task]) for v, w in views) for task, views in tasks.items())
    means = {task: sum(v * w for v, w in views) / sums[task] for task, views in tasks.items()}
    return math.prod(means[task] ** (sums[task] / sum(sums.values())) for task in tasks)


losses = st.lists(st.floats(1e-3, 1e3), min_size=4, max_size=4)
factors = st.lists(st.floats(0.01, 10), min_size=4, max_size=4)
either = st.sampled_from(["views", "tasks"])


def test_by_hand():
    total, weights, _ = combined([2.0, 8.0], weights=[0.5, 0.5])
    assert total == pytest.approx(4)
    assert weights == pytest.approx([1, 0.25])
    total, weights, _ = combined([2.0, 8.0, 5.0, 20.0], weights=[0.5, 0.5, 1, 1], over="tasks")
    assert total == pytest.approx((5 * 5 * 20) ** (1 / 3))
    assert weights == pytest.approx([total / 3 / 5 / 2, total / 3 / 5 / 2, total / 3 / 5, total / 3 / 20])


@given(losses, factors, either)
@settings(deadline=None)
def test_value_and_gradient_are_those_of_the_definition(values, weights, over):
    total, reported, gradients = combined(values, weights, over)
    assert total == pytest.approx(by_formula(values, weights, over), rel=1e-9)
    assert reported == pytest.approx(gradients, rel=1e-12)
    for index, value in enumerate(values):
        step = 1e-5 * value
        above, below = ([*values[:index], value + sign * step, *values[index + 1 :]] for sign in (1, -1))
        slope = (by_formula(above, weights, over) - by_formula(below, weights, over)) / (2 * step)
        assert gradients[index] == pytest.approx(slope, rel=1e-5, abs=1e-9 * total / value)


@given(losses, st.floats(0.01, 100), st.integers(0, 3))
@settings(deadline=None)
def test_scaling_one_loss_scales_the_mean_by_its_share(values, factor, index):
    """`over="tasks"` with equal weights of three tasks: a third power; over the views of one task: its share."""
    equal = [0.5, 0.5, 1.0, 1.0]
    scaled = [value * (factor if KEYS[i].task == KEYS[index].task else 1) for i, value in enumerate(values)]
    before, after = (combined(each, equal, "tasks")[0] for each in (values, scaled))
    assert after == pytest.approx(before * factor ** (1 / 3), rel=1e-9)
    one, other = (combined([v, values[1]], [1.0, 3.0])[0] for v in (values[0], values[0] * factor))
    assert other == pytest.approx(one * factor**0.25, rel=1e-9)


@given(losses, st.floats(0.01, 100), either)
@settings(deadline=None)
def test_scaling_all_losses_scales_the_total(values, factor, over):
    scaled = combined([value * factor for value in values], over=over)[0]
    assert scaled == pytest.approx(combined(values, over=over)[0] * factor, rel=1e-9)


@given(losses, either)
@settings(deadline=None)
def test_is_at_most_the_arithmetic_mean(values, over):
    shares = [w / (sum(WEIGHTS) if over == "tasks" else 1) for w in WEIGHTS]
    assert combined(values, over=over)[0] <= sum(v * w for v, w in zip(values, shares, strict=True)) * (1 + 1e-9)


def test_one_view_each_is_the_weighted_sum():
    total, weights, _ = combined([2.0], weights=[0.7])
    assert (total, weights) == (pytest.approx(1.4), pytest.approx([0.7]))


@pytest.mark.parametrize("over", ["views", "tasks"])
def test_a_loss_of_zero_is_left_out(over):
    total, weights, gradients = combined([0.0, 8.0, 0.0, 3.0], over=over)
    assert math.isfinite(total)
    assert gradients[2] == 0
    assert all(math.isfinite(g) for g in gradients)
    if over == "views":
        assert total == pytest.approx(2 * 8 + 0.3 * 3)
        assert weights == pytest.approx([0, 2, 0, 0.3])
    total, _, gradients = combined([0.0] * 4, over=over)
    assert (total, gradients) == (0, [0, 0, 0, 0])


def test_a_tiny_loss_has_a_bounded_weight():
    _, weights, _ = combined([1e-30, 1.0], weights=[0.5, 0.5])
    assert weights[0] == pytest.approx(0.5 * math.sqrt(1e-8) / 1e-8)


def test_a_negative_loss_is_no_number():
    total, _, _ = combined([-1.0, 2.0])
    assert math.isnan(total)


def test_two_processes_have_the_mean_and_the_gradient_of_one():
    """The mean over processes of what each has is what one process has of the losses' means."""
    ranks = [[1.0, 6.0, 2.0, 0.5], [3.0, 2.0, 0.0, 1.5]]
    joint = torch.tensor(ranks, dtype=torch.float64)
    for over in ("views", "tasks"):
        parts = [combined(values, over=over, gather=lambda _, **__: joint) for values in ranks]
        whole = combined(joint.mean(0).tolist(), over=over)
        assert sum(total for total, _, _ in parts) / 2 == pytest.approx(whole[0])
        for part in parts:
            assert part[2] == pytest.approx(whole[2])


def test_losses_in_low_precision_are_weighed_in_float32():
    keys = dict.fromkeys(KEYS[:2], 0.5)
    values = {key: torch.tensor(2.0 + i, dtype=torch.bfloat16) for i, key in enumerate(keys)}
    balanced = Geometric().combine(values, None, StepContext(weights=keys))
    assert balanced.total.dtype == torch.float32
    assert balanced.total.item() == pytest.approx(math.sqrt(6), rel=1e-6)


def siamese(**more):
    torch.manual_seed(0)
    return Learner(
        TinyBackbone(norm=False),
        primary={"kind": TinyPrimary()},
        pretext={"flip": TinyPretext(views=3)},
        arrange={"flip": Arrangement(view="own", supervise=True, weight=0.3)},
        **more,
    )


def test_a_learner_with_four_supervised_passes():
    learner = siamese(balancer=Geometric())
    result = learner.step(tiny_batch(), Moment(step=0))
    assert result.passes == ("clean", "flip/0", "flip/1", "flip/2")
    primary = torch.stack([loss for key, loss in result.losses.items() if key.role == "primary"])
    pretext = result.losses[LossKey("flip", "pretext", "flip")]
    torch.testing.assert_close(result.total, primary.prod() ** 0.25 + 0.3 * pretext)
    weights = torch.stack([weight for key, weight in result.weights.items() if key.role == "primary"])
    torch.testing.assert_close(weights, primary.prod() ** 0.25 / (4 * primary))
    result.total.backward()
    assert all(p.grad.isfinite().all() and p.grad.abs().sum() > 0 for p in learner.parameters())


def test_accumulated_gradients_are_refused():
    with pytest.raises(ValueError, match="`backward_mode` should be 'together' for Geometric"):
        siamese(balancer=Geometric(), backward_mode="accumulate")


@pytest.mark.parametrize("over", ["views", "tasks"])
def test_a_run_records_effective_weights(over, tmp_path):
    spec = {
        "auxlearn": 1,
        "name": "siamese",
        "data": {"type": "tiny"},
        "backbone": {"type": "tiny"},
        "primary": {"kind": {"type": "tiny"}},
        "pretext": {"flip": {"type": "tiny", "copies": 3, "supervise": True, "weight": 0.3}},
        "balance": {"type": "geometric", "over": over},
        "train": {"steps": 2, "batch_size": 8},
        "log": {"every_steps": 1},
    }
    line = auxlearn.run(spec, out=tmp_path / "run", plugins=[plugin]).history[0]
    views = ["kind@clean", "kind@flip/0", "kind@flip/1", "kind@flip/2"]
    values = [line[f"loss/{view}"] for view in views]
    if over == "views":
        mean = math.prod(values) ** 0.25
        expected = {view: mean / 4 / value for view, value in zip(views, values, strict=True)} | {"flip@flip": 0.3}
    else:
        kind, flip = sum(values) / 4, line["loss/flip@flip"]
        mean = kind ** (1 / 1.3) * flip ** (0.3 / 1.3)
        expected = dict.fromkeys(views, mean / 1.3 / kind / 4) | {"flip@flip": mean * 0.3 / 1.3 / flip}
    assert {name: line[f"weight/{name}"] for name in expected} == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ("options", "message"), [({"over": "all"}, "'views' or 'tasks', found 'all'"), ({"eps": 0.0}, "above 0, found 0.0")]
)
def test_says_what_is_wrong(options, message):
    with pytest.raises(ValueError, match=message):
        Geometric(**options)
