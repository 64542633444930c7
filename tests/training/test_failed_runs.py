"""What a run that fails leaves behind, whoever failed; and metrics that are not finite, which end no run."""

import itertools
import json
import shutil

import attrs
import pytest
import torch

import auxlearn
from auxlearn import Learner, Trainer
from auxlearn.errors import PluginError
from auxlearn.evaluation import Selection
from auxlearn.spec.models import Monitor
from auxlearn.testing import plugin
from auxlearn.testing.fakes import TinyBackbone, TinyPretext, TinyPrimary, tiny_batch
from auxlearn.training.figures import draw_figures
from auxlearn.training.fit import Fit

SPEC = {
    "auxlearn": 1,
    "name": "tiny",
    "data": {"type": "tiny"},
    "backbone": {"type": "tiny"},
    "primary": {"kind": {"type": "tiny"}},
    "pretext": {"flip": {"type": "tiny", "view": "own"}},
    "train": {"steps": 10, "batch_size": 10},
    "checkpoint": {"every_steps": 2, "keep_last": 9},
    "evaluate": {"every_epochs": 1},
    "log": {"every_steps": 5},
}


def status(folder):
    return json.loads((folder / "status.json").read_text())


@pytest.mark.parametrize("error", [ZeroDivisionError("engine"), GeneratorExit(), KeyboardInterrupt()])
def test_an_end_of_any_kind_is_noted_with_how_far_the_run_was(tmp_path, monkeypatch, error):
    steps, whole = itertools.count(1), Fit._after_step

    def fails(self):
        if next(steps) == 8:
            raise error
        whole(self)

    monkeypatch.setattr(Fit, "_after_step", fails)
    with pytest.raises(type(error)):
        auxlearn.run(SPEC, out=tmp_path / "run", plugins=[plugin])
    found = status(tmp_path / "run")
    said = ("failed", f"{type(error).__name__}: {error}")
    assert (found["state"], found.get("error")) == (("interrupted", None) if type(error) is KeyboardInterrupt else said)
    assert (found["step"], found["of"], found["last"]) == (8, 10, 6)
    assert found["best"] in (None, 2, 4, 5, 6)
    assert "value" in found


class Sleeps(TinyPretext):
    """Leaves training mode in its third step."""

    def loss(self, features, views, step):
        if step.step == 2:
            self.eval()
        return super().loss(features, views, step)


class Grows(TinyPretext):
    """Makes a layer when it is used."""

    def loss(self, features, views, step):
        self.late = torch.nn.Linear(2, 2)
        return super().loss(features, views, step)


def trainer(task):
    learner = Learner(TinyBackbone(), primary={"kind": TinyPrimary()}, pretext={"a": task})
    return Trainer(learner, torch.optim.SGD(learner.parameters(), lr=0.1))


def test_a_component_that_leaves_training_mode_is_told():
    made = trainer(Sleeps())
    made.step(tiny_batch())
    made.step(tiny_batch())
    with pytest.raises(PluginError) as caught:
        made.step(tiny_batch())
    assert str(caught.value).startswith(
        "pretext task a: `eval` should leave its mode alone, it is in evaluation mode after a step; fix: the engine "
        "calls `train` and `eval`\nat step 2, rows"
    )


def test_parameters_that_are_made_too_late_are_told():
    with pytest.raises(PluginError, match=r"pretext task a: `__init__` should make all its parameters, .*late.weight"):
        trainer(Grows()).step(tiny_batch())


def test_a_component_may_keep_a_mode_of_its_own():
    task = TinyPretext()
    made = trainer(task)
    task.eval()
    for _ in range(2):
        made.step(tiny_batch())


class Pinned(TinyBackbone):
    """Keeps a layer that is not trained in evaluation mode, and counts the calls of `train`."""

    def __init__(self):
        super().__init__()
        self.norm.eval()
        self.calls = []

    def train(self, mode=True):
        self.calls.append(mode)
        return super().train(mode)


def test_a_part_that_a_component_keeps_in_evaluation_mode_stays_so(tmp_path):
    backbone, primary = Pinned(), TinyPrimary()
    learner = Learner(backbone, primary={"kind": primary, "probe": TinyPrimary()}, probes=("probe",))
    made = Trainer(learner, torch.optim.SGD(learner.parameters(), lr=0.1))
    mean = backbone.norm.running_mean.clone()
    made.step(tiny_batch())
    made.score([tiny_batch()])
    assert backbone.calls[-1]
    draw_figures(learner, tiny_batch(), tmp_path)
    made.step(tiny_batch())
    assert [part for part in learner.modules() if not part.training] == [backbone.norm]
    assert torch.equal(backbone.norm.running_mean, mean)


def odd(monkeypatch):
    """Let a metric of the pretext task be no number at two steps."""
    whole = TinyPretext.loss
    strange = {1: float("nan"), 6: float("inf")}

    def loss(self, features, views, step):
        return attrs.evolve(
            whole(self, features, views, step), metrics={"odd": torch.tensor(strange.get(step.step, 0.5))}
        )

    monkeypatch.setattr(TinyPretext, "loss", loss)


def test_a_metric_that_is_not_finite_is_null_and_survives_a_checkpoint(tmp_path, monkeypatch):
    odd(monkeypatch)
    auxlearn.run(SPEC, out=tmp_path / "run", plugins=[plugin])
    lines = (tmp_path / "run/metrics.jsonl").read_text()
    assert [
        next(value for name, value in line.items() if name.endswith("/odd"))
        for line in map(json.loads, lines.splitlines())
        if line["kind"] == "train"
    ] == [None, None]
    for step in ("8", "10"):
        shutil.rmtree(tmp_path / "run/checkpoints" / step)
    auxlearn.resume(tmp_path / "run", plugins=[plugin])
    assert (tmp_path / "run/metrics.jsonl").read_text() == lines


def test_a_score_that_is_not_finite_is_never_the_best():
    best = Selection(monitor=Monitor(metric="a"))
    assert [best.take(step, {"a": value}) for step, value in enumerate((float("inf"), 0.5, float("nan"), 0.6))] == [
        False,
        True,
        False,
        True,
    ]
