"""A probe watches the network and changes nothing: every other weight and statistic has the same bits without it."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from auxlearn import Arrangement, Learner, Moment, Trainer
from auxlearn.learning import Balanced, Balancer, TaskResult
from auxlearn.learning.context import Shared
from auxlearn.learning.probe import watching
from auxlearn.testing.fakes import TinyBackbone, TinyPretext, TinyPrimary, tiny_batch

PROBES = {"no": (), "one": ("probe",), "two": ("probe", "other")}


class SharedHead(TinyPrimary):
    """A primary task that looks through a module which it shares with others."""

    def __init__(self, shared: Shared) -> None:
        super().__init__()
        self.shared = shared

    def loss(self, features: Any, batch: Any, step: Any) -> TaskResult:
        pooled = self.shared(features.only.pooled)
        return TaskResult(loss=F.cross_entropy(self.head(pooled), batch.targets["kind"], reduction="sum"))


class Product(Balancer):
    """A total to which every loss matters: the geometric mean."""

    def combine(self, losses: Any, gram: Any, step: Any) -> Balanced:
        total = torch.stack(list(losses.values())).log().mean().exp()
        return Balanced(total=total, weights={key: total.detach() / loss.detach() for key, loss in losses.items()})


def seeded(make: Any, seed: int) -> Any:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return make()


def make(probes: tuple[str, ...], arrange: Arrangement, *, primary: bool = False, **more: Any) -> Learner:
    tasks: dict[str, Any] = {"kind": seeded(TinyPrimary, 3)} if primary else {}
    tasks |= {name: seeded(TinyPrimary, 4 + number) for number, name in enumerate(probes)}
    backbone = seeded(lambda: TinyBackbone(dropout=0.2), 1)
    pretext = {"flip": seeded(TinyPretext, 2)}
    return Learner(backbone, primary=tasks, pretext=pretext, arrange={"flip": arrange}, probes=probes, **more)


def train(learner: Learner, steps: int = 4, **options: Any) -> Trainer:
    trainer = Trainer(learner, torch.optim.AdamW(learner.parameters(), lr=0.05), **options)
    for step in range(steps):
        trainer.step(tiny_batch(12, seed=step), epoch=step)
    return trainer


def others(trainer: Trainer) -> dict[str, torch.Tensor]:
    state = trainer.learner.state_dict() | {f"ema.{n}": t for n, t in (trainer.scored.state_dict()).items()}
    return {n: t for n, t in state.items() if "primary.probe." not in n and "primary.other." not in n}


def assert_same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    assert one.keys() == other.keys()
    for name, tensor in one.items():
        assert torch.equal(tensor, other[name]), name


ARRANGEMENTS = {
    "own": Arrangement(view="own"),
    "part": Arrangement(view="own", portion=0.5, statistics="separate"),
    "shared": Arrangement(view="shared"),
    "clean": Arrangement(view="clean"),
    "clean part": Arrangement(view="clean", portion=0.5),
    "seldom": Arrangement(view="own", every=2),
}


@pytest.mark.parametrize("primary", [False, True], ids=["pure", "joint"])
@pytest.mark.parametrize("how", ARRANGEMENTS.values(), ids=ARRANGEMENTS)
def test_a_probe_leaves_no_trace(how: Arrangement, primary: bool) -> None:
    runs = {name: train(make(probes, how, primary=primary)) for name, probes in PROBES.items()}
    assert_same(others(runs["no"]), others(runs["one"]))
    assert_same(others(runs["no"]), others(runs["two"]))
    start = seeded(TinyPrimary, 4).head.weight
    assert not torch.equal(runs["one"].learner.state_dict()["primary.probe.head.weight"], start)


@pytest.mark.parametrize(
    "options",
    [
        {"clip_norm": 1e-3},
        {"ema": 0.9},
        {"accumulate": 2},
        {"clip_norm": 1e-3, "ema": 0.9, "accumulate": 2},
    ],
    ids=str,
)
def test_no_trace_with_clipping_averages_and_micro_batches(options: dict[str, Any]) -> None:
    runs = [train(make(probes, ARRANGEMENTS["own"]), **options) for probes in PROBES.values()]
    assert_same(others(runs[0]), others(runs[1]))
    assert_same(others(runs[0]), others(runs[2]))


@pytest.mark.parametrize(
    "modes",
    [{"forward_mode": "fused"}, {"backward_mode": "accumulate"}, {"balancer": Product()}],
    ids=["fused", "in parts", "geometric"],
)
@pytest.mark.parametrize("primary", [False, True], ids=["pure", "joint"])
def test_no_trace_in_other_modes(modes: dict[str, Any], primary: bool) -> None:
    how = attrs.evolve(ARRANGEMENTS["own"], statistics="frozen")
    runs = [train(make(probes, how, primary=primary, **modes)) for probes in PROBES.values()]
    assert_same(others(runs[0]), others(runs[1]))
    assert_same(others(runs[0]), others(runs[2]))


def test_no_trace_under_autocast() -> None:
    from lightning_fabric import Fabric

    def run(probes: tuple[str, ...]) -> Trainer:
        return train(make(probes, ARRANGEMENTS["own"]), fabric=Fabric(accelerator="cpu", precision="bf16-mixed"))

    without, probed = run(()), run(("probe",))
    assert_same(others(without), others(probed))
    start = make((), ARRANGEMENTS["own"]).backbone.first.weight
    assert not torch.equal(without.learner.backbone.first.weight, start)


def test_a_probe_learns_what_a_linear_head_on_the_features_of_evaluation_learns() -> None:
    learner = make(("probe",), ARRANGEMENTS["own"])
    batch = tiny_batch(12)
    result = learner.step(batch, Moment(step=0))
    result.total.backward()
    learner.eval()
    with torch.no_grad():
        pooled = learner.features(batch.inputs).only.pooled
    learner.train()
    head = seeded(TinyPrimary, 4).head
    loss = F.cross_entropy(head(pooled), batch.targets["kind"])
    loss.backward()
    torch.testing.assert_close(learner.primary["probe"].head.weight.grad, head.weight.grad)
    losses = {str(key): value.item() for key, value in result.losses.items()}
    assert losses["probe@probe"] == pytest.approx(loss.item())
    assert result.passes == ("flip/0", "probe")


@pytest.mark.parametrize(
    ("how", "primary", "passes", "reads"),
    [
        ("own", False, ("flip/0", "probe"), "probe"),
        ("own", True, ("clean", "flip/0"), "clean"),
        ("shared", True, ("shared", "probe"), "probe"),
        ("clean", False, ("clean",), "clean"),
        ("clean part", False, ("clean", "probe"), "probe"),
        ("clean part", True, ("clean",), "clean"),
    ],
)
def test_a_probe_reads_the_clean_pass_if_it_shows_all_rows(how: str, primary: bool, passes: Any, reads: str) -> None:
    learner = make(("probe",), ARRANGEMENTS[how], primary=primary)
    plan = learner.plan(tiny_batch(8), Moment(step=0))
    assert tuple(p.name for p in plan.passes) == passes
    assert [ask.passes for ask in plan.asks if ask.key.task == "probe"] == [(reads,)]


@pytest.mark.parametrize("primary", [False, True], ids=["pure", "joint"])
@pytest.mark.parametrize("how", ["own", "shared", "clean", "clean part"])
def test_a_probe_reads_labelled_rows_only_and_leaves_no_trace(how: str, primary: bool) -> None:
    def run(probes: tuple[str, ...]) -> Trainer:
        trainer = train(make(probes, ARRANGEMENTS[how], primary=primary), steps=0)
        for step in range(3):
            whole = tiny_batch(12, seed=step)
            kinds = {"kind": whole.targets["kind"][:8]}
            trainer.step(attrs.evolve(whole, targets=kinds, labelled=8), epoch=step)
        return trainer

    without, probed = run(()), run(("probe",))
    assert_same(others(without), others(probed))
    whole = tiny_batch(12)
    batch = attrs.evolve(whole, targets={"kind": whole.targets["kind"][:8]}, labelled=8)
    (ask,) = [ask for ask in probed.learner.plan(batch, Moment(step=0)).asks if ask.key.task == "probe"]
    assert len(ask.batch) == 8


def test_shared_modules_learn_nothing_from_a_probe_and_their_statistics_stay() -> None:
    def run(probes: tuple[str, ...]) -> Trainer:
        handle = Shared("neck", seeded(lambda: nn.Sequential(nn.Linear(8, 8), nn.BatchNorm1d(8)), 7), {})
        tasks = {"kind": seeded(lambda: SharedHead(handle), 3)}
        tasks |= {name: seeded(lambda: SharedHead(handle), 4) for name in probes}
        return train(Learner(seeded(TinyBackbone, 1), primary=tasks, shared={"neck": handle}, probes=probes))

    without, probed = run(()), run(("probe",))
    assert_same(others(without), others(probed))
    assert "shared.neck.1.running_mean" in others(probed)


def test_watching_restores_what_it_changes() -> None:
    backbone = TinyBackbone()
    backbone.norm.eval()
    backbone.first.weight.requires_grad_(False)
    before = [(m.training, [p.requires_grad for p in m.parameters(recurse=False)]) for m in backbone.modules()]
    with watching(backbone):
        assert not any(m.training for m in backbone.modules())
        assert not any(p.requires_grad for p in backbone.parameters())
    assert before == [(m.training, [p.requires_grad for p in m.parameters(recurse=False)]) for m in backbone.modules()]


def test_the_features_of_a_frozen_backbone_have_no_graph() -> None:
    learner = Learner(TinyBackbone(), primary={"kind": TinyPrimary()}, freeze_backbone=True)
    batch, moment = tiny_batch(), Moment(step=0)
    seen = []
    learner.primary["kind"].head.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    before = {n: t.clone() for n, t in learner.backbone.state_dict().items()}
    result = learner.step(batch, moment)
    result.total.backward()
    assert [t.requires_grad for t in seen] == [False]
    assert all(p.grad is None for p in learner.backbone.parameters())
    assert learner.primary["kind"].head.weight.grad is not None
    assert_same(before, learner.backbone.state_dict())


class Remembering(Product):
    """Keeps the losses that it is told of."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[dict[Any, torch.Tensor]] = []

    def after_step(self, losses: Any, step: Any) -> None:
        self.told.append(dict(losses))


def test_a_balancer_does_not_hear_of_a_step_in_which_only_probes_have_a_loss() -> None:
    balancer = Remembering()
    train(make(("probe",), ARRANGEMENTS["seldom"], balancer=balancer))
    assert [[str(key) for key in losses] for losses in balancer.told] == [["flip@flip"], ["flip@flip"]]
