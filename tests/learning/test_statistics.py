"""What BatchNorm does on a pass: running statistics, affine parameters, and what the pass is normalised by."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from auxlearn import Arrangement, Moment
from auxlearn.learning.statistics import SeparateNorms, run_backbone
from auxlearn.testing.fakes import TinyBackbone, TinyPretext, tiny_batch

NOW = Moment(step=0)
KINDS = ["shared", "frozen", "batch", "separate"]


def inputs(seed=0):
    return {"image": torch.rand(6, 3, 8, 8, generator=torch.Generator().manual_seed(seed)) * 3 + 1}


def network():
    torch.manual_seed(3)
    backbone = TinyBackbone()
    with torch.no_grad():
        backbone.norm.weight.uniform_(0.5, 2)
        backbone.norm.bias.uniform_(-1, 1)
        backbone.norm.running_mean.uniform_(-1, 1)
        backbone.norm.running_var.uniform_(0.5, 2)
    return backbone


def by_hand(backbone, norm, x, *, by_batch):
    """Return the pooled feature, batch normalisation written from its formula."""
    h = backbone.first(x)
    mean, var = norm.running_mean, norm.running_var
    if by_batch:
        mean, var = h.mean((0, 2, 3)), h.var((0, 2, 3), unbiased=False)
    h = (h - mean[:, None, None]) / (var[:, None, None] + norm.eps).sqrt()
    h = h * norm.weight[:, None, None] + norm.bias[:, None, None]
    return backbone.second(F.relu(h)).mean((2, 3))


def buffers(norm):
    return {name: buffer.clone() for name, buffer in norm.named_buffers()}


def updated(norm, h):
    """Return the buffers after one training pass over `h`, by the formula of the moving average."""
    m = norm.momentum
    return {
        "running_mean": (1 - m) * norm.running_mean + m * h.mean((0, 2, 3)),
        "running_var": (1 - m) * norm.running_var + m * h.var((0, 2, 3)),
        "num_batches_tracked": norm.num_batches_tracked + 1,
    }


@pytest.mark.parametrize("kind", KINDS)
def test_values_and_running_statistics(kind):
    backbone, x = network(), inputs()
    separate = SeparateNorms(backbone)
    with torch.no_grad():
        separate.layers[0].weight.mul_(1.5)
        separate.layers[0].running_mean.add_(1)
        h = backbone.first(x["image"])
    norm = separate.layers[0] if kind == "separate" else backbone.norm
    expected = by_hand(backbone, norm, x["image"], by_batch=kind != "frozen")
    before = {"own": buffers(backbone.norm), "separate": buffers(separate.layers[0])}
    after = {"own": dict(before["own"]), "separate": dict(before["separate"])}
    if kind in ("shared", "separate"):
        after["separate" if kind == "separate" else "own"] = updated(norm, h)
    found = run_backbone(backbone, x, kind, separate).only.pooled
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(buffers(backbone.norm), after["own"])
    torch.testing.assert_close(buffers(separate.layers[0]), after["separate"])
    assert backbone.norm.training
    assert backbone.norm.track_running_stats


@pytest.mark.parametrize("kind", KINDS)
def test_who_gets_the_affine_gradient(kind):
    backbone = network()
    separate = SeparateNorms(backbone)
    run_backbone(backbone, inputs(), kind, separate).only.pooled.square().sum().backward()
    own, other = backbone.norm.weight.grad, separate.layers[0].weight.grad
    assert (own is None) == (kind == "separate")
    assert (other is None) == (kind != "separate")
    assert backbone.first.weight.grad.abs().sum() > 0


@pytest.mark.parametrize("kind", KINDS)
def test_in_evaluation_every_kind_but_separate_is_the_network(kind):
    backbone = network().eval()
    separate = SeparateNorms(backbone)
    with torch.no_grad():
        separate.layers[0].running_mean.add_(1)
        expected = backbone(inputs()).only.pooled
        found = run_backbone(backbone, inputs(), kind, separate).only.pooled
    assert torch.equal(found, expected) == (kind != "separate")


def test_settings_are_put_back_after_an_error():
    backbone = network()
    for kind in ("frozen", "batch"):
        with pytest.raises(RuntimeError):
            run_backbone(backbone, {"image": torch.zeros(1, 5, 8, 8)}, kind, None)
        assert backbone.norm.training
        assert backbone.norm.track_running_stats
    with pytest.raises(ValueError, match="should be given"):
        run_backbone(backbone, inputs(), "separate", None)


@pytest.mark.parametrize("kind", KINDS)
def test_a_step_with_an_own_pass(build, watch, kind):
    learner = build({"a": TinyPretext()}, {"a": Arrangement(view="own", statistics=kind)})
    start = buffers(learner.backbone.norm)
    reference = copy.deepcopy(learner.backbone)
    looks = watch(learner)
    plan = learner.plan(tiny_batch(), NOW)
    learner.step(tiny_batch(), NOW).total.backward()
    reference(plan.passes[0].inputs)
    if kind == "shared":
        reference(plan.passes[1].inputs)
    torch.testing.assert_close(buffers(learner.backbone.norm), buffers(reference.norm))
    assert learner.backbone.norm.num_batches_tracked == (2 if kind == "shared" else 1)
    assert [(look.norm_trains, look.norm_tracks) for look in looks] == [
        (True, True),
        {"frozen": (False, True), "batch": (True, False)}.get(kind, (True, True)),
    ]
    assert list(learner.norms) == (["a"] if kind == "separate" else [])
    if kind == "separate":
        assert learner.norms["a"].layers[0].num_batches_tracked == 1
        assert not torch.equal(learner.norms["a"].layers[0].running_mean, start["running_mean"])
        assert learner.norms["a"].layers[0].weight.grad is not None
    names = [name for name in learner.state_dict() if "norms." in name]
    assert bool(names) == (kind == "separate")


def test_two_tasks_have_separate_norms_of_their_own(build):
    how = Arrangement(view="own", statistics="separate")
    learner = build({"a": TinyPretext(), "b": TinyPretext()}, {"a": how, "b": how})
    learner.step(tiny_batch(), NOW)
    a, b = (learner.norms[name].layers[0].running_mean for name in "ab")
    assert not torch.equal(a, b)


def test_frozen_backbone_does_not_learn_nor_count(build):
    learner = build({"a": TinyPretext()}, {"a": Arrangement(view="own")}, freeze_backbone=True)
    start = {name: t.clone() for name, t in learner.backbone.state_dict().items()}
    learner.train()
    assert not learner.backbone.training
    assert learner.primary["kind"].training
    learner.step(tiny_batch(), NOW).total.backward()
    assert all(p.grad is None for p in learner.backbone.parameters())
    assert learner.primary["kind"].head.weight.grad is not None
    torch.testing.assert_close(dict(learner.backbone.state_dict()), start, rtol=0, atol=0)


def test_separate_norms_of_several_layers_keep_their_places():
    class Deep(TinyBackbone):
        def __init__(self):
            super().__init__()
            self.norm = nn.Sequential(nn.BatchNorm2d(8), nn.BatchNorm2d(8, affine=False), nn.BatchNorm2d(8))

    torch.manual_seed(0)
    backbone = Deep()
    separate = SeparateNorms(backbone)
    with torch.no_grad():
        for number, layer in enumerate(separate.layers):
            layer.running_mean.fill_(number)
    names = separate.overrides()
    assert {n: float(t.mean()) for n, t in names.items() if n.endswith("running_mean")} == {
        f"norm.{i}.running_mean": float(i) for i in range(3)
    }
    twin = copy.deepcopy(backbone)
    for number, layer in enumerate(separate.layers):
        twin.norm[number] = layer
    torch.testing.assert_close(
        run_backbone(backbone.eval(), inputs(), "separate", separate).only.pooled, twin.eval()(inputs()).only.pooled
    )
