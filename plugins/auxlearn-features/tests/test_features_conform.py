"""The data sources keep what the engine relies on, by its own kit."""

from auxlearn.testing import Conformance


class TestFeatures(Conformance):
    component, kind = "features", "data_source"


class TestSynthFeatures(Conformance):
    component, kind = "synthfeatures", "data_source"
    params = {"train": 60, "val": 20, "test": 20, "missing": 0.2}  # noqa: RUF012 (an option of the kit)


class TestDrawnCopies(Conformance):
    component, kind = "synthfeatures", "data_source"
    params = {"train": 60, "val": 20, "test": 20, "available": 3, "copies": 2}  # noqa: RUF012
