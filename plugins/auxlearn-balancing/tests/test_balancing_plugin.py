"""What auxlearn sees of the plugin: hooks, settings, building, conformance; and that listing it needs no torch."""

import subprocess
import sys

import attrs
import pluggy
import pytest

import auxlearn
import auxlearn_balancing
from auxlearn.errors import SpecError
from auxlearn.learning import BuildContext
from auxlearn.registry import Option, hooks
from auxlearn.testing import Conformance, plugin
from auxlearn_balancing import CosineGate, DynamicWeightAverage, GradNorm, PCGrad, Uncertainty

CONTEXT = BuildContext(inputs={}, tasks=("kind", "flip"))
NEEDS = {
    "uncertainty": "nothing",
    "dwa": "nothing",
    "gradnorm": "gradients",
    "cosine_gate": "gradients",
    "pcgrad": "gradients",
}


class TestUncertainty(Conformance):
    component, kind = "uncertainty", "balancer"


class TestDwa(Conformance):
    component, kind = "dwa", "balancer"


class TestGradNorm(Conformance):
    component, kind = "gradnorm", "balancer"


class TestCosineGate(Conformance):
    component, kind = "cosine_gate", "balancer"


class TestPCGrad(Conformance):
    component, kind = "pcgrad", "balancer"


def providers():
    manager = pluggy.PluginManager("auxlearn")
    manager.add_hookspecs(hooks)
    manager.register(auxlearn_balancing)
    manager.check_pending()
    (offered,) = manager.hook.auxlearn_balancers()
    return {provider.name: provider for provider in offered}


def built(name, **params):
    provider = providers()[name]
    return provider.build(provider.params(**params), CONTEXT)


def test_offers_five_balancers():
    offered = providers()
    assert {name: provider.needs for name, provider in offered.items()} == NEEDS
    for provider in offered.values():
        assert all(Option.of(field).help.endswith(".") for field in attrs.fields(provider.params))


def test_registering_loads_no_torch():
    program = (
        "import sys, pluggy, auxlearn_balancing as p; from auxlearn.registry import hooks\n"
        "m = pluggy.PluginManager('auxlearn'); m.add_hookspecs(hooks); m.register(p)\n"
        "[list(x) for x in m.hook.auxlearn_balancers()]\n"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-W", "error", "-c", program], check=False).returncode == 0


def test_all_public_names_exist():
    for name in auxlearn_balancing.__all__:
        assert getattr(auxlearn_balancing, name) is not None
    with pytest.raises(AttributeError, match="nothing"):
        _ = auxlearn_balancing.nothing


def test_builds_with_the_settings():
    made = built("uncertainty", regression=("flip",), initial=0.5)
    assert isinstance(made, Uncertainty)
    assert {name: s.item() for name, s in made.log_variance.items()} == {"kind": 0.5, "flip": 0.5}
    assert made.regression == {"flip"}
    made = built("dwa", temperature=3.0)
    assert isinstance(made, DynamicWeightAverage)
    assert (made.tasks, made.temperature) == (CONTEXT.tasks, 3.0)
    made = built("gradnorm", alpha=0.12)
    assert isinstance(made, GradNorm)
    assert (made.tasks, made.alpha) == (CONTEXT.tasks, 0.12)
    made = built("cosine_gate", mode="unweighted")
    assert isinstance(made, CosineGate)
    assert made.mode == "unweighted"
    assert isinstance(built("pcgrad"), PCGrad)


def test_names_of_tasks_are_checked():
    with pytest.raises(
        SpecError, match=r'/regression/1: there is no task "flap"; allowed: kind, flip; did you mean "fl'
    ):
        built("uncertainty", regression=("kind", "flap"))


def test_a_wrong_name_in_a_spec_ends_before_anything_runs(tmp_path):
    spec = {
        "auxlearn": 1,
        "data": {"type": "tiny"},
        "backbone": {"type": "tiny"},
        "primary": {"kind": {"type": "tiny"}},
        "balance": {"type": "uncertainty", "regression": ["kin"]},
        "train": {"steps": 1, "batch_size": 8},
    }
    with pytest.raises(SpecError, match=r'/balance/regression/0: there is no task "kin"'):
        auxlearn.run(spec, out=tmp_path / "run", plugins=[plugin])
    assert not (tmp_path / "run").exists()
