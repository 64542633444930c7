"""From vectors of four inputs to predictions: pretrained without labels, probed, scored, exported, asked by row."""

from __future__ import annotations

import json

import pytest
import torch

from auxlearn import api
from auxlearn.cli.main import main
from auxlearn.results import LoadedExport, LoadedRun

BACKBONE = {"type": "gated_multimodal", "width": 16, "join": {"video": ["frames", "motion"]}}
DATA = {"type": "synthfeatures", "missing": 0.2, "train": 96, "val": 32, "test": 24, "classes": 3, "noise": 0.2}
SPEC = {
    "auxlearn": 1,
    "name": "clips",
    "data": {**DATA, "modalities": {"frames": 8, "motion": 6, "audio": 7, "text": 5}},
    "stages": [
        {
            "name": "pretrain",
            "backbone": BACKBONE,
            "pretext": {
                "contrast": {"type": "multimodal_contrastive"},
                "rebuild": {"type": "multimodal_reconstruction"},
            },
            "train": {"epochs": 1, "batch_size": 32},
        },
        {
            "name": "probe",
            "init_from": {"stage": "pretrain"},
            "backbone": {**BACKBONE, "freeze": True},
            "primary": {
                "emotion": {"type": "classification", "target": "label", "dropout": 0.5},
                "tags": {"type": "multilabel", "pos_weights": "balanced", "fusion": "mean"},
                "level": {"type": "regression", "modalities": ["audio", "video"], "hidden": 8},
            },
            "optimizer": {"lr": 0.02},
            "train": {"epochs": 20, "batch_size": 32},
        },
    ],
}


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    return api.run(SPEC, out=tmp_path_factory.mktemp("runs") / "clips")


@pytest.mark.slow
def test_what_was_learned_is_what_is_scored_and_exported(result, tmp_path):
    run = LoadedRun.open(result.path)  # the last stage
    assert run.score("test") == result.test
    assert result.test["emotion/accuracy"] > 0.5  # a third by chance
    assert {"emotion/class_f1/class_0", "tags/label_weighted_accuracy/first"} <= result.test.keys()
    tags = run.data.label_counts["tags"]
    weights = [(tags.rows - count) / count for count in tags.positives]
    assert run.model.primary["tags"]._pos_weights.tolist() == pytest.approx(weights)
    found = run.data_source().dataset("test").__getitems__([0, 1, 2])
    rows = {name: torch.as_tensor(found[name]) for name in run.data.inputs}
    wanted = run.predict(rows)
    for format_ in ("state_dict", "torch_export", "onnx"):
        opened = LoadedExport.open(run.export(format_, out=tmp_path / format_))
        for ours, theirs in zip(opened.predict(rows), wanted, strict=True):
            assert ours["emotion"]["probabilities"] == pytest.approx(theirs["emotion"]["probabilities"], abs=1e-4)
            assert ours["level"]["value"] == pytest.approx(theirs["level"]["value"], abs=1e-3)


@pytest.mark.slow
def test_the_pretrained_backbone_is_exported_and_the_frozen_one_is_it(result, tmp_path):
    before = LoadedRun.open(result.path / "pretrain")
    assert (before.selection["step"], result.stages["pretrain"].test) == (None, {})
    opened = LoadedExport.open(before.export("torch_export", "backbone", tmp_path / "made"))
    assert set(opened.description["outputs"]) == {"features.video", "features.audio", "features.text"}
    after = LoadedRun.open(result.path).model.backbone.state_dict()
    assert all(torch.equal(tensor, after[name]) for name, tensor in before.model.backbone.state_dict().items())


@pytest.mark.slow
def test_rows_are_predicted_on_the_command_line(result, capsys):
    assert main(["predict", str(result.path), "--split", "test"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["row"] for line in lines] == [f"synthfeatures/test/{i}" for i in range(24)]
    labels = LoadedRun.open(result.path).data_source().labels("test", "label")
    right = sum(line["emotion"]["class"] == f"class_{label}" for line, label in zip(lines, labels, strict=True))
    assert right / 24 == pytest.approx(result.test["emotion/accuracy"])
