"""`FeatureSource`: which numbers a row shows, which copies are drawn, and what the engine makes of its splits."""

import pickle

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from auxlearn.data import DataContext, TargetInfo, prepare
from auxlearn.errors import DataError
from auxlearn.spec.models import DataKeys, Folds, Split
from auxlearn_features import FeatureSource, FeaturesParams, FeatureTarget
from auxlearn_features.build import build_features

KIND = TargetInfo(kind="class", names=("a", "b"))


def table(rows=40, copies=1, width=3, seed=0, *, lacking=0.3, shown=1, splits=("train", "train", "val")):
    """A source of two modalities, and their arrays: component 0 is the row, component 1 the copy."""
    draws = np.random.default_rng(seed)
    arrays = {}
    for number, name in enumerate(("sound", "text")):
        values = draws.standard_normal((rows, copies, width + number)).astype(np.float32)
        values[:, :, 0] = np.arange(rows)[:, None]
        values[:, :, 1] = np.arange(copies)
        arrays[name] = values
    arrays["sound"][draws.random(rows) < lacking] = np.nan
    split = [splits[i] for i in draws.integers(len(splits), size=rows)]
    labels = FeatureTarget(KIND, draws.integers(2, size=rows), draws.random(rows) < 0.8)
    groups = [f"g{i % 7}" for i in range(rows)]
    given = {name: array if copies > 1 else array[:, 0] for name, array in arrays.items()}
    source = FeatureSource(given, split=split, targets={"kind": labels}, groups=groups, copies=shown)
    return source, arrays, np.array(split), labels


@settings(max_examples=25)
@given(st.integers(0, 99), st.lists(st.integers(0, 30), min_size=1, max_size=9))
def test_rows_are_those_of_the_arrays_whether_read_whole_or_one_by_one(seed, wanted):
    source, arrays, split, labels = table(120, seed=seed)
    rows = np.flatnonzero(split == "train")
    data = source.dataset("train")
    assert len(data) == len(rows)
    whole = data.__getitems__(wanted)
    for place, index in enumerate(wanted):
        row, item = rows[index], data[index]
        assert torch.equal(whole["text"][place], torch.from_numpy(arrays["text"][row, 0]))
        assert torch.equal(item["text"], whole["text"][place])
        there = not np.isnan(arrays["sound"][row]).any()
        assert ("sound" in item) == bool(whole["present"]["inputs/sound"][place]) == there
        assert ("kind" in item) == bool(whole["present"]["targets/kind"][place]) == bool(labels.present[row])
        assert source.labels("train", "kind")[index] == (int(labels.values[row]) if labels.present[row] else None)
        assert source.groups("train")[index] == f"g{row % 7}"


@settings(max_examples=15)
@given(st.integers(0, 99))
def test_order_of_rows_in_the_file_changes_neither_statistics_nor_rows(seed):
    source, arrays, split, _ = table(seed=seed)
    order = np.random.default_rng(seed).permutation(len(split))
    other = FeatureSource({n: a[order, 0] for n, a in arrays.items()}, split=[split[i] for i in order])
    for name, shape in source.inputs.items():
        np.testing.assert_allclose(shape.mean, other.inputs[name].mean, rtol=1e-12)
        np.testing.assert_allclose(shape.std, other.inputs[name].std, rtol=1e-12)
    for part in source.splits:
        mine = {float(source.dataset(part)[i]["text"][0]) for i in range(len(source.dataset(part)))}
        assert mine == {float(other.dataset(part)[i]["text"][0]) for i in range(len(other.dataset(part)))}


def test_statistics_are_those_of_the_rows_that_are_trained_on():
    source, arrays, _, _ = table(200, splits=("train",))
    data = prepare(source, DataKeys(split=Split(val=0.2, test=0.2, by="group")), seed=3, batch_size=8)
    groups = [set(data.source.groups(split)) for split in ("train", "val", "test")]
    assert sum(map(len, groups)) == len(set.union(*groups)) == 7
    rows = [int(x) for batch in data.eval_loader("train", 32) for x in batch.inputs["text"][:, 0]]
    sound = arrays["sound"][rows, 0].astype(np.float64)
    mean, std = np.nanmean(sound, 0), np.nanstd(sound, 0)
    np.testing.assert_allclose(data.source.inputs["sound"].mean, mean, rtol=1e-9)
    np.testing.assert_allclose(data.source.inputs["sound"].std, std, rtol=1e-9)
    for batch in data.eval_loader("test", 16):
        lacking = ~batch.present["inputs/sound"]
        np.testing.assert_allclose(batch.inputs["sound"][lacking], np.broadcast_to(mean, (lacking.sum(), 3)), rtol=1e-6)


def draws_of(source, *, workers=0, seed=0, steps=12, keys=None):
    data = prepare(source, keys or DataKeys(workers=workers, allow_leaks=True), seed=seed, batch_size=8)
    batches = iter(data.train_loader(8))
    found = [next(batches) for _ in range(steps)]
    return torch.cat([b.ids for b in found]), {n: torch.cat([b.inputs[n] for b in found]) for n in source.inputs}


def test_copies_are_drawn_without_replacement_each_modality_on_its_own_and_anew():
    source, _, _, _ = table(60, copies=4, shown=2, lacking=0, splits=("train",))
    ids, found = draws_of(source, steps=7 * 20)
    copies = {name: values[:, :, 1].long() for name, values in found.items()}
    assert {name: shape.shape for name, shape in source.inputs.items()} == {"sound": (2, 3), "text": (2, 4)}
    for name, drawn in copies.items():
        assert (drawn[:, 0] != drawn[:, 1]).all()
        assert torch.equal(found[name][:, 0, 0], ids.float())
        # Each of the 12 ordered pairs: a row's share is 1/12, with a standard error of 0.008.
        share = torch.bincount(drawn[:, 0] * 4 + drawn[:, 1], minlength=16) / len(drawn)
        expected = torch.full((4, 4), 1 / 12).fill_diagonal_(0).flatten()
        assert (share - expected).abs().max() < 5 * 0.0083
    agree = (copies["sound"][:, 0] == copies["text"][:, 0]).float().mean()
    assert abs(float(agree) - 0.25) < 5 * 0.013
    first = {int(i): copies["text"][(ids == i).nonzero()[:, 0]].tolist() for i in ids.unique()}
    assert all(len({tuple(pair) for pair in pairs}) > 1 for pairs in first.values())


@pytest.mark.parametrize("shown", [1, 2])
def test_drawn_copies_do_not_depend_on_workers(shown):
    ids, alone = draws_of(table(copies=4, shown=shown)[0])
    for workers in (1, 2):
        same, shared = draws_of(table(copies=4, shown=shown)[0], workers=workers)
        assert torch.equal(ids, same)
        assert all(torch.equal(alone[name], shared[name]) for name in alone)
    _, other = draws_of(table(copies=4, shown=shown)[0], seed=1)
    assert not torch.equal(alone["text"], other["text"])


def test_scoring_shows_the_first_copies_of_whatever_rows():
    source, _, _, _ = table(copies=4, shown=2, lacking=0)
    for folds in (None, Folds(count=3, index=1, by="random")):
        data = prepare(source, DataKeys(folds=folds, allow_leaks=True), seed=0, batch_size=4)
        for batch in data.eval_loader("val", 8):
            assert torch.equal(batch.inputs["text"][:, :, 1], torch.tensor([[0.0, 1.0]]).expand(len(batch), 2))
    assert hasattr(source.dataset("val"), "__getitems__")
    assert not hasattr(source.dataset("train"), "__getitems__")


def test_rows_with_fewer_copies_show_them_again():
    values = np.arange(12, dtype=np.float32).reshape(2, 3, 2)
    values[0, 1:] = np.nan
    source = FeatureSource({"a": values}, split=["train", "val"], copies=3)
    assert source.inputs["a"].mean == (0.0, 1.0)
    torch.manual_seed(0)
    assert source.dataset("train")[0]["a"].tolist() == [[0, 1]] * 3
    assert source.dataset("val")[0]["a"].tolist() == [[6, 7], [8, 9], [10, 11]]


def test_one_copy_of_many_is_drawn_and_has_no_axis():
    source, _, _, _ = table(copies=4, lacking=0)
    _, found = draws_of(source)
    assert found["text"].shape[1:] == (4,)
    assert set(found["text"][:, 1].tolist()) == {0.0, 1.0, 2.0, 3.0}


def test_the_same_vectors_in_two_splits_are_a_leak():
    values = np.arange(8, dtype=np.float32).reshape(4, 2)
    values[3] = values[0]
    with pytest.raises(DataError, match=r"the same input stands in train \(one\) and val \(four\)"):
        prepare(
            FeatureSource(
                {"a": values}, split=["train", "train", "train", "val"], names=["one", "two", "three", "four"]
            ),
            DataKeys(),
            seed=0,
        )
    other = FeatureSource({"a": values, "b": np.eye(4)}, split=["train", "train", "train", "val"])
    assert other.duplicates() == []


@pytest.mark.parametrize(
    "change",
    [
        lambda a, s, g, t: a.__setitem__((0, 0), 9),
        lambda a, s, g, t: s.__setitem__(0, "test"),
        lambda a, s, g, t: g.__setitem__(0, "z"),
        lambda a, s, g, t: t.__setitem__(0, 1),
    ],
)
def test_the_fingerprint_tells_of_every_change(change):
    def parts():
        return np.zeros((3, 2), dtype=np.float32), ["train"] * 3, ["x", "y", "y"], np.zeros(3, dtype=np.int64)

    def fingerprint(array, split, groups, labels):
        return FeatureSource(
            {"a": array}, split=split, groups=groups, targets={"kind": FeatureTarget(KIND, labels)}
        ).fingerprint()

    changed = parts()
    change(*changed)
    assert fingerprint(*parts()) == fingerprint(*parts()) != fingerprint(*changed)


def test_a_mapped_file_travels_as_its_path(tmp_path):
    np.save(tmp_path / "a.npy", np.arange(200_000, dtype=np.float32).reshape(-1, 2))
    rows = "\n".join(map(str, range(100_000)))
    (tmp_path / "rows.csv").write_text(f"id\n{rows}\n")
    params = FeaturesParams(path="rows.csv", inputs=("a",))
    data = build_features(params, DataContext(root=str(tmp_path))).dataset("train")
    sent = pickle.dumps(data.vectors)
    assert len(sent) < 900_000  # the number of copies of each row, 8 bytes each; not the vectors
    data.vectors = pickle.loads(sent)
    assert data[7]["a"].tolist() == [14, 15]
    assert data.__getitems__([99_999])["a"].tolist() == [[199998, 199999]]


@pytest.mark.parametrize("part", [np.s_[10:20], np.s_[:10, 1:3], np.s_[9::-1], np.s_[10:20, None, ::-1]])
@pytest.mark.parametrize("raw", [False, True])
def test_a_part_of_a_mapped_file_travels_as_its_numbers(tmp_path, part, raw):
    whole = np.arange(120, dtype=np.float32).reshape(30, 4)
    np.save(tmp_path / "a.npy", whole)
    whole.tofile(tmp_path / "a.raw")
    file = np.memmap(tmp_path / "a.raw", np.float32, "r", shape=(30, 4)) if raw else np.load(tmp_path / "a.npy", "r")
    data = FeatureSource({"a": file[part]}, split=["train"] * 10).dataset("train")
    data.vectors = pickle.loads(pickle.dumps(data.vectors))
    assert np.array_equal(data.__getitems__(range(10))["a"].numpy(), whole[part].reshape(10, -1))


def test_rows_without_anything_or_with_wrong_numbers_are_told_together():
    values = np.ones((4, 2), dtype=np.float32)
    values[1], values[2, 1] = np.nan, np.inf
    values[3] = np.nan
    with pytest.raises(DataError) as caught:
        FeatureSource({"a": values}, split=["train", "train", "val", None], names=list("wxyz"))
    assert [(p.where, p.what) for p in caught.value.problems] == [
        ("y", "`a` has inf as component 1 of copy 0"),
        ("x", "the row has no modality at all"),
    ]


@pytest.mark.parametrize(
    ("inputs", "copies", "message"),
    [
        ({}, 1, "at least one modality"),
        ({"a": np.zeros(3)}, 1, r"found float64 \[3\]"),
        ({"a": np.zeros((3, 0))}, 1, r"found float64 \[3, 0\]"),
        ({"a": np.zeros((3, 2), dtype=object)}, 1, r"found object \[3, 2\]"),
        ({"a": np.zeros((2, 2))}, 1, "should have 3 rows"),
        ({"a": np.zeros((3, 4, 2))}, 5, "1 to the 4 of `a`, found 5"),
    ],
)
def test_arrays_that_are_no_vectors_are_refused(inputs, copies, message):
    with pytest.raises(ValueError, match=message):
        FeatureSource(inputs, split=["train"] * 3, copies=copies)
