"""A plugin that fails in a run: one message says which, whose, when, with which rows, and how the run goes on."""

import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from PIL import Image

import auxlearn
from auxlearn import Learner, Trainer
from auxlearn.calls import Elsewhere, calling, calling_any
from auxlearn.errors import Call, DataError, DistributedError, DivergedError, EnvironmentProblem, PluginError
from auxlearn.learning import TaskResult
from auxlearn.spec import load_spec
from auxlearn.testing import plugin
from auxlearn.testing.fakes import TinyBackbone, TinyPretext, TinyPrimary, tiny_batch
from auxlearn.training.devices import FabricGather
from auxlearn.training.failing import backward_failure
from auxlearn.training.guard import Trial
from auxlearn.training.progress import Silent
from auxlearn.training.session import prepare_data, rehearse

HOSTILE = Path(__file__).with_name("hostile.py")


def imported():
    """Return the plugin, under the name that it has where it is installed."""
    spec = importlib.util.spec_from_file_location("hostile", HOSTILE)
    module = importlib.util.module_from_spec(spec)
    sys.modules["hostile"] = module
    spec.loader.exec_module(module)
    return module


hostile = imported()

SPEC = {
    "auxlearn": 1,
    "name": "tiny",
    "data": {"type": "faulty"},
    "augment": {"type": "faulty"},
    "backbone": {"type": "faulty"},
    "primary": {"kind": {"type": "faulty"}},
    "pretext": {"flip": {"type": "faulty", "view": "own"}},
    "balance": {"type": "faulty"},
    "optimizer": {"type": "faulty", "lr": 0.01},
    "schedule": {"type": "faulty"},
    "train": {"steps": 10, "batch_size": 10},
    "checkpoint": {"every_steps": 2},
    "evaluate": {"every_epochs": 1},
}


@pytest.fixture
def broken(monkeypatch):
    """Return a function that lets a component fail."""
    return lambda fault: monkeypatch.setenv(hostile.FAULT, fault)


def run(folder, spec=SPEC, **options):
    return auxlearn.run(spec, out=folder, plugins=[plugin, hostile], **options)


# Which component, which of its methods, at which call, more than the trial needs; and what is said of when.
FAULTS = {
    "pretext views 5": ("pretext task flip", "at step 4, rows"),
    "pretext count 5": ("pretext task flip", "at step 4, rows"),
    "pretext loss 5": ("pretext task flip", "at step 4, rows"),
    "pretext after_step 5": ("pretext task flip", "at step 4, rows"),
    "pretext picture 1": ("pretext task flip", "in the figures after step"),
    "primary loss 5": ("primary task kind", "at step 4, rows"),
    "primary count 5": ("primary task kind", "at step 4, rows"),
    "primary move_targets 5": ("primary task kind", "at step 4, rows"),
    "primary update 4": ("primary task kind", "in scoring, rows 30, 31, .*\nafter step 5, split val"),
    "primary metrics 3": ("primary task kind", "after step 10, split val"),
    "backbone forward 9": ("backbone", "at step 4, rows"),
    "augment forward 5": ("augmentation", "at step 4, rows"),
    "augment evaluate 4": ("augmentation", "in scoring, rows 30, 31, .*\nafter step 5, split val"),
    "balance combine 5": ("balancer", "at step 4, rows"),
    "optimizer step 5": ("optimizer", "at step 4, rows"),
    "schedule step 5": ("schedule", "at step 4, rows"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_failure_says_who_where_when_and_how_to_go_on(tmp_path, broken, fault):
    part, method, _ = fault.split()
    who, when = FAULTS[fault]
    broken(fault)
    with pytest.raises(PluginError) as caught:
        run(tmp_path / "run")
    error = caught.value
    assert str(error).startswith(f"{who} (faulty of hostile 1.2): `{method}` failed with ValueError: boom\n")
    assert re.search(when, str(error))
    steps = sorted(int(entry.name) for entry in (tmp_path / "run" / "checkpoints").iterdir())
    assert f"the last good checkpoint is that of step {steps[-1]}, {tmp_path}/run/checkpoints/{steps[-1]};" in str(
        error
    )
    assert f"fix: mend the plugin, then auxlearn resume {tmp_path}/run " in str(error)
    assert error.exit_code == 3
    assert (error.call.part, error.call.method) == (part, method)
    assert type(error.__cause__) is ValueError
    status = json.loads((tmp_path / "run" / "status.json").read_text())
    assert (status["state"], status["error"]) == ("failed", str(error))


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("error", ["", "SystemExit"])
def test_a_row_that_fails_is_named_in_this_process_and_in_another(tmp_path, broken, workers, error):
    broken(f"data __getitem__ 3 {error}")
    with pytest.raises(PluginError) as caught:
        run(tmp_path / "run", {**SPEC, "data": {"type": "faulty", "workers": workers}})
    said = str(caught.value)
    kind = error or "ValueError"
    assert said.startswith(
        f"train/3: data source (faulty of hostile 1.2): `__getitem__` failed with {kind}: boom\nat step"
    )
    assert "the last good checkpoint is that of step" in said
    assert isinstance(caught.value.__cause__, Elsewhere if workers else (ValueError, SystemExit))
    assert caught.value.call == Call("data", "", "__getitem__")


def test_data_that_is_wrong_stays_a_fault_of_the_data(tmp_path, broken):
    broken("data __getitem__ 3 DataError")
    with pytest.raises(DataError) as caught:
        run(tmp_path / "run")
    lines = str(caught.value).splitlines()
    assert lines[0] == "boom"
    assert "raised by data source (faulty of hostile 1.2): `__getitem__`" in lines
    assert lines[-2].endswith(f"fix: auxlearn resume {tmp_path}/run")


def test_the_methods_of_a_source_are_named_before_the_run(broken):
    broken("data fingerprint 1")
    with pytest.raises(PluginError) as caught:
        prepare_data(load_spec(SPEC, plugins=[plugin, hostile]))
    assert "data source (faulty of hostile 1.2): `fingerprint` failed with ValueError: boom" in str(caught.value)


class Rows(hostile.Source):
    """A source whose labels cannot be read, by a method of its own or a function of its package."""

    def labels(self, split, target):
        raise ValueError("boom")


def helper():
    raise ValueError("boom")


@pytest.mark.parametrize("which", ["", "unlabelled"])
def test_the_source_that_fails_is_named_and_not_one_of_the_same_package(which):
    sources = {"": Rows(), "unlabelled": Rows()}
    with pytest.raises(PluginError) as caught, calling_any(sources):
        sources[which].labels("train", "kind")
    assert caught.value.call == Call("data", which, "labels")


def test_no_source_is_named_where_it_may_be_either():
    def told(**sources):
        with pytest.raises(PluginError) as caught, calling_any(sources):
            helper()
        return str(caught.value).partition(": `")[0]

    assert told(first=Rows(), second=Rows()) == "a data source"
    assert told(first=Rows(), second=None) == "data source first"


def test_full_memory_is_the_machines_fault(tmp_path, broken):
    broken("pretext loss 5 OutOfMemoryError")
    with pytest.raises(EnvironmentProblem) as caught:
        run(tmp_path / "run")
    assert caught.value.exit_code == 8
    first, when, way_on = str(caught.value).splitlines()
    assert first.startswith("pretext task flip (faulty of hostile 1.2): `loss`: out of memory (boom); fix: a smaller")
    assert when.startswith("at step 4, rows")
    assert way_on.endswith(f"fix: auxlearn resume {tmp_path}/run")


def test_a_failure_before_the_first_checkpoint_says_that_there_is_none(tmp_path, broken):
    broken("optimizer step 2")
    with pytest.raises(PluginError, match="there is no checkpoint yet, so it would begin anew; fix: mend the plugin"):
        run(tmp_path / "run")


def test_the_trial_before_a_run_names_the_plugin_too(tmp_path, broken):
    broken("pretext loss 1")
    with pytest.raises(PluginError) as caught:
        run(tmp_path / "run")
    said = str(caught.value).splitlines()
    assert said[0] == "pretext task flip (faulty of hostile 1.2): `loss` failed with ValueError: boom"
    assert said[1].startswith("at step 0, rows")
    assert said[2] == "in the trial before the run, of which nothing was written"
    assert not (tmp_path / "run").exists()


ARRANGED = {
    "a ramp": {"weight": {"start": 0.0, "end": 1.0, "until": 2}},
    "a ramp that ends": {"weight": {"start": 1.0, "end": 0.0, "until": 2}, "start_epoch": 1},
    "late": {"start_epoch": 3, "every": 7},
}


@pytest.mark.parametrize("arranged", ARRANGED.values(), ids=ARRANGED)
def test_the_trial_before_a_run_computes_tasks_that_begin_later(broken, arranged):
    broken("pretext loss 1")
    spec = load_spec({**SPEC, "pretext": {"flip": SPEC["pretext"]["flip"] | arranged}}, plugins=[plugin, hostile])
    with pytest.raises(PluginError, match=r"pretext task flip .*: `loss` failed with ValueError: boom"):
        rehearse(spec, prepare_data(spec))


@pytest.mark.parametrize("weight", [0.0, {"start": 0.0, "end": 0.0}])
def test_the_trial_before_a_run_leaves_out_what_is_never_computed(broken, weight):
    broken("pretext loss 1")
    pretext = {"flip": SPEC["pretext"]["flip"] | {"weight": weight}}
    spec = load_spec({**SPEC, "pretext": pretext}, plugins=[plugin, hostile])
    rehearse(spec, prepare_data(spec))


def test_metrics_that_fail_at_the_end_of_a_run_name_the_plugin(tmp_path, broken):
    broken("primary metrics 5")
    with pytest.raises(
        PluginError, match=r"primary task kind \(faulty of hostile 1.2\): `metrics` failed with ValueError"
    ):
        run(tmp_path / "run")
    assert json.loads((tmp_path / "run" / "status.json").read_text())["state"] == "failed"
    assert (tmp_path / "run" / "checkpoints" / "10").is_dir()


def test_a_run_that_failed_goes_on_as_if_nothing_had_been(tmp_path, broken):
    broken("pretext loss 6")
    with pytest.raises(PluginError):
        run(tmp_path / "run")
    broken("nothing x 0")
    mended = auxlearn.resume(tmp_path / "run", plugins=[plugin, hostile])
    whole = run(tmp_path / "whole")
    for name, tensor in whole.model.state_dict().items():
        assert torch.equal(tensor, mended.model.state_dict()[name])
    assert (tmp_path / "run/metrics.jsonl").read_bytes() == (tmp_path / "whole/metrics.jsonl").read_bytes()


class Keeps(Silent):
    """Keeps what is said."""

    def __init__(self):
        self.said = []

    def say(self, message):
        self.said.append(message)


def test_a_task_that_reaches_nothing_is_told_once(tmp_path, monkeypatch):
    monkeypatch.setattr(hostile.TinyPretext, "loss", detached(hostile.TinyPretext.loss))
    told = Keeps()
    run(tmp_path / "run", reporter=told)
    warnings = [line for line in told.said if "nothing reaches" in line]
    assert warnings == [
        "warning: pretext task flip: nothing reaches the backbone, its loss does not depend on the features it is given"
    ]
    assert warnings[0] in (tmp_path / "run" / "train.log").read_text()


def detached(loss):
    def act(self, features, views, step):
        return loss(self, tuple(one.take(slice(None)).__class__(cut(one)) for one in features), views, step)

    return act


def cut(features):
    return {name: part.map(torch.Tensor.detach) for name, part in features.items()}


class BreaksBackward(TinyPretext):
    """Its gradient cannot be computed: what it needs was changed in place."""

    def loss(self, features, views, step):
        hidden = self.head(features[0].only.pooled).exp()
        found = super().loss(features, views, step)
        hidden_sum = hidden.sum()
        with torch.no_grad():
            hidden.add_(1)
        return type(found)(loss=found.loss + hidden_sum)


def test_a_gradient_that_fails_names_the_task():
    tasks = {"a": TinyPretext(), "b": BreaksBackward()}
    learner = Learner(TinyBackbone(), primary={"kind": TinyPrimary()}, pretext=tasks)
    trainer = Trainer(learner, torch.optim.SGD(learner.parameters(), lr=0.1))
    with pytest.raises(PluginError) as caught:
        trainer.step(tiny_batch())
    lines = str(caught.value).splitlines()
    assert lines[0].startswith(
        "pretext task b: `loss` has a gradient that failed with RuntimeError: one of the variables"
    )
    assert lines[1] == "at step 0, rows 0, 1, 2, 3, 4, 5, 6, 7"
    assert isinstance(caught.value.__cause__, RuntimeError)


class Constant(TinyPrimary):
    """A loss with nothing to learn from where the backbone is frozen."""

    def loss(self, features, batch, step):
        return TaskResult(loss=features.only.pooled.square().sum())


class RaisesBackward(torch.autograd.Function):
    """Fails in the backward pass."""

    @staticmethod
    def forward(ctx, loss, error):
        ctx.error = error
        return loss.clone()

    @staticmethod
    def backward(ctx, _):
        raise ctx.error


class FailsBackward(TinyPretext):
    """Its gradient fails with an error."""

    def __init__(self, error):
        super().__init__()
        self.error = error

    def loss(self, features, views, step):
        return TaskResult(loss=RaisesBackward.apply(super().loss(features, views, step).loss, self.error))


class NotANumber(TinyPretext):
    def loss(self, features, views, step):
        return TaskResult(loss=super().loss(features, views, step).loss * float("nan"))


def step_of(task, primary=None, **more):
    """Take a step of a training by hand."""
    learner = Learner(TinyBackbone(), primary={"kind": primary or TinyPrimary()}, pretext={"a": task}, **more)
    Trainer(learner, torch.optim.SGD(learner.parameters(), lr=0.1)).step(tiny_batch())


def test_a_loss_without_a_graph_hides_no_culprit_and_takes_no_blame():
    with pytest.raises(DivergedError, match=r"not finite \(a@a: loss is nan; all losses"):
        step_of(NotANumber(), Constant(), freeze_backbone=True)
    with pytest.raises(PluginError, match="pretext task a: `loss` has a gradient that failed with KeyError"):
        step_of(FailsBackward(KeyError("boom")), Constant(), freeze_backbone=True)


@pytest.fixture
def process_group():
    """A program that has processes of its own, of which the training knows nothing."""
    torch.distributed.init_process_group("gloo", rank=0, world_size=1, store=torch.distributed.HashStore())
    yield
    torch.distributed.destroy_process_group()


def test_a_training_in_one_process_of_many_names_the_task(process_group):
    with pytest.raises(PluginError, match="pretext task a: `loss` has a gradient that failed with ValueError: mine"):
        step_of(FailsBackward(ValueError("mine")))


@pytest.mark.parametrize(
    ("error", "kind"), [(torch.OutOfMemoryError("2 GiB"), EnvironmentProblem), (RuntimeError("x"), DistributedError)]
)
def test_a_backward_pass_of_several_processes_that_fails(error, kind):
    learner = Learner(TinyBackbone(), primary={"kind": TinyPrimary()})
    trial = Trial(learner, (), {}, FabricGather(SimpleNamespace(world_size=2)))
    assert type(backward_failure(error, trial)) is kind


def test_another_process_that_is_gone_is_not_the_fault_of_the_task_that_asks_for_its_rows(monkeypatch):
    def gone(*_):
        raise RuntimeError("[gloo] Connection closed by peer")

    class Two:
        world_size, global_rank = 2, 0

    monkeypatch.setattr(torch.distributed, "all_gather", gone)
    with pytest.raises(DistributedError) as caught, calling("pretext", "a", "loss"):
        FabricGather(Two())(torch.zeros(3))
    assert caught.value.exit_code == 7
    assert caught.value.call is None
    assert "[gloo] Connection closed by peer" in str(caught.value)


def test_a_mistake_of_the_engine_stays_one(monkeypatch):
    learner = Learner(TinyBackbone(), primary={"kind": TinyPrimary()})
    trainer = Trainer(learner, torch.optim.SGD(learner.parameters(), lr=0.1))
    monkeypatch.setattr(trainer, "_backward", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        trainer.step(tiny_batch())


def test_predictions_scores_and_exports_name_the_plugin(tmp_path, broken):
    spec = {**SPEC, "train": {"steps": 2, "batch_size": 10}}
    run(tmp_path / "run", spec)
    picture = Image.new("RGB", (8, 8))
    for fault, use, who in (
        ("primary predict 1", lambda loaded: loaded.predict(picture), "primary task kind"),
        ("backbone forward 1", lambda loaded: loaded.predict(picture), "backbone"),
        ("backbone forward 1", lambda loaded: loaded.score("test"), "backbone"),
        ("primary predict 1", lambda loaded: loaded.export("state_dict"), "primary task kind"),
    ):
        broken(fault)
        loaded = auxlearn.load_run(tmp_path / "run", plugins=[plugin, hostile])
        with pytest.raises(PluginError) as caught:
            use(loaded)
        method = fault.split()[1]
        assert f"{who} (faulty of hostile 1.2): `{method}` failed with ValueError: boom" in str(caught.value)


def test_settings_that_a_component_changes_when_it_is_made_are_put_back(monkeypatch):
    def changes(*given, **more):
        torch.set_default_dtype(torch.float64)
        return TinyPretext(motion=True).float()

    monkeypatch.setattr(hostile, "TinyPretext", changes)
    spec = load_spec(SPEC, plugins=[plugin, hostile])
    rehearse(spec, prepare_data(spec))
    assert torch.get_default_dtype() is torch.float32


@pytest.fixture
def command(tmp_path):
    """Return a function that runs the command line in a process that has the plugin installed."""
    info = tmp_path / "installed" / "hostile_plugins-1.2.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: hostile-plugins\nVersion: 1.2\n")
    (info / "entry_points.txt").write_text("[auxlearn]\nhostile = hostile\n")
    (info / "RECORD").write_text("")
    (tmp_path / "spec.json").write_text(json.dumps(SPEC))

    def go(*words, fault="nothing x 0"):
        paths = os.pathsep.join([str(info.parent), str(Path(hostile.__file__).parent)])
        env = {**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1", hostile.FAULT: fault}
        return subprocess.run(
            [sys.executable, "-m", "auxlearn", *words],
            env={**env, "AUXLEARN_PLUGINS": "hostile"},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    return go


@pytest.mark.slow
def test_the_command_prints_the_authors_traceback_and_resume_goes_on_once_it_is_mended(command, tmp_path):
    done = command("run", "spec.json", "--out", "run", "--quiet", fault="pretext loss 6")
    assert done.returncode == 3
    first, when, way_on, head, *frames = done.stderr.splitlines()
    assert first == ("error: pretext task flip (faulty of hostile-plugins 1.2): `loss` failed with ValueError: boom")
    assert when.startswith("error: at step 5, rows ")
    assert way_on.startswith("error: run: the last good checkpoint is that of step 5, run/checkpoints/5; fix: mend the")
    assert head == "Traceback (most recent call last):"
    assert frames[0].endswith("in fail")
    assert frames[0].strip().startswith(f'File "{hostile.__file__}"')
    assert frames[-1] == "ValueError: boom"
    assert not any("auxlearn/" in frame for frame in frames if "hostile" not in frame)

    done = command("resume", "run", "--quiet")
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "run/status.json").read_text())["state"] == "done"


@pytest.mark.slow
def test_the_command_with_a_worker_that_fails_and_with_debug(command):
    worker = command("run", "spec.json", "--out", "a", "data.workers=1", "--quiet", fault="data __getitem__ 3")
    assert worker.returncode == 3
    assert "error: train/3: data source (faulty of hostile-plugins 1.2): `__getitem__` failed" in worker.stderr
    assert f'  File "{hostile.__file__}"' in worker.stderr.split("Traceback")[1]
    assert "loader.py" not in worker.stderr
    whole = command("--debug", "run", "spec.json", "--out", "b", "--quiet", fault="primary update 1 SystemExit")
    assert whole.returncode == 3
    assert "score.py" in whole.stderr
    assert "`update` failed with SystemExit: boom" in whole.stderr
