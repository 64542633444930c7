"""What auxlearn sees of the plugin: hooks, settings, checks, runs; and that listing it needs no torch."""

import importlib.util
import subprocess
import sys

import attrs
import pluggy
import pytest
import torch

import auxlearn
import auxlearn_torchjd
from auxlearn.errors import SpecError
from auxlearn.learning import BuildContext
from auxlearn.registry import CheckContext, Option, hooks
from auxlearn.testing import Conformance, plugin
from auxlearn_torchjd import TorchJD, TorchJDParams

CONTEXT = BuildContext(inputs={}, tasks=("kind", "flip"))


class TestTorchJD(Conformance):
    component, kind = "torchjd", "balancer"


def provider():
    manager = pluggy.PluginManager("auxlearn")
    manager.add_hookspecs(hooks)
    manager.register(auxlearn_torchjd)
    manager.check_pending()
    ((offered,),) = map(tuple, manager.hook.auxlearn_balancers())
    return offered


def problems(**params):
    return [str(problem) for problem in provider().check(TorchJDParams(**params), CheckContext())]


def spec(**balance):
    return {
        "auxlearn": 1,
        "name": "balanced",
        "data": {"type": "tiny", "rows": 16},
        "backbone": {"type": "tiny"},
        "primary": {"kind": {"type": "tiny"}},
        "pretext": {"a": {"type": "tiny", "supervise": True, "weight": 0.5}, "b": {"type": "tiny", "every": 2}},
        "balance": {"type": "torchjd", **balance},
        "optimizer": {"type": "adamw", "lr": 1e-2},
        "train": {"steps": 4, "batch_size": 8},
        "log": {"every_steps": 1},
    }


def test_offers_the_balancer():
    offered = provider()
    assert (offered.name, offered.needs) == ("torchjd", "gradients")
    assert all(Option.of(field).help.endswith(".") for field in attrs.fields(offered.params))


def test_registering_loads_no_torch():
    program = (
        "import sys, pluggy, auxlearn_torchjd as p; from auxlearn.registry import CheckContext, hooks\n"
        "m = pluggy.PluginManager('auxlearn'); m.add_hookspecs(hooks); m.register(p)\n"
        "(o,), = [list(x) for x in m.hook.auxlearn_balancers()]\n"
        "list(o.check(o.params(aggregator='CAGrad'), CheckContext()))\n"
        "sys.exit('torch' in sys.modules or 'torchjd' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-W", "error", "-c", program], check=False).returncode == 0


def test_all_public_names_exist():
    for name in auxlearn_torchjd.__all__:
        assert getattr(auxlearn_torchjd, name) is not None
    with pytest.raises(AttributeError, match="nothing"):
        _ = auxlearn_torchjd.nothing


def test_each_setting_belongs_to_some_aggregator():
    assert problems(aggregator="MGDA", epsilon=0.1, max_iters=5) == []
    assert problems(aggregator="UPGrad", pref_vector=(1.0, 2.0), norm_eps=0.0) == []
    assert problems(aggregator="MGDA", c=0.5) == ["/c: MGDA has no such setting; allowed: epsilon, max_iters"]
    assert problems(aggregator="Mean", alpha=0.5) == ["/alpha: Mean has no such setting; allowed: none"]


def test_a_missing_package_is_told_with_what_mends_it(monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *a: None if name == "cvxpy" else find(name, *a))
    assert problems(aggregator="UPGrad") == []
    (problem,) = problems(aggregator="CAGrad")
    assert problem == '/aggregator: CAGrad needs cvxpy, not installed; fix: pip install "auxlearn-torchjd[cagrad]"'
    with pytest.raises(SpecError, match="/balance/aggregator: CAGrad needs cvxpy"):
        auxlearn.validate(spec(aggregator="CAGrad"), plugins=[plugin])


def test_builds_with_the_settings():
    made = provider().build(TorchJDParams(aggregator="UPGrad", reg_eps=0.5, pref_vector=(1.0, 2.0)), CONTEXT)
    assert isinstance(made, TorchJD)
    assert made.preferences == {"kind": 1.0, "flip": 2.0}
    assert (made.weighting.projector.reg_eps, made.weighting.projector.norm_eps) == (0.5, 1e-4)
    made = provider().build(TorchJDParams(aggregator="MGDA", max_iters=7), CONTEXT)
    assert (made.weighting.max_iters, made.weighting.epsilon) == (7, 1e-3)


def test_a_preference_needs_a_value_for_each_task():
    with pytest.raises(SpecError, match="/pref_vector: has 3 values for 2 tasks; allowed: one for each of kind, flip"):
        provider().build(TorchJDParams(pref_vector=(1.0, 2.0, 3.0)), CONTEXT)


def test_an_aggregator_that_is_not_offered_is_refused():
    with pytest.raises(SpecError, match=r"/balance/aggregator: .*NashMTL"):
        auxlearn.validate(spec(aggregator="NashMTL"), plugins=[plugin])


@pytest.mark.parametrize("aggregator", ["UPGrad", "CAGrad", "Random"])
def test_a_run_resumes_bit_for_bit(aggregator, tmp_path):
    if aggregator == "CAGrad":
        pytest.importorskip("cvxpy")
    given = spec(aggregator=aggregator)
    whole = auxlearn.run(given, out=tmp_path / "whole", plugins=[plugin])
    saving = ["checkpoint.every_steps=2", "checkpoint.every_epochs=null", "checkpoint.keep_last=5"]
    cut = auxlearn.run(given, saving, out=tmp_path / "cut", plugins=[plugin])
    (last,) = (cut.path / "checkpoints").glob("*4")
    for file in last.iterdir():
        file.unlink()
    last.rmdir()
    again = auxlearn.resume(cut.path, plugins=[plugin])
    torch.testing.assert_close(again.model.state_dict(), whole.model.state_dict(), rtol=0, atol=0)
    steps = [[line for line in run.history if line["kind"] == "train"] for run in (whole, again)]
    kept = [[{k: v for k, v in line.items() if k.startswith("weight/")} for line in lines] for lines in steps]
    assert kept[0] == kept[1]
    assert "weight/a@a" in kept[0][0]
