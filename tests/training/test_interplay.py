"""How the gradients of two tasks stand to each other: the values, and that watching changes nothing."""

import sys

import pytest
import torch
import torch.nn.functional as F
from PIL import Image

import auxlearn
from auxlearn import Arrangement, Learner, Trainer
from auxlearn.learning import Balanced, Balancer, TaskResult
from auxlearn.learning.balancing import Fixed
from auxlearn.learning.context import Shared
from auxlearn.testing import plugin
from auxlearn.testing.fakes import TinyBackbone, TinyPretext, TinyPrimary, tiny_batch
from auxlearn.training.interplay import Opposition

OWN = Arrangement(view="own", weight=0.3)


def two():
    """Return two pretext tasks, with the same weights each time."""
    torch.manual_seed(0)
    return {"a": TinyPretext(), "b": TinyPretext()}


class Towards(TinyPretext):
    """Pulls the features of the clean image to a multiple of a direction."""

    def __init__(self, factor=1.0):
        super().__init__()
        self.factor = factor

    def views(self, batch, draws):
        return super(TinyPretext, self).views(batch, draws)

    def loss(self, features, views, step):
        return TaskResult(loss=self.factor * features[0].only.pooled.sum())


def trainer(pretext, arrange, *, norm=True, probes=(), balancer=None, **options):
    torch.manual_seed(0)
    primary = {name: TinyPrimary() for name in ("kind", *probes)}
    learner = Learner(
        TinyBackbone(norm=norm), primary=primary, pretext=pretext, arrange=arrange, probes=probes, balancer=balancer
    )
    return Trainer(learner, torch.optim.SGD(learner.parameters(), lr=0.1), **options)


def test_equal_opposed_and_scaled_gradients_by_hand():
    clean = Arrangement(view="clean")
    pretext = {"one": Towards(), "same": Towards(3.0), "against": Towards(-0.5)}
    watched = trainer(pretext, dict.fromkeys(pretext, clean), watch_every=1)
    found = watched.step(tiny_batch(8)).metrics
    assert {n: v.item() for n, v in found.items() if n.split("/")[-1] == "one"} == pytest.approx(
        {
            "same/cosine/one": 1.0,
            "same/norm_ratio/one": 3.0,
            "against/cosine/one": -1.0,
            "against/norm_ratio/one": 0.5,
        }
    )
    assert found["against/cosine/kind"].item() == pytest.approx(-found["one/cosine/kind"].item())
    assert "kind/cosine/one" not in found


class Projecting(Towards):
    """Asks through a module that another task uses too."""

    def __init__(self, shared, factor):
        super().__init__(factor)
        self.shared = shared

    def loss(self, features, views, step):
        pooled = features[0].only.pooled
        return TaskResult(loss=pooled.sum() + self.factor * self.shared(pooled).sum())


def test_each_pair_is_measured_where_both_tasks_reach():
    """A projector that only pretext tasks use says nothing of how they stand to the primary task."""
    torch.manual_seed(0)
    handle = Shared("projector", torch.nn.Linear(8, 1), {})
    torch.nn.init.zeros_(handle.module.weight)  # so that nothing of it comes through to the backbone
    clean = Arrangement(view="clean")
    pretext = {"plain": Towards(), "one": Projecting(handle, 1.0), "against": Projecting(handle, -1.0)}
    learner = Learner(
        TinyBackbone(),
        primary={"kind": TinyPrimary()},
        pretext=pretext,
        arrange=dict.fromkeys(pretext, clean),
        shared={"projector": handle},
    )
    watched = Trainer(learner, torch.optim.SGD(learner.parameters(), lr=0.1), watch_every=1)
    found = watched.step(tiny_batch(8)).metrics
    for name in ("one", "against"):
        assert found[f"{name}/cosine/plain"].item() == pytest.approx(1)
        assert found[f"{name}/norm_ratio/plain"].item() == pytest.approx(1)
        torch.testing.assert_close(found[f"{name}/cosine/kind"], found["plain/cosine/kind"])
    # On the backbone they are equal, on the projector opposed.
    assert -1 < found["against/cosine/one"].item() < 0.99


@pytest.mark.parametrize("options", [{}, {"accumulate": 2}], ids=str)
def test_the_values_are_those_of_the_weighted_gradients_of_each_task(options):
    arrange = {"a": Arrangement(view="own", weight=0.3, supervise=True), "b": Arrangement(view="clean", portion=0.5)}

    def gradient(kept):
        """Return the gradient on the backbone of the losses of one task."""
        lone = trainer(two(), arrange, norm=False, **options)
        noted = []
        combine = lone.learner.balancer.combine

        def combine_some(losses, gram, step):
            return combine({k: loss if k.task == kept else loss * 0 for k, loss in losses.items()}, gram, step)

        lone.learner.balancer.combine = combine_some
        lone.optimizer.optimizer.register_step_post_hook(
            lambda *_: noted.extend(p.grad.flatten() for p in lone.learner.backbone.parameters())
        )
        lone.step(tiny_batch(8))
        return torch.cat(noted)

    watched = trainer(two(), arrange, norm=False, watch_every=1, **options)
    found = watched.step(tiny_batch(8)).metrics
    each = {name: gradient(name) for name in ("kind", "a", "b")}
    for second, first in (("a", "kind"), ("b", "kind"), ("b", "a")):
        expected = F.cosine_similarity(each[second], each[first], dim=0)
        torch.testing.assert_close(found[f"{second}/cosine/{first}"], expected)
        torch.testing.assert_close(found[f"{second}/norm_ratio/{first}"], each[second].norm() / each[first].norm())


def test_watching_changes_nothing():
    def train(**options):
        arrange = {"a": Arrangement(view="own", supervise=True, statistics="separate"), "b": Arrangement(view="shared")}
        learning = trainer(two(), arrange, ema=0.9, accumulate=2, **options)
        for _ in range(4):
            result = learning.step(tiny_batch(8))
        return result, {**learning.learner.state_dict(), **learning.scored.state_dict(prefix="ema.")}

    result, expected = train()
    watched, found = train(watch_every=1)
    assert not any("cosine" in name for name in result.metrics)
    assert any("cosine" in name for name in watched.metrics)
    torch.testing.assert_close(found, expected, rtol=0, atol=0)


def test_a_gate_that_is_shut_hides_no_direction():
    class Shut(Balancer):
        needs = "gradients"

        def combine(self, losses, gram, step):
            balanced = Fixed().combine(losses, None, step)
            shared = {key: float(key.role == "primary" or key.task == "one") for key in losses}
            return Balanced(total=balanced.total, weights=balanced.weights, shared=shared)

    pretext = {"one": Towards(), "against": Towards(-0.5)}
    watched = trainer(pretext, dict.fromkeys(pretext, Arrangement(view="clean")), balancer=Shut(), watch_every=1)
    found = watched.step(tiny_batch(8)).metrics
    assert found["against/cosine/one"].item() == pytest.approx(-1)
    assert found["against/norm_ratio/one"].item() == 0


def test_only_every_so_many_steps_and_neither_probes_nor_what_is_off():
    arrange = {"a": OWN, "b": Arrangement(view="own", weight=0.0)}
    watched = trainer(two(), arrange, probes=("watcher",), watch_every=3)
    seen = [{n for n in watched.step(tiny_batch(8)).metrics if "cosine" in n} for _ in range(4)]
    assert seen == [{"a/cosine/kind"}, set(), set(), {"a/cosine/kind"}]


def test_a_task_without_a_gradient_has_no_direction():
    watched = trainer({"a": Towards(0.0)}, {"a": Arrangement(view="clean")}, watch_every=1)
    found = watched.step(tiny_batch(8)).metrics
    assert found["a/cosine/kind"] == 0
    assert found["a/norm_ratio/kind"] == 0


def spec(**more):
    return {
        "auxlearn": 1,
        "name": "watched",
        "data": {"type": "tiny"},
        "backbone": {"type": "tiny"},
        "primary": {"kind": {"type": "tiny"}},
        "pretext": {"flip": {"type": "tiny"}},
        "train": {"steps": 6, "batch_size": 8},
        "log": {"every_steps": 2, "gradients_every": 3},
        **more,
    }


def test_a_run_records_them(tmp_path):
    lines = auxlearn.run(spec(), out=tmp_path / "run", plugins=[plugin]).history
    assert [line["step"] for line in lines if "flip/cosine/kind" in line] == [2, 4]  # measured in steps 0 and 3
    assert all(-1 <= line["flip/cosine/kind"] <= 1 for line in lines if "flip/cosine/kind" in line)
    with Image.open(tmp_path / "run" / "figures" / "gradients.png") as figure:
        assert figure.size == (840, 600)


def test_a_run_without_measurements_has_no_figure(tmp_path):
    auxlearn.run(spec(log={}), out=tmp_path / "run", plugins=[plugin])
    assert not (tmp_path / "run" / "figures" / "gradients.png").exists()


def test_without_matplotlib_the_numbers_are_there_and_a_note(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    auxlearn.run(spec(), out=tmp_path / "run", plugins=[plugin])
    assert 'pip install "auxlearn[study]"' in (tmp_path / "run" / "train.log").read_text()


def line(step, value):
    return {"kind": "train", "step": step, "flip/cosine/kind": value}


def told(values, watch=None):
    watch = watch or Opposition(["kind"], ["flip"])
    return [note for step, value in enumerate(values) for note in watch.take(line(step, value))]


def test_long_opposition_is_told_once():
    (note,) = told([-0.2, -0.4] * 10)
    assert '"flip" pull against those of "kind" (mean cosine -0.30, steps 0 to 9)' in note


@pytest.mark.parametrize("values", [[-0.9] * 9, [0.5, -0.5] * 20, [-0.1, 0.11] * 20, [0.3] * 30, [None] * 30], ids=str)
def test_what_is_short_or_uncertain_is_not_told(values):
    assert told([value for value in values if value is not None]) == []
    assert list(Opposition(["kind"], ["flip"]).take({"kind": "test", "step": 3})) == []


def test_long_runs_without_opposition_are_hardly_ever_told():
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(200, 500, generator=generator).mul(0.1).tolist()
    assert sum(bool(told(values)) for values in noise) <= 10  # 2 % are expected


def test_agreement_at_first_does_not_hide_opposition_later():
    assert len(told([0.5] * 30 + [-0.5] * 10)) == 1
