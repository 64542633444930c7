"""`prepare`: splits, folds, fraction, checks and cache together, on real files."""

import csv
import json
import logging
import multiprocessing
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torch.utils.data import Dataset

from auxlearn.data import DataSource, InputShape, TableRow, TableSource, TargetInfo, prepare
from auxlearn.data.cache import Cached, cache_folder
from auxlearn.errors import DataError, EnvironmentProblem, PluginError, SpecError
from auxlearn.spec.models import DataKeys, Folds, Split

SHARED = Path(__file__).parents[3] / "shared" / "data"
NAMES = ("a", "b", "c")


class Vectors(DataSource):
    """Rows in memory: labels, groups and splits as they are given."""

    def __init__(self, labels, groups=None, told=True, same=()):
        self.inputs = {"x": InputShape(shape=(1,), dtype="float32", kind="feature")}
        self.given, self.grouped, self.told, self.same = labels, groups, told, same
        self.targets = {"label": TargetInfo(kind="class", names=NAMES)}
        self.splits = tuple(labels)

    def dataset(self, split):
        return Items(self.given[split])

    def labels(self, split, target):
        return self.given[split] if self.told else None

    def groups(self, split):
        return self.grouped and self.grouped[split]

    def duplicates(self):
        return self.same

    def fingerprint(self):
        return f"{self.given}"


class Items(Dataset):
    """Rows whose only number is their index."""

    def __init__(self, labels):
        self.labels = labels

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, index):
        return {"x": torch.tensor([float(index)]), "label": self.labels[index]}


LABELS = st.lists(st.sampled_from([0, 1, 2, None]), min_size=12, max_size=60).map(
    lambda rest: [0, 0, 0, 1, 1, 1, 2, 2, 2, *rest]
)


def names(prepared, split):
    return [prepared.source.name(split, index) for index in range(prepared.rows(split))]


def test_nothing_asked_for_is_the_source_as_it_is():
    source = Vectors({"train": [0, 1, 2, 1], "val": [0, 1]})
    prepared = prepare(source, DataKeys(), seed=0, batch_size=4)
    assert prepared.splits == ("train", "val")
    assert prepared.class_counts == {"label": (1, 2, 1)}
    assert prepared.drawn is None
    assert names(prepared, "train") == [f"train/{index}" for index in range(4)]


@given(LABELS, st.integers(0, 100))
def test_splits_are_disjoint_complete_and_stratified(labels, seed):
    keys = DataKeys(split=Split(val=0.2, test=0.25, seed=seed))
    source = Vectors({"train": labels})
    prepared = divided(source, keys)
    rows = {split: names(prepared, split) for split in prepared.splits}
    assert sorted(name for found in rows.values() for name in found) == sorted(
        source.name("train", index) for index in range(len(labels))
    )
    total = len(labels)
    assert len(rows["test"]) == round(0.25 * total)
    assert abs(len(rows["val"]) - 0.2 * total) <= 1
    # Of the whole for `test`; of what `test` left, itself off by a row, for the others.
    for split, near in (("test", 1), ("val", 1.5), ("train", 2)):
        counts = Counter(labels[int(name.split("/")[1])] for name in rows[split])
        share = len(rows[split]) / total
        assert all(abs(counts[label] - share * labels.count(label)) < near for label in set(labels))


def divided(source, keys, seed=0):
    """The view without the checks, which would refuse some of the small sets that hypothesis makes."""
    from auxlearn.data.divide import class_labels, divide
    from auxlearn.data.prepare import Prepared

    labels = {split: class_labels(source, split) for split in source.splits}
    division = divide(source, labels, keys, seed)
    view, drawn = division.view, division.drawn
    return Prepared(source=view, keys=keys, seed=seed, class_counts={}, drawn=drawn, fingerprint="")


def test_the_test_split_stays_whatever_val_takes():
    source = Vectors({"train": [0, 1, 2] * 20})
    shares = [divided(source, DataKeys(split=Split(val=val, test=0.2))) for val in (0, 0.1, 0.3)]
    assert len({tuple(names(prepared, "test")) for prepared in shares}) == 1
    assert [prepared.rows("val") if "val" in prepared.splits else 0 for prepared in shares] == [0, 6, 18]


def test_splits_that_exist_are_kept():
    source = Vectors({"train": [0, 1, 2] * 20, "val": [0, 1, 2]})
    prepared = divided(source, DataKeys(split=Split(val=0.2, test=0.1)))
    assert names(prepared, "val") == ["val/0", "val/1", "val/2"]
    assert prepared.rows("test") == 6


@pytest.mark.parametrize(
    "keys", [DataKeys(split=Split(val=0.3, by="group")), DataKeys(folds=Folds(count=3, index=1, by="group"))]
)
def test_groups_stay_whole(keys):
    groups = [f"g{index % 7}" for index in range(40)]
    prepared = divided(Vectors({"train": [0, 1, 2, 0] * 10}, {"train": groups}), keys)
    inside = {split: set(prepared.source.groups(split)) for split in ("train", "val")}
    assert not inside["train"] & inside["val"]
    assert inside["train"] | inside["val"] == set(groups)


def test_folds_divide_train_and_val_anew():
    source = Vectors({"train": [0, 1, 2] * 6, "val": [0, 1, 2] * 4, "test": [0, 1, 2]})
    seen = []
    for index in range(5):
        prepared = divided(source, DataKeys(folds=Folds(count=5, index=index), split=Split(val=0.3)))
        seen += names(prepared, "val")
        assert prepared.rows("val") == 6
        assert prepared.rows("test") == 3
        assert not set(names(prepared, "train")) & set(names(prepared, "val"))
        ids = [int(row) for batch in prepared.eval_loader("val", 4) for row in batch.inputs["x"][:, 0]]
        assert ids == [int(name.split("/")[1]) for name in names(prepared, "val")]
    assert sorted(seen) == sorted([f"train/{i}" for i in range(18)] + [f"val/{i}" for i in range(12)])


def test_the_fraction_is_drawn_from_train_and_told():
    source = Vectors({"train": [0] * 60 + [1] * 30 + [2] * 10, "val": [0, 1, 2]})
    small, large = (prepare(source, DataKeys(fraction=f), seed=4) for f in (0.1, 0.5))
    assert small.class_counts == {"label": (6, 3, 1)}
    assert small.drawn == tuple(names(small, "train"))
    assert set(small.drawn) < set(large.drawn)
    assert small.rows("val") == 3
    assert prepare(source, DataKeys(fraction=0.1), seed=5).drawn != small.drawn
    assert prepare(source, DataKeys(fraction=0.1, fraction_seed=4), seed=5).drawn == small.drawn
    assert len({small.fingerprint, large.fingerprint, prepare(source, DataKeys(), seed=4).fingerprint}) == 3


def test_labels_that_the_source_does_not_tell_are_read():
    source = Vectors({"train": [0, 1, None, 2] * 5}, told=False)
    assert prepare(source, DataKeys(), seed=0).class_counts == {"label": (5, 5, 5)}


def test_balanced_sampling():
    source = Vectors({"train": [0] * 90 + [1] * 9 + [2]})
    prepared = prepare(source, DataKeys(sampling="balanced"), seed=0)
    batches = iter(prepared.train_loader(100))
    counts = sum(next(batches).targets["label"].bincount(minlength=3) for _ in range(20))
    assert (counts / 2000 - 1 / 3).abs().max() < 0.06


def problems_of(source, keys=None, **given):
    with pytest.raises(DataError) as caught:
        prepare(source, keys or DataKeys(), seed=0, **given)
    assert caught.value.exit_code == 4
    assert all(problem.exit_code == 4 for problem in caught.value.problems)
    return [str(problem) for problem in caught.value.problems]


GOOD = [0, 1, 2]


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ({"val": GOOD}, "train: the data has no split `train`"),
        ({"train": [], "val": GOOD}, "train: the split is empty"),
        ({"train": GOOD, "val": []}, "val: the split is empty"),
        ({"train": [0, 1, 3]}, "train/2: `label` is 3, which is no index of a class; allowed: 0 to 2"),
        ({"train": [0, 1, -1]}, "train/2: `label` is -1"),
        ({"train": [0, 1, -100]}, "train/2: `label` is -100"),
        ({"train": [0, 1, float("nan")]}, "train/2: `label` is nan"),
        ({"train": [0, 1, "07"]}, "train/2: `label` is '07'"),
        ({"train": [0, 1, True]}, "train/2: `label` is True"),
        ({"train": [0, 1, [2]]}, "train/2: `label` is [2]"),
        ({"train": [None, None]}, "train: no row has a label of `label`"),
        ({"train": [0, 1], "val": [2]}, 'train: no row has class "c" of `label`, but val (1 row)'),
    ],
)
def test_what_is_wrong_is_told(labels, expected):
    assert problems_of(Vectors(labels))[0].startswith(expected)


def test_a_batch_larger_than_the_data():
    assert problems_of(Vectors({"train": GOOD}), batch_size=4)[0].startswith("train: 3 rows cannot fill a batch of 4")


def test_a_class_that_nobody_has_is_a_note():
    assert prepare(Vectors({"train": [0, 1]}), DataKeys(), seed=0).notes == (
        'No row has class "c" of `label`, in any split.',
    )


def test_numpy_and_torch_labels_are_fine():
    labels = [np.int64(0), torch.tensor(1), 2]
    assert prepare(Vectors({"train": labels}), DataKeys(), seed=0).class_counts == {"label": (1, 1, 1)}


def test_all_problems_come_together():
    found = problems_of(
        Vectors({"train": [0, 1], "val": [2], "test": []}, {"train": ["p", "q"], "val": ["p"], "test": []}),
        batch_size=8,
    )
    assert [line.split(";")[0] for line in found] == [
        "test: the split is empty",
        "train: 2 rows cannot fill a batch of 8",
        'train: no row has class "c" of `label`, but val (1 row)',
        "group p: stands in train (1 row) and val (1 row)",
    ]


def test_leaks_are_found_all_of_them_and_may_be_allowed():
    same = [[("train", index), ("val", index)] for index in range(0, 100, 7)]
    source = Vectors({"train": [0, 1, 2] * 40, "val": [0, 1, 2] * 40}, same=same)
    found = problems_of(source)
    assert found[0].startswith(
        "train/0: the same input stands in train (train/0) and val (val/0); fix: remove all but one"
    )
    assert found[-1] == "5 more of this kind: inputs in two splits"
    assert len(found) == 11
    assert len(prepare(source, DataKeys(allow_leaks=True), seed=0).notes) == 11


def test_a_split_by_stratum_that_divides_groups_is_a_leak():
    source = Vectors({"train": [0, 1, 2] * 10}, {"train": [f"g{index % 3}" for index in range(30)]})
    assert "divide by group" in problems_of(source, DataKeys(split=Split(val=0.2)))[0]
    whole = Vectors({"train": [0, 1, 2] * 10}, {"train": [f"g{index // 3}" for index in range(30)]})
    assert prepare(whole, DataKeys(split=Split(val=0.2, by="group")), seed=0).rows("val") == 6


def test_duplicates_that_a_split_leaves_together_are_no_leak():
    source = Vectors({"train": [0, 1, 2] * 10}, same=[[("train", 0), ("train", 1)]])
    prepared = prepare(source, DataKeys(), seed=0)
    assert prepared.source.duplicates() == [[("train", 0), ("train", 1)]]


@pytest.mark.parametrize(
    ("keys", "error", "message"),
    [
        (DataKeys(split=Split(target="lable")), SpecError, r'^/data/split/target: .*did you mean "label"'),
        (DataKeys(folds=Folds(target="x")), SpecError, "^/data/folds/target"),
        (DataKeys(split=Split(val=0.6, test=0.5)), SpecError, "^/data/split: "),
        (DataKeys(folds=Folds(count=3, index=3)), SpecError, "^/data/folds/index: there is no fold 3; allowed: 0 to 2"),
        (
            DataKeys(split=Split(by="group")),
            DataError,
            "^/data/split/by: the data has no groups; allowed: stratum, random",
        ),
        (DataKeys(folds=Folds(by="group")), DataError, "^/data/folds/by: the data has no groups"),
    ],
)
def test_keys_that_the_data_cannot_follow(keys, error, message):
    with pytest.raises(error, match=message):
        prepare(Vectors({"train": [0, 1, 2] * 10}), keys, seed=0)


def test_too_few_groups():
    source = Vectors({"train": GOOD}, {"train": ["a", "a", "a"]})
    with pytest.raises(DataError, match="1 groups cannot be divided into 2 parts"):
        prepare(source, DataKeys(split=Split(by="group")), seed=0)


@pytest.fixture
def images(tmp_path):
    """Thirty small images in two splits, some rows without a label."""
    rows = []
    for index in range(30):
        pixels = np.random.default_rng(index).integers(0, 256, (9, 12, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{index}.png")
        mood = None if index % 5 == 0 else NAMES[index % 3]
        rows.append(TableRow(path=f"{index}.png", split="val" if index > 23 else "train", targets={"mood": mood}))
    return TableSource(rows, root=tmp_path, targets={"mood": TargetInfo(kind="class", names=NAMES)}, size=8)


def same_batches(one, other):
    for left, right in zip(one, other, strict=True):
        assert torch.equal(left.image, right.image)
        assert torch.equal(left.targets["mood"], right.targets["mood"])
        assert torch.equal(left.has("mood"), right.has("mood"))
        assert torch.equal(left.ids, right.ids)


@pytest.mark.parametrize("changes", [{}, {"fraction": 0.5}, {"folds": Folds(count=3)}, {"workers": 1}])
def test_the_cache_changes_nothing(images, tmp_path, changes):
    plain = prepare(images, DataKeys(**changes), seed=0)
    cached = prepare(images, DataKeys(cache="memmap", cache_dir=str(tmp_path / "cache"), **changes), seed=0)
    same_batches(plain.eval_loader("val", 4), cached.eval_loader("val", 4))
    same_batches(plain.eval_loader("train", 4), cached.eval_loader("train", 4))
    ours, theirs = iter(plain.train_loader(5)), iter(cached.train_loader(5))
    same_batches([next(ours) for _ in range(9)], [next(theirs) for _ in range(9)])
    assert plain.fingerprint == cached.fingerprint


def caches(folder):
    return sorted(path for path in folder.iterdir() if path.is_dir())


def test_the_cache_is_made_once_and_holds_no_pickle(images, tmp_path):
    keys = DataKeys(cache="memmap", cache_dir=str(tmp_path / "cache"))
    prepare(images, keys, seed=0)
    made = caches(tmp_path / "cache")
    assert [path.name.split("-")[0] for path in made] == ["train", "val"]
    times = [path.stat().st_mtime_ns for folder in made for path in folder.iterdir()]
    for path in made[0].glob("*.npy"):
        np.load(path, allow_pickle=False)
    assert json.loads((made[0] / "meta.json").read_text())["rows"] == 24
    prepare(images, keys, seed=1)
    assert times == [path.stat().st_mtime_ns for folder in made for path in folder.iterdir()]


def test_other_sizes_and_changed_images_have_caches_of_their_own(images, tmp_path):
    folder = tmp_path / "cache"
    Cached(images, folder).dataset("val")
    rows = [row for split in images.splits for row in images._rows[split]]
    Cached(TableSource(rows, root=tmp_path, targets=images.targets, size=6), folder).dataset("val")
    Image.new("RGB", (8, 8), "red").save(tmp_path / "29.png")
    changed = Cached(TableSource(rows, root=tmp_path, targets=images.targets, size=8), folder).dataset("val")
    assert changed[5]["image"][:, 0, 0].tolist() == [255, 0, 0]
    assert len(caches(folder)) == 3


def damage_truncate(folder):
    path = next(folder.glob("inputs*.npy"))
    path.write_bytes(path.read_bytes()[:-1])


def damage_header(folder):
    next(folder.glob("inputs*.npy")).write_bytes(b"no array at all")


def damage_missing(folder):
    next(folder.glob("targets*.npy")).unlink()


def damage_meta(folder):
    (folder / "meta.json").write_text("{")


def damage_swap(folder):
    np.save(next(folder.glob("inputs*.npy")), np.zeros((6, 3, 9, 9), dtype=np.uint8))


@pytest.mark.parametrize("damage", [damage_truncate, damage_header, damage_missing, damage_meta, damage_swap])
def test_a_damaged_cache_is_made_again(images, tmp_path, damage):
    good = Cached(images, tmp_path / "cache").dataset("val").__getitems__(range(6))
    damage(caches(tmp_path / "cache")[0])
    again = Cached(images, tmp_path / "cache").dataset("val").__getitems__(range(6))
    assert np.array_equal(good["image"], again["image"])
    assert len(caches(tmp_path / "cache")) == 1


def test_what_a_killed_process_left_is_cleared_away(images, tmp_path):
    Cached(images, tmp_path / "cache").dataset("val")
    final = caches(tmp_path / "cache")[0]
    (tmp_path / "cache" / f".{final.name}.abc").mkdir()
    (final / "meta.json").unlink()
    Cached(images, tmp_path / "cache").dataset("val")
    assert caches(tmp_path / "cache") == [final]


def make(source, folder, queue):
    queue.put(Cached(source, folder).dataset("train").__getitems__([0, 7])["image"].tobytes())


def test_two_processes_make_one_cache(images, tmp_path):
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    processes = [context.Process(target=make, args=(images, tmp_path / "cache", queue)) for _ in range(2)]
    for process in processes:
        process.start()
    assert queue.get(timeout=60) == queue.get(timeout=60)
    for process in processes:
        process.join()
    assert len(caches(tmp_path / "cache")) == 1


def test_all_damaged_images_are_told_before_training(images, tmp_path):
    for index in (2, 3, 27):
        whole = (tmp_path / f"{index}.png").read_bytes()
        (tmp_path / f"{index}.png").write_bytes(whole[: len(whole) - 40])
    keys = DataKeys(cache="memmap", cache_dir=str(tmp_path / "cache"))
    found = problems_of(images, keys)
    assert [Path(line.split(":")[0]).name for line in found] == ["2.png", "3.png", "27.png"]
    assert caches(tmp_path / "cache") == []


def test_a_source_without_a_fingerprint_cannot_be_cached(tmp_path):
    source = Vectors({"train": GOOD})
    source.fingerprint = lambda: ""
    with pytest.raises(DataError, match="no fingerprint"):
        prepare(source, DataKeys(cache="memmap", cache_dir=str(tmp_path)), seed=0)


def test_a_folder_that_cannot_be_written(images, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(EnvironmentProblem, match="the cache cannot be written"):
        Cached(images, tmp_path / "file" / "cache").dataset("val")


def test_a_full_disk_is_told_beforehand(images, tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda folder: type("Usage", (), {"free": 10}))
    with pytest.raises(EnvironmentProblem, match="the cache needs"):
        Cached(images, tmp_path / "cache").dataset("val")
    assert caches(tmp_path / "cache") == []


def test_the_place_of_caches(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "auxlearn"
    assert cache_folder("here") == Path("here")


def test_making_a_cache_is_logged(images, tmp_path, caplog):
    with caplog.at_level(logging.INFO):
        Cached(images, tmp_path / "cache").dataset("val")
    assert "Decoding 6 rows of `val`" in caplog.text


@pytest.mark.skipif(not SHARED.exists(), reason="needs ../shared/data")
def test_a_real_set(tmp_path):
    with open(SHARED / "fairface-540" / "manifest.csv", newline="") as file:
        lines = list(csv.DictReader(file))
    rows = [TableRow(path=line["path"], split=line["split"], targets={"gender": line["gender"]}) for line in lines]
    targets = {"gender": TargetInfo(kind="class", names=("female", "male"))}
    source = TableSource(rows, root=SHARED / "fairface-540", targets=targets, size=32)
    prepared = prepare(source, DataKeys(fraction=0.2, cache="memmap", cache_dir=str(tmp_path)), seed=0, batch_size=32)
    assert prepared.class_counts == {"gender": (34, 34)}
    assert sum(len(batch) for batch in prepared.eval_loader("test", 50)) == 108
    assert next(iter(prepared.train_loader(32))).image.float().std() > 20


def test_rows_to_remember_have_a_label_whether_the_source_tells_ahead_or_not():
    rows = {"train": [0, None, 1, None, None, 2, 0, None] * 4}
    prepared = [prepare(Vectors(rows, told=told), DataKeys(), seed=3) for told in (True, False)]
    for count in (None, 5):
        told, read = (one.draw("label", count) for one in prepared)
        assert told == read
        assert all(rows["train"][row] is not None for row in read)
        assert len(read) == (count or 16)


@pytest.mark.parametrize(
    ("method", "given", "told"),
    [
        ("labels", [0], "should return 4 entries, one for each row of train, it returned 1"),
        ("labels", "0011", "should return a sequence or None, it returned str '0011'"),
        ("labels", iter([0]), "should return a sequence or None, it returned list_iterator"),
        ("groups", ["a"], "should return 4 entries, one for each row of train, it returned 1"),
        ("fingerprint", None, "should return a str, it returned None"),
    ],
)
def test_what_a_source_tells_has_the_right_form(method, given, told):
    source = Vectors({"train": [0, 1, 1, 2]})
    setattr(source, method, lambda *_: given)
    with pytest.raises(PluginError, match=f"data source .*test_prepare.Vectors: `{method}` {told}"):
        prepare(source, DataKeys(split=Split(val=0.5, by="group")) if method == "groups" else DataKeys(), seed=0)
