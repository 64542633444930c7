"""The balancers in runs: resumed bit for bit, with tasks that are off, micro-batches, in parts and in bfloat16."""

import pytest
import torch
from lightning_fabric import Fabric
from safetensors.torch import load_file

import auxlearn
from auxlearn import Arrangement, Learner, Trainer
from auxlearn.testing import plugin
from auxlearn.testing.fakes import TinyBackbone, TinyPretext, TinyPrimary, tiny_batch
from auxlearn_balancing import CosineGate, DynamicWeightAverage, GradNorm, PCGrad, Uncertainty

TASKS = ("kind", "a", "b")
MADE = {
    "uncertainty": lambda: Uncertainty(TASKS),
    "dwa": lambda: DynamicWeightAverage(TASKS),
    "gradnorm": lambda: GradNorm(TASKS),
    "cosine_gate": CosineGate,
    "pcgrad": PCGrad,
}
STATE = {"uncertainty": 3, "dwa": 5, "gradnorm": 4, "cosine_gate": 0, "pcgrad": 0}


def spec(type_, **changes):
    return {
        "auxlearn": 1,
        "name": "balanced",
        "data": {"type": "tiny", "rows": 16},
        "backbone": {"type": "tiny"},
        "primary": {"kind": {"type": "tiny"}},
        "pretext": {
            "a": {"type": "tiny", "supervise": True, "weight": 0.5},
            "b": {"type": "tiny", "copies": 2, "every": 2},
        },
        "balance": {"type": type_},
        "optimizer": {"type": "adamw", "lr": 1e-2},
        "train": {"steps": 8, "batch_size": 8},
        "log": {"every_steps": 1},
        **changes,
    }


@pytest.mark.parametrize("name", MADE)
def test_a_run_resumes_bit_for_bit(name, tmp_path):
    """Two steps an epoch: a history of epochs is there to be lost."""
    whole = auxlearn.run(spec(name), out=tmp_path / "whole", plugins=[plugin])
    saving = ["checkpoint.every_steps=5", "checkpoint.every_epochs=null", "checkpoint.keep_last=5"]
    cut = auxlearn.run(spec(name), saving, out=tmp_path / "cut", plugins=[plugin])
    (last,) = (cut.path / "checkpoints").glob("*8")
    stored = {n: t for n, t in load_file(last / "model.safetensors").items() if n.startswith("balancer.")}
    assert len(stored) == STATE[name]
    for file in last.iterdir():
        file.unlink()
    last.rmdir()
    again = auxlearn.resume(cut.path, plugins=[plugin])
    torch.testing.assert_close(again.model.state_dict(), whole.model.state_dict(), rtol=0, atol=0)
    for run in (whole, again):
        assert [line["step"] for line in run.history if line["kind"] == "train"] == list(range(1, 9))
    weights = [
        [{k: v for k, v in line.items() if k.startswith(("loss/", "weight/"))} for line in run.history]
        for run in (whole, again)
    ]
    assert weights[0] == weights[1]
    (last,) = (again.path / "checkpoints").glob("*8")
    after = {n: t for n, t in load_file(last / "model.safetensors").items() if n.startswith("balancer.")}
    torch.testing.assert_close(after, stored, rtol=0, atol=0)


@pytest.mark.parametrize("name", MADE)
def test_steps_in_which_only_a_probe_has_a_loss_leave_no_trace(name):
    made = {"uncertainty": Uncertainty, "dwa": DynamicWeightAverage, "gradnorm": GradNorm}

    def state(probes):
        torch.manual_seed(0)
        model = Learner(
            TinyBackbone(),
            pretext={"a": TinyPretext()},
            arrange={"a": Arrangement(view="own", every=2)},
            balancer=made[name](["a"]) if name in made else MADE[name](),
            primary={probe: TinyPrimary() for probe in probes},
            probes=probes,
        )
        trainer = Trainer(model, torch.optim.SGD(model.parameters(), lr=0.1))
        for step in range(3):
            trainer.step(tiny_batch(8, seed=step), epoch=step)
        return {n: t for n, t in model.state_dict().items() if n.startswith(("backbone", "balancer"))}

    torch.testing.assert_close(state(["kind"]), state([]), rtol=0, atol=0)


def learner(balancer, **options):
    torch.manual_seed(0)
    return Learner(
        TinyBackbone(norm=False),
        primary={"kind": TinyPrimary()},
        pretext={"a": TinyPretext(), "b": TinyPretext(views=2)},
        arrange={
            "a": Arrangement(view="own", supervise=True, weight=0.5),
            "b": Arrangement(view="own", start_epoch=1),
        },
        balancer=balancer,
        **options,
    )


def trained(balancer, steps=4, **options):
    """Return the state and the totals of a few steps, two an epoch; `b` begins in the second."""
    fabric = options.pop("fabric", None)
    parts, seed = options.pop("backward_mode", "together"), options.pop("seed", 0)
    model = learner(balancer, backward_mode=parts)
    model = model if fabric is not None else model.double()
    options |= {} if fabric is None else {"fabric": fabric}
    trainer = Trainer(model, torch.optim.SGD(model.parameters(), lr=0.1), **options)
    totals = [trainer.step(tiny_batch(8, seed=seed + step), epoch=step / 2).total for step in range(steps)]
    return dict(model.state_dict()), torch.stack(totals)


@pytest.mark.parametrize("name", ["uncertainty", "dwa"])
def test_losses_one_by_one_are_those_together(name):
    together, apart = (trained(MADE[name](), backward_mode=mode) for mode in ("together", "accumulate"))
    torch.testing.assert_close(apart, together)


@pytest.mark.parametrize("name", MADE)
def test_micro_batches_do_not_change_what_is_balanced(name):
    """Tiny tasks draw one view for the joint batch, but not for each micro-batch, so only one task is compared."""

    def run(**options):
        torch.manual_seed(0)
        balancer = {"uncertainty": Uncertainty, "dwa": DynamicWeightAverage, "gradnorm": GradNorm}.get(name)
        model = Learner(
            TinyBackbone(norm=False),
            primary={"kind": TinyPrimary(), "other": TinyPrimary()},
            balancer=balancer(("kind", "other")) if balancer else MADE[name](),
        ).double()
        trainer = Trainer(model, torch.optim.SGD(model.parameters(), lr=0.1), **options)
        totals = [trainer.step(tiny_batch(8, seed=step), epoch=step / 2).total for step in range(5)]
        return dict(model.state_dict()), torch.stack(totals)

    torch.testing.assert_close(run(accumulate=2), run())


@pytest.mark.parametrize("name", MADE)
def test_mixed_precision(name):
    single = trained(MADE[name](), fabric=Fabric(accelerator="cpu", devices=1))
    mixed = trained(MADE[name](), fabric=Fabric(accelerator="cpu", devices=1, precision="bf16-mixed"))
    torch.testing.assert_close(mixed, single, rtol=5e-2, atol=2e-2)
    assert all(t.dtype != torch.bfloat16 for t in mixed[0].values())


@pytest.mark.parametrize("name", MADE)
def test_double_precision(name):
    state, totals = trained(MADE[name]())
    _, others = trained(MADE[name](), fabric=Fabric(accelerator="cpu", devices=1))
    assert totals.dtype == torch.float64
    assert all(state[n].dtype == torch.float64 for n in state if state[n].is_floating_point())
    torch.testing.assert_close(others.double(), totals, rtol=1e-4, atol=1e-5)


def test_a_variance_is_not_learned_while_its_task_is_off():
    balancer = Uncertainty(TASKS)
    trained(balancer, steps=2)
    assert balancer.log_variance["a"].item() != 0
    assert balancer.log_variance["b"].item() == 0


@pytest.mark.parametrize("name", ["gradnorm", "cosine_gate", "pcgrad"])
def test_the_heads_learn_by_the_weights_of_the_spec(name):
    """One step from the start, where GradNorm's weights are 1: only what is shared may move otherwise.

    With these rows gradients are in conflict, so there it does.
    """
    plain, _ = trained(None, steps=1, seed=11)
    state, _ = trained(MADE[name](), steps=1, seed=11)
    for key, value in plain.items():
        if key.startswith(("primary", "pretext")):
            torch.testing.assert_close(state[key], value)
    moved = max((state[key] - value).abs().max().item() for key, value in plain.items() if key.startswith("backbone"))
    assert (moved > 1e-3) == (name != "gradnorm")
