"""`BuildContext.frozen_copy`: a pretext task that learns against the moving average of the backbone."""

import types

import pytest
import torch
from torch import nn

import auxlearn
from auxlearn import Trainer
from auxlearn.data import InputShape
from auxlearn.errors import SpecError
from auxlearn.learning import BuildContext, PretextTask, TaskResult
from auxlearn.learning.learner import Learner
from auxlearn.registry import Provider, hookimpl
from auxlearn.testing import plugin as tiny
from auxlearn.testing.fakes import TinyBackbone, tiny_batch


class Distil(PretextTask):
    """Ask the pooled feature for that of the frozen copy, seen through a trainable change of the image."""

    def __init__(self, teacher):
        super().__init__()
        self.teacher, self.gain = teacher, nn.Parameter(torch.ones(()))

    def loss(self, features, views, step):
        target = self.teacher({"image": views[0].inputs["image"] * self.gain})
        return TaskResult(loss=(features[0].only.pooled - target.only.pooled).square().sum())


def context(**more):
    return BuildContext(inputs={"image": InputShape(shape=(3, 8, 8))}, **more)


def make():
    told = context(ema=True)
    torch.manual_seed(0)
    learner = Learner(
        TinyBackbone(8), pretext={"distil": Distil(told.frozen_copy("ema"))}, frozen_copies=told.frozen_copies
    )
    return learner, Trainer(learner, torch.optim.SGD(learner.parameters(), lr=0.1), ema=0.5)


def test_it_is_the_moving_average_in_evaluation_mode():
    learner, trainer = make()
    for number in range(3):
        trainer.step(tiny_batch(seed=number))
    image = torch.rand(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    seen = learner.pretext["distil"].teacher({"image": image}).only.pooled
    average = trainer.scored["backbone"].eval()({"image": image}).only.pooled
    torch.testing.assert_close(seen, average, rtol=0, atol=0)
    assert not torch.allclose(seen, learner.backbone.eval()({"image": image}).only.pooled)


def test_gradients_reach_the_inputs_only():
    learner, trainer = make()
    image = torch.rand(4, 3, 8, 8, requires_grad=True)
    learner.pretext["distil"].teacher({"image": image}).only.pooled.square().sum().backward()
    assert image.grad.abs().sum() > 0
    assert all(p.grad is None for p in trainer.scored.parameters())


def test_it_is_stored_and_optimised_once_by_its_owner():
    learner, trainer = make()
    assert {name for name in learner.state_dict() if name.startswith("pretext")} == {"pretext.distil.gain"}
    assert {id(p) for p in trainer.scored.parameters()}.isdisjoint(id(p) for p in learner.parameters())


def test_without_a_moving_average_it_is_refused():
    with pytest.raises(SpecError, match="moving average"):
        context().frozen_copy("ema")
    with pytest.raises(ValueError, match="'ema'"):
        context(ema=True).frozen_copy("first")
    with pytest.raises(ValueError, match="moving average"):
        context(ema=True).frozen_copy("ema")({"image": torch.zeros(1, 3, 8, 8)})


def plugin():
    @hookimpl
    def auxlearn_pretext_tasks():
        build = lambda _params, told: Distil(told.frozen_copy("ema"))  # noqa: E731
        yield Provider(name="distil", summary="Follow the moving average.", build=build)

    module = types.ModuleType("distilling")
    module.auxlearn_pretext_tasks = auxlearn_pretext_tasks
    return module


def spec(**train):
    return {
        "auxlearn": 1,
        "data": {"type": "tiny"},
        "backbone": {"type": "tiny"},
        "primary": {"kind": {"type": "tiny"}},
        "pretext": {"distil": {"type": "distil"}},
        "train": {"batch_size": 8, "accelerator": "cpu", **train},
    }


def test_a_run_resumes_bit_for_bit(tmp_path):
    plugins = [tiny, plugin()]
    whole = auxlearn.run(spec(steps=8, ema=0.9), out=tmp_path / "whole", plugins=plugins)
    given = spec(steps=8, ema=0.9) | {"checkpoint": {"every_steps": 3, "every_epochs": None}}
    cut = auxlearn.run(given, out=tmp_path / "cut", plugins=plugins)
    for late in (cut.path / "checkpoints").glob("*8"):
        for file in late.iterdir():
            file.unlink()
        late.rmdir()
    again = auxlearn.resume(cut.path, plugins=plugins)
    torch.testing.assert_close(again.model.state_dict(), whole.model.state_dict(), rtol=0, atol=0)


def test_the_message_says_where_and_what_to_do(tmp_path):
    with pytest.raises(SpecError, match="/pretext/distil") as caught:
        auxlearn.run(spec(steps=2), out=tmp_path / "run", plugins=[tiny, plugin()])
    assert '"train": {"ema": 0.999}' in str(caught.value)
    assert not (tmp_path / "run").exists()
