"""A model of several modalities afterwards: scores, exports, predictions, with images among them or not."""

from __future__ import annotations

import argparse
import json

import pytest
import torch

from auxlearn import api
from auxlearn.cli import eval as eval_command
from auxlearn.cli import export as export_command
from auxlearn.cli import predict as predict_command
from auxlearn.data import LabelCounts
from auxlearn.errors import DataError, ExportError, SpecError
from auxlearn.registry import Provider, discover, hookimpl
from auxlearn.results import LoadedExport, LoadedRun, TrainedModel
from auxlearn.testing import plugin as tiny
from auxlearn.testing.fakes import TinyPrimary
from auxlearn.testing.modalities import TinyEncoders, TinyFeatures
from auxlearn.training.build import DataShape

FORMATS = ("state_dict", "torch_export", "onnx")
SPEC = {
    "auxlearn": 1,
    "name": "modalities",
    "data": {"type": "tiny_features", "lacking": 3},
    "backbone": {"type": "tiny_features"},
    "primary": {
        "kind": {"type": "classification", "target": "kind"},
        "heard": {"type": "classification", "target": "kind", "modalities": ["audio"], "probe": True},
        "tags": {"type": "multilabel", "pos_weights": "balanced", "fusion": "mean", "dropout": 0.5, "hidden": 6},
    },
    "evaluate": {"knn": {"kind": {}}},
    "optimizer": {"lr": 0.05},
    "train": {"epochs": 6, "batch_size": 16},
}


@pytest.fixture(scope="module", params=[0, 8], ids=["features", "with images"])
def result(request, tmp_path_factory, registry):
    data = {**SPEC["data"], "side": request.param}
    return api.run({**SPEC, "data": data}, out=tmp_path_factory.mktemp("runs") / "run", registry=registry)


@pytest.fixture
def run(result, registry):
    return LoadedRun.open(result.path, registry=registry)


@pytest.fixture
def call(registry):
    def run(*argv):
        parser = argparse.ArgumentParser()
        subparsers = parser.add_subparsers()
        for command in (eval_command, export_command, predict_command):
            command.add(subparsers)
        args = parser.parse_args([str(word) for word in argv])
        args.registry = lambda: registry
        return args.run(args)

    return run


def rows(run, number=4):
    """Inputs as a user has them: NaN where a row lacks its sound."""
    found = run.data_source().dataset("test").__getitems__(list(range(number)))
    inputs = {name: found[name] for name in run.data.inputs}
    there = found["present"]["inputs/audio"][:, None]
    return {**inputs, "audio": torch.where(there, inputs["audio"], torch.nan)}


def test_it_learns_scores_and_scores_again(result, run):
    assert result.test["kind/accuracy"] > 0.8
    found = run.score("test")
    assert found == result.test
    assert found["kind/class_recall/bright"] == pytest.approx(found["kind/confusion_matrix"][1][1] / 24)
    assert {"tags/label_f1/loud", "tags/label_weighted_accuracy/fast", "knn/kind/accuracy"} <= found.keys()


def test_the_labels_of_the_training_rows_are_counted(run):
    tags = TinyFeatures(lacking=3).columns["train"]["tags"]
    assert run.data.label_counts == {"tags": LabelCounts(rows=48, positives=tuple(tags.sum(0).int().tolist()))}
    assert run.model.primary["tags"]._pos_weights.tolist() == pytest.approx(((48 - tags.sum(0)) / tags.sum(0)).tolist())
    assert DataShape.from_json(json.loads(json.dumps(run.data.to_json()))) == run.data
    earlier = run.data.to_json()
    del earlier["label_counts"]  # as runs before had it
    assert DataShape.from_json(earlier).label_counts == {}


def test_tensors_by_name_are_predicted_as_in_evaluation(run):
    given = rows(run)
    source = TinyFeatures(lacking=3, side=8 if "image" in given else 0).dataset("test").__getitems__(range(4))
    with torch.no_grad():
        wanted = run.model({name: source[name] for name in given})  # a lacking row holds the mean
    found = run.predict(given)
    for index, answer in enumerate(found):
        assert answer["kind"]["probabilities"]["bright"] == pytest.approx(
            wanted["kind"]["probabilities"][index, 1].item(), abs=1e-5
        )
        assert set(answer["tags"]["probabilities"]) == {"loud", "fast"}
    alone = [run.predict({name: one[i : i + 1] for name, one in given.items()})[0] for i in range(4)]
    assert [a["kind"]["class"] for a in alone] == [a["kind"]["class"] for a in found]


@pytest.mark.parametrize("part", ["model", "backbone"])
@pytest.mark.parametrize("format_", FORMATS)
def test_every_format_says_what_the_model_says(run, registry, tmp_path, format_, part):
    opened = LoadedExport.open(run.export(format_, part, tmp_path / "made"), registry=registry)
    description = json.loads((tmp_path / "made" / "preprocess.json").read_text())
    assert list(description["inputs"]) == list(run.data.inputs)
    assert description["inputs"]["audio"]["mean"] == pytest.approx(run.data.inputs["audio"].mean)
    if part == "backbone":
        assert set(description["outputs"]) == {f"features.{name}" for name in run.data.inputs}
        with pytest.raises(ExportError, match="there is a backbone only"):
            opened.predict(rows(run))
        return
    given = rows(run, 5)
    for ours, theirs in zip(opened.predict(given), run.predict(given), strict=True):
        for task in SPEC["primary"]:
            assert ours[task]["probabilities"] == pytest.approx(theirs[task]["probabilities"], abs=1e-4)


def test_rows_of_the_run_are_predicted_by_name(call, result, run, capsys):
    assert call("predict", result.path, "--split", "test", "--batch-size", 7) == 0
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(line.pop("split"), line.pop("row")) for line in found] == [("test", f"test/{i}") for i in range(48)]
    for ours, theirs in zip(found, run.predict(rows(run, 48)), strict=True):
        assert ours["kind"]["probabilities"] == pytest.approx(theirs["kind"]["probabilities"], abs=1e-5)
    right = [line["kind"]["class"] == ("dark", "bright")[i % 2] for i, line in enumerate(found)]
    assert sum(right) / 48 == pytest.approx(result.test["kind/accuracy"])


@pytest.mark.parametrize("format_", ["run", "state_dict", "onnx"])
def test_rows_of_other_data_are_predicted(call, result, run, tmp_path, capsys, format_):
    data = tmp_path / "data.json"
    data.write_text(json.dumps({**SPEC["data"], "rows": 6, "side": 12 if "image" in run.data.inputs else 0}))
    path = result.path if format_ == "run" else run.export(format_, out=tmp_path / "made")
    assert call("predict", path, data, "--out", tmp_path / "out.jsonl") == 0
    found = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [line["row"] for line in found] == [f"{split}/{i}" for split in ("train", "val", "test") for i in range(6)]
    assert call("predict", path, data, "--split", "val") == 0
    assert [json.loads(line) for line in capsys.readouterr().out.splitlines()] == found[6:12]


def test_what_cannot_be_predicted_is_told(call, result, run, tmp_path):
    other, data = tmp_path / "other.json", tmp_path / "data.json"
    other.write_text(json.dumps({"type": "tiny"}))
    data.write_text(json.dumps(SPEC["data"]))
    with pytest.raises(DataError, match=r"the data has no `video`; allowed: feature \(5,\), as the model reads it"):
        call("predict", result.path, other)
    with pytest.raises(DataError, match='the data has no split "tset"; allowed: train, val, test; did you mean "test"'):
        call("predict", result.path, "--split", "tset")
    with pytest.raises(DataError, match=r"reads? one image but video \(feature\), audio \(feature\).*rows of a data"):
        call("predict", result.path, tmp_path / "face.png")
    for words in ([], [data, tmp_path / "face.png"], [tmp_path / "face.png", "--split", "test"]):
        with pytest.raises(SpecError, match=r"give images, or one \.json file"):
            call("predict", result.path, *words)
    made = run.export("state_dict", out=tmp_path / "made")
    with pytest.raises(SpecError, match="--split: an export does not know the data of its run"):
        call("predict", made, "--split", "test")


def test_eval_shows_each_class_by_name(call, result, capsys):
    assert call("eval", result.path) == 0
    shown = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["KIND", "class_recall", "class_precision", "class_f1"] in shown
    assert [
        "loud",
        *(f"{result.test[f'tags/label_{s}/loud']:.4f}" for s in ("accuracy", "weighted_accuracy", "f1")),
    ] in shown
    assert call("eval", result.path, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["classes"] == {"kind": ["dark", "bright"], "heard": ["dark", "bright"], "tags": ["loud", "fast"]}
    assert found["scores"]["kind/class_f1/dark"] == result.test["kind/class_f1/dark"]


def model():
    source = TinyFeatures()
    shape = DataShape(inputs=source.inputs, targets=source.targets, class_counts={})
    from auxlearn.learning import Preprocess

    return TrainedModel(TinyEncoders(source.inputs), {"kind": TinyPrimary(16)}, Preprocess(modalities=()), shape)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"audio": torch.zeros(2, 4)}, r"`audio` should be \[N, 3\], found \[2, 4\]"),
        ({"audio": torch.tensor([[0.0, 1.0, torch.nan]] * 2)}, "`audio` should be finite, or NaN as a whole"),
        ({"audio": torch.full((2, 3), torch.inf)}, "should be finite"),
        ({"audio": torch.zeros(3, 3)}, "same number of rows, found video 2, audio 3"),
        ({"sound": torch.zeros(2, 3)}, r"Inputs should be \['audio', 'video'\], found \['audio', 'sound', 'video'\]"),
    ],
)
def test_vectors_of_another_form_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        model().predict({"video": torch.zeros(2, 5), "audio": torch.zeros(2, 3), **change})


def test_one_tensor_is_not_enough_for_two_modalities():
    with pytest.raises(ValueError, match="Inputs should be given by name, found a tensor for"):
        model()(torch.zeros(2, 5))


class Still(TinyEncoders):
    """No parameters and no buffers: what it reads is what it says; one of its features has another name."""

    def __init__(self, inputs):
        super().__init__(inputs)
        from auxlearn.learning import FeatureShape

        del self.layers_of
        for name in inputs:
            delattr(self, f"mean_{name}")
            delattr(self, f"std_{name}")
        self.shapes = {"face": FeatureShape(pooled=inputs["video"].shape[0], inputs=("video",))}

    def forward(self, inputs):
        from auxlearn.learning import Feature, Features

        return Features({"face": Feature(pooled=inputs["video"] / 10)})


class still:
    """A plugin."""

    @hookimpl
    @staticmethod
    def auxlearn_backbones():
        yield Provider(name="still", summary="Nothing.", build=lambda _params, context: Still(context.inputs))


def test_a_backbone_without_parameters_that_reads_some_inputs(tmp_path):
    registry = discover([tiny, still])
    spec = {**SPEC, "backbone": {"type": "still"}, "primary": {"kind": {"type": "classification"}}}
    made = api.run(spec, out=tmp_path / "run", registry=registry)
    run = LoadedRun.open(made.path, registry=registry)
    assert run.score("test") == made.test
    assert run.model.input_names == ("video",)
    given = {"video": rows(run)["video"]}
    for format_ in FORMATS:
        opened = LoadedExport.open(run.export(format_, out=tmp_path / format_), registry=registry)
        assert list(opened.description["inputs"]) == ["video"]
        for ours, theirs in zip(opened.predict(given), run.predict(given), strict=True):
            assert ours["kind"]["probabilities"] == pytest.approx(theirs["kind"]["probabilities"], abs=1e-4)


def test_a_run_without_a_primary_task(call, registry, tmp_path, capsys):
    spec = {"auxlearn": 1, "name": "alone", "data": {"type": "tiny"}, "backbone": {"type": "tiny"}}
    spec |= {"pretext": {"flip": {"type": "tiny"}}, "train": {"epochs": 1, "batch_size": 16}}
    made = api.run(spec, out=tmp_path / "run", registry=registry)
    assert (made.best["metric"], made.best["value"]) == (None, None)
    run = LoadedRun.open(made.path, registry=registry)
    with pytest.raises(ExportError, match=r"the run has no primary task, .*; fix: --part backbone"):
        run.export("state_dict")
    for words in ([tmp_path], ["--split", "test"]):
        (tmp_path / "a.png").write_bytes(b"")
        with pytest.raises(DataError, match="there is no primary task, so nothing is predicted"):
            call("predict", made.path, *words)
    with pytest.raises(DataError, match="the run has no primary task that could be scored"):
        call("eval", made.path)
    capsys.readouterr()
    assert call("eval", made.path, "--knn", "kind") == 0
    assert "knn/kind" in capsys.readouterr().out
    for format_ in FORMATS:
        opened = LoadedExport.open(run.export(format_, "backbone", tmp_path / format_), registry=registry)
        images = torch.rand(2, 3, 8, 8)
        torch.testing.assert_close(
            opened.opened.run({"image": images})["features"], run.model.features(images).only.pooled, atol=1e-4, rtol=0
        )
