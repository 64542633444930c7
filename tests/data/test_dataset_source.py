"""`DatasetSource`: ordinary datasets of pairs."""

from typing import ClassVar

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.datasets import FakeData

from auxlearn.data import DatasetSource, InputShape
from auxlearn.data.images import convert_image
from auxlearn.errors import DataError
from auxlearn.registry import NoParams, Provider
from auxlearn.testing import Conformance

PIXELS = torch.arange(3 * 6 * 8, dtype=torch.uint8).view(3, 6, 8)


def source(image, label=0, **options):
    return DatasetSource({"train": [(image, label)]}, ("a", "b"), **({"fingerprint": "x"} | options))


def test_a_pillow_image_is_read_as_a_file_is():
    image = Image.fromarray(PIXELS.permute(1, 2, 0).numpy())
    row = source(image, 1, size=4).dataset("train")[0]
    assert torch.equal(row["image"], convert_image(image, 4))
    assert row["label"] == 1


@pytest.mark.parametrize("of", [lambda tensor: tensor, lambda tensor: tensor.numpy()])
def test_tensors_and_arrays_are_left_as_they_are(of):
    made = source(of(PIXELS))
    assert torch.equal(made.dataset("train")[0]["image"], PIXELS)
    assert made.inputs == {"image": InputShape(shape=(3, 6, 8))}


def test_one_channel_becomes_three():
    row = source(PIXELS[:1], torch.tensor(1)).dataset("train")[0]
    assert torch.equal(row["image"], PIXELS[:1].expand(3, -1, -1))
    assert row["label"] == 1
    assert type(row["label"]) is int


def test_a_row_without_class_has_none():
    assert source(PIXELS, None, target="kind").dataset("train")[0]["kind"] is None


@pytest.mark.parametrize("image", [PIXELS.float() / 255, np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3), np.uint8), 3])
def test_other_images_are_refused_by_row(image):
    with pytest.raises(DataError, match=r"train/0: the image is a .*without its transform"):
        source(image, size=4).dataset("train")[0]


def test_other_items_are_refused_by_row():
    made = DatasetSource({"train": [PIXELS]}, "ab", size=4, fingerprint="x")
    with pytest.raises(DataError, match=r"train/0: is .*\(image, class\)"):
        made.dataset("train")[0]


def test_an_empty_dataset_has_no_size_of_its_own():
    with pytest.raises(DataError, match="val: the split is empty"):
        DatasetSource({"val": [], "train": [(PIXELS, 0)]}, "ab", fingerprint="x")


def test_labels_are_known_where_they_were_given():
    made = source(PIXELS, 1, labels={"train": np.array([1])})
    assert made.labels("train", "label") == [1]
    assert source(PIXELS).labels("train", "label") is None
    assert made.resized(4).labels("train", "label") == [1]


def test_fingerprints_tell_sizes_apart():
    assert source(PIXELS).fingerprint() != source(PIXELS, size=4).fingerprint()


def build(params, context):
    splits = {"train": FakeData(8, (3, 20, 24), 4), "test": FakeData(4, (3, 20, 24), 4, random_offset=8)}
    return DatasetSource(splits, "abcd", size=context.size, fingerprint="fake")


class TestOfTorchvision(Conformance):
    component, kind = Provider(name="fake", summary="Noise.", params=NoParams, build=build), "data_source"
    expected_failures: ClassVar = {"import-without-torch": "a module of tests is no plugin"}
