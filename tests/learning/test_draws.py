"""Laws of `Draws`: names, steps and ranks; and that the chosen numbers are distributed as they say."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from auxlearn.learning import Draws
from auxlearn.learning.draws import isolated_rng
from auxlearn.seeds import derive_seed

SEEDS = st.integers(0, 2**31)
METHODS = {
    "uniform": lambda d, rows: d.uniform(rows, 3, low=-1, high=2),
    "normal": lambda d, rows: d.normal(rows, 2),
    "integers": lambda d, rows: d.integers(rows, 2, low=3, high=11),
    "permutations": lambda d, rows: d.permutations(rows, 5),
}


def draws(seed=0, name="a", step=0, **more):
    return Draws(seed=seed, name=name, step=step, **more)


@pytest.mark.parametrize("method", METHODS)
@given(seed=SEEDS, rows=st.integers(1, 9), world=st.integers(1, 4), before=st.integers(0, 2))
def test_each_rank_gets_its_rows_of_the_joint_draw(method, seed, rows, world, before):
    def take(one, n):
        for _ in range(before):  # what was drawn before counts, and it is the same in every rank
            one.uniform(n)
        return METHODS[method](one, n)

    joint = take(draws(seed), world * rows)
    parts = [take(draws(seed, rank=rank, world=world), rows) for rank in range(world)]
    assert torch.equal(torch.cat(parts), joint)


@pytest.mark.parametrize("method", METHODS)
def test_a_draw_depends_on_seed_name_step_and_micro_batch_only(method):
    make = METHODS[method]
    base = make(draws(), 64)
    assert torch.equal(base, make(draws(), 64))
    for other in (draws(seed=1), draws(name="b"), draws(step=1), draws(micro=1)):
        assert not torch.equal(base, make(other, 64))


def test_names_do_not_disturb_each_other():
    alone = draws(name="a").uniform(4)
    one, other = draws(name="a"), draws(name="b")
    other.uniform(100)
    child = one.child("x")
    child.uniform(3)
    assert torch.equal(one.uniform(4), alone)
    assert torch.equal(draws(name="a/x").uniform(3), draws(name="a").child("x").uniform(3))


@given(seed=SEEDS, rows=st.integers(1, 12), share=st.floats(0, 1), world=st.integers(1, 4))
def test_choose_is_the_same_for_any_number_of_processes(seed, rows, share, world):
    count = max(1, round(share * rows))
    joint = draws(seed).choose(world * rows, world * count)
    parts = [draws(seed, rank=rank, world=world).choose(rows, count) + rank * rows for rank in range(world)]
    assert torch.equal(torch.cat(parts), joint)
    assert len(joint) == world * count == len(joint.unique())
    assert torch.equal(joint, joint.sort().values)
    assert int(joint.min()) >= 0
    assert int(joint.max()) < world * rows


def test_choose_takes_every_row_equally_often():
    rows, count, tries = 12, 3, 4000
    hits = torch.zeros(rows)
    for step in range(tries):
        hits[draws(step=step).choose(rows, count)] += 1
    expected = tries * count / rows
    deviation = (expected * (1 - count / rows)) ** 0.5
    assert (hits - expected).abs().max() < 4 * deviation


@pytest.mark.parametrize("count", [0, 5, -1])
def test_choose_refuses_a_number_of_rows_that_is_not_there(count):
    with pytest.raises(ValueError, match=rf"between 1 and the 4 rows, found {count}"):
        draws().choose(4, count)


def test_permutations_are_uniform():
    order = draws().permutations(24_000, 4)
    assert torch.equal(order.sort(1).values, torch.arange(4).expand(24_000, 4))
    code = (order * torch.tensor([64, 16, 4, 1])).sum(1)
    counts = torch.unique(code, return_counts=True)[1].double()
    assert len(counts) == math.factorial(4)
    chi_square = ((counts - 1000) ** 2 / 1000).sum()
    assert chi_square < 49.7  # 0.999 quantile for 23 degrees of freedom


def test_numbers_keep_to_their_range():
    uniform = draws().uniform(1000, low=2, high=3)
    assert uniform.min() >= 2
    assert uniform.max() < 3
    assert set(draws().integers(1000, low=3, high=6).tolist()) == {3, 4, 5}
    normal = draws().normal(20_000)
    assert abs(float(normal.mean())) < 0.03
    assert abs(float(normal.std()) - 1) < 0.03
    numbers = [draws(step=step).number(5, 7) for step in range(200)]
    assert all(5 <= n < 7 for n in numbers)
    assert draws(rank=1, world=2).number() == draws().number()


def test_seeded_scope_is_repeatable_and_leaves_no_trace():
    torch.manual_seed(7)
    before = torch.get_rng_state()
    with draws().seeded():
        first = torch.rand(3)
    with draws().seeded():
        assert torch.equal(torch.rand(3), first)
    with draws(rank=1, world=2).seeded():
        assert not torch.equal(torch.rand(3), first)
    with draws(rank=1, world=2).seeded(joint=True):
        assert torch.equal(torch.rand(3), first)
    assert torch.equal(torch.get_rng_state(), before)


def test_draws_leave_the_global_generator_alone():
    before = torch.get_rng_state()
    one = draws()
    for make in METHODS.values():
        make(one, 3)
    one.choose(4, 2)
    one.number()
    assert torch.equal(torch.get_rng_state(), before)


def test_isolated_rng_restores_after_an_error():
    before = torch.get_rng_state()

    def fail():
        with isolated_rng():
            torch.rand(1)
            raise RuntimeError("inside")

    with pytest.raises(RuntimeError, match="inside"):
        fail()
    assert torch.equal(torch.get_rng_state(), before)


PARTS = st.lists(st.integers() | st.text(st.characters(min_codepoint=32)), min_size=1, max_size=4)


@given(PARTS, PARTS)
def test_seeds_are_a_function_of_their_parts(one, other):
    assert 0 <= derive_seed(*one) < 2**63
    if [str(part) for part in one] != [str(part) for part in other]:
        assert derive_seed(*one) != derive_seed(*other)


KINDS = {
    "uniform": lambda draws, rows: draws.uniform(rows, 3),
    "normal": lambda draws, rows: draws.normal(rows, 3),
    "integers": lambda draws, rows: draws.integers(rows, 3, high=100),
    "permutations": lambda draws, rows: draws.permutations(rows, 5),
    "on_device": lambda draws, rows: draws.on_device(rows, lambda joint: torch.randn(joint, 3)),
}


@pytest.mark.parametrize("kind", KINDS)
@given(st.integers(0, 4), st.integers(0, 4), st.integers(1, 3))
def test_unlabelled_rows_have_draws_of_their_own(kind, labelled, unlabelled, world):
    def of(rows, **place):
        return KINDS[kind](Draws(seed=3, name="puzzle", step=5, **place), rows)

    rows = labelled + unlabelled
    joint = of(world * rows, parts=(world * labelled, world * unlabelled))
    assert torch.equal(joint[: world * labelled], of(world * labelled))  # as if there were no others
    parts = (labelled, unlabelled)
    own = [of(rows, rank=rank, world=world, parts=parts) for rank in range(world)]
    assert torch.equal(torch.cat([one[:labelled] for one in own]), joint[: world * labelled])
    assert torch.equal(torch.cat([one[labelled:] for one in own]), joint[world * labelled :])


def test_streams_draw_differently_and_twice_differently():
    draws = Draws(seed=0, name="puzzle", step=0, parts=(4, 4))
    first, second = draws.uniform(8), draws.uniform(8)
    assert len(set(torch.cat([first, second]).tolist())) == 16
    assert torch.equal(draws.child("x").uniform(8)[:4], Draws(seed=0, name="puzzle/x", step=0).uniform(4))
    several = Draws(seed=0, name="puzzle", step=0, parts=(4, 4)).uniform(16)  # two of each row
    assert torch.equal(several[:8], Draws(seed=0, name="puzzle", step=0).uniform(8))
    assert torch.equal(  # what is no number of rows is drawn as without streams
        Draws(seed=0, name="puzzle", step=0, parts=(4, 4)).uniform(3), Draws(seed=0, name="puzzle", step=0).uniform(3)
    )
