"""The learner's step: what is computed, what learns from it, and what does not disturb what."""

from collections.abc import Mapping

import attrs
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from auxlearn import Arrangement, Learner, Moment, Trainer
from auxlearn.data import Batch
from auxlearn.errors import PluginError
from auxlearn.learning import (
    Backbone,
    Balanced,
    Balancer,
    BuildContext,
    Feature,
    Features,
    FeatureShape,
    LossKey,
    PretextTask,
    PrimaryTask,
    TaskResult,
    View,
)
from auxlearn.learning.learner import inverse_counts
from auxlearn.learning.plan import Work, group_passes
from auxlearn.testing.fakes import TinyBackbone, TinyPretext, TinyPrimary, tiny_batch

NOW = Moment(step=0)


def close(one, other):
    assert {n for n, g in one.items() if g is None} == {n for n, g in other.items() if g is None}
    torch.testing.assert_close(
        {n: g for n, g in one.items() if g is not None}, {n: g for n, g in other.items() if g is not None}
    )


def test_losses_are_means_with_their_weights(build):
    how = Arrangement(view="own", weight=0.3)
    learner = build({"a": TinyPretext()}, {"a": how}, weights={"kind": 2.0}, norm=False)
    batch = tiny_batch()
    plan = learner.plan(batch, NOW)
    result = learner.step(batch, NOW)
    clean = learner.backbone(plan.passes[0].inputs).only.pooled
    turned = learner.backbone(plan.passes[1].inputs).only.pooled
    kind = F.cross_entropy(learner.primary["kind"].head(clean), batch.targets["kind"])
    pretext = F.cross_entropy(learner.pretext["a"].head(turned), plan.asks[1].views[0].answers["turned"])
    torch.testing.assert_close(result.total, 2.0 * kind + 0.3 * pretext)
    found = {str(key): loss for key, loss in result.losses.items()}
    torch.testing.assert_close(found, {"kind@clean": kind.detach(), "a@a": pretext.detach()})
    assert {str(k): w for k, w in result.weights.items()} == {"kind@clean": 2.0, "a@a": 0.3}
    assert list(result.metrics) == ["a/accuracy"]
    assert all(not loss.requires_grad for loss in result.losses.values())


PARTIAL = torch.tensor([1, 0, 0, 1, 0, 0, 1, 0], dtype=torch.bool)


def partial(batch, mask=PARTIAL, name="kind"):
    return attrs.evolve(batch, present={**batch.present, f"targets/{name}": mask})


def test_partial_labels_count_for_the_rows_that_have_them(build, gradients):
    learner = build(norm=False)
    batch = tiny_batch()
    result = learner.step(partial(batch), NOW)
    logits = learner.primary["kind"].head(learner.backbone({"image": batch.image / 255}).only.pooled)
    torch.testing.assert_close(result.total, F.cross_entropy(logits[PARTIAL], batch.targets["kind"][PARTIAL]))
    rows = batch.take(PARTIAL.nonzero().flatten())
    close(gradients(learner, partial(batch), NOW), gradients(learner, rows, NOW))


def test_no_label_at_all_is_a_zero_loss_with_a_graph(build, gradients):
    learner = build({"a": TinyPretext()}, {"a": Arrangement(view="own")})
    nothing = torch.zeros(8, dtype=torch.bool)
    found = gradients(learner, partial(tiny_batch(), nothing), NOW)
    assert learner.step(partial(tiny_batch(), nothing), NOW).losses[LossKey("kind", "primary", "clean")] == 0
    assert torch.equal(found["primary.kind.head.weight"], torch.zeros(2, 8))
    assert all(g.isfinite().all() for g in found.values() if g is not None)
    assert found["backbone.first.weight"].abs().sum() > 0


def test_inverse_counts():
    a, b, c, d = (LossKey(n, "primary", "clean") for n in "abcd")
    found = inverse_counts({a: 4, b: 0, c: torch.tensor(5), d: torch.tensor(0)}, world=2)
    assert (found[a], found[b]) == (0.5, 0.0)
    assert found[c] == pytest.approx(0.4)
    assert found[d] == 0


@pytest.mark.parametrize("names", [(), ("one",), ("one", "two", "three")])
def test_any_number_of_primary_tasks(build, names):
    primary = {name: TinyPrimary() for name in names}
    learner = build({"a": TinyPretext()}, {"a": Arrangement(view="own")}, primary=primary)
    result = learner.step(tiny_batch(), NOW)
    assert [key.task for key in result.losses] == [*names, "a"]
    assert result.passes == (("clean",) if names else ()) + ("a/0",)
    torch.testing.assert_close(result.total.detach(), torch.stack(list(result.losses.values())).sum())
    result.total.backward()


@pytest.mark.parametrize("off", [{"weight": 0.0}, {"every": 5}, {"start_epoch": 1}])
def test_a_task_that_is_off_gets_no_gradient_and_does_not_decay(build, off):
    how = Arrangement(view="own", statistics="separate", **off)
    learner = build({"a": TinyPretext()}, {"a": how})
    optimizer = torch.optim.AdamW(learner.parameters(), lr=0.1, weight_decay=0.5)
    before = {name: t.clone() for name, t in learner.state_dict().items()}
    learner.step(tiny_batch(), Moment(step=1)).total.backward()
    optimizer.step()
    for name, parameter in learner.named_parameters():
        is_off = name.startswith(("pretext.", "norms."))
        assert (parameter.grad is None) == is_off, name
        assert torch.equal(parameter, before[name]) == is_off, name
    assert torch.equal(learner.norms["a"].layers[0].running_mean, before["norms.a.layers.0.running_mean"])


def test_a_primary_task_of_weight_zero_is_not_computed(build):
    primary = {"kind": TinyPrimary(), "other": TinyPrimary()}
    learner = build(primary=primary, weights={"other": 0.0})
    result = learner.step(tiny_batch(), NOW)
    assert [key.task for key in result.losses] == ["kind"]
    result.total.backward()
    assert learner.primary["other"].head.weight.grad is None
    alone = build({"a": TinyPretext()}, {"a": Arrangement(view="own")}, weights={"kind": 0.0})
    assert alone.step(tiny_batch(), NOW).passes == ("a/0",)


@pytest.mark.parametrize("others", [{}, {"b": "own"}, {"b": "clean", "c": "own"}])
def test_adding_tasks_leaves_draws_and_dropout_of_the_others_alone(build, gradients, others):
    def run(pretext):
        tasks = {name: TinyPretext() for name in pretext}
        arrange = {n: Arrangement(view=view, portion=0.5, statistics="batch") for n, view in pretext.items()}
        torch.manual_seed(5)
        tasks["a"].load_state_dict(TinyPretext().state_dict())
        learner = build(tasks, arrange, dropout=0.5, norm=False)
        plan = learner.plan(tiny_batch(), NOW)
        result = learner.step(tiny_batch(), NOW)
        return plan, result

    plan, result = run({"a": "own"})
    more, more_result = run({**others, "a": "own"})
    own = next(p for p in plan.passes if p.name == "a/0")
    same = next(p for p in more.passes if p.name == "a/0")
    assert torch.equal(own.inputs["image"], same.inputs["image"])
    for key in (LossKey("kind", "primary", "clean"), LossKey("a", "pretext", "a")):
        assert torch.equal(result.losses[key], more_result.losses[key])


def test_dropout_differs_by_pass_and_by_step_and_repeats(build):
    learner = build({"a": TinyPretext()}, {"a": Arrangement(view="own")}, dropout=0.5, norm=False)
    batch = tiny_batch()

    def losses(step):
        return torch.stack(list(learner.step(batch, Moment(step=step)).losses.values()))

    assert torch.equal(losses(0), losses(0))
    assert not torch.equal(losses(0), losses(1))


class Noisy(TinyPretext):
    """Draws wherever it can: under its own name, and from torch's own generators."""

    def __init__(self):
        super().__init__()
        self.drawn = []

    def views(self, batch, draws):
        self.drawn.append(("views", draws.uniform(3), torch.rand(3)))
        return super().views(batch, draws)

    def loss(self, features, views, step):
        self.drawn.append(("loss", step.draws.uniform(3), torch.rand(3)))
        return super().loss(features, views, step)

    def after_step(self, carry, step):
        self.drawn.append(("after", step.draws.uniform(3), torch.rand(3)))


def test_every_use_of_randomness_is_derived_and_independent(build):
    def run(seed):
        torch.manual_seed(seed)  # the state of torch's generators must not matter, nor change
        before = torch.get_rng_state()
        task = Noisy()
        learner = build({"a": task}, {"a": Arrangement(view="own")})
        torch.set_rng_state(before)
        learner.plan(tiny_batch(), NOW)
        assert torch.equal(torch.get_rng_state(), before)
        task.drawn.clear()
        result = learner.step(tiny_batch(), NOW)
        learner.after_step(result, NOW)
        assert torch.equal(torch.get_rng_state(), before)
        return task.drawn

    one, other = run(1), run(2)
    assert [kind for kind, *_ in one] == ["views", "loss", "after"]
    for (_, a, b), (_, c, d) in zip(one, other, strict=True):
        assert torch.equal(a, c)
        assert torch.equal(b, d)
    numbers = torch.stack([t for _, a, b in one for t in (a, b)])
    assert len(numbers.unique()) == numbers.numel()


def test_a_learner_has_its_own_seed(build):
    def views(seed):
        torch.manual_seed(0)
        learner = build({"a": TinyPretext()}, {"a": Arrangement(view="own")}, seed=seed)
        return learner.step(tiny_batch(64), Moment(seed=99)).losses[LossKey("a", "pretext", "a")]

    assert torch.equal(views(1), views(1))
    assert not torch.equal(views(1), views(2))


ARRANGEMENTS = {
    "shared and own": {"a": Arrangement(view="shared", portion=0.5), "b": Arrangement(view="own")},
    "own, supervised": {"a": Arrangement(view="own", supervise=True), "b": Arrangement(view="clean", portion=0.5)},
    "two own": {"a": Arrangement(view="own", weight=0.2), "b": Arrangement(view="own", portion=0.5)},
    "separate": {"a": Arrangement(view="own", statistics="separate"), "b": Arrangement(view="own")},
}


@pytest.mark.parametrize("arrange", ARRANGEMENTS.values(), ids=ARRANGEMENTS)
def test_backward_in_parts_gives_the_gradients_of_the_whole(build, gradients, arrange):
    def make(mode):
        tasks = {"a": TinyPretext(views=1 if arrange["a"].view == "shared" else 2), "b": TinyPretext()}
        return build(tasks, arrange, backward_mode=mode, weights={"kind": 0.7})

    whole, parts = make("together"), make("accumulate")
    parts.load_state_dict(whole.state_dict())
    expected = gradients(whole, tiny_batch(), NOW)
    plan = parts.plan(tiny_batch(), NOW)
    groups = parts.groups(plan)
    assert len(whole.groups(plan)) == 1
    assert sum(len(g.asks) for g in groups) == len(plan.asks)
    scales = inverse_counts(parts.counts(plan))
    for group in groups:
        work = Work(group=group, scales=scales, weights=plan.weights, moment=plan.moment)
        parts(work)["total"].backward()
    close({n: p.grad for n, p in parts.named_parameters()}, expected)
    torch.testing.assert_close(dict(parts.named_buffers()), dict(whole.named_buffers()))


def test_groups_are_the_passes_that_a_loss_joins(build):
    tasks = {"a": TinyPretext(views=2), "b": TinyPretext(), "c": TinyPretext()}
    arrange = {n: Arrangement(view="own") for n in "ab"} | {"c": Arrangement(view="clean")}
    learner = build(tasks, arrange)
    plan = learner.plan(tiny_batch(), NOW)

    def names(**how):
        return [[p.name for run in g.runs for p in run.passes] for g in group_passes(plan, **how)]

    assert names(fused=False, together=False) == [["clean"], ["a/0", "a/1"], ["b/0"]]
    assert names(fused=False, together=True) == [["clean", "a/0", "a/1", "b/0"]]
    assert names(fused=True, together=False) == [["clean", "a/0", "a/1", "b/0"]]


def test_fused_passes_are_one_call_with_equal_gradients_without_batchnorm(build, watch, gradients):
    arrange = {
        "a": Arrangement(view="own", portion=0.5),
        "b": Arrangement(view="own", resolution=0.5),
        "c": Arrangement(view="own", statistics="frozen"),
    }

    def make(mode):
        return build({n: TinyPretext() for n in arrange}, arrange, norm=False, forward_mode=mode)

    separate, fused = make("separate"), make("fused")
    fused.load_state_dict(separate.state_dict())
    expected = gradients(separate, tiny_batch(), NOW)
    looks = watch(fused)
    close(gradients(fused, tiny_batch(), NOW), expected)
    assert [(look.rows, look.shape[-1]) for look in looks] == [(12, 8), (8, 4), (8, 8)]


def test_fused_passes_share_their_batch_statistics(build):
    learner = build({"a": TinyPretext()}, {"a": Arrangement(view="own")}, forward_mode="fused")
    plan = learner.plan(tiny_batch(), NOW)
    h = learner.backbone.first(torch.cat([p.inputs["image"] for p in plan.passes]))
    learner.step(tiny_batch(), NOW)
    torch.testing.assert_close(learner.backbone.norm.running_mean, 0.1 * h.mean((0, 2, 3)))
    assert learner.backbone.norm.num_batches_tracked == 1


class Speech(Backbone):
    """Two feature modalities, no image."""

    def __init__(self):
        super().__init__()
        self.shapes = {"audio": FeatureShape(pooled=4, source=5), "text": FeatureShape(pooled=4, source=3)}
        self.layers_ = nn.ModuleDict({"audio": nn.Linear(5, 4), "text": nn.Linear(3, 4)})

    def forward(self, inputs: Mapping[str, torch.Tensor]) -> Features:
        return Features({n: Feature(pooled=self.layers_[n](t), source=t) for n, t in inputs.items()})


class Both(PrimaryTask):
    def __init__(self):
        super().__init__()
        self.targets = ("kind",)
        self.head = nn.Linear(8, 2)

    def loss(self, features, batch, step):
        logits = self.head(torch.cat([features[n].pooled for n in ("audio", "text")], 1))
        each = F.cross_entropy(logits, batch.targets["kind"], reduction="none")
        return TaskResult(loss=(each * batch.has("kind")).sum())

    def predict(self, features):
        raise NotImplementedError

    metrics = update = predict


class Agree(PretextTask):
    """Features of the two modalities of one row should agree; its own views drop noise on both."""

    def views(self, batch, draws):
        return tuple(
            View(inputs={n: t + draws.normal(len(batch), t.shape[1]) for n, t in batch.inputs.items()}) for _ in "ab"
        )

    def loss(self, features, views, step):
        each = (features[0]["audio"].pooled - features[1]["text"].pooled).square().sum(1)
        assert features[0]["audio"].source.shape[1] == 5
        return TaskResult(loss=each.sum())


@pytest.mark.parametrize("view", ["own", "clean"])
@pytest.mark.parametrize("mode", ["separate", "fused"])
@pytest.mark.parametrize("portion", [1.0, 0.5])
def test_modalities_without_images_need_no_special_case(view, mode, portion):
    torch.manual_seed(0)
    how = {"a": Arrangement(view=view, portion=portion)}
    learner = Learner(Speech(), primary={"kind": Both()}, pretext={"a": Agree()}, arrange=how, forward_mode=mode)
    inputs = {"audio": torch.randn(8, 5), "text": torch.randn(8, 3)}
    batch = Batch(inputs=inputs, targets={"kind": torch.arange(8) % 2}, ids=torch.arange(8))
    result = learner.step(partial(batch), NOW)
    result.total.backward()
    assert result.passes == (("clean", "a/0", "a/1") if view == "own" else ("clean",))
    assert all(p.grad is not None for p in learner.parameters())
    expected = learner.primary["kind"].loss(learner.backbone(inputs), partial(batch), None).loss / 3
    torch.testing.assert_close(result.losses[LossKey("kind", "primary", "clean")], expected.detach())


class Wrong(TinyPretext):
    def __init__(self, make):
        super().__init__()
        self.make = make

    def loss(self, features, views, step):
        return self.make(features)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda f: None, "pretext task a: `loss` should return a TaskResult, it returned None"),
        (lambda f: f[0].only.pooled.sum(), "pretext task a: `loss` should return a TaskResult, it returned tensor"),
        (lambda f: TaskResult(loss=f[0].only.pooled.sum(1)), r"`loss.loss` should be a scalar tensor, found \(8,\)"),
        (lambda f: TaskResult(loss=1.5), "`loss.loss` should be a scalar tensor, found float"),
    ],
)
def test_a_wrong_result_names_its_task(build, make, message):
    with pytest.raises(PluginError, match=message):
        build({"a": Wrong(make)}).step(tiny_batch(), NOW)


def test_carry_reaches_after_step_once_for_tasks_that_were_computed(build):
    calls = []

    class Keeps(TinyPretext):
        def after_step(self, carry, step):
            calls.append((step.step, {n: t.shape for n, t in carry.items()}))

    arrange = {"a": Arrangement(view="own", every=2), "b": Arrangement(view="own", portion=0.5)}
    learner = build({"a": Keeps(), "b": Keeps()}, arrange)
    for step in (0, 1):
        moment = Moment(step=step)
        learner.after_step(learner.step(tiny_batch(), moment), moment)
    assert calls == [(0, {"answer": (8,)}), (0, {"answer": (4,)}), (1, {"answer": (4,)})]


def test_a_primary_task_may_carry_too(build):
    class Carries(TinyPrimary):
        def loss(self, features, batch, step):
            result = super().loss(features, batch, step)
            return attrs.evolve(result, carry={"x": batch.ids}, metrics={"rows": torch.tensor(8.0)})

    learner = build(primary={"kind": Carries()})
    result = learner.step(tiny_batch(), NOW)
    assert result.carry == {}
    assert result.metrics == {"kind@clean/rows": 8.0}
    learner.after_step(result, NOW)


class Learned(Balancer):
    """Weights the losses by parameters."""

    def __init__(self, needs="losses"):
        super().__init__()
        self.needs = needs
        self.scale = nn.Parameter(torch.tensor(0.5))

    def combine(self, losses, gram, step):
        total = torch.stack(list(losses.values())).sum() * self.scale
        return Balanced(total=total, weights=dict.fromkeys(losses, self.scale))


def test_a_balancer_may_learn_and_its_weights_are_recorded(build):
    learner = build(balancer=Learned())
    result = learner.step(tiny_batch(), NOW)
    (loss,) = result.losses.values()
    torch.testing.assert_close(result.total.detach(), 0.5 * loss)
    (weight,) = result.weights.values()
    assert weight == 0.5
    assert not weight.requires_grad
    result.total.backward()
    torch.testing.assert_close(learner.balancer.scale.grad, loss)


def test_weights_that_a_balancer_tells_as_floats_are_recorded_where_they_are_not_those_of_the_spec(build):
    class Halving(Balancer):
        def combine(self, losses, gram, step):
            weights = {k: step.weights[k] / 2 if k.role == "pretext" else step.weights[k] for k in losses}
            return Balanced(total=sum(loss * weights[k] for k, loss in losses.items()), weights=weights)

    result = build({"a": TinyPretext()}, {"a": Arrangement(weight=0.5)}, balancer=Halving()).step(tiny_batch(), NOW)
    assert {str(key): weight for key, weight in result.weights.items()} == {"kind@clean": 1.0, "a@a": 0.25}
    assert [isinstance(weight, torch.Tensor) for weight in result.weights.values()] == [False, True]


def test_the_weights_of_micro_batches_are_averaged(build):
    class Growing(Balancer):
        """Weights of 1 and 3 in two micro-batches, the first as the spec has it."""

        def combine(self, losses, gram, step):
            weights = dict.fromkeys(losses, 1.0 + 2 * step.draws.micro)
            return Balanced(total=sum(loss * weights[k] for k, loss in losses.items()), weights=weights)

    learner = build({}, {}, balancer=Growing())
    trainer = Trainer(learner, torch.optim.SGD(learner.parameters(), lr=0.1), accumulate=2)
    assert [float(weight) for weight in trainer.step(tiny_batch()).weights.values()] == [2.0]


def test_what_a_balancer_needs_must_fit(build):
    with pytest.raises(ValueError, match="Learned needs gradients and should run in a `Trainer`"):
        build(balancer=Learned("gradients")).step(tiny_batch(), NOW)
    with pytest.raises(ValueError, match="should be 'together' for Learned"):
        build(balancer=Learned(), backward_mode="accumulate")


def test_shared_modules_live_once():
    context = BuildContext(inputs={})
    one = context.shared("projector", nn.Linear, in_features=8, out_features=2)
    assert context.shared("projector", nn.Linear, in_features=8, out_features=2) is one
    with pytest.raises(ValueError, match=r"`projector` should be asked for with .*'out_features': 2.*found .*3"):
        context.shared("projector", nn.Linear, in_features=8, out_features=3)

    class Uses(TinyPretext):
        def __init__(self):
            super().__init__()
            self.projector = one

        def loss(self, features, views, step):
            return TaskResult(loss=self.projector(features[0].only.pooled).sum())

    how = {n: Arrangement(view="own") for n in "ab"}
    learner = Learner(TinyBackbone(), pretext={"a": Uses(), "b": Uses()}, arrange=how, shared=context.shared_modules)
    assert [n for n in learner.state_dict() if "projector" in n] == ["shared.projector.weight", "shared.projector.bias"]
    learner.step(tiny_batch(), NOW).total.backward()
    torch.testing.assert_close(learner.shared["projector"].bias.grad, torch.full((2,), 2.0))


def test_features_are_those_of_evaluation(build):
    learner = build()
    learner.eval()
    batch = tiny_batch()
    torch.testing.assert_close(
        learner.features(batch.inputs).only.pooled, learner.backbone({"image": batch.image / 255}).only.pooled
    )


def test_features_refuse_to_choose_among_modalities():
    both = Features({n: Feature(pooled=torch.zeros(1, 2)) for n in ("audio", "text")})
    with pytest.raises(ValueError, match=r"found \['audio', 'text'\]"):
        _ = both.only
    with pytest.raises(ValueError, match=r"found \[\]"):
        _ = BuildContext(inputs={}).feature
