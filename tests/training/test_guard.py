"""What is not finite never gets into weights or statistics, and the message says which task brought it."""

import attrs
import pytest
import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.precision import MixedPrecision
from torch import nn

from auxlearn import Arrangement, Learner, Trainer
from auxlearn.errors import DivergedError
from auxlearn.learning import TaskResult
from auxlearn.testing.fakes import TinyBackbone, TinyPretext, TinyPrimary, tiny_batch
from auxlearn.training.guard import Guard, gradient_norm

BROKEN_STEP = 2


class Fragile(TinyPretext):
    """Breaks its loss, or only its gradient, in one step."""

    def __init__(self, how="nan", steps=(BROKEN_STEP,)):
        torch.manual_seed(7)
        super().__init__()
        self.how, self.steps, self.calls = how, steps, []

    def loss(self, features, views, step):
        result = super().loss(features, views, step)
        if step.step not in self.steps:
            return result
        if self.how == "gradient":  # the norm of zero is zero, and its gradient NaN
            flat = features[0].only.pooled * 0
            return attrs.evolve(result, loss=result.loss + flat.square().sum().sqrt())
        return attrs.evolve(result, loss=result.loss * float(self.how))

    def after_step(self, carry, step):
        self.calls.append(step.step)


def make(task, *, dropout=0.3, **more):
    torch.manual_seed(0)
    how = {"fragile": Arrangement(view="own", statistics="separate"), "sound": Arrangement(view="own", weight=0.5)}
    learner = Learner(
        TinyBackbone(dropout=dropout),
        primary={"kind": TinyPrimary()},
        pretext={"fragile": task, "sound": TinyPretext()},
        arrange=how,
    )
    optimizer = torch.optim.AdamW(learner.parameters(), lr=0.01)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.9**step)
    return Trainer(learner, optimizer, scheduler=schedule, ema=0.9, **more)


def state(trainer):
    found = {f"learner.{n}": t.clone() for n, t in trainer.learner.state_dict().items()}
    found |= {f"ema.{n}": t.clone() for n, t in trainer.average.state_dict().items()}
    for number, entry in trainer.raw_optimizer.state_dict()["state"].items():
        found |= {f"optimizer.{number}.{name}": value.clone() for name, value in entry.items()}
    return found


def equal(one, other):
    torch.testing.assert_close(one, other, rtol=0, atol=0)


@pytest.mark.parametrize("how", ["nan", "inf", "-inf", "gradient"])
@pytest.mark.parametrize("accumulate", [1, 2])
def test_stop_names_the_task_and_leaves_everything_as_before_the_step(how, accumulate):
    task = Fragile(how)
    trainer = make(task, accumulate=accumulate, clip_norm=1.0)
    for number in range(BROKEN_STEP):
        trainer.step(tiny_batch(seed=number))
    before = state(trainer)
    what = (
        "fragile@fragile: loss is .*gradient is not finite"
        if how == "gradient"
        else "fragile@fragile: loss is -?nan|inf"
    )
    with pytest.raises(DivergedError, match=f"step 2 is not finite .{what}") as caught:
        trainer.step(tiny_batch(seed=BROKEN_STEP))
    message = str(caught.value)
    blamed, _, rest = message.partition("; all losses: ")
    assert "sound" not in blamed
    assert "kind" not in blamed
    assert all(name in rest for name in ("kind@clean", "fragile@fragile", "sound@sound", "[0, 1, 2, 3, 4, 5, 6, 7]"))
    equal(state(trainer), before)
    assert all(p.grad is None for p in trainer.learner.parameters())
    assert (trainer.steps, trainer.updates) == (2, 2)
    assert task.calls == [0, 1]


def test_the_primary_task_is_named_too():
    class Breaks(TinyPrimary):
        def loss(self, features, batch, step):
            return TaskResult(loss=super().loss(features, batch, step).loss * torch.nan)

    learner = Learner(TinyBackbone(), primary={"kind": TinyPrimary(), "bad": Breaks()})
    trainer = Trainer(learner, torch.optim.SGD(learner.parameters(), lr=0.1))
    with pytest.raises(DivergedError, match=r"not finite \(bad@clean: loss is nan; all losses: kind@clean [\d.]+, bad"):
        trainer.step(tiny_batch())


def test_one_bad_sample_does_not_poison_batchnorm():
    learner = Learner(TinyBackbone(), primary={"kind": TinyPrimary()})
    trainer = Trainer(learner, torch.optim.SGD(learner.parameters(), lr=0.1), non_finite="skip")
    batch = tiny_batch()
    images = batch.image.float() / 255
    images[3, 0, 0, 0] = torch.nan
    trainer.step(batch)
    before = {name: t.clone() for name, t in learner.state_dict().items()}
    trainer.step(attrs.evolve(batch, inputs={"image": images}))
    equal(dict(learner.state_dict()), before)
    trainer.step(batch)
    learner.eval()
    assert learner.features(batch.inputs).only.pooled.isfinite().all()


def test_a_skipped_step_is_a_step_that_was_not_taken():
    task, plain = Fragile("nan"), Fragile("nan", steps=())
    skipping, other = make(task, non_finite="skip"), make(plain)
    for number in range(5):
        skipping.step(tiny_batch(seed=number))
        if number == BROKEN_STEP:
            other.steps += 1
        else:
            other.step(tiny_batch(seed=number))
    equal(state(skipping), state(other))
    assert (skipping.steps, skipping.updates, skipping.skips) == (5, 4, 0)
    assert skipping.scheduler.last_epoch == 4
    assert task.calls == [0, 1, 3, 4]


def test_so_many_skips_in_a_row_and_no_more():
    trainer = make(Fragile("nan", steps=(0, 1, 3, 4, 5)), non_finite="skip", max_skips=2)
    for number in range(5):
        trainer.step(tiny_batch(seed=number))
        assert trainer.skips == (1, 2, 0, 1, 2)[number]
    with pytest.raises(DivergedError, match=r"step 5 is not finite \(fragile@fragile"):
        trainer.step(tiny_batch())
    assert trainer.updates == 1


def test_a_sum_that_overflows_blames_no_single_loss():
    class Huge(TinyPrimary):
        def loss(self, features, batch, step):
            return TaskResult(loss=features.only.pooled.sum() * 0 + 3e38 * len(batch) ** 0)

    learner = Learner(TinyBackbone(), primary={"a": Huge(), "b": Huge()}, weights={"a": 8.0, "b": 8.0})
    trainer = Trainer(learner, torch.optim.SGD(learner.parameters(), lr=0.1))
    with pytest.raises(DivergedError, match=r"not finite \(only their sum; all losses: a@clean 3.75e\+37"):
        trainer.step(tiny_batch())


def half(scale):
    scaler = torch.amp.GradScaler("cpu", init_scale=scale, growth_interval=2)
    return Fabric(accelerator="cpu", devices=1, plugins=[MixedPrecision("16-mixed", "cpu", scaler=scaler)]), scaler


def test_float16_gradients_are_clipped_in_their_own_units():
    fabric, scaler = half(2.0**10)
    torch.manual_seed(0)
    learner = Learner(TinyBackbone(), primary={"kind": TinyPrimary()})
    before = [p.detach().clone() for p in learner.parameters()]
    trainer = Trainer(learner, torch.optim.SGD(learner.parameters(), lr=1.0), fabric=fabric, clip_norm=1e-2)
    trainer.step(tiny_batch())
    moved = torch.cat([(b - p.detach()).flatten() for b, p in zip(before, learner.parameters(), strict=True)])
    assert moved.norm() == pytest.approx(1e-2, rel=1e-2)
    assert (scaler.get_scale(), trainer.updates) == (2.0**10, 1)


def test_a_float16_overflow_lowers_the_scale_and_is_no_divergence():
    fabric, scaler = half(2.0**30)
    torch.manual_seed(0)
    learner = Learner(TinyBackbone(), primary={"kind": TinyPrimary()})
    before = {name: t.clone() for name, t in learner.state_dict().items()}
    optimizer = torch.optim.SGD(learner.parameters(), lr=0.1)
    trainer = Trainer(learner, optimizer, fabric=fabric)
    trainer.step(tiny_batch())
    equal(dict(learner.state_dict()), before)
    assert (trainer.steps, trainer.updates, trainer.skips, scaler.get_scale()) == (1, 0, 1, 2.0**29)
    while not trainer.updates:
        trainer.step(tiny_batch())
    assert trainer.steps > 2
    assert trainer.skips == 0
    assert not torch.equal(learner.backbone.first.weight, before["backbone.first.weight"])


class FlatTop(TinyPrimary):
    """Has a loss that is not finite, of which the gradients know nothing."""

    def loss(self, features, batch, step):
        result = super().loss(features, batch, step)
        return attrs.evolve(result, loss=result.loss + float("inf"))


class Steep(TinyPrimary):
    """Has finite gradients, whose squares are not."""

    def loss(self, features, batch, step):
        result = super().loss(features, batch, step)
        return attrs.evolve(result, loss=result.loss + self.head.weight.float().sum() * 1e30)


@pytest.mark.parametrize("task", [FlatTop, Steep])
def test_finite_gradients_of_a_float16_step_that_is_undone_change_nothing(task):
    fabric, scaler = half(2.0)
    torch.manual_seed(0)
    learner = Learner(TinyBackbone(), primary={"kind": task()})
    optimizer = torch.optim.AdamW(learner.parameters(), lr=0.1)
    trainer = Trainer(learner, optimizer, fabric=fabric, non_finite="skip")
    before = {name: t.clone() for name, t in learner.state_dict().items()}
    for _ in range(2):
        trainer.step(tiny_batch())
    equal(dict(learner.state_dict()), before)
    assert not optimizer.state
    assert (trainer.steps, trainer.updates, trainer.skips) == (2, 0, 2)
    assert scaler.get_scale() == 4.0  # `growth_interval` steps with finite gradients


def test_a_float16_overflow_that_does_not_end_is_a_divergence():
    fabric, _ = half(2.0**100)
    learner = Learner(TinyBackbone(), primary={"kind": TinyPrimary()})
    trainer = Trainer(learner, torch.optim.SGD(learner.parameters(), lr=0.1), fabric=fabric, max_skips=3)
    for _ in range(3):
        trainer.step(tiny_batch())
    with pytest.raises(DivergedError, match="step 3"):
        trainer.step(tiny_batch())


def test_guard_keeps_every_kind_of_statistic():
    class Norms(nn.Module):
        def __init__(self):
            super().__init__()
            self.plain, self.bare = nn.BatchNorm1d(2), nn.BatchNorm1d(2, track_running_stats=False)
            self.precise = nn.BatchNorm1d(2).double()

    module = Norms()
    guard = Guard(module)
    guard.remember()
    before = {name: t.clone() for name, t in module.named_buffers()}
    module.plain(torch.randn(4, 2))
    module.precise(torch.randn(4, 2).double())
    assert any(not torch.equal(t, before[name]) for name, t in module.named_buffers())
    guard.restore()
    equal(dict(module.named_buffers()), before)


def test_gradient_norm():
    parts = [torch.randn(3, 4), torch.randn(7), torch.randn(())]
    torch.testing.assert_close(gradient_norm(parts), torch.cat([p.flatten() for p in parts]).norm())
    assert gradient_norm([]) == 0
    assert not gradient_norm([torch.tensor([1.0, torch.inf])]).isfinite()
