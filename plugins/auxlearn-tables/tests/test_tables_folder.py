"""`folder`: layouts, classes, splits, and what is wrong with a folder."""

import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from auxlearn.data import DataContext, prepare
from auxlearn.errors import DataError
from auxlearn.registry import DataFacts
from auxlearn.spec.models import DataKeys, Split
from auxlearn_tables import FolderParams, auxlearn_data_sources

SHARED = Path(__file__).parents[4] / "shared" / "data"
FOLDER = next(provider for provider in auxlearn_data_sources() if provider.name == "folder")


@pytest.fixture
def write(tmp_path):
    def write(*paths):
        for index, path in enumerate(paths):
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (8, 8), (index, 0, 0)).save(tmp_path / path)
        return tmp_path

    return write


def build(root, **params):
    return FOLDER.build(FolderParams(root=".", **params), DataContext(size=8, root=str(root)))


def rows(source):
    return {
        split: [(source.name(split, i), label) for i, label in enumerate(source.labels(split, "label"))]
        for split in source.splits
    }


def test_split_and_class_folders(write):
    source = build(
        write("val/sad/a.png", "train/sad/b.png", "train/happy/c.png", "train/happy/deep/d.JPG", "test/sad/e.png")
    )
    assert source.targets["label"].names == ("happy", "sad")
    assert rows(source) == {
        "train": [("train/happy/c.png", 0), ("train/happy/deep/d.JPG", 0), ("train/sad/b.png", 1)],
        "val": [("val/sad/a.png", 1)],
        "test": [("test/sad/e.png", 1)],
    }


def test_class_folders_alone_are_all_train(write):
    source = build(write("sad/a.png", "happy/b.png"), target="label")
    assert rows(source) == {"train": [("happy/b.png", 0), ("sad/a.png", 1)]}


def test_a_class_may_be_called_train(write):
    source = build(write("train/a.png", "plane/b.png"))
    assert rows(source) == {"train": [("plane/b.png", 0), ("train/a.png", 1)]}


def test_images_beside_class_folders_have_no_label(write):
    source = build(write("train/sad/a.png", "train/b.png"))
    assert rows(source) == {"train": [("train/b.png", None), ("train/sad/a.png", 0)]}


@pytest.mark.parametrize("paths", [("a.png", "b.png"), ("train/a.png", "val/b.png")])
def test_images_without_any_class(write, paths):
    source = build(write(*paths))
    assert source.targets == {}
    assert len(source.splits) == (1 if paths[0] == "a.png" else 2)


def test_other_names_of_splits(write):
    root = write("Training/sad/a.png", "validation/sad/b.png", "PrivateTest/sad/c.png")
    source = build(root, splits={"Training": "train", "PrivateTest": "test"})
    assert source.splits == ("train", "val", "test")


def test_what_is_no_image_is_skipped(write):
    root = write("sad/a.png", "sad/.hidden.png", ".git/b.png", "sad/c.webp")
    (root / "sad" / "notes.txt").write_text("x")
    assert rows(build(root)) == {"train": [("sad/a.png", 0), ("sad/c.webp", 0)]}
    assert rows(build(root, extensions=(".PNG",))) == {"train": [("sad/a.png", 0)]}


def test_numbered_classes_are_in_order_of_their_numbers(write):
    assert build(write("10/a.png", "9/b.png", "1/c.png")).targets["label"].names == ("1", "9", "10")


def test_declared_classes(write):
    root = write("a/1.png", "b/2.png", "c/3.png")
    assert build(root, classes=("c", "a", "b")).labels("train", "label") == [1, 2, 0]
    assert rows(build(root, classes=("b", "a"), others="drop")) == {"train": [("a/1.png", 1), ("b/2.png", 0)]}
    assert build(root, classes=("b",), others="unlabelled").labels("train", "label") == [None, 0, None]
    assert build(root, classes=("a", "b", "c", "d")).targets["label"].names == ("a", "b", "c", "d")


@pytest.mark.parametrize(
    ("params", "message"),
    [
        (
            {"classes": ("happy", "sadd")},
            r'sad: the folder is none of `classes`; allowed: happy, sadd; did you mean "sadd"',
        ),
        ({"classes": ("x",), "others": "drop"}, "none of the classes x has a folder; allowed: happy, sad"),
        ({"extensions": (".xyz",)}, r"there are no images with the endings \.xyz"),
    ],
)
def test_what_does_not_fit_is_told(write, params, message):
    with pytest.raises(DataError, match=message):
        build(write("happy/a.png", "sad/b.png"), **params)


def test_a_folder_beside_splits(write):
    with pytest.raises(
        DataError, match=r'the folder extra stands beside splits, but is none; fix: `"splits": \{"extra"'
    ):
        build(write("train/sad/a.png", "extra/sad/b.png"))


def test_a_missing_folder(tmp_path):
    with pytest.raises(DataError, match="there is no such folder"):
        build(tmp_path / "none")


def test_links_out_of_the_root_are_refused(write, tmp_path_factory):
    root = write("sad/a.png", "sad/b.png")
    other = tmp_path_factory.mktemp("other") / "c.png"
    Image.new("RGB", (8, 8)).save(other)
    (root / "sad" / "c.png").symlink_to(other)
    with pytest.raises(DataError, match="a link that leads out of the root"):
        prepare(build(root), DataKeys(), seed=0)


def test_facts_are_told_only_where_the_place_is_certain(write, monkeypatch):
    root = write("train/sad/a.png", "val/happy/b.png")
    facts = FOLDER.describe(FolderParams(root=str(root), target="mood"))
    assert facts == DataFacts(targets={"mood": ("happy", "sad")}, splits=("train", "val"))
    monkeypatch.chdir(root.parent)
    assert FOLDER.describe(FolderParams(root=root.name)) is None
    assert FOLDER.describe(FolderParams(root=str(root / "none"))) is None


def test_it_tells_without_torch(write):
    root = write("train/sad/a.png")
    code = (
        "import sys, auxlearn_tables as t; p = t.auxlearn_data_sources()[0];"
        f"print(p.describe(p.params(root={str(root)!r})).splits, 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "('train',) False\n"


@pytest.mark.skipif(not SHARED.exists(), reason="needs ../shared/data")
def test_a_real_set():
    params = FolderParams(root="muxspace-expr/images", target="expression")
    source = FOLDER.build(params, DataContext(size=32, root=str(SHARED)))
    data = prepare(source, DataKeys(fraction=0.1, split=Split(val=0.1, test=0.1)), seed=0, batch_size=32)
    assert source.targets["expression"].names == (
        "anger",
        "disgust",
        "fear",
        "happiness",
        "neutral",
        "sadness",
        "surprise",
    )
    assert [data.rows(split) for split in ("train", "val", "test")] == [320, 399, 399]
    assert next(iter(data.train_loader(32))).image.shape == (32, 3, 32, 32)
