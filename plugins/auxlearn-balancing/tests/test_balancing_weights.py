"""`uncertainty`, `dwa` and `gradnorm` against their papers: by hand, against loops over plain numbers, and by laws."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from auxlearn.learning import Draws, LossKey, StepContext
from auxlearn.testing.fake_device import FakeDevice
from auxlearn_balancing import DynamicWeightAverage, GradNorm, TaskLosses, Uncertainty

KEYS = [
    LossKey("kind", "primary", "clean"),
    LossKey("kind", "primary", "a/0"),
    LossKey("a", "pretext", "a"),
    LossKey("b", "pretext", "b"),
]
TASKS = ("kind", "a", "b")
WEIGHTS = [0.5, 0.5, 1.0, 0.3]

few = settings(max_examples=25)
positive = st.lists(st.floats(0.01, 100), min_size=4, max_size=4)
within = st.lists(st.floats(0.1, 10), min_size=4, max_size=4)  # ratios whose powers of e are finite


def losses_of(values, keys=KEYS):
    return {
        key: torch.tensor(value, dtype=torch.float64, requires_grad=True)
        for key, value in zip(keys, values, strict=True)
    }


def step_of(weights=WEIGHTS, keys=KEYS, micro=0, **more):
    draws = Draws(seed=0, name="balance", step=0, micro=micro)
    return StepContext(weights=dict(zip(keys, weights, strict=True)), draws=draws, **more)


# Uncertainty


def kendall(**options):
    return Uncertainty(TASKS, **options).double()


def test_uncertainty_by_hand():
    balancer = kendall(regression=["a"])
    for name, value in {"kind": 0.0, "a": math.log(2), "b": math.log(4)}.items():
        balancer.log_variance[name].data.fill_(value)
    losses = losses_of([1.0, 3.0, 8.0, 20.0])
    balanced = balancer.combine(losses, None, step_of())
    # kind: (1 + 3) / 2 / 1 + 0; a: 8 / (2 * 2) + log(2) / 2; b: 0.3 * (20 / 4 + log(4) / 2)
    assert balanced.total.item() == pytest.approx(2 + 2 + math.log(2) / 2 + 1.5 + 0.3 * math.log(2))
    assert [w.item() for w in balanced.weights.values()] == pytest.approx([0.5, 0.5, 0.25, 0.075])
    balanced.total.backward()
    assert [loss.grad.item() for loss in losses.values()] == pytest.approx([0.5, 0.5, 0.25, 0.075])
    # By s: -f exp(-s) W L + W / 2
    slopes = {name: s.grad.item() for name, s in balancer.log_variance.items()}
    assert slopes == pytest.approx({"kind": -2 + 0.5, "a": -2 + 0.5, "b": 0.3 * (-5 + 0.5)})


@few
@given(positive, st.booleans())
def test_at_its_minimum_a_factor_is_half_of_one_over_the_loss(values, squared):
    """Whatever the likelihood: the paper's objective is least at variance L for squared errors, 2 L else."""
    losses = losses_of(values)
    balancer = kendall(regression=TASKS if squared else ())
    means = dict(zip(TASKS, ((values[0] + values[1]) / 2, values[2], values[3]), strict=True))
    for name, mean in means.items():
        balancer.log_variance[name].data.fill_(math.log(mean if squared else 2 * mean))
    balanced = balancer.combine(losses, None, step_of())
    balanced.total.backward()
    assert all(abs(s.grad.item()) < 1e-12 for s in balancer.log_variance.values())
    for (key, weight), given_weight in zip(balanced.weights.items(), WEIGHTS, strict=True):
        assert weight.item() == pytest.approx(given_weight / (2 * means[key.task]))


def test_the_regulariser_counts_once_however_the_step_is_cut():
    values = [1.0, 3.0, 8.0, 20.0]
    whole = kendall(initial=0.7)
    expected = whole.combine(losses_of(values), None, step_of())
    expected.total.backward()
    cut, total = kendall(initial=0.7), 0.0
    for micro in range(2):
        for part in (KEYS[:1], KEYS[1:2], KEYS[2:]):
            losses = {key: loss / 2 for key, loss in losses_of(values).items() if key in part}
            balanced = cut.combine(losses, None, step_of(micro=micro))
            balanced.total.backward()
            total += balanced.total.item()
    assert total == pytest.approx(expected.total.item())
    for name, s in cut.log_variance.items():
        assert s.grad.item() == pytest.approx(whole.log_variance[name].grad.item())


def test_a_task_that_is_off_leaves_its_variance_alone():
    balancer = kendall()
    balancer.combine(losses_of([1.0], KEYS[:1]), None, step_of([1.0], KEYS[:1])).total.backward()
    assert balancer.log_variance["kind"].grad is not None
    assert balancer.log_variance["a"].grad is None


# Dynamic Weight Average


def trained(epochs, tasks=TASKS, temperature=2.0, keys=KEYS):
    """Return a balancer that has seen lists of steps, each a list of losses (None: off), epoch by epoch."""
    balancer = DynamicWeightAverage(tasks, temperature=temperature).double()
    for epoch, steps in enumerate(epochs):
        for number, values in enumerate(steps):
            seen = {k: torch.tensor(v, dtype=torch.float64) for k, v in zip(keys, values, strict=True) if v is not None}
            balancer.after_step(seen, StepContext(epoch=epoch + number / len(steps)))
    return balancer


def factors(balancer, epoch):
    balanced = balancer.combine(losses_of([1.0] * 4), None, step_of([1.0] * 4, epoch=epoch))
    return [balanced.weights[key].item() for key in KEYS[1:]]


def test_dwa_by_hand():
    """Equation 7: rates of 0.5, 1 and 2, at T = 1."""
    balancer = trained([[[4.0, 4, 3, 1]], [[2.0, 2, 3, 2]]], temperature=1.0)
    whole = math.exp(0.5) + math.e + math.exp(2)
    assert factors(balancer, 2) == pytest.approx([3 * math.exp(r) / whole for r in (0.5, 1, 2)])
    losses = losses_of([1.0, 2.0, 3.0, 4.0])
    balanced = balancer.combine(losses, None, step_of(epoch=2.5))
    rates = [math.exp(0.5), math.exp(0.5), math.e, math.exp(2)]
    expected = [3 * rate / whole * weight for rate, weight in zip(rates, WEIGHTS, strict=True)]
    assert [w.item() for w in balanced.weights.values()] == pytest.approx(expected)
    assert balanced.total.item() == pytest.approx(sum(w * v for w, v in zip(expected, (1, 2, 3, 4), strict=True)))
    balanced.total.backward()
    assert [loss.grad.item() for loss in losses.values()] == pytest.approx(expected)


def test_dwa_weighs_alike_in_the_first_two_epochs():
    balancer = DynamicWeightAverage(TASKS)
    assert factors(balancer, 0) == [1, 1, 1]
    balancer = trained([[[4.0, 4, 3, 1]], [[1.0, 1, 1, 1]]])
    assert factors(balancer, 1.9) == pytest.approx([1, 1, 1])


@few
@given(st.lists(st.lists(within, min_size=1, max_size=3), min_size=3, max_size=5), st.floats(0.5, 10))
def test_dwa_is_the_equation_over_epoch_means(epochs, temperature):
    balancer = trained(epochs, temperature=temperature)
    means = []
    for steps in epochs:
        tasks = [[(v[0] + v[1]) / 2 for v in steps], [v[2] for v in steps], [v[3] for v in steps]]
        means.append([math.fsum(task) / len(task) for task in tasks])
    for now in (len(epochs) - 0.01, len(epochs)):  # the last epoch is not over yet, and is
        done = math.floor(now)
        rates = [math.exp(new / old / temperature) for new, old in zip(means[done - 1], means[done - 2], strict=True)]
        assert factors(balancer, now) == pytest.approx([3 * rate / math.fsum(rates) for rate in rates], rel=1e-9)


@few
@given(within, within, st.floats(0.01, 100), st.permutations([0, 1, 2]))
def test_dwa_is_blind_to_scale_and_order(first, second, scale, order):
    def of(values):
        return [values[0], values[0], *(values[i] for i in (1, 2))]

    plain = factors(trained([[of(first)], [of(second)]]), 2)
    assert factors(trained([[[scale * v for v in of(x)]] for x in (first, second)]), 2) == pytest.approx(plain)
    turned = factors(trained([[of([x[i] for i in order])] for x in (first, second)]), 2)
    assert turned == pytest.approx([plain[i] for i in order])
    assert sum(plain) == pytest.approx(3)


def test_dwa_counts_the_steps_in_which_a_task_had_a_loss():
    balancer = trained([[[4.0, 4, 3, 1], [4.0, 4, None, 0]], [[2.0, 2, 3, 2], [2, 2, None, 2]]], temperature=1.0)
    assert factors(balancer, 2) == pytest.approx(
        factors(trained([[[4.0, 4, 3, 1]], [[2.0, 2, 3, 2]]], temperature=1.0), 2)
    )


def test_dwa_begins_a_late_task_with_a_rate_of_one():
    balancer = trained([[[4.0, 4, None, 2]], [[4.0, 4, 9, 2]]])
    assert factors(balancer, 2) == pytest.approx([1, 1, 1])
    balancer.after_step({KEYS[2]: torch.tensor(3.0)}, StepContext(epoch=2))
    rates = [math.exp(r / 2) for r in (1, 1 / 3, 1)]  # the others are off in epoch 2
    assert factors(balancer, 3) == pytest.approx([3 * r / sum(rates) for r in rates])


def test_dwa_has_an_idle_step_change_nothing_but_the_epoch():
    balancer = trained([[[4.0, 4, 3, 1]], [[2.0, 2, 3, 2]]])
    before = factors(balancer, 2)
    balancer.after_step({KEYS[3]: torch.tensor(0.0)}, StepContext(epoch=2))
    assert factors(balancer, 2.5) == before
    assert int(balancer.epoch) == 2


# GradNorm


def gradients_of(seed, count=4, width=6):
    return torch.randn(count, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def chen(values, first, omegas, gradients, alpha, on=(0, 1, 2)):
    """Return L_grad's gradient by each weight, by loops: equations 1 and 2, targets constant, unit task weights."""
    rows = [(gradients[0] + gradients[1]) / 2, gradients[2], gradients[3]]
    means = [(values[0] + values[1]) / 2, values[2], values[3]]
    norms = {i: float(rows[i].norm()) for i in on}
    rates = {i: means[i] / first[i] for i in on}
    mean_rate = sum(rates.values()) / len(on)
    mean_norm = sum(omegas[i] * norms[i] for i in on) / len(on)
    slopes = [0.0, 0.0, 0.0]
    for i in on:
        target = mean_norm * (rates[i] / mean_rate) ** alpha
        slopes[i] = norms[i] * math.copysign(1, omegas[i] * norms[i] - target)
    return slopes


def chen_module(omegas, first, alpha):
    balancer = GradNorm(TASKS, alpha=alpha).double()
    balancer.initial.copy_(torch.tensor(first))
    return weighing(balancer, omegas)


def weighing(balancer, omegas):
    for name, value in zip(TASKS, omegas, strict=True):
        balancer.weights[name].data.fill_(value)
    return balancer


def slopes_of(balancer):
    return [balancer.weights[name].grad.item() for name in TASKS]


def test_gradnorm_by_hand():
    """Norms 3, 1 and 2, equal rates: the mean is 2, so `kind` is told to sink, `a` to rise, `b` is where it should."""
    gradients = torch.tensor([[3.0, 0, 0], [3, 0, 0], [0, 1, 0], [0, 0, 2]], dtype=torch.float64)
    balancer = chen_module([1.0, 1, 1], [2.0, 2, 2], alpha=1.5)
    losses = losses_of([1.0, 1.0, 1.0, 1.0])
    balanced = balancer.combine(losses, gradients @ gradients.T, step_of())
    assert balanced.total.item() == pytest.approx(1 + 1 + 0.3)
    balanced.total.backward()
    assert {n: w.grad.item() for n, w in balancer.weights.items()} == {"kind": 3.0, "a": -1.0, "b": 0.0}
    assert [loss.grad.item() for loss in losses.values()] == WEIGHTS == [w.item() for w in balanced.weights.values()]


@few
@given(positive, st.lists(st.floats(0.1, 10), min_size=6, max_size=6), st.floats(0, 3), st.integers(0, 999))
def test_gradnorm_is_algorithm_1(values, others, alpha, seed):
    omegas, first, gradients = others[:3], others[3:], gradients_of(seed)
    balancer = chen_module(omegas, first, alpha)
    losses = losses_of(values)
    balanced = balancer.combine(losses, gradients @ gradients.T, step_of())
    balanced.total.backward()
    expected = chen(values, first, omegas, gradients, alpha)
    assert slopes_of(balancer) == pytest.approx(expected, rel=1e-9)
    weights = [omegas[i] * w for i, w in zip((0, 0, 1, 2), WEIGHTS, strict=True)]
    assert [loss.grad.item() for loss in losses.values()] == pytest.approx(weights)
    assert balanced.total.item() == pytest.approx(sum(w * v for w, v in zip(weights, values, strict=True)))
    assert balanced.shared is None


@few
@given(positive, st.integers(0, 999), st.lists(st.floats(0.01, 100), min_size=3, max_size=3))
def test_gradnorm_is_blind_to_the_weights_of_the_spec(values, seed, spec):
    """They multiply what it finds; were they part of the norms, it would undo them."""
    gradients, slopes = gradients_of(seed), []
    for weights in (WEIGHTS, [spec[0] / 2, spec[0] / 2, *spec[1:]]):
        balancer = chen_module([1.0, 2, 0.5], [1.0, 1, 1], alpha=0.5)
        balancer.combine(losses_of(values), gradients @ gradients.T, step_of(weights)).total.backward()
        slopes.append(slopes_of(balancer))
    assert slopes[0] == pytest.approx(slopes[1])


def test_gradnorm_leaves_out_what_is_off_or_has_no_rows():
    values, gradients, omegas, first = [1.0, 2.0, 3.0, 4.0], gradients_of(0), [1.2, 0.9, 0.9], [2.0, 1.0, 5.0]
    expected = chen(values, first, omegas, gradients, 1.0, on=(0, 2))
    off = chen_module(omegas, first, alpha=1.0)
    keys, rows = [KEYS[0], KEYS[1], KEYS[3]], gradients[[0, 1, 3]]
    off.combine(losses_of([1.0, 2.0, 4.0], keys), rows @ rows.T, step_of([0.5, 0.5, 0.3], keys)).total.backward()
    assert off.weights["a"].grad is None
    assert [off.weights[n].grad.item() for n in ("kind", "b")] == pytest.approx([expected[0], expected[2]])
    empty = chen_module(omegas, first, alpha=1.0)
    gradients[2] = 0
    empty.combine(losses_of([1.0, 2.0, 0.0, 4.0]), gradients @ gradients.T, step_of()).total.backward()
    assert slopes_of(empty) == pytest.approx(expected)


def test_a_view_without_a_labelled_row_does_not_count_in_the_mean_of_its_task():
    values = [2.0, 0.0, 2.0]  # `kind` on the clean images, on the puzzles, where no row has a label, and `a`
    keys, weights = KEYS[:3], [0.5, 0.5, 1.0]
    assert TaskLosses(losses_of(values, keys), step_of(weights, keys)).means().tolist() == [2, 2]
    assert TaskLosses(losses_of([0.0, 0.0, 2.0], keys), step_of(weights, keys)).means().tolist() == [0, 2]
    balancer = DynamicWeightAverage(("kind", "a"), temperature=0.5).double()
    for epoch, seen in enumerate(([2.0, 2.0, 2.0], values)):
        balancer.after_step(losses_of(seen, keys), StepContext(epoch=epoch))
    balanced = balancer.combine(losses_of(values, keys), None, step_of(weights, keys, epoch=2))
    assert [w.item() for w in balanced.weights.values()] == pytest.approx(weights)
    # Gradients of norm 1 and equal rates: every weight is where it should be.
    gradients = torch.tensor([[1.0, 0], [0, 0], [0, 1]], dtype=torch.float64)
    learned = GradNorm(("kind", "a")).double()
    learned.initial.fill_(2.0)
    learned.combine(losses_of(values, keys), gradients @ gradients.T, step_of(weights, keys)).total.backward()
    assert [learned.weights[name].grad.item() for name in ("kind", "a")] == [0, 0]


def test_gradnorm_leaves_the_weight_of_a_task_that_is_off_alone():
    balancer = GradNorm(TASKS).double()
    optimizer = torch.optim.Adam(balancer.parameters(), lr=0.05)
    keys, gradients = KEYS[:3], gradients_of(0)[:3]
    for _ in range(20):
        losses = losses_of([1.0, 1.0, 3.0], keys)
        optimizer.zero_grad()
        balancer.combine(losses, gradients @ gradients.T, step_of(WEIGHTS[:3], keys)).total.backward()
        optimizer.step()
        with torch.no_grad():
            balancer.after_step(losses, StepContext())
        kind, a, b = (balancer.weights[name].item() for name in TASKS)
        assert b == 1
        assert kind + a == pytest.approx(2)
    assert kind > 1.03


def test_gradnorm_keeps_the_first_losses_and_the_sum_of_weights():
    balancer = weighing(GradNorm(TASKS).double(), (2.0, 0.5, -1.0))
    seen = dict(zip(KEYS, map(torch.tensor, (1.0, 3.0, 0.0, 5.0)), strict=True))
    balancer.after_step(seen, StepContext())
    assert balancer.initial.tolist() == [2, 0, 5]
    found = [balancer.weights[name].item() for name in TASKS]
    assert found == pytest.approx([2.5 * 2 / 2.001, 0.5, 2.5 * 0.001 / 2.001])  # `a` has no loss
    balancer.after_step({key: torch.tensor(7.0) for key in KEYS}, StepContext())
    assert balancer.initial.tolist() == [2, 7, 5]


def test_gradnorm_makes_norms_alike():
    """With alpha 0 and constant gradients of norms 1 and 4, the weights come to 1.6 and 0.4."""
    balancer = GradNorm(("kind", "a"), alpha=0.0)
    keys, gram = [KEYS[0], KEYS[2]], torch.diag(torch.tensor([1.0, 16.0]))
    optimizer = torch.optim.Adam(balancer.parameters(), lr=0.01)
    for _ in range(150):
        balancer.combine(losses_of([1.0, 1.0], keys), gram, step_of([1.0, 1.0], keys)).total.backward()
        optimizer.step()
        optimizer.zero_grad()
        with torch.no_grad():
            balancer.after_step({key: torch.tensor(1.0) for key in keys}, StepContext())
    assert [balancer.weights[name].item() for name in ("kind", "a")] == pytest.approx([1.6, 0.4], abs=0.03)


# All of them


@pytest.mark.parametrize("made", [DynamicWeightAverage, GradNorm])
def test_history_is_kept_without_a_look_at_the_device(made):
    balancer, fake = made(TASKS), FakeDevice()
    fake.take(balancer)
    losses = fake.moved({key: torch.tensor(2.0) for key in KEYS})
    with fake.problems(), torch.no_grad():
        balancer.after_step(losses, StepContext(epoch=1.5))


@pytest.mark.parametrize("made", [DynamicWeightAverage, GradNorm, Uncertainty])
def test_half_precision_is_left_to_the_losses(made):
    """Losses of less than single precision are weighed in single precision."""
    gradients = gradients_of(0).float()
    losses = {key: torch.tensor(v, dtype=torch.bfloat16) for key, v in zip(KEYS, (1.0, 2.0, 3.0, 4.0), strict=True)}
    balanced = made(TASKS).combine(losses, gradients @ gradients.T, step_of())
    assert balanced.total.dtype == torch.float32
    assert balanced.total.item() == pytest.approx(5.7)


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (lambda: DynamicWeightAverage(TASKS, temperature=0.0), "`temperature` should be above 0, found 0.0"),
        (lambda: GradNorm(TASKS, alpha=-1.0), "`alpha` should be at least 0, found -1.0"),
        (lambda: Uncertainty(TASKS, regression=["age"]), r"`regression` should name some of .*, found \['age'\]"),
        (lambda: GradNorm(TASKS).combine(losses_of([1.0] * 4), None, step_of()), "needs the inner products"),
        (lambda: TaskLosses(losses_of([1.0] * 4), step_of(), ("kind", "a")), r"of the tasks .*, found \['b'\]"),
    ],
)
def test_says_what_is_wrong(made, message):
    with pytest.raises(ValueError, match=message):
        made()


def test_a_task_without_a_labelled_row_has_no_regulariser():
    balancer = Uncertainty(TASKS).double()
    losses = losses_of([0.0, 0.0, 2.0, 3.0])
    scales = {key: torch.tensor(0.0) if key.task == "kind" else 0.125 for key in losses}
    step = step_of(scales=scales)
    balancer.combine(losses, None, step).total.backward()
    slopes = {name: parameter.grad.item() for name, parameter in balancer.log_variance.items()}
    # The derivative by s at s = 0 is W (1/2 - L), and nothing where nothing was counted.
    assert slopes == pytest.approx({"kind": 0.0, "a": 1.0 * (0.5 - 2.0), "b": 0.3 * (0.5 - 3.0)})
