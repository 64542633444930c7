from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from auxlearn.data import InputShape, TargetInfo
from auxlearn.learning import BuildContext, Preprocess, Shared
from auxlearn.results import TrainedModel
from auxlearn.results.model import Program
from auxlearn.testing.fakes import TinyBackbone, TinyPrimary
from auxlearn.training.build import DataShape

SHAPE = DataShape(
    inputs={"image": InputShape(shape=(3, 8, 8))},
    targets={"kind": TargetInfo(kind="class", names=("dark", "bright"))},
    class_counts={"kind": (1, 1)},
)


def model(data=SHAPE):
    torch.manual_seed(0)
    return TrainedModel(TinyBackbone(dropout=0.5), {"kind": TinyPrimary()}, Preprocess(size=8), data)


def test_the_outputs_are_those_of_backbone_and_head_by_hand():
    made, images = model(), torch.rand(4, 3, 8, 8)
    backbone, head = made.backbone, made.primary["kind"].head
    x = nn.functional.batch_norm(
        nn.functional.conv2d(images, backbone.first.weight, backbone.first.bias, stride=2, padding=1),
        backbone.norm.running_mean,
        backbone.norm.running_var,
        backbone.norm.weight,
        backbone.norm.bias,
        training=False,
    )
    x = nn.functional.conv2d(x.relu(), backbone.second.weight, backbone.second.bias, stride=2, padding=1)
    wanted = (x.mean((2, 3)) @ head.weight.T + head.bias).softmax(1)
    torch.testing.assert_close(made(images)["kind"]["probabilities"], wanted)


def test_bytes_and_floats_and_names_of_inputs_say_the_same():
    made = model()
    pixels = torch.randint(0, 256, (3, 3, 20, 24), dtype=torch.uint8)
    outputs = [made(images)["kind"]["probabilities"] for images in (pixels, pixels / 255, {"image": pixels})]
    torch.testing.assert_close(outputs[0], outputs[1])
    torch.testing.assert_close(outputs[0], outputs[2])
    assert made.features(pixels).only.pooled.shape == (3, 8)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_weights_of_another_precision_are_applied_in_it(dtype):
    pixels = torch.randint(0, 256, (3, 3, 20, 24), dtype=torch.uint8)
    wanted = model()(pixels)["kind"]["probabilities"]
    made = model().to(dtype)
    found = made(pixels)["kind"]["probabilities"]
    torch.testing.assert_close(found.float(), wanted, rtol=0.02, atol=0.02)
    assert made.features(pixels).only.pooled.dtype == dtype
    for answer, row in zip(made.predict(pixels), found.tolist(), strict=True):
        assert list(answer["kind"]["probabilities"].values()) == pytest.approx(row, abs=0.01)


def test_the_state_has_the_names_of_training_and_nothing_else():
    made = model()
    assert {name.split(".")[0] for name in made.state_dict()} == {"backbone", "primary"}
    assert set(made.state_dict()) == {f"backbone.{n}" for n in made.backbone.state_dict()} | {
        "primary.kind.head.weight",
        "primary.kind.head.bias",
    }
    assert not made.training
    assert not made.backbone.dropout.training


class Sharing(TinyPrimary):
    """A task with a projection that other tasks use too."""

    def __init__(self, projection: Shared) -> None:
        super().__init__()
        self.projection = projection

    def predict(self, features):
        return {"probabilities": self.head(self.projection(features.only.pooled)).softmax(1)}


def test_a_module_that_primary_tasks_share_is_part_of_the_model_once():
    context = BuildContext(inputs={})
    tasks = {name: Sharing(context.shared("projection", nn.Linear, in_features=8, out_features=8)) for name in "ab"}
    made = TrainedModel(TinyBackbone(), tasks, Preprocess())
    shared = {name for name in made.state_dict() if name.startswith("shared.")}
    assert shared == {"shared.projection.weight", "shared.projection.bias"}
    twin = copy.deepcopy(made)
    with torch.no_grad():
        twin.shared["projection"].weight.zero_()
        twin.shared["projection"].bias.zero_()
    chances = twin(torch.rand(2, 3, 8, 8))["a"]["probabilities"]
    torch.testing.assert_close(chances[0], chances[1])
    assert not torch.equal(*made(torch.rand(2, 3, 8, 8))["a"]["probabilities"])


def test_a_program_names_its_outputs():
    made, images = model(), torch.rand(2, 3, 8, 8)
    torch.testing.assert_close(Program(made)(images)["kind.probabilities"], made(images)["kind"]["probabilities"])
    backbone = Program(made, "backbone")
    torch.testing.assert_close(backbone(images)["features"], made.features(images).only.pooled)
    assert {name.split(".")[0] for name in backbone.state_dict()} == {"backbone"}


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (torch.zeros(1, 8, 8, dtype=torch.uint8), r"\[C, H, W\] with 3 channels, found \[1, 8, 8\]"),
        (torch.zeros(3, 8, dtype=torch.uint8), "found \\[3, 8\\]"),
        (torch.zeros(3, 0, 8, dtype=torch.uint8), "found \\[3, 0, 8\\]"),
        (torch.zeros(3, 8, 8, dtype=torch.int64), "found torch.int64"),
        (torch.full((3, 8, 8), 255.0), "in \\[0, 1\\], found 255"),
        (torch.full((3, 8, 8), float("nan")), "in \\[0, 1\\], found nan"),
        ([None], "found NoneType"),
        ({"picture": torch.zeros(1, 3, 8, 8)}, r"\['image'\], found \['picture'\]"),
        ({"image": torch.zeros(3, 8, 8)}, r"\[N, C, H, W\] with 3 channels"),
    ],
)
def test_what_is_no_image_is_refused_with_its_value(image, message):
    with pytest.raises(ValueError, match=message):
        model().predict(image)


def test_predictions_name_the_classes():
    made, images = model(), torch.randint(0, 256, (3, 3, 8, 8), dtype=torch.uint8)
    chances = made(images)["kind"]["probabilities"]
    found = made.predict(images)
    assert [one["kind"]["class"] for one in found] == [("dark", "bright")[i] for i in chances.argmax(1).tolist()]
    assert found[0]["kind"]["probabilities"]["bright"] == pytest.approx(chances[0, 1].item(), abs=1e-6)
    assert made.predict(images[0]) == found[:1]
    assert made.predict({"image": images}) == found
    assert made.predict([]) == []
    with pytest.raises(ValueError, match="`data` should be given"):
        model(data=None).predict(images)
