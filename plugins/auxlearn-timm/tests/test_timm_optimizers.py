"""timm's optimizers and schedules on auxlearn's parameter groups."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from timm.optim import AdaBelief, get_optimizer_info, list_optimizers

from auxlearn.errors import EnvironmentProblem, SpecError
from auxlearn.training.schedules import ScheduleContext, with_warmup
from auxlearn_timm import TimmCosineParams, TimmOptimizerParams, TimmWsdParams
from auxlearn_timm.optimizers import build_optimizer
from auxlearn_timm.schedules import cosine, warmup_stable_decay

ELSEWHERE = ("bnb", "fused")
KRON = ("kron", "kronc", "kronw")  # torch.compile at the first step, and a warning without opt_einsum
USABLE = [
    n
    for n in list_optimizers()
    if not n.startswith(ELSEWHERE) and n not in KRON and not get_optimizer_info(n).second_order
]


def groups():
    torch.manual_seed(0)
    matrix, bias = torch.nn.Parameter(torch.randn(4, 3)), torch.nn.Parameter(torch.randn(4))
    return [
        {"name": "a", "params": [matrix], "lr": 1e-2, "weight_decay": 0.1},
        {"name": "b", "params": [bias], "lr": 1e-3, "weight_decay": 0.0},
    ]


def train(optimizer, steps, start=0):
    (matrix,), (bias,) = (group["params"] for group in optimizer.param_groups)
    for step in range(start, start + steps):
        generator = torch.Generator().manual_seed(step)
        x = torch.randn(8, 3, generator=generator)
        loss = (x @ matrix.T + bias - 1).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return [p.detach().clone() for p in (matrix, bias)]


@pytest.mark.parametrize("name", USABLE)
def test_every_optimizer_takes_steps_and_keeps_the_groups(name):
    optimizer = build_optimizer(TimmOptimizerParams(name=name), groups())
    assert [(g["lr"], g["weight_decay"]) for g in optimizer.param_groups] == [(1e-2, 0.1), (1e-3, 0.0)]
    before = [p.detach().clone() for g in optimizer.param_groups for p in g["params"]]
    after = train(optimizer, 3)
    assert all(a.isfinite().all() and not torch.equal(a, b) for a, b in zip(after, before, strict=True))


def test_equals_the_optimizer_made_by_hand():
    found = train(build_optimizer(TimmOptimizerParams(name="adabelief", betas=(0.8, 0.95), eps=1e-6), groups()), 5)
    expected = train(AdaBelief(groups(), betas=(0.8, 0.95), eps=1e-6, rectify=False), 5)
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


def test_momentum():
    optimizer = build_optimizer(TimmOptimizerParams(name="sgd", momentum=0.5), groups())
    assert optimizer.param_groups[0]["momentum"] == 0.5
    assert build_optimizer(TimmOptimizerParams(name="sgd"), groups()).param_groups[0]["momentum"] == 0.9


def test_lookahead_pulls_the_weights_back_every_so_many_steps():
    params = TimmOptimizerParams(name="momentum", momentum=0.0, lookahead=True, lookahead_steps=2, lookahead_rate=0.25)
    optimizer, plain = (
        build_optimizer(params, groups()),
        build_optimizer(TimmOptimizerParams(name="momentum", momentum=0.0), groups()),
    )
    slow = train(optimizer, 2)  # timm starts the slow weights at the first synchronisation
    assert all(torch.equal(a, b) for a, b in zip(slow, train(plain, 2), strict=True))
    fast = train(plain, 2, start=2)
    expected = [s + 0.25 * (f - s) for s, f in zip(slow, fast, strict=True)]
    for found, wanted in zip(train(optimizer, 2, start=2), expected, strict=True):
        torch.testing.assert_close(found, wanted)


@pytest.mark.parametrize("name", ["adabelief", "lamb", "lion"])
def test_lookahead_resumes_exactly(name):
    params = TimmOptimizerParams(name=name, lookahead=True, lookahead_steps=3)
    whole = train(build_optimizer(params, groups()), 10)
    first = build_optimizer(params, groups())
    train(first, 4)
    second = build_optimizer(params, groups())
    with torch.no_grad():
        for a, b in zip(first.param_groups, second.param_groups, strict=True):
            b["params"][0].copy_(a["params"][0])
    second.load_state_dict(first.state_dict())
    assert all(torch.equal(a, b) for a, b in zip(train(second, 6, start=4), whole, strict=True))


def test_mistakes():
    with pytest.raises(
        SpecError, match=r'/name: timm \S+ has no first-order optimizer "adabelif".*did you mean "adabelief"'
    ):
        build_optimizer(TimmOptimizerParams(name="adabelif"), groups())
    with pytest.raises(SpecError, match="no first-order optimizer"):
        build_optimizer(TimmOptimizerParams(name="adahessian"), groups())
    with pytest.raises(
        SpecError, match=r'/momentum: optimizer "lion" has no `momentum`.*\n/eps: .*\n/betas: there are 3'
    ):
        build_optimizer(TimmOptimizerParams(name="lion", momentum=0.9, eps=1e-8, betas=(0.1, 0.2, 0.3)), groups())
    with pytest.raises(SpecError, match=r'/name: optimizer "sgd": Nesterov momentum requires a momentum'):
        build_optimizer(TimmOptimizerParams(name="sgd", momentum=0.0), groups())
    assert len(build_optimizer(TimmOptimizerParams(name="adan", betas=(0.9, 0.8, 0.7)), groups()).param_groups) == 2


@pytest.mark.skipif(torch.cuda.is_available(), reason="says what is missing without a GPU")
def test_optimizer_of_another_package():
    with pytest.raises(EnvironmentProblem, match=r'/name: optimizer "fusedadam" cannot be used here'):
        build_optimizer(TimmOptimizerParams(name="fusedadam"), groups())


def rates(make, total, *, warmup=0, lrs=(1.0, 0.1)):
    parameters = [torch.nn.Parameter(torch.zeros(1)) for _ in lrs]
    optimizer = torch.optim.SGD([{"params": [p], "lr": lr} for p, lr in zip(parameters, lrs, strict=True)])
    context = ScheduleContext(
        optimizer=optimizer, total_steps=total - warmup, steps_per_epoch=1.0, skipped_steps=warmup
    )
    schedule = with_warmup(optimizer, make(context), warmup)
    found = []
    for _ in range(total):
        found.append([group["lr"] for group in optimizer.param_groups])
        optimizer.step()
        schedule.step()
    found.append([group["lr"] for group in optimizer.param_groups])
    return found


@given(
    cycles=st.integers(1, 4),
    length=st.integers(2, 12),
    decay=st.floats(0.1, 1),
    final=st.floats(0, 1),
    k=st.floats(0.5, 3),
)
def test_cosine_is_the_formula(cycles, length, decay, final, k):
    params = TimmCosineParams(cycles=cycles, cycle_decay=decay, final=final, k_decay=k)
    found = rates(lambda c: cosine(params, c), cycles * length)
    for step, (first, second) in enumerate(found[:-1]):
        cycle, within = divmod(step, length)
        expected = final + 0.5 * (decay**cycle - final) * (1 + math.cos(math.pi * (within / length) ** k))
        assert first == pytest.approx(expected, abs=1e-12)
        assert second == pytest.approx(0.1 * expected, abs=1e-12)
    assert found[-1][0] == pytest.approx(final)


def test_cosine_cycles_of_growing_length_span_the_training():
    found = [a for a, _ in rates(lambda c: cosine(TimmCosineParams(cycles=3, cycle_mul=2.0), c), 70)]
    assert [step for step, rate in enumerate(found) if rate == pytest.approx(1.0)] == [0, 10, 30]
    assert found[-1] == pytest.approx(0)


def test_cosine_noise_is_where_it_was_asked_for_and_repeats():
    plain = rates(lambda c: cosine(TimmCosineParams(), c), 40)
    params = TimmCosineParams(noise=(0.25, 0.75), noise_limit=0.2, noise_std=0.1)
    noisy = rates(lambda c: cosine(params, c), 40)
    changed = [step for step, (a, b) in enumerate(zip(plain, noisy, strict=True)) if a != b]
    assert changed == list(range(10, 30))
    assert all(abs(b[0] / a[0] - 1) < 0.2 for a, b in zip(plain[:-1], noisy[:-1], strict=True))
    assert noisy == rates(lambda c: cosine(params, c), 40)


def test_warmup_stable_decay():
    found = [
        a for a, _ in rates(lambda c: warmup_stable_decay(TimmWsdParams(shape="linear", decay=0.4), c), 14, warmup=4)
    ]
    assert found[:4] == pytest.approx([0.2, 0.4, 0.6, 0.8])
    assert found[4:11] == pytest.approx([1.0] * 7)
    assert found[11:] == pytest.approx([0.75, 0.5, 0.25, 0.0][: len(found) - 11])


def test_schedule_resumes_from_its_state():
    def make(optimizer):
        return cosine(
            TimmCosineParams(cycles=2, noise=(0.0, 1.0)),
            ScheduleContext(optimizer=optimizer, total_steps=20, steps_per_epoch=5),
        )

    def optimizer():
        return torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.3)

    def go(one, schedule, steps):
        rates = []
        for _ in range(steps):
            one.step()
            schedule.step()
            rates.append(one.param_groups[0]["lr"])
        return rates

    first = optimizer()
    schedule = make(first)
    whole = go(first, schedule, 7)
    state, groups_state = schedule.state_dict(), first.state_dict()
    whole += go(first, schedule, 13)
    second = optimizer()
    again = make(second)
    second.load_state_dict(groups_state)
    again.load_state_dict(state)
    assert go(second, again, 13) == whole[7:]
