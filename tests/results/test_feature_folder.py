"""A folder of features counts a row when all of it is written, and its tables are on disk before it is whole."""

import io
import os

import numpy as np
import pytest

from auxlearn.errors import SpecError
from auxlearn.results.feature_folder import FeatureFolder


def line(number):
    return {"id": f"row{number}", "split": "train", "group": None, "targets": {}}


def add(folder, number):
    folder.add(line(number), {"image": np.full(2, number)})


class Stopped(io.BytesIO):
    """A file that a signal interrupts right after each write."""

    def __init__(self, file):
        super().__init__()
        self.file = file

    def write(self, content):
        self.file.write(content)
        raise KeyboardInterrupt

    def __getattribute__(self, name):
        return (
            getattr(self.file, name) if name in ("flush", "fileno", "tell", "close") else super().__getattribute__(name)
        )


def interrupted(path, name):
    """Write two rows, of which a signal interrupts the second while it is written to the file of `name`."""
    with FeatureFolder(path, {}, {"image": 2}) as folder:
        add(folder, 0)
        folder._files[name] = Stopped(folder._files[name])
        add(folder, 1)


@pytest.mark.parametrize("name", ["image", "rows.jsonl"])
def test_a_row_that_was_interrupted_does_not_count(tmp_path, name):
    with pytest.raises(KeyboardInterrupt):
        interrupted(tmp_path / "out", name)
    with FeatureFolder(tmp_path / "out", {}, {"image": 2}) as folder:
        assert folder.rows == 1
        assert folder.lines() == [line(0)]
        add(folder, 1)
        folder.finish({}, {})
    assert (tmp_path / "out" / "rows.csv").read_text() == "id,split\nrow0,train\nrow1,train\n"
    assert np.load(tmp_path / "out" / "image.npy").tolist() == [[0, 0], [1, 1]]


def test_every_file_of_a_whole_folder_is_on_disk(tmp_path, monkeypatch):
    flushed, fsync = set(), os.fsync
    monkeypatch.setattr("os.fsync", lambda handle: (flushed.add(os.fstat(handle).st_ino), fsync(handle)))
    with FeatureFolder(tmp_path / "out", {}, {"image": 2}) as folder:
        add(folder, 0)
        folder.finish({}, {})
    files = [path for path in (tmp_path / "out").iterdir() if path.is_file()]
    assert {"rows.csv", "data.json", "image.npy"} <= {path.name for path in files}
    assert [path.name for path in files if path.stat().st_ino not in flushed] == []


def test_a_difference_is_told_by_its_pointer(tmp_path):
    with FeatureFolder(tmp_path / "out", {"outputs": {"head/fc~1": 1}}, {"image": 2}):
        pass
    with pytest.raises(SpecError, match="was made with 1, not 2") as caught:
        FeatureFolder(tmp_path / "out", {"outputs": {"head/fc~1": 2}}, {"image": 2}).__enter__()
    assert [problem.where for problem in caught.value.problems] == ["/outputs/head~1fc~01"]
