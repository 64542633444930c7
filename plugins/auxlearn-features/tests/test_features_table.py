"""`features`: where vectors and labels may stand, and what is wrong with a table."""

import json
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import pyarrow
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from auxlearn.data import DataContext, prepare
from auxlearn.errors import DataError
from auxlearn.registry import CheckContext, DataFacts
from auxlearn.spec.models import DataKeys, Split
from auxlearn_features import FeaturesParams, InputParams, auxlearn_data_sources
from auxlearn_tables import TargetParams

SHARED = Path(__file__).parents[4] / "shared" / "data"
FEATURES = next(provider for provider in auxlearn_data_sources() if provider.name == "features")
HEAD = "id,split,who,mood"
ROWS = ["a,train,p,sad", "b,dev,q,happy", "c,train,p,", "d,test,r,happy"]
SOUND = np.arange(8, dtype=np.float32).reshape(4, 2)


@pytest.fixture
def root(tmp_path):
    """A folder with a table of four rows, and vectors in arrays and in files."""
    (tmp_path / "rows.csv").write_text("\n".join([HEAD, *ROWS, ""]))
    np.save(tmp_path / "sound.npy", SOUND)
    np.save(tmp_path / "text.npy", np.stack([SOUND + 10, SOUND + 20, SOUND + 30], axis=1).astype(np.float16))
    for row, line in enumerate(ROWS):
        name, split, *_ = line.split(",")
        for copy in range(2):
            folder = tmp_path / f"video_{copy}" / split
            folder.mkdir(parents=True, exist_ok=True)
            np.save(folder / f"{name}.npy", np.full(3, 10.0 * row + copy))
    return tmp_path


def build(root, path="rows.csv", **params):
    return FEATURES.build(FeaturesParams(path=path, **params), DataContext(root=str(root)))


def shown(source, name):
    """Return the first copies of all rows by split."""
    return {
        split: [one[name].tolist() if name in one else None for one in map(data.__getitem__, range(len(data)))]
        for split in source.splits
        for data in [source.dataset_for(split, training=False)]
    }


def test_arrays_beside_a_table_of_text(root):
    source = build(root, inputs=("sound", "text"), targets=("mood",), group_column="who", splits={"dev": "val"})
    assert source.splits == ("train", "val", "test")
    assert shown(source, "sound") == {"train": [[0, 1], [4, 5]], "val": [[2, 3]], "test": [[6, 7]]}
    assert shown(source, "text")["val"] == [[12, 13]]
    assert {name: (one.shape, one.dtype, one.kind) for name, one in source.inputs.items()} == {
        "sound": ((2,), "float32", "feature"),
        "text": ((2,), "float32", "feature"),
    }
    assert (source.inputs["sound"].mean, source.inputs["sound"].std) == ((2.0, 3.0), (2.0, 2.0))
    assert source.inputs["text"].mean == (22.0, 23.0)  # over all three copies
    assert [source.labels(split, "mood") for split in source.splits] == [[1, None], [0], [0]]
    assert source.groups("train") == ["p", "p"]
    assert source.name("val", 0) == "rows.csv line 3 (b)"
    assert build(root, inputs=("text",), copies=3, splits={"dev": "val"}).inputs["text"].shape == (3, 2)


def test_one_file_for_each_row_and_copy(root):
    files = ("video_0/{split}/{id}.npy", "video_1/{split}/{id}.npy")
    (root / "video_0" / "dev" / "b.npy").unlink()
    (root / "video_1" / "dev" / "b.npy").unlink()
    (root / "video_1" / "train" / "c.npy").unlink()
    inputs = {"video": InputParams(files=files), "text": InputParams()}
    source = build(root, inputs=inputs, splits={"dev": "val"}, copies=2)
    assert shown(source, "video") == {
        "train": [[[0] * 3, [1] * 3], [[20] * 3, [20] * 3]],
        "val": [None],
        "test": [[[30] * 3, [31] * 3]],
    }
    assert source.inputs["video"].mean == (7.0,) * 3  # of 0, 1 and 20
    with pytest.raises(DataError, match=r"rows\.csv line 3: .*video_0/dev/b\.npy is not there"):
        build(root, inputs=inputs, absent="error")
    with pytest.raises(DataError, match=r"rows\.csv line 3 \(b\): the row has no modality at all"):
        build(root, inputs={"video": InputParams(files=files)})
    with pytest.raises(DataError, match=r"no row has a file; the first would be .*other/a"):
        build(root, inputs={"video": InputParams(files=("other/{id}.npy",))})


def test_lists_in_a_parquet_table(root):
    cells = {
        "id": ["a", "b", "c"],
        "sound": [[1.0, 2.0], None, [5.0, 6.0]],
        "text": [[[1, 2], [3, 4]], [[5, 6], [7, 8]], [[9, 10], [11, 12]]],
        "level": [0.5, None, 1.5],
    }
    fixed = pyarrow.array([[1.0], [2.0], [3.0]], pyarrow.list_(pyarrow.float32(), 1))
    parquet.write_table(pyarrow.table({**cells, "one": fixed}), root / "t.parquet", row_group_size=2)
    targets = {"level": TargetParams(kind="continuous")}
    source = build(root, "t.parquet", inputs=("sound", "text", "one"), targets=targets)
    assert shown(source, "sound") == {"train": [[1, 2], None, [5, 6]]}
    assert shown(source, "text") == {"train": [[1, 2], [5, 6], [9, 10]]}
    assert shown(source, "one") == {"train": [[1], [2], [3]]}
    assert shown(source, "level") == {"train": [0.5, None, 1.5]}
    np.save(root / "x.npy", np.arange(3.0)[:, None])
    mixed = build(root, "t.parquet", inputs={"speech": InputParams(column="sound"), "x": InputParams(file="x.npy")})
    assert shown(mixed, "speech") == {"train": [[1, 2], None, [5, 6]]}
    assert shown(mixed, "x") == {"train": [[0], [1], [2]]}


def archive(root, **arrays):
    np.savez(root / "t.npz", **arrays)
    return root


def test_one_archive_of_labels_and_vectors(root):
    archive(
        root,
        sound=SOUND,
        mood=np.array([0, 2, 1, 0]),
        split=np.array(["train", "train", "val", "test"]),
        level=np.array([[0.0, 1], [np.nan, np.nan], [2, 3], [4, 5]]),
        marks=np.array([[0, 0.7, 0], [0, 0, 0], [1, 0, 3], [0, 0, 0]]),
        who=np.array([1, 1, 2, 3]),
    )
    targets = {
        "mood": TargetParams(classes=("sad", "happy", "calm"), indices=True),
        "level": TargetParams(kind="continuous"),
        "marks": TargetParams(kind="multilabel", threshold=0.0, classes=("x", "y", "z")),
    }
    source = build(root, "t.npz", inputs=("sound",), targets=targets, group_column="who")
    assert source.splits == ("train", "val", "test")
    assert source.labels("train", "mood") == [0, 2]
    assert source.targets["mood"].names == ("sad", "happy", "calm")
    assert source.targets["level"].shape == (2,)
    assert shown(source, "level")["train"] == [[0, 1], None]
    assert shown(source, "marks") == {"train": [[0, 1, 0], [0, 0, 0]], "val": [[1, 0, 1]], "test": [[0, 0, 0]]}
    assert source.labels("val", "marks") == [[1, 0, 1]]
    assert source.groups("val") == ["2"]
    assert source.name("train", 1) == "t.npz row 1"


def test_an_archive_with_arrays_for_each_split(root):
    archive(
        root,
        train_x=SOUND,
        dev_x=SOUND[:1] + 50,
        train_y=np.array([1, 0, 1, 0]),
        dev_y=np.array([1]),
        train_id=np.array(["v1_1", "v1_2", "v2_1", "v3_9"]),
        dev_id=np.array(["v4_0"]),
    )
    source = build(
        root,
        "t.npz",
        inputs={"sound": InputParams(array="{split}_x", width=2)},
        targets={"kind": TargetParams(columns=("{split}_y",))},
        id_column="{split}_id",
        group_column="{split}_id",
        group_pattern="(.*)_[0-9]+",
        splits={"dev": "val"},
    )
    assert shown(source, "sound") == {"train": SOUND.tolist(), "val": [[50, 51]]}
    assert source.labels("train", "kind") == [1, 0, 1, 0]
    assert source.groups("train") == ["v1", "v1", "v2", "v3"]
    assert source.name("val", 0) == "t.npz dev row 0 (v4_0)"


@pytest.mark.parametrize(
    "params",
    [
        {"targets": ("y",)},
        {"group_column": "y"},
        {"id_column": "y"},
        {"inputs": {"x": InputParams(array="{split}_x"), "y": InputParams(array="y")}},
        {"inputs": ("x",), "targets": {"y": TargetParams(columns=("{split}_y",))}},
    ],
)
def test_arrays_for_each_split_stand_with_none_for_all(root, params):
    archive(root, a_x=SOUND, b_x=SOUND, x=SOUND, y=np.arange(4), a_y=np.arange(4), b_y=np.arange(4))
    message = (
        r'"[xy]" \(`\w+(/[xy](/array)?)?`\) is one array, and "\{split\}_[xy]" one for each split; fix: `\{split\}` in'
    )
    raises_and_is_not_described(root, {"inputs": {"x": InputParams(array="{split}_x")}} | params, message)


def test_usual_names_are_not_asked_for_where_each_split_has_its_arrays(root):
    archive(root, a_x=SOUND, b_x=SOUND[:2] + 50, id=np.arange(4), split=np.array(["train"] * 4))
    source = build(root, "t.npz", inputs={"x": InputParams(array="{split}_x")})
    assert {split: len(rows) for split, rows in shown(source, "x").items()} == {"a": 4, "b": 2}
    assert source.name("b", 0) == "t.npz b row 0"


def test_intensities_in_columns(root):
    (root / "rows.csv").write_text("id,joy,fear\na,0.3,0\nb,,1\nc,0,2\nd,-1,0.2\n")
    target = TargetParams(kind="multilabel", columns=("joy", "fear"), threshold=0.25)
    source = build(root, inputs=("sound",), targets={"feelings": target})
    assert source.targets["feelings"].names == ("joy", "fear")
    assert shown(source, "feelings") == {"train": [[1, 0], None, [0, 1], [0, 0]]}


def test_rows_of_other_classes_are_dropped_with_their_vectors(root):
    np.save(root / "sound.npy", np.where(np.arange(4)[:, None] == 2, [[1, np.inf]], SOUND))
    target = TargetParams(classes=("sad",), others="drop")
    (root / "rows.csv").write_text("id,mood\na,sad\nb,sad\nc,happy\nd,\n")
    source = build(root, inputs=("sound",), targets={"mood": target})
    assert shown(source, "sound") == {"train": [[0, 1], [2, 3], [6, 7]]}
    assert source.inputs["sound"].mean == pytest.approx((8 / 3, 11 / 3))


@settings(max_examples=20)
@given(st.permutations(range(4)))
def test_rows_and_vectors_keep_together_in_any_order(order):
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        (root / "rows.csv").write_text("\n".join([HEAD, *(ROWS[i] for i in order), ""]))
        np.save(root / "sound.npy", SOUND[list(order)])
        source = build(root, inputs=("sound",), targets=("mood",), splits={"dev": "val"})
        found = {
            source.name(s, i).split("(")[1]: v[0] for s, vs in shown(source, "sound").items() for i, v in enumerate(vs)
        }
    assert found == {"a)": 0, "b)": 2, "c)": 4, "d)": 6}
    assert source.inputs["sound"].mean == (2.0, 3.0)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"path": "none.csv", "inputs": ("sound",)}, "there is no such file"),
        ({"path": "rows.txt", "inputs": ("sound",)}, r"its ending is \.txt; allowed: \.csv, \.tsv, \.parquet, \.npz"),
        ({"inputs": ("sond",)}, r'sond\.npy: there is no such file; did you mean "sound\.npy"'),
        ({"inputs": ("sound",), "targets": ("mod",)}, r'no column "mod" \(`targets/mod`\).*did you mean "mood"'),
        ({"inputs": ("sound",), "group_column": "whom"}, r'no column "whom" \(`group_column`\).*did you mean "who"'),
        ({"inputs": {"sound": InputParams(width=3)}}, r"`sound` has shape \[4, 2\]; allowed: vectors of 3 numbers"),
        ({"inputs": ("text",), "copies": 4}, "`text` has 3 copies of each row, and `copies` asks for 4"),
        (
            {"inputs": ("sound",), "group_column": "who", "group_pattern": "(z)"},
            'line 2: `group_pattern` finds nothing in "p"',
        ),
        ({"inputs": {"v": InputParams(files=("{idd}.npy",))}}, r'"\{idd\}\.npy", which cannot be.*did you mean "id"'),
        ({"inputs": {"v": InputParams(files=("../{id}.npy",))}}, "leads out of the folder"),
        ({"inputs": {"v": InputParams(column="sound")}}, r'no column "sound" \(`inputs/v`\)'),
        ({"inputs": {"v": InputParams(file="objects.npy")}}, "it holds Python objects, which could run code"),
        ({"inputs": {"v": InputParams(file="words.npy")}}, "`v` holds <U3; allowed: numbers"),
        ({"inputs": {"v": InputParams(file="rows.csv")}}, r"rows\.csv: it is no \.npy file"),
        ({"inputs": {"v": InputParams(file="three.npy")}}, r"`v` has shape \[3, 2\], and the table has 4 rows"),
        ({"inputs": {"v": InputParams(file="flat.npy")}}, r"`v` has shape \[4\]; allowed: \[4, width\]"),
        (
            {"inputs": {"v": InputParams(file="inf.npy")}},
            r"line 5 \(d\): `v` has inf as component 1 of copy 0; allowed: finite",
        ),
        (
            {"inputs": {"v": InputParams(file="large.npy")}},
            r"line 5 \(d\): `v` has 1e\+300 as component 1 of copy 0, which is too large for float32",
        ),
        ({"inputs": {"v": InputParams(files=("large_{who}.npy",))}}, r"large_r\.npy: it holds numbers too large"),
        (
            {"inputs": {"v": InputParams(files=("{who}.npy",))}},
            r"q\.npy: it holds float64 \[3\]; allowed: \[2\], as the first",
        ),
    ],
)
def test_each_mistake_has_one_message(root, params, message):
    np.save(root / "objects.npy", np.array([{}, 1, 2, 3], dtype=object))
    np.save(root / "words.npy", np.array([["abc"]] * 4))
    np.save(root / "three.npy", SOUND[:3])
    np.save(root / "flat.npy", SOUND[:, 0])
    np.save(root / "p.npy", np.zeros(2))
    np.save(root / "q.npy", np.zeros(3))
    np.save(root / "inf.npy", np.where(SOUND == 7, np.inf, SOUND))
    np.save(root / "large.npy", np.where(SOUND == 7, 1e300, SOUND.astype(np.float64)))
    np.save(root / "large_r.npy", np.array([0, 1e300]))
    with pytest.raises(DataError, match=message) as caught:
        build(root, **{"splits": {"dev": "val"}, **params})
    assert len(caught.value.problems) == 1


@pytest.mark.parametrize(
    ("arrays", "params", "message"),
    [
        ({"x": SOUND}, {"inputs": ("y",)}, r't\.npz: there is no array "y" \(`inputs/y`\); allowed: x'),
        (
            {"x": SOUND, "m": np.array(["a", None] * 2)},
            {"targets": ("m",)},
            '"m" holds Python objects.*fix: save it as',
        ),
        ({"x": SOUND, "m": np.zeros(3)}, {"targets": ("m",)}, r'"m" has shape \[3\]; allowed: \[4\] or \[4, labels\]'),
        (
            {"a_x": SOUND, "b_x": SOUND[:, :1]},
            {"inputs": {"x": InputParams(array="{split}_x")}},
            r"`x` differ: a \[4, 2\], b",
        ),
        ({"x": SOUND}, {"inputs": {"x": InputParams(array="{split}_x")}}, 'no array is like "{split}_x"'),
        (
            {"x": SOUND, "m": np.array([0, 1, 2, 3])},
            {"targets": {"m": TargetParams(classes=("a", "b", "c"), indices=True)}},
            r't\.npz row 3: `m` has no class "index 3"; allowed: a, b, c',
        ),
        (
            {"x": SOUND, "m": np.eye(4)},
            {"targets": {"m": TargetParams(kind="multilabel", classes=("a", "b"), threshold=0.5)}},
            "target m: 4 numbers a row and 2 names; fix: name every label",
        ),
    ],
)
def test_each_mistake_in_an_archive_has_one_message(root, arrays, params, message):
    with pytest.raises(DataError, match=message) as caught:
        build(archive(root, **arrays), "t.npz", **{"inputs": ("x",), **params})
    assert len(caught.value.problems) == 1


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"inputs": ("one",)}, r't\.npz: the array "one" is a single value; allowed: one for each row'),
        ({"targets": ("one",)}, '"one" is a single value'),
        ({"inputs": {"x": InputParams(array="{split}_x")}}, '"b_x" is a single value'),
        ({"split_column": "bare"}, r"t\.npz row 1: the cell `bare` is empty"),
        ({"targets": ("bytes",)}, r'the array "bytes" cannot be read \(\'utf-8\' codec'),
        ({"targets": ("zip",)}, r'the array "zip" cannot be read \(no array\)'),
    ],
)
def test_arrays_without_rows_or_sense(root, params, message):
    archive(
        root,
        x=SOUND,
        one=np.float32(1),
        a_x=SOUND,
        b_x=np.float32(1),
        bytes=np.array([b"\xff"] * 4),
        bare=np.array(["a", "", "b", "c"]),
    )
    with zipfile.ZipFile(root / "t.npz", "a") as file:
        file.writestr("zip.npy", b"nothing")
    raises_and_is_not_described(root, {"inputs": ("x",), **params}, message)


def raises_and_is_not_described(root, params, message):
    with pytest.raises(DataError, match=message) as caught:
        build(root, "t.npz", **params)
    assert len(caught.value.problems) == 1
    assert FEATURES.describe(FeaturesParams(path=str(root / "t.npz"), **params)) is None


@pytest.mark.parametrize("at", [0.2, 0.5, 0.8])
@pytest.mark.parametrize("target", [(), ("m",)])
def test_a_damaged_archive(root, at, target):
    values = np.random.default_rng(0).standard_normal((400, 8))
    np.savez_compressed(root / "t.npz", x=values, m=np.arange(400))
    data = bytearray((root / "t.npz").read_bytes())
    with zipfile.ZipFile(root / "t.npz") as file:
        length = file.getinfo("x.npy").compress_size
    place = int(length * at)
    data[place : place + 200] = bytes(200)
    (root / "t.npz").write_bytes(data)
    raises_and_is_not_described(root, {"inputs": ("x",), "targets": target}, r't\.npz: the array "x" cannot be read')


def test_an_encrypted_archive(root):
    archive(root, x=SOUND)
    data = bytearray((root / "t.npz").read_bytes())
    for mark, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(mark) + place] |= 1
    (root / "t.npz").write_bytes(data)
    raises_and_is_not_described(root, {"inputs": ("x",)}, "encrypted")


def test_an_archive_in_place_of_an_array(root):
    np.savez(root / "v_a.npz", x=SOUND)
    for one in (InputParams(file="v_a.npz"), InputParams(files=("v_{id}.npz",))):
        with pytest.raises(DataError, match=r"v_a\.npz: it is an \.npz file; fix: name it as `path`"):
            build(root, inputs={"x": one}, splits={"dev": "val"})
    (root / "v_a.npz").write_bytes(b"PK\x03\x04 and no more")
    with pytest.raises(DataError, match=r"v_a\.npz: it is no \.npy file"):
        build(root, inputs={"x": InputParams(file="v_a.npz")}, splits={"dev": "val"})


def test_text_as_bytes(root):
    split = np.array([b"train", b"train", b"val", b"test"])
    archive(root, x=SOUND, m=np.array(["é".encode(), b"b", b"", b"b"]), split=split)
    source = build(root, "t.npz", inputs=("x",), targets=("m",))
    assert source.splits == ("train", "val", "test")
    assert source.targets["m"].names == ("b", "é")
    assert [source.labels(split, "m") for split in source.splits] == [[1, 0], [None], [0]]


def test_an_archive_without_rows(root):
    archive(root, x=SOUND[:0], m=np.zeros((0, 2)))
    params = {"inputs": ("x",), "targets": {"m": TargetParams(kind="continuous")}}
    raises_and_is_not_described(root, params, r"t\.npz: it has no rows")


def test_an_archive_that_is_none(root):
    (root / "t.npz").write_bytes(b"PK nothing")
    with pytest.raises(DataError, match=r"it is no \.npz file"):
        build(root, "t.npz", inputs=("x",))
    with pytest.raises(DataError, match="there is no such file"):
        build(root, "u.npz", inputs=("x",))


@pytest.mark.parametrize(
    ("column", "message"),
    [
        ([[1.0], [1.0, 2.0]], "`v` has a list of 2 where others have 1"),
        ([[1.0, None], [1.0, 2.0]], "without gaps"),
        ([1.0, 2.0], "allowed: lists of numbers"),
        ([["a"], ["b"]], "`v` holds"),
        ([[1.0], [-1e300]], r"row 1: `v` has -1e\+300 as component 0 of copy 0, which is too large for float32"),
    ],
)
def test_lists_that_are_no_vectors(root, column, message):
    parquet.write_table(pyarrow.table({"v": column}), root / "t.parquet")
    with pytest.raises(DataError, match=message):
        build(root, "t.parquet", inputs=("v",))


def test_settings_that_contradict_each_other():
    params = FeaturesParams(
        path="t.csv",
        inputs={
            "a b": InputParams(),
            "mood": InputParams(),
            "c": InputParams(file="c.npy", files=("d.npy",)),
            "d": InputParams(array="d"),
            "e": InputParams(column="e"),
        },
        targets={"mood": TargetParams(), "m": TargetParams(indices=True), "n": TargetParams(threshold=1.0)},
        group_pattern="[",
    )
    found = [problem.where for problem in FEATURES.check(params, CheckContext())]
    assert found == [
        "/inputs/a b",
        "/inputs/mood",
        "/inputs/c",
        "/inputs/d/array",
        "/inputs/e/column",
        "/targets/m/indices",
        "/targets/n/threshold",
        "/group_pattern",
    ]
    listed = FeaturesParams(path="t.csv", inputs=("a", "b", "a", "c/d"), targets=("b",))
    assert [(problem.where, problem.what) for problem in FEATURES.check(listed, CheckContext())] == [
        ("/inputs/1", 'a target is called "b" too'),
        ("/inputs/2", '"a" is named twice'),
        ("/inputs/3", '"c/d" cannot be the name of a modality'),
    ]
    slashed = FeaturesParams(path="t.csv", inputs={"a/b~c": InputParams(array="d")})
    assert [p.where for p in FEATURES.check(slashed, CheckContext())] == ["/inputs/a~1b~0c", "/inputs/a~1b~0c/array"]
    bare = FeaturesParams(path="t.npz", inputs=(), group_pattern="x")
    assert [problem.where for problem in FEATURES.check(bare, CheckContext())] == [
        "/inputs",
        "/group_pattern",
        "/group_pattern",
    ]


def test_names_that_a_network_cannot_give_its_parts_are_refused():
    for name in ("values", "type", "forward", "_modules", "__init__", "a.b", "", "1a"):
        params = FeaturesParams(path="t.csv", inputs={name: InputParams()})
        (problem,) = FEATURES.check(params, CheckContext())
        assert "cannot be the name of a modality" in problem.what
    assert not list(FEATURES.check(FeaturesParams(path="t.csv", inputs=("value", "Sound_2")), CheckContext()))


def test_facts_are_told_without_torch_and_only_where_the_place_is_certain(root):
    inputs = {"sound": InputParams(width=2)}
    targets = {"mood": TargetParams(), "who": TargetParams(kind="multilabel")}
    params = FeaturesParams(path=str(root / "rows.csv"), inputs=inputs, targets=targets, splits={"dev": "val"})
    assert FEATURES.describe(params) == DataFacts(
        inputs={"sound": (2,)}, targets={"mood": ("happy", "sad"), "who": ()}, splits=("train", "val", "test")
    )
    assert FEATURES.describe(FeaturesParams(path="rows.csv", inputs=inputs)) is None
    assert FEATURES.describe(FeaturesParams(path=str(root / "no.csv"), inputs=inputs)) is None
    given = {"auxlearn": 1, "name": "x", "backbone": {"type": "features"}, "primary": {"m": {"type": "classification"}}}
    given["data"] = {"type": "features", "path": str(root / "rows.csv"), "inputs": ["sound"], "targets": ["mood"]}
    (root / "spec.json").write_text(json.dumps(given))
    code = "import sys; from auxlearn.cli.main import main; c = main(sys.argv[1:]); print('torch' in sys.modules, c)"
    command = [sys.executable, "-c", code, "validate", str(root / "spec.json")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout.split()[-2:] == ["False", "0"], done.stderr


@pytest.mark.skipif(not SHARED.exists(), reason="needs ../shared/data")
def test_ravdess():
    names = ("neutral", "calm", "happy", "sad", "angry", "fearful", "disgust", "surprised")
    source = build(
        SHARED,
        "ravdess-au-mfcc/ravdess_au_mfcc.npz",
        inputs={"video": InputParams(array="video_au", width=35), "audio": InputParams(array="audio_mfcc", width=259)},
        targets={"emotion": TargetParams(classes=names, indices=True), "statement": TargetParams()},
        id_column="clip_id",
        group_column="actor",
    )
    data = prepare(source, DataKeys(split=Split(val=0.1, test=0.2, by="group")), seed=0, batch_size=64)
    assert {split: data.rows(split) for split in data.splits} == {"train": 1020, "val": 120, "test": 300}
    assert data.class_counts["emotion"] == (68, *(136,) * 7)
    with np.load(SHARED / "ravdess-au-mfcc" / "ravdess_au_mfcc.npz") as file:
        held = {*data.source.groups("val"), *data.source.groups("test")}
        rows = [str(actor) not in held for actor in file["actor"]]
        audio = file["audio_mfcc"][rows].astype(np.float64)
    np.testing.assert_allclose(data.source.inputs["audio"].mean, audio.mean(0), rtol=1e-9)
    np.testing.assert_allclose(data.source.inputs["audio"].std, audio.std(0), rtol=1e-9)


@pytest.mark.skipif(not SHARED.exists(), reason="needs ../shared/data")
def test_mosi():
    source = build(
        SHARED,
        "mosi-bclstm/mosi_bclstm.npz",
        inputs={name: InputParams(array=f"{{split}}_{name}") for name in ("text", "audio", "video")},
        targets={"opinion": TargetParams(columns=("{split}_label",), classes=("bad", "good"), indices=True)},
        id_column="{split}_id",
        group_column="{split}_id",
        group_pattern="(.*)_[0-9]+",
    )
    data = prepare(source, DataKeys(split=Split(val=0.1, by="group")), seed=0, batch_size=64)
    assert data.rows("test") == 752
    assert data.rows("train") + data.rows("val") == 1447
    assert len({*data.source.groups("train"), *data.source.groups("val")}) == 62
    assert {name: one.shape for name, one in source.inputs.items()} == {"text": (100,), "audio": (73,), "video": (100,)}
    assert sum(source.labels("test", "opinion")) == 467
