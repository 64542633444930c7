"""The backbone `features`, and whole runs of it on made-up features."""

import json
import os
import signal

import numpy as np
import pytest
import torch

import auxlearn
from auxlearn.data import InputShape
from auxlearn.errors import Interrupted, SpecError
from auxlearn.learning import BuildContext
from auxlearn.registry import CheckContext, DataFacts
from auxlearn.training.folder import RunFolder
from auxlearn.training.progress import Silent
from auxlearn_features import FeaturesBackbone, FeaturesBackboneParams, auxlearn_backbones

(BACKBONE,) = auxlearn_backbones()
SOUND = InputShape(shape=(3,), dtype="float32", kind="feature", mean=(1.0, 2.0, 3.0), std=(2.0, 0.0, 0.5))
TEXT = InputShape(shape=(4, 2), dtype="float32", kind="feature", mean=(0.0, 1.0), std=(1.0, 10.0))
IMAGE = InputShape(shape=(3, 8, 8))


def spec(**changes):
    base = {
        "auxlearn": 1,
        "name": "raw",
        "data": {"type": "synthfeatures", "train": 192, "val": 64, "test": 96, "classes": 3, "missing": 0.2},
        "backbone": {"type": "features"},
        "primary": {"label": {"type": "classification", "target": "label"}},
        "optimizer": {"type": "adamw", "lr": 0.02},
        "train": {"epochs": 4, "batch_size": 32},
    }
    return base | changes


def test_vectors_are_standardised_and_the_first_of_several_copies_is_read():
    backbone = FeaturesBackbone({"sound": SOUND, "text": TEXT})
    sound, text = torch.tensor([[3.0, 5.0, 3.5], [1.0, 2.0, 3.0]]), torch.randn(2, 4, 2)
    found = backbone({"sound": sound, "text": text})
    assert found["sound"].pooled.tolist() == [[1, 3, 1], [0, 0, 0]]
    torch.testing.assert_close(found["text"].pooled, (text[:, 0] - torch.tensor([0.0, 1])) / torch.tensor([1.0, 10]))
    for name, width in (("sound", 3), ("text", 2)):
        assert found[name].source is found[name].pooled
        assert (backbone.shapes[name].pooled, backbone.shapes[name].source) == (width, width)


def test_a_view_that_shows_one_of_several_copies_is_read_as_it_is():
    backbone = FeaturesBackbone({"text": TEXT})
    text = torch.randn(2, 4, 2)
    assert torch.equal(backbone({"text": text[:, 0]}).only.pooled, backbone({"text": text}).only.pooled)


def test_statistics_are_part_of_the_state_and_not_trained():
    backbone = FeaturesBackbone({"sound": SOUND})
    state = backbone.state_dict()
    assert {name: tensor.tolist() for name, tensor in state.items()} == {
        "standardise.sound.mean": [1, 2, 3],
        "standardise.sound.std": [2, 1, 0.5],
    }
    assert not list(backbone.parameters())
    other = FeaturesBackbone({"sound": InputShape(shape=(3,), dtype="float32", kind="feature")})
    vectors = torch.randn(5, 3)
    assert torch.equal(other({"sound": vectors}).only.pooled, vectors)
    other.load_state_dict(state)
    assert torch.equal(other({"sound": vectors}).only.pooled, backbone({"sound": vectors}).only.pooled)


def test_only_feature_vectors_and_only_those_that_are_asked_for():
    context = BuildContext(inputs={"image": IMAGE, "sound": SOUND, "text": TEXT})
    assert list(FeaturesBackbone.build(FeaturesBackboneParams(), context).shapes) == ["sound", "text"]
    assert list(FeaturesBackbone.build(FeaturesBackboneParams(modalities=("text",)), context).shapes) == ["text"]
    with pytest.raises(SpecError, match=r'/modalities/0: .*"tex"; allowed: sound, text; did you mean "text"'):
        FeaturesBackbone.build(FeaturesBackboneParams(modalities=("tex",)), context)
    with pytest.raises(SpecError, match="no feature vectors, found image"):
        FeaturesBackbone.build(FeaturesBackboneParams(), BuildContext(inputs={"image": IMAGE}))
    facts = CheckContext(data=DataFacts(inputs={"sound": (3,), "text": (2,)}))
    problems = BACKBONE.check(FeaturesBackboneParams(modalities=("text", "texts", "text")), facts)
    assert [problem.where for problem in problems] == ["/modalities/1", "/modalities/2"]


def test_a_probe_on_raw_features_learns_and_its_model_keeps_the_statistics(tmp_path):
    result = auxlearn.run(spec(), out=tmp_path / "r")
    assert result.test["label/accuracy"] > 0.8
    shape = json.loads((tmp_path / "r" / "manifest.json").read_text())["data"]
    assert shape["fingerprint"]
    state = result.model.state_dict()
    assert set(state) >= {f"backbone.standardise.{m}.{s}" for m in ("video", "audio", "text") for s in ("mean", "std")}
    loaded = auxlearn.load_run(tmp_path / "r")
    data = loaded.model.state_dict()
    assert all(torch.equal(state[name], data[name]) for name in state)


def test_a_frozen_backbone_without_parameters_and_one_modality_of_several(tmp_path):
    given = spec(backbone={"type": "features", "freeze": True, "modalities": ["audio"]})
    given["data"] = {**given["data"], "missing": 0.0}
    result = auxlearn.run(given, out=tmp_path / "r")
    assert result.test["label/accuracy"] > 0.6
    assert result.model.primary["label"].linear().in_features == 48


@pytest.mark.parametrize("precision", ["64-true", "bf16-true", "bf16-mixed"])
def test_every_precision(precision, tmp_path):
    primary = {"label": {"type": "classification", "target": "label"}, "level": {"type": "regression"}}
    given = spec(primary=primary, train={"epochs": 1, "batch_size": 32, "precision": precision})
    auxlearn.run(given, out=tmp_path / "r")


class StopAt(Silent):
    """Sends this process a signal after some step."""

    def __init__(self, step):
        self.step = step

    def advance(self, step, epoch, rate, losses):
        if step == self.step:
            os.kill(os.getpid(), signal.SIGTERM)


@pytest.mark.slow
@pytest.mark.parametrize(("before", "after"), [(0, 0), (0, 2), (2, 0)])
def test_resuming_is_bit_exact_for_any_number_of_workers(before, after, tmp_path):
    def given(workers):
        data = {**spec()["data"], "available": 4, "copies": 2, "workers": workers}
        return spec(data=data, train={"epochs": 2, "batch_size": 32})

    auxlearn.run(given(0), out=tmp_path / "whole")
    with pytest.raises(Interrupted):
        auxlearn.run(given(before), out=tmp_path / "broken", reporter=StopAt(5))
    auxlearn.resume(tmp_path / "broken", (f"data.workers={after}",))
    states = []
    for name in ("whole", "broken"):
        checkpoints = RunFolder(tmp_path / name).checkpoints
        states.append(checkpoints.load(checkpoints.steps()[-1]).model)
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_a_row_that_lacks_a_modality_is_zero_to_the_head():
    shape = InputShape(shape=(2,), dtype="float32", kind="feature", mean=(0.1, 1e3), std=(0.3, 7.0))
    blank = torch.tensor(np.array([shape.mean]), dtype=torch.float32)
    assert FeaturesBackbone({"x": shape})({"x": blank}).only.pooled.tolist() == [[0.0, 0.0]]
