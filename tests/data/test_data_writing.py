"""Written tables: read back they are the source again, label for label and pixel for pixel."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torch.utils.data import Dataset

from auxlearn.data import (
    DataContext,
    DataSource,
    InputShape,
    Region,
    TableRow,
    TableSource,
    TargetInfo,
    pictures,
    read_image,
    table,
    writing,
)
from auxlearn.data.alignment import STANDARD_FACE
from auxlearn.data.columns import columns_of
from auxlearn.data.opening import read_section
from auxlearn.data.pictures import Treatment
from auxlearn.data.writing import write_table
from auxlearn.errors import DataError, SpecError
from auxlearn.registry import discover

TARGETS = {
    "mood": TargetInfo(kind="class", names=("sad", "happy", "never|used")),
    "wears": TargetInfo(kind="multilabel", names=("hat", "a|b"), shape=(2,)),
    "age": TargetInfo(kind="continuous", unit="year"),
    "yaw": TargetInfo(kind="continuous", unit="degree"),
    "pose": TargetInfo(kind="continuous", names=("yaw", "roll"), shape=(2,), unit="degree"),
    "other": TargetInfo(kind="continuous", names=("yaw", "x"), shape=(2,)),
    "plain": TargetInfo(kind="continuous", shape=(2,)),
}
POSE = (0.1, -2.5e-7)
LABELS = (
    {"mood": "happy", "wears": ["a|b"], "age": 0.1, "yaw": POSE[0], "pose": POSE, "other": (5, 6), "plain": (1, 2)},
    {"mood": "sad", "wears": [], "yaw": 3, "pose": (3, 4)},
    {"wears": ["hat", "a|b"], "age": 1e-8},
    {},
)
SHAPES = ((30, 20), (20, 30), (24, 24), (16, 16))


@pytest.fixture
def registry():
    return discover()


@pytest.fixture
def folder(tmp_path):
    """Four pictures of noise, of several forms."""
    draws = np.random.default_rng(0)
    (tmp_path / "in").mkdir()
    for number, shape in enumerate(SHAPES):
        pixels = draws.integers(0, 256, (*shape, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "in" / f"{number}.png")
    return tmp_path


def source(folder, size=None, **changes):
    """Return the pictures; `changes` are further facts of each row, by name, or one for all."""
    rows = [
        TableRow(
            path=f"{number}.png",
            targets=labels,
            split="val" if number == 3 else "train",
            group=f"p{number // 2}" if number < 3 else None,
            **{name: value[number] if isinstance(value, list) else value for name, value in changes.items()},
        )
        for number, labels in enumerate(LABELS)
    ]
    return TableSource(rows, root=folder / "in", targets=TARGETS, size=size)


def written(registry, folder, size=None):
    """Return the table in `folder`, as its own section says."""
    section = read_section(str(folder / "data.json"), [] if size is None else [f"size={size}"], registry)
    return section.choice.provider.build(section.choice.params, DataContext(size=size, root=section.root))


def write(given, folder, **options):
    treatment = options.pop("treatment", Treatment())
    return write_table(given, folder / "out", treatment=treatment, keys=options.pop("keys", {}), **options)


def assert_same(found, wanted):
    assert found.splits == wanted.splits
    assert {name: (one.kind, one.shape, one.unit) for name, one in found.targets.items()} == {
        name: (one.kind, one.shape, one.unit) for name, one in wanted.targets.items()
    }
    for split in wanted.splits:
        assert found.groups(split) == wanted.groups(split)
        assert len(found.dataset(split)) == len(wanted.dataset(split))
        for index in range(len(wanted.dataset(split))):
            one, other = found.dataset(split)[index], wanted.dataset(split)[index]
            assert set(one) == set(other)
            for name, value in other.items():
                np.testing.assert_array_equal(np.asarray(one[name]), np.asarray(value))


@pytest.mark.parametrize("size", [None, 12])
@pytest.mark.parametrize("workers", [1, 3])
def test_read_back_it_is_the_source(folder, registry, size, workers):
    result = write(source(folder), folder, workers=workers)
    assert result.rows == {"train": 3, "val": 1}
    assert not result.skipped
    assert_same(written(registry, folder / "out", size), source(folder, size))
    assert sorted(path.name for path in folder.iterdir()) == ["in", "out"]


def test_a_size_gives_the_pixels_that_training_would_have_seen(folder, registry):
    write(source(folder), folder, treatment=Treatment(size=12), keys={"size": 12})
    with Image.open(folder / "out" / "images" / "train" / "000" / "000000.png") as image:
        assert image.size == (12, 12)
    assert_same(written(registry, folder / "out", 12), source(folder, 12))
    assert json.loads((folder / "out" / "data.json").read_text())["data"]["size"] == 12


def test_names_of_classes_and_components_are_kept(folder, registry):
    write(source(folder), folder)
    found = written(registry, folder / "out").targets
    assert found["mood"].names == TARGETS["mood"].names
    assert found["wears"].names == TARGETS["wears"].names
    assert found["pose"].names == ("yaw", "roll")  # whose first column is that of the target `yaw`
    assert found["other"].names == ("other_yaw", "x")  # another yaw
    assert found["plain"].names == ("plain_0", "plain_1")
    head = (folder / "out" / "manifest.csv").read_text().splitlines()[0]
    assert head == "path,split,group,source,sha256,mood,wears,age,yaw,roll,other_yaw,x,plain_0,plain_1"


def test_targets_that_are_called_like_the_columns_of_the_manifest(folder, registry):
    targets = dict.fromkeys(("path", "split", "group"), TARGETS["mood"])
    rows = [TableRow(path="2.png", targets=dict.fromkeys(targets, "happy"), group="a")]
    write(TableSource(rows, root=folder / "in", targets=targets), folder)
    found = written(registry, folder / "out")
    assert found.groups("train") == ["a"]
    assert {name: int(found.dataset("train")[0][name]) for name in targets} == dict.fromkeys(targets, 1)


def test_checksums_find_a_file_that_was_changed(folder, registry):
    write(source(folder), folder)
    written(registry, folder / "out", 8).check()
    path = folder / "out" / "images" / "train" / "000" / "000001.png"
    Image.new("RGB", (20, 30)).save(path)
    with pytest.raises(DataError, match=r"000001\.png.* does not have the checksum"):
        written(registry, folder / "out", 8).check()


def test_jpeg(folder, registry):
    write(source(folder), folder, quality=95)
    found = written(registry, folder / "out").dataset("train")[0]["image"]
    with Image.open(folder / "out" / "images" / "train" / "000" / "000000.jpg") as image:
        assert image.format == "JPEG"
    assert found.shape == (3, 30, 20)


def box(left, top, right, bottom):
    return Region(box=(left, top, right, bottom))


def test_cut_to_the_box_in_the_file_whatever_the_row_shows(folder, registry):
    regions = [box(2, 4, 12, 14), box(-4, 0, 6, 10), lambda: box(0, 0, 24, 24), box(1, 1, 9, 5)]
    write(source(folder, region=regions, crop=(3, 3, 9, 9)), folder, treatment=Treatment(crop="box"))
    found = written(registry, folder / "out", 12).dataset
    raw = written(registry, folder / "out").dataset
    files = [read_image(folder / "in" / f"{number}.png") for number in range(4)]
    torch.testing.assert_close(raw("train")[0]["image"], files[0][:, 4:14, 2:12], rtol=0, atol=0)
    torch.testing.assert_close(raw("train")[1]["image"][:, :, 4:], files[1][:, :10, :6], rtol=0, atol=0)
    assert not raw("train")[1]["image"][:, :, :4].any()
    torch.testing.assert_close(raw("val")[0]["image"][:, 1:], files[3][:, 0:7, 1:9], rtol=0, atol=0)
    assert found("train")[2]["image"].shape == (3, 12, 12)


def test_aligned_by_landmarks(folder, registry):
    draws = np.random.default_rng(1).integers(0, 256, (112, 112, 3), dtype=np.uint8)
    for number in range(4):
        Image.fromarray(draws).save(folder / "in" / f"{number}.png")
    rows = [TableRow(path=f"{number}.png", region=Region(landmarks=STANDARD_FACE)) for number in range(4)]
    write(TableSource(rows, root=folder / "in", targets={}), folder, treatment=Treatment(align=True))
    found = written(registry, folder / "out").dataset("train")[1]["image"].int()
    assert (found - torch.from_numpy(draws).permute(2, 0, 1)).abs().max() <= 1


def test_cutting_decodes_each_file_once(folder, monkeypatch):
    given, opened = source(folder, region=box(0, 0, 9, 9)), []
    for module in (pictures, table):
        monkeypatch.setattr(module, "read_image", lambda path, *args, **kwargs: opened.append(path) or read(path))
    read = read_image
    write(given, folder, treatment=Treatment(crop="box"))
    assert len(opened) == len(set(opened)) == 4


def test_a_setting_that_can_never_work_ends_it_at_once(folder, monkeypatch):
    monkeypatch.setattr(writing, "_AT_ONCE", 2)
    with pytest.raises(DataError, match=r"^none of the first 2 rows can be written, and the others were not tried"):
        write(source(folder), folder, treatment=Treatment(crop="box"))
    with pytest.raises(DataError, match=r"^none of the first 3 rows"):
        write(source(folder), folder, treatment=Treatment(crop="box"), skip_bad=2)
    regions = [Region(), Region(), Region(), box(0, 0, 9, 9)]
    assert len(write(source(folder, region=regions), folder, treatment=Treatment(crop="box"), skip_bad=3).skipped) == 3


def test_what_aligning_would_make_wrong_is_refused(folder):
    given = source(folder, region=Region(landmarks=STANDARD_FACE))
    with pytest.raises(SpecError, match=r"the angles of yaw, pose would not be theirs any more; fix: --crop landmarks"):
        write(given, folder, treatment=Treatment(align=True))
    given.targets = {"turn": TargetInfo(kind="continuous", names=("yaw", "roll"), shape=(2,))}
    with pytest.raises(SpecError, match="the angles of turn would not"):
        write(given, folder, treatment=Treatment(align=True))
    assert not (folder / "out").exists()


@pytest.mark.parametrize(
    ("treatment", "message"),
    [
        (Treatment(crop="box"), "the row has no box in the data"),
        (Treatment(crop="landmarks"), "the row has no landmarks in the data"),
        (Treatment(align=True), "the row has no landmarks in the data"),
    ],
)
def test_rows_without_a_region(folder, treatment, message):
    given = source(folder)
    given.targets = {}
    with pytest.raises(DataError) as caught:
        write(given, folder, treatment=treatment)
    assert len(caught.value.problems) == 5
    assert message in str(caught.value)


def test_all_rows_that_cannot_be_read_are_named(folder, registry):
    given = source(folder)
    (folder / "in" / "1.png").write_bytes(b"no picture")
    (folder / "in" / "3.png").unlink()
    with pytest.raises(DataError) as caught:
        write(given, folder, skip_bad=1)
    text = str(caught.value)
    assert "1.png" in text
    assert "3.png" in text
    assert text.startswith("2 of 4 rows cannot be read; fix: --skip-bad 2 leaves them out\n")
    assert sorted(path.name for path in folder.iterdir()) == ["in"]
    result = write(given, folder, skip_bad=2)
    assert result.rows == {"train": 2, "val": 0}
    assert len(result.skipped) == 2
    assert "1.png" in (folder / "out" / "README.md").read_text()
    assert len(written(registry, folder / "out").dataset("train")) == 2


def test_nothing_is_overwritten(folder):
    (folder / "out").mkdir()
    (folder / "out" / "mine.txt").write_text("mine")
    with pytest.raises(SpecError, match="is there already; fix: remove it"):
        write(source(folder), folder)
    (folder / "out" / "mine.txt").unlink()
    write(source(folder), folder)  # an empty folder is in nobody's way
    shutil.rmtree(folder / "out")
    (folder / "out").write_text("a file")
    with pytest.raises(SpecError, match="is there already"):
        write(source(folder), folder)


def test_folders_that_cannot_be_replaced(folder, monkeypatch):
    (folder / "out").mkdir()
    with monkeypatch.context() as patch:
        patch.chdir(folder / "out")
        with pytest.raises(SpecError, match="is the current folder, or one on which something is mounted"):
            write(source(folder), folder)
    with monkeypatch.context() as patch:
        patch.setattr("pathlib.Path.is_mount", lambda _: True)
        with pytest.raises(SpecError, match="write to a folder in it"):
            write(source(folder), folder)
    (folder / "out").rename(folder / "else")
    (folder / "out").symlink_to(folder / "else")
    with pytest.raises(SpecError, match="is there already"):
        write(source(folder), folder)


def test_the_first_row_may_be_bad(folder, registry):
    (folder / "in" / "0.png").write_bytes(b"no picture")
    assert write(source(folder), folder, skip_bad=1).rows == {"train": 2, "val": 1}
    for number in (1, 2, 3):
        (folder / "in" / f"{number}.png").unlink()
    with pytest.raises(DataError, match=r"0\.png") as caught:
        source(folder)
    assert len(caught.value.problems) == 1


def test_progress_counts_every_row(folder):
    done = []
    write(source(folder), folder, advance=done.append)
    assert sum(done) == 4


class Strange(DataSource):
    """Rows with two modalities, or with labels that are no class."""

    splits = ("train",)

    def __init__(self, inputs, label=0):
        self.inputs, self.label = inputs, label
        self.targets = {"mood": TARGETS["mood"]}

    def dataset(self, split):
        outer = self

        class Rows(Dataset):
            def __len__(self):
                return 1

            def __getitem__(self, index):
                return {"image": torch.zeros(3, 8, 8, dtype=torch.uint8), "mood": outer.label}

        return Rows()


def test_what_cannot_be_written(folder):
    image = InputShape(shape=(3, 8, 8))
    with pytest.raises(DataError, match=r"other inputs than one image: image \(image\), text \(feature\)"):
        write(Strange({"image": image, "text": InputShape(shape=(4,), kind="feature")}), folder)
    with pytest.raises(DataError, match="`mood` is 3, and there are 3 classes"):
        write(Strange({"image": image}, label=3), folder)
    infos = {
        "map": TargetInfo(kind="continuous", shape=(2, 2)),
        "kind": TargetInfo(kind="class", names=("a ", "")),
        "marks": TargetInfo(kind="multilabel", names=("|;,/+", "b"), shape=(2,)),
    }
    with pytest.raises(DataError) as caught:
        columns_of(infos, [])
    assert len(caught.value.problems) == 4


@given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1, max_size=5))
def test_numbers_survive_as_text(numbers):
    made = columns_of({"a": TargetInfo(kind="continuous")}, [{"a": torch.tensor(number)} for number in numbers])
    assert [np.float32(float(cell)) for cell in made.cells["a"]] == [np.float32(number) for number in numbers]


def test_numbers_that_are_not_finite_are_none():
    info = TargetInfo(kind="continuous", shape=(2,))
    made = columns_of({"a": info}, [{"a": (1.0, float("nan"))}, {"a": (float("inf"), 1.0)}, {"a": (1.0, 2.0)}])
    assert list(made.cells.values()) == [["", "", "1.0"], ["", "", "2.0"]]
