"""A backward pass for each loss: the gradients of the sum when they are added up, and what a balancer is told."""

import itertools

import pytest
import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.precision import MixedPrecision
from torch import nn
from torch._functorch import config as functorch

import auxlearn
from auxlearn import Arrangement, Learner, Trainer
from auxlearn.errors import PluginError
from auxlearn.learning import Balanced, Balancer, Feature, Features
from auxlearn.learning.balancing import Fixed
from auxlearn.learning.context import Shared
from auxlearn.testing import plugin
from auxlearn.testing.fakes import TinyBackbone, TinyPretext, TinyPrimary, tiny_batch
from auxlearn.training.session import fabric_of, make_feed, make_trainer

OWN = Arrangement(view="own", weight=0.3)


class Adding(Balancer):
    """The weighted sum, by way of the gradients; keeps what it was told."""

    needs = "gradients"

    def __init__(self, shared=None):
        super().__init__()
        self.shared, self.told, self.after = shared, [], []

    def combine(self, losses, gram, step):
        self.told.append((dict(losses), gram))
        balanced = Fixed().combine(losses, None, step)
        shared = None if self.shared is None else {key: self.shared[key.task] for key in losses}
        return Balanced(total=balanced.total, weights=balanced.weights, shared=shared)

    def after_step(self, losses, step):
        self.after.append((losses, step.step))


class Scaling(Balancer):
    """The sum times a factor that it learns."""

    needs = "gradients"

    def __init__(self):
        super().__init__()
        self.factor = nn.Parameter(torch.tensor(0.5))

    def combine(self, losses, gram, step):
        total = self.factor * torch.stack(list(losses.values())).sum()
        return Balanced(total=total, weights=dict.fromkeys(losses, self.factor))


class Projecting(TinyPretext):
    """Asks through a module that another task uses too."""

    def __init__(self, shared):
        super().__init__()
        self.shared = shared

    def loss(self, features, views, step):
        result = super().loss(features, views, step)
        pooled = self.shared(features[0].only.pooled)
        return type(result)(loss=result.loss + pooled.square().sum(), carry=result.carry)


def learner(balancer, *, arrange=None, probes=(), shared=False, **options):
    torch.manual_seed(0)
    backbone = TinyBackbone(norm=False)
    handle = Shared("projector", nn.Linear(8, 4), {})
    make = (lambda: Projecting(handle)) if shared else TinyPretext
    return Learner(
        backbone,
        primary={"kind": TinyPrimary(), **({"watcher": TinyPrimary()} if probes else {})},
        pretext={"a": make(), "b": make()},
        arrange=arrange or {"a": OWN, "b": Arrangement(view="clean", portion=0.5)},
        probes=probes,
        shared={"projector": handle} if shared else None,
        balancer=balancer,
        **options,
    ).double()


def gradients(learner, **options):
    """Return the gradients of one step, which leaves the weights alone."""
    seen = {}

    class Noting(torch.optim.SGD):
        def step(self, closure=None):
            found = {n: p.grad for n, p in learner.named_parameters()}
            seen.update({n: None if g is None else g.clone() for n, g in found.items()})

    trainer = Trainer(learner, Noting(learner.parameters(), lr=0.1), **options)
    result = trainer.step(tiny_batch(8))
    return seen, result


CASES = {
    "own and clean": {},
    "shared": {"arrange": {"a": Arrangement(view="shared"), "b": Arrangement(view="own", supervise=True, weight=0.2)}},
    "off": {"arrange": {"a": Arrangement(view="own", weight=0.0), "b": OWN}},
    "probe": {"probes": ("watcher",)},
    "only a probe and one task": {"probes": ("watcher", "kind")},
    "shared modules": {"shared": True},
    "fused": {"forward_mode": "fused", "arrange": {"a": OWN, "b": OWN}},
    "frozen": {"freeze_backbone": True},
    "in parts": {"backward_mode": "accumulate"},
}


@pytest.mark.parametrize("trainer", [{}, {"accumulate": 2}, {"channels_last": True}], ids=str)
@pytest.mark.parametrize("case", CASES)
def test_added_up_they_are_the_gradient_of_the_sum(case, trainer):
    expected, summed = gradients(learner(None, **CASES[case]), **trainer)
    found, result = gradients(learner(Adding(), **CASES[case]), **trainer)
    assert {n for n, g in found.items() if g is None} == {n for n, g in expected.items() if g is None}
    for name, gradient in expected.items():
        if gradient is not None:
            torch.testing.assert_close(found[name], gradient)
            assert found[name].stride() == gradient.stride()
    torch.testing.assert_close(result.total, summed.total)
    torch.testing.assert_close(dict(result.losses), dict(summed.losses))
    assert {k: float(w) for k, w in result.weights.items()} == pytest.approx(dict(summed.weights))


def test_the_balancer_sees_the_inner_products_on_what_is_shared():
    balancer = Adding()
    model = learner(balancer, shared=True)
    trainer = Trainer(model, torch.optim.SGD(model.parameters(), lr=0.0))
    trainer.step(tiny_batch(8))
    ((losses, gram),) = balancer.told
    assert list(losses) == list(balancer.after[0][0])
    plan = model.plan(tiny_batch(8), trainer.moment())
    keys = list(losses)
    each = []
    for key in keys:
        # Alone with weight 1, each loss has its gradient in the parameters.
        alone = learner(Adding({k.task: float(k == key) for k in keys}), shared=True)
        found, _ = gradients(alone)
        each.append(torch.cat([found[n].flatten() for n in found if n.startswith(("backbone", "shared"))]))
    assert [ask.key for ask in plan.asks] == keys
    for (i, one), (j, other) in itertools.product(enumerate(each), repeat=2):
        torch.testing.assert_close(gram[i, j], one @ other)


class Guarding(Adding):
    compares = "primary"


@pytest.mark.parametrize("trainer", [{}, {"accumulate": 2}], ids=str)
def test_what_no_primary_loss_reaches_may_be_left_out_of_the_comparison(trainer):
    """The projector, which both pretext tasks use: it learns by the weights of the spec."""
    whole, part = Adding(), Guarding({"kind": 1.0, "a": 0.0, "b": 0.0})
    plain, _ = gradients(learner(whole, shared=True), **trainer)
    found, _ = gradients(learner(part, shared=True), **trainer)
    alone, _ = gradients(learner(None, arrange={n: Arrangement(weight=0.0) for n in ("a", "b")}), **trainer)
    for name, gradient in found.items():
        same = alone if name.startswith("backbone") else plain
        torch.testing.assert_close(gradient, same[name])
        assert gradient.stride() == plain[name].stride()
    assert any(name.startswith("shared") for name in found)
    ((losses, gram),), ((_, every),) = part.told, whole.told
    expected = every.clone()
    each = []
    for key in losses:
        one = Adding({k.task: float(k == key) for k in losses})
        each.append(gradients(learner(one, shared=True), **trainer)[0])
    for (i, first), (j, second) in itertools.product(enumerate(each), repeat=2):
        expected[i, j] -= sum((first[n] * second[n]).sum() for n in first if n.startswith("shared"))
    torch.testing.assert_close(gram, expected)
    assert gram[1, 1] < 0.999 * every[1, 1]


def test_without_a_primary_loss_everything_is_compared():
    told = []
    for balancer in (Adding(), Guarding()):
        model = learner(balancer, shared=True)
        model.weights["kind"] = 0.0
        gradients(model)
        told.append(balancer.told[0][1])
    torch.testing.assert_close(told[0], told[1])


def test_weights_on_what_is_shared_leave_the_heads_alone():
    factors = {"kind": 2.0, "a": 0.0, "b": -1.0}
    plain, _ = gradients(learner(Adding()))
    found, result = gradients(learner(Adding(factors)))
    for name in plain:
        if name.startswith(("primary", "pretext")):
            torch.testing.assert_close(found[name], plain[name])
    assert any(not torch.equal(found[n], plain[n]) for n in plain if n.startswith("backbone"))
    assert {key.task: weight for key, weight in result.weights.items()} == factors
    assert all(isinstance(weight, torch.Tensor) for weight in result.weights.values())  # which is what is recorded


def test_a_balancer_learns_its_own_parameters():
    model = learner(Scaling())
    found, result = gradients(model)
    losses = torch.stack(list(result.losses.values())).sum()
    torch.testing.assert_close(found["balancer.factor"], losses)
    plain, _ = gradients(
        learner(Adding(), arrange={"a": Arrangement(view="own"), "b": Arrangement(view="clean", portion=0.5)})
    )
    for name, gradient in plain.items():
        torch.testing.assert_close(found[name], 0.5 * gradient)


def test_the_balancers_parameters_are_clipped_apart():
    found, _ = gradients(learner(Scaling()), clip_norm=1e-3)
    network = [g for name, g in found.items() if g is not None and not name.startswith("balancer")]
    torch.testing.assert_close(torch.cat([g.flatten() for g in network]).norm().item(), 1e-3)
    torch.testing.assert_close(found["balancer.factor"].abs().item(), 1e-3)


def test_history_is_kept_once_a_step_with_the_losses_of_all_micro_batches():
    balancer = Adding()
    _, result = gradients(learner(balancer), accumulate=2)
    ((losses, step),) = balancer.after
    torch.testing.assert_close(dict(losses), dict(result.losses))
    assert step == 0


def test_mixed_precision(tmp_path):
    fabric = Fabric(accelerator="cpu", devices=1, precision="bf16-mixed")
    expected, _ = gradients(learner(None).float(), fabric=fabric)
    found, _ = gradients(learner(Adding()).float(), fabric=fabric)
    assert all(gradient.dtype == torch.float32 for gradient in found.values())
    torch.testing.assert_close(found, expected, rtol=2e-2, atol=2e-3)


def test_a_step_without_losses_does_nothing():
    model = learner(Adding(), arrange={"a": Arrangement(weight=0.0), "b": Arrangement(weight=0.0)})
    model.weights["kind"] = 0.0
    found, result = gradients(model)
    assert not result.losses
    assert all(gradient is None for gradient in found.values())


@functorch.patch(donated_buffer=False)  # as a run that needs it does
def test_losses_that_share_a_compiled_pass():
    model = learner(Adding(), arrange={"a": Arrangement(view="shared"), "b": Arrangement(view="shared")})
    model.backbone.compile(dynamic=False, backend="aot_eager")
    expected, _ = gradients(learner(None, arrange={"a": Arrangement(view="shared"), "b": Arrangement(view="shared")}))
    found, _ = gradients(model)
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient)


@functorch.patch(donated_buffer=True)
def test_a_run_keeps_the_buffers_of_compiled_graphs_that_are_walked_twice(monkeypatch):
    spec = {
        "auxlearn": 1,
        "data": {"type": "tiny"},
        "backbone": {"type": "tiny"},
        "primary": {"kind": {"type": "tiny"}},
        "train": {"compile": True, "steps": 1, "batch_size": 8},
    }
    for log, donated in (({}, True), ({"gradients_every": 2}, False)):
        built = auxlearn.build({**spec, "log": log}, plugins=[plugin])
        monkeypatch.setattr(built.learner.backbone, "compile", lambda **_: None)
        feed = make_feed(built.spec, built.data, fabric_of(built.spec))
        make_trainer(built.spec, built.learner, feed, fabric_of(built.spec))
        assert functorch.donated_buffer is donated


class Strided(TinyBackbone):
    """Has parameters whose elements do not fill their memory, and one that is turned."""

    def __init__(self):
        super().__init__(norm=False)
        self.scale = nn.Parameter(torch.linspace(1, 2, 16).view(8, 2)[:, 0])
        self.shift = nn.Parameter(torch.zeros(8))
        self.turned = nn.Parameter(torch.eye(8).add(0.1).T)

    def forward(self, inputs):
        found = super().forward(inputs)
        pooled = (found.only.pooled * self.scale + self.shift) @ self.turned
        return Features({"image": Feature(pooled=pooled, maps=found.only.maps)})


def test_parameters_of_any_layout():
    def make(balancer):
        torch.manual_seed(0)
        return Learner(Strided(), primary={"kind": TinyPrimary()}, pretext={"a": TinyPretext()}, balancer=balancer)

    expected, _ = gradients(make(None))
    found, _ = gradients(make(Adding()))
    torch.testing.assert_close(found, expected)


def test_a_balancers_state_stays_in_float32():
    class Remembering(Scaling):
        def __init__(self):
            super().__init__()
            self.register_buffer("seen", torch.zeros(3))

    fabric = Fabric(accelerator="cpu", devices=1, precision="bf16-true")
    model = learner(Remembering()).float()
    gradients(model, fabric=fabric)
    assert model.backbone.first.weight.dtype == torch.bfloat16
    assert {t.dtype for t in (*model.balancer.parameters(), *model.balancer.buffers())} == {torch.float32}
    assert Remembering().double().seen.dtype == torch.float64


def test_float16_is_refused():
    scaler = torch.amp.GradScaler("cpu")
    fabric = Fabric(accelerator="cpu", devices=1, plugins=[MixedPrecision("16-mixed", "cpu", scaler=scaler)])
    model = learner(Adding()).float()
    with pytest.raises(ValueError, match="should not have the precision '16-mixed' with Adding"):
        Trainer(model, torch.optim.SGD(model.parameters(), lr=0.1), fabric=fabric)


@pytest.mark.parametrize(
    ("shared", "message"),
    [
        ({}, "a shared weight for each loss, kind@clean"),
        (torch.ones(3), "a shared weight for each loss by its key"),
        ("vectors", "a shared weight for each loss that is a scalar"),
    ],
    ids=str,
)
def test_shared_weights_that_are_none(shared, message):
    class Wrong(Adding):
        def combine(self, losses, gram, step):
            total = Fixed().combine(losses, None, step)
            found = dict.fromkeys(losses, torch.ones(2)) if shared == "vectors" else shared
            return Balanced(total=total.total, weights=total.weights, shared=found)

    with pytest.raises(PluginError, match=message):
        gradients(learner(Wrong()))


def test_shared_weights_bring_no_graph_along():
    class Graph(Scaling):
        def combine(self, losses, gram, step):
            balanced = super().combine(losses, gram, step)
            return Balanced(total=balanced.total, weights=balanced.weights, shared=balanced.weights)

    found, result = gradients(learner(Graph()))
    assert not any(gradient.requires_grad for gradient in found.values())
    assert not any(weight.requires_grad for weight in result.weights.values())
