"""`TableSource` and its lower parts: labels, checksums, same files, fingerprint, checks."""

import hashlib
import os
import pickle

import numpy as np
import pytest
import torch
from PIL import Image

from auxlearn.data import TableRow, TableSource, TargetInfo
from auxlearn.data.contents import same_files, wrong_checksum
from auxlearn.errors import DataError

MOOD = TargetInfo(kind="class", names=("sad", "happy"))


@pytest.fixture
def root(tmp_path):
    """A folder with four images of 8 x 8 pixels, each of another colour."""
    for index, name in enumerate("abcd"):
        Image.new("RGB", (8, 8), (index * 10, 0, 0)).save(tmp_path / f"{name}.png")
    return tmp_path


def source(root, rows=None, **changes):
    rows = rows or [TableRow(path=f"{name}.png", targets={"mood": "happy"}) for name in "abcd"]
    return TableSource(rows, **({"root": root, "targets": {"mood": MOOD}, "size": 4} | changes))


def test_items_and_facts(root):
    rows = [
        TableRow(path="a.png", split="test", targets={"mood": "sad"}),
        TableRow(path="b.png", split="extra"),
        TableRow(path="c.png", targets={"mood": 1}, group="x"),
        TableRow(path="d.png", targets={"mood": None}),
    ]
    made = source(root, rows)
    assert made.splits == ("train", "test", "extra")
    assert made.inputs["image"].shape == (3, 4, 4)
    item = made.dataset("train")[0]
    assert item["image"].shape == (3, 4, 4)
    assert item["image"][:, 0, 0].tolist() == [20, 0, 0]
    assert int(item["mood"]) == 1
    assert set(made.dataset("train")[1]) == {"image"}
    assert made.labels("train", "mood") == [1, None]
    assert made.groups("train") == ["x", None]
    assert made.name("test", 0) == "a.png"
    made.check()


def test_without_any_group_there_are_none(root):
    assert source(root).groups("train") is None


def test_targets_of_every_kind(root):
    targets = {
        "mood": MOOD,
        "marks": TargetInfo(kind="multilabel", names=("x", "y", "z"), shape=(3,)),
        "pose": TargetInfo(kind="continuous", names=("yaw", "pitch"), shape=(2,)),
        "age": TargetInfo(kind="continuous"),
    }
    labels = {"mood": "sad", "marks": ["z", "x"], "pose": (1.5, -2), "age": "7"}
    item = source(root, [TableRow(path="a.png", targets=labels), TableRow(path="b.png")], targets=targets).dataset(
        "train"
    )[0]
    assert int(item["mood"]) == 0
    assert item["marks"].tolist() == [1, 0, 1]
    assert item["pose"].tolist() == [1.5, -2]
    assert float(item["age"]) == 7


@pytest.mark.parametrize(
    ("target", "value", "message"),
    [
        ("mood", "hapy", r'`mood` has no class "hapy"; allowed: sad, happy; did you mean "happy"\?'),
        ("mood", 2, "`mood` has no class 2"),
        ("mood", -1, "`mood` has no class -1"),
        ("mood", True, "`mood` has no class True"),
        ("mood", 1.0, r"`mood` has no class 1\.0"),
        ("mood", "1", '`mood` has no class "1"'),
        ("marks", "x", "`marks` is 'x'; allowed: a list"),
        ("marks", ["x", "q"], '`marks` has no class "q"'),
        ("age", "seven", "`age` is 'seven'; allowed: numbers"),
        ("age", "nan", "`age` is 'nan'; allowed: finite"),
        ("age", float("inf"), "`age` is inf; allowed: finite"),
        ("age", (1, 2), "`age` has shape"),
    ],
)
def test_wrong_labels_are_told_with_their_row(root, target, value, message):
    targets = {
        "mood": MOOD,
        "marks": TargetInfo(kind="multilabel", names=("x", "y"), shape=(2,)),
        "age": TargetInfo(kind="continuous"),
    }
    row = TableRow(path="a.png", targets={target: value}, where="m.csv line 7")
    with pytest.raises(DataError, match=f"^m.csv line 7: {message}"):
        source(root, [row], targets=targets)


def test_all_wrong_paths_and_labels_come_together(root):
    rows = [TableRow(path="../a.png"), TableRow(path="/etc/passwd"), TableRow(path="a.png", targets={"mood": "angry"})]
    with pytest.raises(DataError) as caught:
        source(root, rows)
    assert [problem.what for problem in caught.value.problems] == [
        'path "../a.png" leads out of the root',
        'path "/etc/passwd" is absolute or a URL',
        '`mood` has no class "angry"',
    ]


def test_no_rows(root):
    with pytest.raises(DataError, match="there are no images"):
        TableSource([], root=root, targets={})


def test_check_lists_every_bad_file(root):
    (root / "a.png").unlink()
    (root / "b.png").write_bytes(b"")
    (root / "c.png").write_text("<html></html>")
    (root / "out.png").symlink_to("/etc/passwd")
    rows = [TableRow(path=f"{name}.png", where=f"line {name}") for name in ("a", "b", "c", "d", "out")]
    rows.append(TableRow(path="d.png", checksum="0" * 64, where="line sum"))
    rows.append(TableRow(path="d.png", checksum="xyz", where="line odd"))
    with pytest.raises(DataError) as caught:
        source(root, rows).check()
    lines = str(caught.value).splitlines()
    assert lines[0] == 'line a: path "a.png" is missing'
    assert lines[1].startswith('line b: path "b.png" the file is empty')
    assert lines[2].startswith('line c: path "c.png" no image in a known format')
    assert lines[3] == 'line out: path "out.png" is a link that leads out of the root'
    assert lines[4] == f'line sum: path "d.png" does not have the checksum {"0" * 64}'
    assert lines[5].startswith('line odd: path "d.png" has a checksum that is not 64')
    assert len(lines) == 6


def test_a_link_that_changes_after_the_check_is_refused_too(root):
    (root / "link.png").symlink_to(root / "a.png")
    made = source(root, [TableRow(path="link.png")])
    made.check()
    (root / "link.png").unlink()
    (root / "link.png").symlink_to("/etc/passwd")
    with pytest.raises(DataError, match=r"link\.png: the file is a link that leads out"):
        made.dataset("train")[0]


def test_without_a_size_all_images_have_to_be_of_one(root):
    made = source(root, size=None)
    assert made.inputs["image"].shape == (3, 8, 8)
    made.check()
    Image.new("RGB", (9, 8)).save(root / "c.png")
    with pytest.raises(DataError, match=r'c\.png: path "c\.png" has \(8, 9\) pixels .*fix: give `data\.size`'):
        source(root, size=None).check()


@pytest.mark.parametrize("name", ["md5", "sha1", "sha256"])
def test_checksums(root, name):
    path = root / "a.png"
    right = hashlib.new(name, path.read_bytes()).hexdigest()
    assert not wrong_checksum(str(path), right.upper())
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(bytes(data))
    assert wrong_checksum(str(path), right)


def test_same_files_by_hand(tmp_path):
    contents = {
        "a": b"x" * 9000,
        "b": b"x" * 9000,
        "c": b"y" + b"x" * 8999,
        "d": b"x" * 8999 + b"y",
        "e": b"",
        "f": b"",
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    paths = [str(tmp_path / name) for name in [*contents, "missing"]]
    found = [[os.path.basename(path) for path in same] for same in same_files(paths)]
    assert sorted(found) == [["a", "b"], ["c"], ["d"], ["e", "f"]]


def test_duplicates_are_the_same_file_or_the_same_bytes(root):
    (root / "copy.png").write_bytes((root / "a.png").read_bytes())
    (root / "link.png").symlink_to(root / "b.png")
    names = ["a", "b", "copy", "link", "c"]
    rows = [TableRow(path=f"{name}.png", split="val" if name in ("copy", "link") else "train") for name in names]
    found = sorted(sorted(same) for same in source(root, [*rows, TableRow(path="./c.png")]).duplicates())
    assert found == [[("train", 0), ("val", 0)], [("train", 1), ("val", 1)], [("train", 2), ("train", 3)]]


def test_pipes_are_never_opened(root):
    os.mkfifo(root / "pipe.png")
    made = source(root, [TableRow(path="pipe.png"), TableRow(path="a.png")])
    assert made.duplicates() == []
    with pytest.raises(DataError, match="not a regular file"):
        made.check()
    with pytest.raises(DataError, match="not a regular file"):
        made.dataset("train")[0]


def test_the_fingerprint_changes_when_and_only_when_the_samples_do(root):
    base = source(root).fingerprint()
    assert base == source(root).fingerprint()
    changed = [TableRow(path=f"{name}.png", targets={"mood": "sad"}) for name in "abcd"]
    others = [
        source(root, changed),
        source(root, changed[:3]),
        source(root, size=5),
        source(root, fit="squash"),
        source(root, targets={"mood": TargetInfo(kind="class", names=("happy", "sad"))}),
    ]
    prints = {base, *(other.fingerprint() for other in others)}
    assert len(prints) == 6
    os.utime(root / "a.png", (1, 1))
    assert source(root).fingerprint() not in prints


def test_with_a_checksum_the_time_does_not_matter(root):
    rows = [TableRow(path="a.png", checksum=hashlib.sha256((root / "a.png").read_bytes()).hexdigest())]
    before = source(root, rows).fingerprint()
    os.utime(root / "a.png", (1, 1))
    assert source(root, rows).fingerprint() == before


def test_another_size_of_the_same_rows_is_what_would_be_built(root):
    large = source(root, size=16)
    assert large.fingerprint()
    for size in (8, 16):
        made = large.resized(size)
        assert made.fingerprint() == source(root, size=size).fingerprint()
        assert made.inputs == source(root, size=size).inputs
        assert torch.equal(made.dataset("train")[0]["image"], source(root, size=size).dataset("train")[0]["image"])
    assert large.dataset("train")[0]["image"].shape == (3, 16, 16)


def test_it_travels_to_workers(root):
    made = pickle.loads(pickle.dumps(source(root)))
    assert torch.equal(made.dataset("train")[1]["image"], source(root).dataset("train")[1]["image"])
    assert np.array_equal(made.labels("train", "mood"), [1, 1, 1, 1])
