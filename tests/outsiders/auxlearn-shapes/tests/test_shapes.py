"""The data source conforms, and shows what the dataset has."""

import numpy as np
from auxlearn.testing import Conformance

import auxlearn_shapes
from auxlearn_shapes.shapes import Shapes
from auxlearn_shapes.source import shapes_source

(PROVIDER,) = auxlearn_shapes.auxlearn_data_sources()


class TestShapes(Conformance):
    component, kind = PROVIDER, "data_source"
    params = {"rows": 24}


def test_rows_are_those_of_the_dataset():
    row, (image, label) = shapes_source(rows=8, size=None).dataset("train")[5], Shapes(8)[5]
    assert np.array_equal(row["image"].permute(1, 2, 0).numpy(), np.asarray(image))
    assert row["shape"] == label


def test_splits_have_other_drawings():
    source = shapes_source(rows=24, size=16)
    drawings = [source.dataset(split)[index]["image"] for split in source.splits for index in range(6)]
    assert len({drawing.numpy().tobytes() for drawing in drawings}) == 18
