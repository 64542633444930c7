"""The network conforms, and is torchvision's."""

import pytest
import torch
import torchvision
from auxlearn.testing import Conformance

import auxlearn_torchvision
from auxlearn_torchvision.backbone import TorchvisionResNet

(PROVIDER,) = auxlearn_torchvision.auxlearn_backbones()


class TestTorchvisionResNet(Conformance):
    component, kind = PROVIDER, "backbone"


@pytest.mark.parametrize("model", ["resnet18", "resnet50"])
def test_it_computes_what_torchvision_computes(model):
    images = torch.rand(2, 3, 64, 64)
    backbone, network = TorchvisionResNet(model).eval(), torchvision.models.get_model(model).eval()
    state = {name: weight for name, weight in network.state_dict().items() if not name.startswith("fc.")}
    backbone.network.load_state_dict(state)
    network.fc = torch.nn.Identity()
    normalise = torchvision.transforms.Normalize(backbone.mean, backbone.std)
    with torch.no_grad():
        feature, expected = backbone({"image": images}).only, network(normalise(images))
    torch.testing.assert_close(feature.pooled, expected)
    assert [one.shape[2] for one in feature.maps] == [16, 8, 4, 2]


def test_layers_are_the_stem_and_the_blocks():
    assert len(TorchvisionResNet("resnet50").layers()) == 1 + 3 + 4 + 6 + 3
