"""The values of the learning-rate schedules, against their formulas."""

import math

import pytest
import torch

from auxlearn.training.schedules import ScheduleContext, cosine, linear, multistep, with_warmup

STEPS = 20


def rates(make, *, warmup=0, total=STEPS, per_epoch=4.0, groups=(1.0, 0.1)):
    """Return the learning rate of each group in each step, torch's warnings being errors."""
    parameters = [torch.nn.Parameter(torch.zeros(1)) for _ in groups]
    optimizer = torch.optim.SGD([{"params": [p], "lr": lr} for p, lr in zip(parameters, groups, strict=True)])
    context = ScheduleContext(
        optimizer=optimizer, total_steps=total - warmup, steps_per_epoch=per_epoch, skipped_steps=warmup
    )
    schedule = with_warmup(optimizer, make(context), warmup)
    found = []
    for _ in range(total + 2):
        found.append([group["lr"] for group in optimizer.param_groups])
        optimizer.step()
        schedule.step()
    for row in found:
        assert row == pytest.approx([row[0] * lr / groups[0] for lr in groups])
    return [row[0] for row in found]


@pytest.mark.parametrize("warmup", [0, 1, 5, STEPS - 1])
@pytest.mark.parametrize("final", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("kind", ["cosine", "linear"])
def test_cosine_and_linear_with_warmup(kind, final, warmup):
    make = {"cosine": cosine, "linear": linear}[kind]
    found = rates(lambda context: make(context, final=final), warmup=warmup)
    for step, rate in enumerate(found):
        done = min(1.0, max(0, step - warmup) / (STEPS - warmup))
        shape = 0.5 * (1 + math.cos(math.pi * done)) if kind == "cosine" else 1 - done
        expected = (step + 1) / (warmup + 1) if step < warmup else final + (1 - final) * shape
        assert rate == pytest.approx(expected, abs=1e-9), step


@pytest.mark.parametrize("warmup", [0, 3, 10])
def test_steps_fall_at_their_epochs_of_the_whole_training(warmup):
    found = rates(lambda context: multistep(context, milestones=(2, 4), gamma=0.1), warmup=warmup)
    for step, rate in enumerate(found):
        fallen = 0.1 ** ((step >= 8) + (step >= 16))
        assert rate == pytest.approx((step + 1) / (warmup + 1) if step < warmup else fallen), step


def test_a_part_of_an_epoch_is_rounded_to_steps():
    found = rates(lambda context: multistep(context, milestones=(3,), gamma=0.5), per_epoch=2.5)
    assert found.index(0.5) == round(3 * 2.5)


@pytest.mark.parametrize("make", [cosine, linear])
def test_no_step_after_the_warmup_is_no_error(make):
    assert rates(make, warmup=2, total=2)[0] == pytest.approx(1 / 3)


@pytest.mark.parametrize("warmup", [0, 4])
@pytest.mark.parametrize("make", [cosine, linear, lambda c: multistep(c, milestones=(2,), gamma=0.1)])
def test_a_schedule_goes_on_from_its_state(make, warmup):
    def build():
        optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
        context = ScheduleContext(
            optimizer=optimizer, total_steps=STEPS - warmup, steps_per_epoch=4, skipped_steps=warmup
        )
        return optimizer, with_warmup(optimizer, make(context), warmup)

    def go(optimizer, schedule, steps):
        found = []
        for _ in range(steps):
            found.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            schedule.step()
        return found

    whole = go(*build(), STEPS)
    for stop in range(1, STEPS):
        optimizer, schedule = build()
        go(optimizer, schedule, stop)
        kept = schedule.state_dict(), optimizer.state_dict()
        again, later = build()
        again.load_state_dict(kept[1])
        later.load_state_dict(kept[0])
        assert go(again, later, STEPS - stop) == whole[stop:]
