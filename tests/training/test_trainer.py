"""`Trainer.step` against loops written by hand in plain PyTorch, and all that it may do besides."""

from collections import Counter

import attrs
import pytest
import torch
import torch.nn.functional as F
from lightning_fabric import Fabric
from torch.utils._python_dispatch import TorchDispatchMode

from auxlearn import Arrangement, Learner, Trainer
from auxlearn.errors import PluginError
from auxlearn.learning import Shared, TaskResult
from auxlearn.testing.fakes import TinyBackbone, TinyPretext, TinyPrimary, tiny_batch

PARTIAL = torch.tensor([1, 0, 0, 0, 0, 0, 1, 1], dtype=torch.bool)


def make(pretext=None, arrange=None, *, norm=True, dropout=0.0, primary=True, **more):
    torch.manual_seed(0)
    backbone = TinyBackbone(8, norm=norm, dropout=dropout)
    head = TinyPrimary(8)
    torch.manual_seed(1)
    tasks = {name: TinyPretext() for name in (pretext or [])}
    return Learner(backbone, primary={"kind": head} if primary else {}, pretext=tasks, arrange=arrange, **more)


def sgd(learner, lr=0.1):
    return torch.optim.SGD(learner.parameters(), lr=lr, momentum=0.9)


def adamw(learner):
    return torch.optim.AdamW(learner.parameters(), lr=0.01, weight_decay=0.1)


def state(learner):
    return {name: tensor.clone() for name, tensor in learner.state_dict().items()}


def equal(one, other):
    torch.testing.assert_close(one, other, rtol=0, atol=0)


class Plain:
    """A supervised step with a flipped own view, written by hand."""

    def __init__(self, learner, clip=None):
        self.backbone, self.primary = learner.backbone, learner.primary["kind"].head
        self.pretext = learner.pretext["a"].head
        self.parameters = [*self.backbone.parameters(), *self.primary.parameters(), *self.pretext.parameters()]
        self.optimizer = torch.optim.AdamW(self.parameters, lr=0.01, weight_decay=0.1)
        self.clip = clip

    def step(self, images, kinds, turned):
        images = images.float().div_(255)
        flipped = torch.where(turned[:, None, None, None], images.flip(2), images)
        clean = self.primary(self.backbone({"image": images}).only.pooled)
        other = self.pretext(self.backbone({"image": flipped}).only.pooled)
        loss = F.cross_entropy(clean, kinds, reduction="none").sum() / len(kinds)
        loss = loss + 0.3 * (F.cross_entropy(other, turned.long(), reduction="sum") / len(kinds))
        loss.backward()
        if self.clip is not None:
            torch.nn.utils.clip_grad_norm_(self.parameters, self.clip)
        self.optimizer.step()
        self.optimizer.zero_grad()


@pytest.mark.parametrize("clip", [None, 0.5])
def test_a_run_is_the_loop_written_by_hand_bit_for_bit(clip):
    arrange = {"a": Arrangement(view="own", weight=0.3)}
    learner, twin = make(["a"], arrange), make(["a"], arrange)
    trainer = Trainer(learner, adamw(learner), clip_norm=clip)
    plain = Plain(twin, clip)
    for number in range(4):
        batch = tiny_batch(seed=number)
        turned = learner.plan(batch, trainer.moment()).asks[1].views[0].answers["turned"].bool()
        trainer.step(batch)
        plain.step(batch.image, batch.targets["kind"], turned)
    equal(state(learner), state(twin))


def test_clipping_scales_to_the_norm():
    learner = make()
    before = state(learner)
    optimizer = torch.optim.SGD(learner.parameters(), lr=1.0)
    Trainer(learner, optimizer, clip_norm=1e-3).step(tiny_batch())
    moved = [(before[name] - p.detach()).flatten() for name, p in learner.named_parameters()]
    assert torch.cat(moved).norm() == pytest.approx(1e-3, rel=1e-3)


def test_ema_is_its_formula_and_is_what_counts():
    learner = make()
    trainer = Trainer(learner, sgd(learner), ema=0.9)
    names = [n for n, t in learner.state_dict().items() if t.is_floating_point() and not n.startswith("balancer")]
    expected = None
    for number in range(5):
        trainer.step(tiny_batch(seed=number))
        now = {n: t.double() for n, t in state(learner).items() if n in names}
        expected = now if expected is None else {n: 0.9 * expected[n] + 0.1 * now[n] for n in names}
    scored = trainer.scored.state_dict()
    assert set(names) <= set(scored)
    torch.testing.assert_close({n: scored[n].double() for n in names}, expected, rtol=1e-5, atol=1e-7)
    plain = Trainer(make(), sgd(make()))
    assert plain.scored["backbone"] is plain.learner.backbone
    assert trainer.scored["backbone"] is not learner.backbone


@pytest.mark.parametrize("backward", ["together", "accumulate"])
@pytest.mark.parametrize("parts", [2, 4])
def test_micro_batches_give_the_step_of_the_whole_batch(parts, backward):
    def run(accumulate):
        learner = make(norm=False, backward_mode=backward)
        trainer = Trainer(learner, torch.optim.SGD(learner.parameters(), lr=0.5), accumulate=accumulate)
        batch = attrs.evolve(tiny_batch(), present={"targets/kind": PARTIAL})
        return trainer.step(batch), state(learner)

    (whole, expected), (result, found) = run(1), run(parts)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(dict(result.losses), dict(whole.losses))
    torch.testing.assert_close(result.total, whole.total)
    assert result.samples == whole.samples == 8


@pytest.mark.parametrize("view", ["own", "shared", "clean"])
def test_backward_in_parts_takes_the_same_step(view):
    def run(mode):
        arrange = {"a": Arrangement(view=view, portion=0.5), "b": Arrangement(view="own", weight=0.2)}
        learner = make(["a", "b"], arrange, backward_mode=mode)
        Trainer(learner, sgd(learner)).step(tiny_batch())
        return state(learner)

    torch.testing.assert_close(run("accumulate"), run("together"))


def test_a_step_leaves_the_global_generators_alone():
    learner = make(["a"], dropout=0.5)
    trainer = Trainer(learner, sgd(learner), accumulate=2)
    torch.manual_seed(3)
    before = torch.get_rng_state()
    trainer.step(tiny_batch())
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("optimizer", [sgd, adamw])
def test_weight_zero_is_a_run_without_the_task_bit_for_bit(optimizer):
    def run(pretext):
        learner = make(pretext, dict.fromkeys(pretext, Arrangement(view="own", weight=0.0)), dropout=0.3)
        trainer = Trainer(learner, optimizer(learner), clip_norm=1.0, ema=0.9)
        for number in range(3):
            trainer.step(tiny_batch(seed=number))
        return state(trainer.scored), state(learner)

    (scored, without), (scored_too, weightless) = run([]), run(["a"])
    equal(scored, scored_too)
    equal(without, {name: t for name, t in weightless.items() if not name.startswith("pretext.")})
    fresh = make(["a"])
    torch.testing.assert_close(weightless["pretext.a.head.weight"], fresh.pretext["a"].head.weight.detach(),
                               rtol=0, atol=0)  # fmt: skip


def test_counters_schedule_and_record():
    learner = make(["a"], {"a": Arrangement(view="own", every=2)})
    optimizer = torch.optim.SGD(learner.parameters(), lr=1.0)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 / (step + 1))
    trainer = Trainer(learner, optimizer, scheduler=schedule)
    rates, passes = [], []
    for _ in range(3):
        rates.append(optimizer.param_groups[0]["lr"])
        result = trainer.step(tiny_batch())
        passes.append(result.passes)
        assert result.samples == 8
        assert result.seconds > 0
        assert not result.total.requires_grad
    assert rates == pytest.approx([1, 1 / 2, 1 / 3])
    assert passes == [("clean", "a/0"), ("clean",), ("clean", "a/0")]
    assert (trainer.steps, trainer.updates, trainer.skips) == (3, 3, 0)
    assert all(p.grad is None for p in learner.parameters())


def test_a_step_in_which_nothing_is_on_changes_nothing_but_counts():
    learner = make(["a"], {"a": Arrangement(view="own", start_epoch=1)}, primary=False)
    optimizer = adamw(learner)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 / (step + 1))
    trainer = Trainer(learner, optimizer, scheduler=schedule, clip_norm=1.0, accumulate=2)
    before = state(learner)
    result = trainer.step(tiny_batch())
    equal(state(learner), before)
    assert (trainer.steps, result.losses, result.passes) == (1, {}, ())
    trainer.step(tiny_batch(), epoch=1.0)
    assert not torch.equal(learner.backbone.first.weight, before["backbone.first.weight"])


class Recalls(TinyPretext):
    def __init__(self):
        super().__init__()
        self.calls = []

    def loss(self, features, views, step):
        return attrs.evolve(super().loss(features, views, step), carry={"rows": views[0].inputs["image"][:, 0, 0, 0]})

    def after_step(self, carry, step):
        self.calls.append((step.step, carry["rows"]))


def test_after_step_gets_the_carry_of_all_micro_batches_in_order():
    task = Recalls()
    learner = Learner(TinyBackbone(), pretext={"a": task}, arrange={"a": Arrangement(view="own")})
    task.views = lambda batch, draws: super(Recalls, task).views(batch, draws)
    trainer = Trainer(learner, sgd(learner), accumulate=4)
    batch = tiny_batch()
    turned = [
        learner.plan(micro, attrs.evolve(trainer.moment(), micro=i)).asks[0].views[0].inputs["image"][:, 0, 0, 0]
        for i, micro in enumerate(batch.split(4))
    ]
    trainer.step(batch)
    ((step, rows),) = task.calls
    assert step == 0
    assert torch.equal(rows, torch.cat(turned))


class Seldom(TinyPretext):
    """Says more about every other micro-batch than about the rest."""

    def __init__(self, first, more):
        super().__init__()
        self.calls, self.first, self.more = 0, first, more

    def loss(self, features, views, step):
        result = super().loss(features, views, step)
        self.calls += 1
        return attrs.evolve(result, **self.more(self.calls)) if self.calls % 2 == self.first else result


def seldom(first, more):
    learner = Learner(TinyBackbone(), primary={"kind": TinyPrimary()}, pretext={"a": Seldom(first, more)})
    return Trainer(learner, sgd(learner), accumulate=4)


@pytest.mark.parametrize("first", [0, 1])
def test_a_metric_that_some_micro_batches_lack_is_the_mean_over_the_others(first):
    result = seldom(first, lambda call: {"metrics": {"rate": torch.tensor(float(call))}}).step(tiny_batch())
    assert result.metrics["a/rate"] == (3.0 if first == 0 else 2.0)  # of calls 2 and 4, or 1 and 3


@pytest.mark.parametrize("first", [0, 1])
def test_a_carry_that_some_micro_batches_lack_is_told(first):
    trainer = seldom(first, lambda _: {"carry": {"answer": torch.ones(2), "found": torch.ones(2)}})
    with pytest.raises(
        PluginError, match=r"pretext task a: `loss` should carry the same .*, `found` is missing in one"
    ):
        trainer.step(tiny_batch())


def test_channels_last_keeps_the_values():
    def run(channels_last):
        learner = make(["a"], {"a": Arrangement(view="shared", portion=0.5)})
        trainer = Trainer(learner, sgd(learner), channels_last=channels_last)
        for number in range(2):
            trainer.step(tiny_batch(seed=number))
        return learner

    plain, last = run(False), run(True)
    torch.testing.assert_close(state(last), state(plain))
    assert last.backbone.first.weight.is_contiguous(memory_format=torch.channels_last)
    seen = []
    last.backbone.register_forward_pre_hook(lambda module, args: seen.append(args[0]["image"]))
    Trainer(last, sgd(last), channels_last=True).step(tiny_batch())
    assert all(image.is_contiguous(memory_format=torch.channels_last) for image in seen)


@pytest.mark.slow
@pytest.mark.parametrize("statistics", ["shared", "separate", "batch"])
def test_a_compiled_backbone_keeps_values_and_names(statistics):
    def run(compiled):
        learner = make(["a"], {"a": Arrangement(view="own", statistics=statistics)})
        if compiled:
            learner.backbone.compile(backend="eager", dynamic=False)
        trainer = Trainer(learner, sgd(learner), ema=0.9)
        trainer.step(tiny_batch())
        trainer.step(tiny_batch(seed=1))
        return state(learner), state(trainer.scored)

    (plain, average), (compiled, compiled_average) = run(False), run(True)
    assert list(compiled) == list(plain)
    assert not any("_orig_mod" in name for name in compiled)
    torch.testing.assert_close(compiled, plain)
    torch.testing.assert_close(compiled_average, average)


@pytest.mark.parametrize("precision", ["64-true", "bf16-true", "bf16-mixed"])
def test_precisions(precision):
    fabric = Fabric(accelerator="cpu", devices=1, precision=precision)
    learner = make(["a"], {"a": Arrangement(view="own", resolution=0.5)})
    trainer = Trainer(learner, sgd(learner, lr=0.01), fabric=fabric)
    dtype = {"64-true": torch.float64, "bf16-true": torch.bfloat16}.get(precision, torch.float32)
    before = state(learner)
    for number in range(2):
        trainer.step(tiny_batch(seed=number))
    assert learner.backbone.first.weight.dtype == dtype
    assert not torch.equal(learner.backbone.first.weight, before["backbone.first.weight"])


def test_mixed_precision_does_not_round_the_means():
    fabric = Fabric(accelerator="cpu", devices=1, precision="bf16-mixed")
    batch = attrs.evolve(tiny_batch(), present={"targets/kind": PARTIAL})
    learner = make(norm=False)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        expected = learner.step(batch, Trainer(make(), sgd(make())).moment())
    found = Trainer(learner, sgd(learner), fabric=fabric).step(batch)
    equal(dict(found.losses), dict(expected.losses))


class Count(TorchDispatchMode):
    """Counts aten operations that do work: no views, no moving of data that is already there."""

    free = ("view", "t", "expand", "detach", "alias", "slice", "select", "unsqueeze", "squeeze", "permute", "transpose")

    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.overloadpacket.__name__
        if name not in self.free:
            self.names.append(name)
        return func(*args, **(kwargs or {}))


class LeanPrimary(TinyPrimary):
    def loss(self, features, batch, step):
        logits = self.head(features.only.pooled)
        return TaskResult(loss=F.cross_entropy(logits, batch.targets["kind"], reduction="sum"))


class LeanPretext(TinyPretext):
    def loss(self, features, views, step):
        logits = self.head(features[0].only.pooled)
        return TaskResult(loss=F.cross_entropy(logits, views[0].answers["turned"], reduction="sum"))


def test_the_engine_adds_at_most_fifteen_operations_to_a_step():
    def lean():
        torch.manual_seed(0)
        how = {"a": Arrangement(view="shared", weight=0.3)}
        learner = Learner(TinyBackbone(), primary={"kind": LeanPrimary()}, pretext={"a": LeanPretext()}, arrange=how)
        return learner, torch.optim.SGD(learner.parameters(), lr=0.1)

    learner, optimizer = lean()
    trainer = Trainer(learner, optimizer)
    twin, plain = lean()
    generator = torch.Generator().manual_seed(0)

    def by_hand(batch):
        images = batch.image.float().div_(255)
        turned = torch.randint(0, 2, (len(images),), generator=generator).bool()
        images = torch.where(turned[:, None, None, None], images.flip(2), images)
        pooled = twin.backbone({"image": images}).only.pooled
        loss = F.cross_entropy(twin.primary["kind"].head(pooled), batch.targets["kind"])
        loss = loss + 0.3 * F.cross_entropy(twin.pretext["a"].head(pooled), turned.long())
        loss.backward()
        plain.step()
        plain.zero_grad()

    batch = tiny_batch()
    for _ in range(2):  # the first step makes what later steps have
        with Count() as engine:
            trainer.step(batch)
        with Count() as hand:
            by_hand(batch)
    extra = Counter(engine.names) - Counter(hand.names)
    assert len(engine.names) - len(hand.names) <= 15, extra


def test_the_moving_average_follows_modules_that_primary_tasks_share() -> None:
    shared = Shared("neck", torch.nn.Linear(8, 8), {})

    class Head(TinyPrimary):
        def __init__(self) -> None:
            super().__init__()
            self.neck = shared

        def predict(self, features):  # type: ignore[no-untyped-def]
            return {"probabilities": self.head(self.neck(features.only.pooled)).softmax(1)}

        def loss(self, features, batch, step):  # type: ignore[no-untyped-def]
            logits = self.head(self.neck(features.only.pooled))
            return TaskResult(loss=torch.nn.functional.cross_entropy(logits, batch.targets["kind"], reduction="sum"))

    learner = Learner(TinyBackbone(), primary={"kind": Head()}, shared={"neck": shared})
    trainer = Trainer(learner, torch.optim.SGD(learner.parameters(), lr=0.5), ema=0.5)
    before = shared.module.weight.detach().clone()
    trainer.step(tiny_batch())
    first = shared.module.weight.detach().clone()
    trainer.step(tiny_batch(seed=1))
    averaged = trainer.scored["primary"]["kind"].neck.module.weight
    assert averaged is not shared.module.weight
    torch.testing.assert_close(averaged, 0.5 * first + 0.5 * shared.module.weight)
    assert not torch.equal(before, first)
