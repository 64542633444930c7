"""Which parameters learn, how fast, and which of them decay."""

import pytest
import torch
from torch import nn

from auxlearn import Arrangement, Learner
from auxlearn.errors import SpecError
from auxlearn.learning.balancing import Fixed
from auxlearn.spec.models import OptimizerKeys
from auxlearn.spec.parts import PARTS
from auxlearn.testing.fakes import TinyBackbone, TinyPretext, TinyPrimary
from auxlearn.training.optimisation import parameter_groups


class Layered(TinyBackbone):
    def layers(self):
        return [["first.weight", "first.bias"], ["norm.weight", "norm.bias"], ["second.weight", "second.bias"]]


def learner(backbone=None, **more):
    return Learner(
        backbone or TinyBackbone(),
        primary={"kind": TinyPrimary(), "other": TinyPrimary()},
        pretext={"a": TinyPretext()},
        arrange={"a": Arrangement(view="own", statistics="separate")},
        **more,
    )


def found(model, **keys):
    """Return learning rate and weight decay by the name of the parameter."""
    names = {id(p): n for n, p in model.named_parameters()}
    groups = parameter_groups(model, OptimizerKeys(lr=0.1, weight_decay=0.5, **keys))
    result = {names[id(p)]: (g["lr"], g["weight_decay"]) for g in groups for p in g["params"]}
    assert sum(len(g["params"]) for g in groups) == len(result)
    assert len({g["name"] for g in groups}) == len(groups)
    torch.optim.AdamW(groups)  # which refuses a parameter in two groups
    return result


def test_norms_and_biases_do_not_decay():
    decays = {name: decay for name, (_, decay) in found(learner()).items()}
    matrices = {"backbone.first.weight", "backbone.second.weight", "primary.kind.head.weight",
                "primary.other.head.weight", "pretext.a.head.weight"}  # fmt: skip
    assert {name for name, decay in decays.items() if decay == 0.5} == matrices
    assert {name for name, decay in decays.items() if decay == 0.0} == {
        "backbone.first.bias", "backbone.norm.weight", "backbone.norm.bias", "backbone.second.bias",
        "primary.kind.head.bias", "primary.other.head.bias", "pretext.a.head.bias",
        "norms.a.layers.0.weight", "norms.a.layers.0.bias",
    }  # fmt: skip
    assert {rate for rate, _ in found(learner()).values()} == {0.1}


def test_norms_and_biases_decay_if_asked():
    assert {decay for _, decay in found(learner(), decay_norms=True).values()} == {0.5}


class Learning(Fixed):
    def __init__(self):
        super().__init__()
        self.scalar, self.matrix = nn.Parameter(torch.ones(())), nn.Parameter(torch.eye(2))


def test_what_a_balancer_learns_never_decays():
    decays = {name: decay for name, (_, decay) in found(learner(balancer=Learning()), decay_norms=True).items()}
    assert {name for name, decay in decays.items() if not decay} == {"balancer.scalar", "balancer.matrix"}


def test_rates_by_part_the_closest_name_wins():
    scales = {"backbone": 0.5, "primary": 2.0, "primary.kind": 3.0, "pretext.a": 0.0, "norms": 4.0}
    rates = {name: rate for name, (rate, _) in found(learner(), lr_scale=scales).items()}
    assert rates["backbone.first.weight"] == rates["backbone.norm.bias"] == pytest.approx(0.05)
    assert rates["primary.other.head.weight"] == pytest.approx(0.2)
    assert rates["primary.kind.head.bias"] == pytest.approx(0.3)
    assert rates["pretext.a.head.weight"] == 0.0
    assert rates["norms.a.layers.0.weight"] == pytest.approx(0.4)


def test_the_first_of_every_name_is_a_part_that_a_spec_may_scale():
    model = learner(balancer=Learning())
    names = {name.partition(".")[0].replace("balancer", "balance") for name, _ in model.named_parameters()}
    assert names | {"shared"} == set(PARTS)


def test_layer_decay_and_scale_multiply():
    rates = {
        name: rate for name, (rate, _) in found(learner(Layered()), layer_decay=0.5, lr_scale={"backbone": 0.1}).items()
    }
    assert rates["backbone.second.weight"] == pytest.approx(0.01)
    assert rates["backbone.norm.weight"] == pytest.approx(0.005)
    assert rates["backbone.first.bias"] == pytest.approx(0.0025)
    assert rates["primary.kind.head.weight"] == pytest.approx(0.1)


def test_a_backbone_of_one_layer_does_not_decay_by_layer():
    assert {rate for rate, _ in found(learner(), layer_decay=0.5).values()} == {0.1}


def test_what_is_frozen_is_in_no_group():
    names = found(learner(freeze_backbone=True))
    assert not any(name.startswith("backbone.") for name in names)
    assert "primary.kind.head.weight" in names


def test_nothing_to_train_is_said():
    class Headless(TinyPrimary):
        def __init__(self):
            super().__init__()
            self.head.requires_grad_(False)

    model = Learner(TinyBackbone(), primary={"kind": Headless()}, freeze_backbone=True)
    with pytest.raises(SpecError, match="/backbone/freeze: nothing is left to train"):
        parameter_groups(model, OptimizerKeys())


def test_an_unknown_part_is_named_with_the_nearest():
    scales = {"backbon": 1.0, "pretext.b": 1.0}
    with pytest.raises(SpecError) as caught:
        parameter_groups(learner(), OptimizerKeys(lr_scale=scales))
    first, second = caught.value.problems
    assert (first.where, first.meant) == ("/optimizer/lr_scale/backbon", "backbone")
    assert second.where == "/optimizer/lr_scale/pretext.b"
    assert second.meant == "pretext.a"
    assert "primary.kind" in first.allowed


def test_a_balancer_that_learns_has_a_part():
    model = learner()
    model.balancer.scale = nn.Parameter(torch.zeros(()))
    assert found(model, lr_scale={"balance": 0.1})["balancer.scale"] == (pytest.approx(0.01), 0.0)
