"""`table`: columns, targets of every kind, and what is wrong with a manifest."""

import builtins
import hashlib
from pathlib import Path

import pyarrow
import pytest
from PIL import Image
from pyarrow import parquet

from auxlearn.data import DataContext, prepare
from auxlearn.errors import DataError, PluginError
from auxlearn.registry import CheckContext, DataFacts
from auxlearn.spec.models import DataKeys
from auxlearn_tables import TableParams, TargetParams, auxlearn_data_sources

SHARED = Path(__file__).parents[4] / "shared" / "data"
TABLE = next(provider for provider in auxlearn_data_sources() if provider.name == "table")


@pytest.fixture
def root(tmp_path):
    """A folder with images a.png to d.png."""
    for index, name in enumerate("abcd"):
        Image.new("RGB", (8, 8), (index, 0, 0)).save(tmp_path / f"{name}.png")
    return tmp_path


def write(root, text, name="m.csv"):
    (root / name).write_text(text, encoding="utf-8")
    return root


def build(folder, targets=(), path="m.csv", **params):
    return TABLE.build(TableParams(path=path, targets=targets, **params), DataContext(size=8, root=str(folder)))


def test_classes_splits_groups_and_checksums(root):
    sums = {name: hashlib.sha256((root / f"{name}.png").read_bytes()).hexdigest() for name in "abc"}
    lines = [f"a.png,sad,train,p,{sums['a']}", f"b.png,,valid,,{sums['b']}", f"c.png,happy,Final,q,{sums['c']}"]
    write(root, "\n".join(["path,mood,split,who,sum", *lines, ""]))
    source = build(root, ("mood",), group_column="who", checksum_column="sum", splits={"Final": "test"})
    assert source.splits == ("train", "val", "test")
    assert source.targets["mood"].names == ("happy", "sad")
    assert [source.labels(split, "mood") for split in source.splits] == [[1], [None], [0]]
    assert [source.groups(split) for split in source.splits] == [["p"], [None], ["q"]]
    source.check()
    Image.new("RGB", (8, 8), "red").save(root / "b.png")
    with pytest.raises(DataError, match=r'm\.csv line 3: path "b\.png" does not have the checksum'):
        source.check()


def test_without_a_split_column_all_rows_are_train(root):
    assert build(write(root, "path\na.png\nb.png\n")).splits == ("train",)


def test_targets_of_every_kind(root):
    write(root, "path,mood,marks,yaw,pitch,age\na.png,7,x | y,1.5,-2,30\nb.png,10,z,,3,\nc.png,7,,0,0,1e1\n")
    targets = {
        "mood": TargetParams(),
        "marks": TargetParams(kind="multilabel"),
        "pose": TargetParams(kind="continuous", columns=("yaw", "pitch"), unit="degree"),
        "age": TargetParams(kind="continuous"),
    }
    source = build(root, targets)
    assert source.targets["mood"].names == ("7", "10")
    assert (source.targets["marks"].names, source.targets["marks"].shape) == (("x", "y", "z"), (3,))
    assert (source.targets["pose"].names, source.targets["pose"].unit) == (("yaw", "pitch"), "degree")
    items = [source.dataset("train")[index] for index in range(3)]
    assert [int(item["mood"]) for item in items] == [0, 1, 0]
    assert [item["marks"].tolist() if "marks" in item else None for item in items] == [[1, 1, 0], [0, 0, 1], None]
    assert [item["pose"].tolist() if "pose" in item else None for item in items] == [[1.5, -2], None, [0, 0]]
    assert [float(item["age"]) if "age" in item else None for item in items] == [30, None, 10]


def test_declared_classes(root):
    write(root, "path,mood\na.png,sad\nb.png,happy\nc.png,angry\n")
    assert build(root, {"mood": TargetParams(classes=("sad", "happy", "angry"))}).labels("train", "mood") == [0, 1, 2]
    chosen = {"classes": ("sad", "happy")}
    assert build(root, {"mood": TargetParams(others="drop", **chosen)}).labels("train", "mood") == [0, 1]
    assert build(root, {"mood": TargetParams(others="unlabelled", **chosen)}).labels("train", "mood") == [0, 1, None]
    with pytest.raises(DataError, match=r'm\.csv line 4: `mood` has no class "angry"; allowed: sad, happy'):
        build(root, {"mood": TargetParams(**chosen)})


def test_tabs_byte_order_mark_quotes_and_empty_lines(root):
    write(root, '\ufeffpath\tmood\n"a.png"\t"very\tsad"\n\nb.png\thappy\n', "m.tsv")
    source = build(root, ("mood",), path="m.tsv")
    assert source.targets["mood"].names == ("happy", "very\tsad")
    write(root, "\ufeffpath,mood\r\na.png,sad\r\n")
    assert build(root, ("mood",)).targets["mood"].names == ("sad",)


def test_the_root_may_be_elsewhere(root, tmp_path_factory):
    elsewhere = write(tmp_path_factory.mktemp("manifest"), "path\na.png\n")
    build(elsewhere, root=str(root)).check()
    with pytest.raises(DataError, match=r'"a\.png" is missing'):
        build(elsewhere).check()


def test_parquet_with_typed_cells(root):
    cells = {
        "path": ["a.png", "b.png", "c.png"],
        "mood": [3, None, 11],
        "marks": [["x"], [], None],
        "age": [1.5, 2.0, None],
        "split": ["train", "val", "train"],
    }
    parquet.write_table(pyarrow.table(cells), root / "m.parquet")
    targets = {
        "mood": TargetParams(),
        "marks": TargetParams(kind="multilabel"),
        "age": TargetParams(kind="continuous"),
    }
    source = build(root, targets, path="m.parquet")
    assert source.targets["mood"].names == ("3", "11")
    assert source.labels("train", "mood") == [0, 1]
    assert source.dataset("val")[0]["marks"].tolist() == [0]
    assert set(source.dataset("train")[1]) == {"image", "mood"}


def test_parquet_without_pyarrow(root, monkeypatch):
    (root / "m.parquet").write_bytes(b"")
    load = builtins.__import__

    def refuse(name, *rest):
        if name == "pyarrow":
            raise ImportError(name)
        return load(name, *rest)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(PluginError, match=r"pip install 'auxlearn-tables\[parquet\]'"):
        build(root, path="m.parquet")


def test_damaged_parquet(root):
    (root / "m.parquet").write_bytes(b"PAR1 nothing")
    with pytest.raises(DataError, match="cannot be read as Parquet"):
        build(root, path="m.parquet")


@pytest.mark.parametrize(
    ("text", "params", "message"),
    [
        ("", {}, "it has no rows"),
        ("path\n", {}, "it has no rows"),
        ("file\na.png\n", {}, r'there is no column "path" \(`path_column`\); allowed: file'),
        (
            "path,mod\na.png,x\n",
            {"targets": ("mood",)},
            r'"mood" \(`targets/mood`\); allowed: path, mod; did you mean "mod"',
        ),
        ("path\na.png\n", {"split_column": "set"}, r'"set" \(`split_column`\)'),
        ("path\na.png\n", {"group_column": "who"}, r'"who" \(`group_column`\)'),
        ("path,path\na.png,b.png\n", {}, "two columns are called path"),
        ("path,mood\na.png\n", {}, "^m.csv line 2: 1 cells; allowed: 2, as the head has"),
        ("path,mood\na.png,x,y\n", {}, "^m.csv line 2: 3 cells"),
        ('path,mood\n"a.png,x\n', {}, "cannot be read as text with columns"),
        ("path,split\na.png,\n", {}, "^m.csv line 2: the cell `split` is empty"),
        ("path,mood\n,x\n", {}, "^m.csv line 2: the cell `path` is empty"),
        ("path\n../a.png\n", {}, r'^m.csv line 2: path "\.\./a\.png" leads out of the root'),
        ("path,age\na.png,old\n", {"targets": {"age": TargetParams(kind="continuous")}}, "line 2: `age` is 'old'"),
        (
            "path,age\na.png,nan\n",
            {"targets": {"age": TargetParams(kind="continuous")}},
            "`age` is nan; allowed: finite",
        ),
    ],
)
def test_what_is_wrong_is_told_with_its_line(root, text, params, message):
    with pytest.raises(DataError, match=message):
        build(write(root, text), **params)


def test_files_that_are_no_manifest(root):
    (root / "m.csv").write_bytes(b"path\n\xff\xfe\n")
    with pytest.raises(DataError, match="cannot be read as text"):
        build(root)
    with pytest.raises(DataError, match="there is no such file"):
        build(root, path="none.csv")
    with pytest.raises(DataError, match=r"its ending is \.xlsx; allowed: \.csv, \.tsv, \.parquet"):
        build(root, path="m.xlsx")
    (root / "folder.csv").mkdir()
    with pytest.raises(DataError, match="there is no such file"):
        build(root, path="folder.csv")


def test_facts_are_told_only_where_the_place_is_certain(root, monkeypatch):
    write(root, "path,mood,age,split\na.png,sad,1,train\nb.png,glad,2,valid\n")
    targets = {"mood": TargetParams(), "age": TargetParams(kind="continuous")}
    facts = TABLE.describe(TableParams(path=str(root / "m.csv"), targets=targets))
    assert facts == DataFacts(targets={"mood": ("glad", "sad"), "age": ()}, splits=("train", "val"))
    monkeypatch.chdir(root)
    assert TABLE.describe(TableParams(path="m.csv")) is None
    assert TABLE.describe(TableParams(path=str(root / "none.csv"))) is None
    assert TABLE.describe(TableParams(path=str(root / "m.csv"), targets=("mod",))) is None


def test_classes_by_index(root):
    write(root, "path,mood\na.png,1\nb.png,0\nc.png,\nd.png,1.0\n")
    target = TargetParams(classes=("sad", "happy"), indices=True)
    assert build(root, {"mood": target}).labels("train", "mood") == [1, 0, None, 1]
    for cell in ("2", "-1", "0.5", "happy", "nan", "inf"):
        write(root, f"path,mood\na.png,{cell}\n")
        with pytest.raises(DataError, match=rf'm\.csv line 2: `mood` has no class "index {cell}"; allowed: sad, happy'):
            build(root, {"mood": target})
    write(root, "path,mood\na.png,1\nb.png,7\n")
    some = TargetParams(classes=("sad", "happy"), indices=True, others="drop")
    assert build(root, {"mood": some}).labels("train", "mood") == [1]


def test_labels_by_threshold(root):
    write(root, "path,joy,fear\na.png,0.2,0\nb.png,0,3\nc.png,,1\n")
    target = TargetParams(kind="multilabel", columns=("joy", "fear"), threshold=0.0)
    source = build(root, {"feelings": target})
    assert source.targets["feelings"].names == ("joy", "fear")
    items = [source.dataset("train")[index] for index in range(3)]
    assert [item["feelings"].tolist() if "feelings" in item else None for item in items] == [[1, 0], [0, 1], None]
    write(root, "path,joy,fear\na.png,0.2,low\n")
    with pytest.raises(DataError, match="line 2: `feelings` is 'low'"):
        build(root, {"feelings": target})
    parquet.write_table(pyarrow.table({"path": ["a.png", "b.png"], "f": [[0.1, 2.0], [1.0, 1.0]]}), root / "m.parquet")
    listed = TargetParams(kind="multilabel", columns=("f",), threshold=1.0, classes=("x", "y"))
    source = build(root, {"f": listed}, path="m.parquet")
    assert [source.dataset("train")[index]["f"].tolist() for index in range(2)] == [[0, 1], [0, 0]]
    short = TargetParams(kind="multilabel", columns=("f",), threshold=1.0)
    with pytest.raises(DataError, match="target f: 2 numbers a row and 1 names; fix: name every label"):
        build(root, {"f": short}, path="m.parquet")


def test_numbers_in_a_list(root):
    parquet.write_table(pyarrow.table({"path": ["a.png", "b.png"], "p": [None, [1.0, 1.5]]}), root / "m.parquet")
    source = build(root, {"p": TargetParams(kind="continuous")}, path="m.parquet")
    assert (source.targets["p"].shape, source.targets["p"].names) == ((2,), ())
    assert source.dataset("train")[1]["p"].tolist() == [1, 1.5]


def test_targets_declared_against_themselves():
    targets = {
        "a": TargetParams(columns=("x", "y")),
        "b/c": TargetParams(kind="continuous", classes=("x",)),
        "d": TargetParams(classes=("x", "x")),
        "e": TargetParams(kind="continuous", columns=("x", "y")),
        "f": TargetParams(kind="multilabel", columns=("x", "y"), threshold=0.0),
        "g": TargetParams(threshold=0.0),
        "h": TargetParams(indices=True),
    }
    found = list(TABLE.check(TableParams(path="m.csv", targets=targets), CheckContext()))
    assert [problem.where for problem in found] == [
        *("/targets/a/columns", "/targets/b~1c/classes", "/targets/d/classes"),
        *("/targets/g/threshold", "/targets/h/indices"),
    ]


@pytest.mark.skipif(not SHARED.exists(), reason="needs ../shared/data")
@pytest.mark.parametrize(
    ("path", "params", "counts"),
    [
        ("fairface-540/manifest.csv", {"targets": ("gender", "age")}, {"gender": (171, 171), "age": (38,) * 9}),
        (
            "muxspace-expr/manifest.csv",
            {"targets": ("expression",), "group_column": "subject"},
            {"expression": (155, 101, 15, 1012, 1021, 160, 234)},
        ),
    ],
)
def test_real_sets(path, params, counts):
    source = TABLE.build(TableParams(path=path, **params), DataContext(size=32, root=str(SHARED)))
    data = prepare(source, DataKeys(), seed=0, batch_size=32)
    assert data.class_counts == counts
    assert data.notes == ()
    assert sum(len(batch) for batch in data.eval_loader("val", 64)) == data.rows("val")
