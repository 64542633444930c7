"""The format `timm`: what it writes is the plain timm model with the task's head, and plain timm loads it."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest
import timm
import torch
from safetensors.torch import load_file
from torch import nn

from auxlearn import api
from auxlearn.data import InputShape, TargetInfo
from auxlearn.errors import ExportError
from auxlearn.registry import Provider, discover
from auxlearn.results import LoadedExport, LoadedRun
from auxlearn.results.rebuilding import build_model
from auxlearn.testing import plugin as tiny
from auxlearn.testing.fakes import TinyPrimary
from auxlearn.training.build import DataShape


class Deep(TinyPrimary):
    """A task whose head is no linear layer."""

    def linear(self):
        return None


def primary_tasks():
    def build(cls):
        return lambda _params, context: cls(context.feature.pooled, 3)

    yield Provider(name="plain", summary="A linear head.", build=build(TinyPrimary))
    yield Provider(name="deep", summary="No linear head.", build=build(Deep))


@pytest.fixture(scope="module")
def registry():
    from auxlearn.registry import hookimpl

    plugin = SimpleNamespace(
        __name__="some", auxlearn_primary_tasks=hookimpl(primary_tasks, specname="auxlearn_primary_tasks")
    )
    return discover([tiny, plugin])


@pytest.fixture
def make(registry, tmp_path):
    """Make a run with a model whose weights and statistics are all other than fresh ones."""

    def run(model, size=64, primary=("plain",), backbone=None):
        shape = DataShape(
            inputs={"image": InputShape(shape=(3, size, size))},
            targets={"kind": TargetInfo(kind="class", names=("a", "b", "c"))},
            class_counts={"kind": (1, 1, 1)},
        )
        spec = {
            "auxlearn": 1,
            "name": "made",
            "data": {"type": "tiny", "side": size},
            "backbone": backbone or {"type": "timm", "model": model},
            "primary": {f"task{i}": {"type": kind} for i, kind in enumerate(primary)},
        }
        resolved = api.validate(spec, registry=registry).resolved
        made = build_model(resolved, shape, registry)
        torch.manual_seed(1)
        with torch.no_grad():
            for tensor in made.state_dict().values():
                if tensor.is_floating_point():
                    tensor.add_(torch.rand_like(tensor), alpha=0.02)
        return LoadedRun(
            path=tmp_path,
            spec=resolved,
            step=7,
            averaged=False,
            selection={"step": 7, "value": 0.5},
            data=shape,
            model=made,
            registry=registry,
        )

    return run


MODELS = [
    "test_resnet",
    "test_efficientnet",
    "test_vit",
    "test_convnext",
    "test_byobnet",
    "test_mambaout",
    "test_nfnet",
]


@pytest.mark.parametrize("name", MODELS)
def test_plain_timm_loads_it_and_says_the_same(make, name):
    run = make(name)
    folder = run.export("timm")
    description = json.loads((folder / "preprocess.json").read_text())
    arguments = description["load"]["create_model"]
    assert (arguments["model_name"], arguments["num_classes"]) == (name, 3)

    plain = timm.create_model(**arguments, checkpoint_path=str(folder / "model.safetensors")).eval()

    image = description["inputs"]["image"]
    assert image["normalised_by"] == "its user: (x - mean) / std"
    mean, std = (torch.tensor(image[key]).view(1, 3, 1, 1) for key in ("mean", "std"))
    assert [image["mean"], image["std"]] == [
        list(timm.get_pretrained_cfg(name).mean),
        list(timm.get_pretrained_cfg(name).std),
    ]
    images = torch.rand(5, 3, 64, 64)
    with torch.no_grad():
        logits = plain((images - mean) / std)
        chances = run.model(images)["task0"]["probabilities"]
    torch.testing.assert_close(logits.softmax(1), chances, atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", MODELS)
def test_it_has_the_weights_of_the_plain_model_and_nothing_more(make, name):
    run = make(name)
    options = {"img_size": 64} if name == "test_vit" else {}
    plain = timm.create_model(name, num_classes=3, **options)
    weights = load_file(run.export("timm") / "model.safetensors")
    assert {n: t.shape for n, t in weights.items()} == {n: t.shape for n, t in plain.state_dict().items()}
    network = run.model.backbone.network.state_dict()
    head = {n: t for n, t in weights.items() if n not in network}
    assert all(torch.equal(weights[n], t) for n, t in network.items())
    classifier = timm.get_pretrained_cfg(name).classifier
    assert set(head) == {f"{classifier}.weight", f"{classifier}.bias"}
    trained = run.model.primary["task0"].head
    assert torch.equal(head[f"{classifier}.weight"].flatten(), trained.weight.flatten())
    assert torch.equal(head[f"{classifier}.bias"], trained.bias)
    bare = load_file(run.export("timm", "backbone") / "model.safetensors")
    assert set(bare) == set(timm.create_model(name, num_classes=0, **options).state_dict())


def test_a_backbone_is_the_feature_of_the_plain_model(make):
    run = make("test_resnet")
    folder = run.export("timm", "backbone")
    plain = timm.create_model("test_resnet", num_classes=0, checkpoint_path=str(folder / "model.safetensors")).eval()
    images = torch.rand(2, 3, 64, 64)
    cfg = timm.get_pretrained_cfg("test_resnet")
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (cfg.mean, cfg.std))
    with torch.no_grad():
        features = plain((images - mean) / std)
    torch.testing.assert_close(features, run.model.features(images).only.pooled, atol=1e-5, rtol=1e-5)


def test_it_predicts_with_class_names(make, registry):
    run = make("test_resnet")
    images = torch.rand(4, 3, 64, 64)
    found = LoadedExport.open(run.export("timm"), registry=registry).predict(images)
    for ours, theirs in zip(found, run.predict(images), strict=True):
        assert ours["task0"]["class"] == theirs["task0"]["class"] in ("a", "b", "c")
        assert ours["task0"]["probabilities"] == pytest.approx(theirs["task0"]["probabilities"], abs=1e-5)


def test_one_task_of_several_is_chosen(make):
    run = make("test_resnet", primary=("plain", "deep", "plain"))
    with pytest.raises(
        ExportError, match="several primary tasks have a linear head; allowed: task0, task2; fix: --task"
    ):
        run.export("timm")
    weights = load_file(run.export("timm", task="task2") / "model.safetensors")
    assert torch.equal(weights["fc.weight"], run.model.primary["task2"].head.weight)
    with pytest.raises(ExportError, match="the head of task1 is not one linear layer"):
        run.export("timm", task="task1")


def test_a_model_without_a_linear_task_is_refused(make):
    with pytest.raises(ExportError, match=r"the head of task0 is not one linear layer.*--part backbone"):
        make("test_resnet", primary=("deep",)).export("timm")


def test_another_backbone_is_refused(make, tmp_path):
    run = make("", size=8, backbone={"type": "tiny"})
    with pytest.raises(ExportError, match="for timm's models, but the backbone is a TinyBackbone"):
        run.export("timm", out=tmp_path / "export")
    assert not (tmp_path / "export").exists()


def test_a_classifier_with_more_than_a_linear_layer_is_refused(make):
    with pytest.raises(ExportError, match="repvit_m0_9 has no plain linear classifier that the head of task0 fits"):
        make("repvit_m0_9").export("timm")


@pytest.mark.slow
def test_both_classifiers_of_a_distilled_model_get_the_head(make):
    run = make("deit_tiny_distilled_patch16_224", size=224)
    weights = load_file(run.export("timm") / "model.safetensors")
    assert torch.equal(weights["head.weight"], weights["head_dist.weight"])
    assert isinstance(run.model.primary["task0"].head, nn.Linear)


@pytest.mark.parametrize("format_", ["torch_export", "onnx"])
def test_traced_formats_hold_a_timm_model_for_any_batch_size(make, registry, format_):
    run = make("test_efficientnet")
    opened = LoadedExport.open(run.export(format_), registry=registry)
    images = torch.rand(5, 3, 64, 64)
    with torch.no_grad():
        chances = run.model(images)["task0"]["probabilities"]
    torch.testing.assert_close(opened.opened.run({"image": images})["task0.probabilities"], chances, atol=1e-4, rtol=0)


def test_a_trained_model_is_opened_without_its_published_weights(make, registry, monkeypatch):
    spec = {"type": "timm", "model": "test_resnet.r160_in1k", "pretrained": True}
    asked = []
    create = timm.create_model

    def watched(model_name, pretrained=False, **options):
        asked.append(pretrained)
        return create(model_name, pretrained=pretrained, **options)

    monkeypatch.setattr(timm, "create_model", watched)
    run = make("", backbone=spec)
    folder = run.export("timm")
    assert len(asked) > 2
    assert not any(asked)
    assert json.loads((folder / "preprocess.json").read_text())["load"]["create_model"]["model_name"] == spec["model"]
