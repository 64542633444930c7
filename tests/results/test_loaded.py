from __future__ import annotations

import json
import shutil
from types import SimpleNamespace

import pytest
import torch

from auxlearn import api
from auxlearn.errors import AuxlearnError, CheckpointError, DataError, PluginError
from auxlearn.registry import discover
from auxlearn.results import LoadedRun
from auxlearn.results.rebuilding import load_weights
from auxlearn.testing import plugin as tiny
from auxlearn.training.checkpoint import Checkpoints

IMAGES = torch.randint(0, 256, (5, 3, 20, 20), dtype=torch.uint8, generator=torch.Generator().manual_seed(3))


@pytest.fixture
def copied(result, tmp_path):
    """A copy of the run that a test may damage."""
    return shutil.copytree(result.path, tmp_path / "run")


def only(*hooks):
    return discover([SimpleNamespace(__name__="tiny", **{name: getattr(tiny, name) for name in hooks})])


def test_it_is_the_model_that_training_returned(result, run):
    assert run.step == result.best["step"]
    ours, theirs = run.model(IMAGES)["kind"], result.model(IMAGES)["kind"]
    assert torch.equal(ours["probabilities"], theirs["probabilities"])
    assert run.predict(IMAGES) == result.model.predict(IMAGES)
    assert run.history == list(result.history)
    assert run.spec["backbone"]["type"] == "tiny"


def test_the_moving_average_is_what_is_loaded(result, run):
    saved = Checkpoints(result.path / "checkpoints").load(run.step).model
    assert run.averaged
    for name, tensor in run.model.state_dict().items():
        assert torch.equal(tensor, saved[f"ema.module.{name}"])
    assert not torch.equal(run.model.state_dict()["backbone.first.weight"], saved["backbone.first.weight"])


def test_nothing_auxiliary_is_loaded(result, run):
    saved = Checkpoints(result.path / "checkpoints").load(run.step).model
    assert {name.split(".")[0] for name in saved} == {"backbone", "primary", "pretext", "norms", "ema"}
    assert {name.split(".")[0] for name in run.model.state_dict()} == {"backbone", "primary"}


def test_every_checkpoint_can_be_opened(result, registry):
    steps = Checkpoints(result.path / "checkpoints").steps()
    assert len(steps) == 4
    for which in (*steps, str(steps[0])):
        assert LoadedRun.open(result.path, which=which, registry=registry).step == int(which)
    assert LoadedRun.open(result.path, which="last", registry=registry).step == steps[-1]
    inside = LoadedRun.open(result.path / "checkpoints" / str(steps[1]), registry=registry)
    assert (inside.step, inside.path) == (steps[1], result.path)
    with pytest.raises(CheckpointError, match="allowed: best, last, 3"):
        LoadedRun.open(result.path, which="4", registry=registry)


def test_scoring_again_gives_the_scores_of_training(result, run):
    assert run.score("test") == result.test
    recorded = next(line for line in run.history if line["kind"] == "val" and line["step"] == run.step)
    assert run.score("val") == {name: value for name, value in recorded.items() if "/" in name}
    with pytest.raises(DataError, match='no split "tset"; allowed: train, val, test; did you mean "test"'):
        run.score("tset")


def test_scoring_leaves_the_model_as_it_is(run):
    before = run.model(IMAGES)["kind"]["probabilities"]
    run.score("val")
    assert torch.equal(run.model(IMAGES)["kind"]["probabilities"], before)
    assert run.model.state_dict()["backbone.second.weight"].is_contiguous()


def test_pretext_and_data_plugins_may_be_gone(result, run):
    bare = only("auxlearn_backbones", "auxlearn_primary_tasks")
    opened = LoadedRun.open(result.path, registry=bare)
    assert torch.equal(opened.model(IMAGES)["kind"]["probabilities"], run.model(IMAGES)["kind"]["probabilities"])
    with pytest.raises(AuxlearnError, match='no data source "tiny"'):
        opened.score("test")
    with pytest.raises(AuxlearnError, match='no pretext task "tiny"'):
        api.resume(result.path, registry=bare)


def test_a_missing_plugin_of_the_model_is_named(result):
    with pytest.raises(AuxlearnError, match='no backbone "tiny" is installed') as caught:
        LoadedRun.open(result.path, registry=only("auxlearn_primary_tasks"))
    assert isinstance(caught.value, PluginError) or caught.value.exit_code == 2


def test_what_is_no_run_is_refused(tmp_path, registry):
    with pytest.raises(CheckpointError, match="no run folder"):
        LoadedRun.open(tmp_path, registry=registry)
    with pytest.raises(CheckpointError, match="no run folder"):
        LoadedRun.open(tmp_path / "nothing", registry=registry)


@pytest.mark.parametrize("name", ["model.safetensors", "state.json", "checksums.json"])
def test_a_damaged_checkpoint_is_refused(copied, registry, name):
    step = LoadedRun.open(copied, registry=registry).step
    file = copied / "checkpoints" / str(step) / name
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 4
    file.write_bytes(content)
    with pytest.raises(CheckpointError, match=str(file.parent)):
        LoadedRun.open(copied, which=step, registry=registry)


@pytest.mark.parametrize("content", ["{}", '{"data": {}}', '{"data": {"shape": {"inputs": 3}}}', "[", '{"data": null}'])
def test_a_damaged_record_is_refused(copied, registry, content):
    (copied / "manifest.json").write_text(content)
    with pytest.raises(CheckpointError, match=r"manifest\.json"):
        LoadedRun.open(copied, registry=registry)


def test_a_damaged_spec_is_refused(copied, registry):
    (copied / "resolved.json").write_text('{"backbone": {}}')
    with pytest.raises(CheckpointError, match="lacks auxlearn, name, seed, augment, primary, train"):
        LoadedRun.open(copied, registry=registry)


def test_weights_that_do_not_fit_are_named(run):
    weights = dict(run.model.state_dict())
    weights["backbone.third.weight"] = weights.pop("backbone.first.weight")
    weights["primary.kind.head.bias"] = torch.zeros(7)
    weights["pretext.flip.head.weight"] = torch.zeros(1)
    with pytest.raises(CheckpointError) as caught:
        load_weights(run.model, weights, "here")
    assert str(caught.value) == (
        "here: the weights do not fit the model: backbone.first.weight is missing; backbone.third.weight is unknown; "
        "primary.kind.head.bias is [7], not [2]"
    )


def test_a_run_without_scores_has_a_history_of_none(copied, registry):
    (copied / "metrics.jsonl").unlink()
    assert LoadedRun.open(copied, registry=registry).history == []
    (copied / "metrics.jsonl").write_text(json.dumps({"kind": "val"}) + "\n{")
    with pytest.raises(CheckpointError, match=r"metrics\.jsonl"):
        _ = LoadedRun.open(copied, registry=registry).history


@pytest.mark.parametrize("keys", [{"probe": True}, {"weight": 0}])
def test_a_run_whose_primary_tasks_only_watch_is_scored_again(tmp_path, registry, keys):
    spec = {
        "auxlearn": 1,
        "data": {"type": "tiny"},
        "backbone": {"type": "tiny"},
        "primary": {"kind": {"type": "tiny", **keys}},
        "pretext": {"flip": {"type": "tiny"}},
        "train": {"steps": 2, "batch_size": 8},
    }
    result = api.run(spec, out=tmp_path / "watched", registry=registry)
    assert LoadedRun.open(result.path, registry=registry).score("test") == result.test


def test_pretraining_alone_gives_a_backbone(tmp_path, registry):
    spec = {
        "auxlearn": 1,
        "name": "alone",
        "data": {"type": "tiny"},
        "backbone": {"type": "tiny"},
        "pretext": {"flip": {"type": "tiny"}},
        "train": {"steps": 2, "batch_size": 8},
    }
    result = api.run(spec, out=tmp_path / "alone", registry=registry)
    run = LoadedRun.open(result.path, registry=registry)
    assert {name.split(".")[0] for name in run.model.state_dict()} == {"backbone"}
    assert run.model.features(IMAGES).only.pooled.shape == (5, 8)
    with pytest.raises(DataError, match="no primary task"):
        run.score("val")
    assert (run.export("state_dict", "backbone") / "model.safetensors").is_file()
