"""Statistics of features, and rows that are read otherwise for training: by what a spec makes of the splits."""

import numpy as np
import pytest
import torch
from torch.utils.data import Dataset

from auxlearn.data import DataSource, InputShape, prepare
from auxlearn.data.collate import Collate
from auxlearn.spec.models import DataKeys, Folds, Split, UnlabelledKeys

ROWS = {"train": 30, "val": 6}


class Numbers(DataSource):
    """A row holds its number, 100 more in `val`, and 0.5 more where it is scored; every third has no `other`."""

    splits = ("train", "val")

    def __init__(self, whole):
        self.whole = whole
        self.inputs = self.measured([("train", range(ROWS["train"]))])
        self.targets = {}

    def measured(self, rows):
        seen = np.concatenate([np.asarray(list(given)) + 100 * (split == "val") for split, given in rows])
        form = {"shape": (2,), "dtype": "float32", "kind": "feature", "std": (float(seen.std()),) * 2}
        return {
            name: InputShape(mean=(float(seen.mean()) + i,) * 2, **form) for i, name in enumerate(["this", "other"])
        }

    def dataset(self, split):
        return self.dataset_for(split, training=split == "train")

    def dataset_for(self, split, *, training):
        return (Whole if self.whole else Items)(split, training)

    def fingerprint(self):
        return "numbers"


class Items(Dataset):
    def __init__(self, split, training):
        self.split, self.training = split, training

    def __len__(self):
        return ROWS[self.split]

    def __getitem__(self, index):
        value = torch.tensor([index + 100.0 * (self.split == "val") + 0.5 * (not self.training)] * 2)
        return {"this": value} if index % 3 == 0 else {"this": value, "other": value}


class Whole(Items):
    def __getitems__(self, indices):
        values = torch.stack([self[index]["this"] for index in indices])
        there = torch.tensor(indices) % 3 != 0
        return {"this": values, "other": torch.where(there[:, None], values, -1), "present": {"inputs/other": there}}


def numbers(loader):
    return torch.cat([batch.inputs["this"][:, 0] for batch in loader])


@pytest.mark.parametrize("whole", [False, True])
def test_a_row_without_a_feature_holds_the_mean_of_the_rows_that_are_trained_on(whole):
    data = prepare(Numbers(whole), DataKeys(folds=Folds(count=4, index=1, by="random")), seed=0, batch_size=9)
    train = numbers(data.eval_loader("train", 4))
    assert data.source.inputs["this"].mean == pytest.approx((train.mean().item(),) * 2)
    assert data.source.inputs["this"].mean != data.source.base.inputs["this"].mean
    batches = [*data.eval_loader("val", 4), *data.eval_loader("train", 4)]
    lacking = torch.cat([~batch.present.get("inputs/other", torch.ones(len(batch)).bool()) for batch in batches])
    other = torch.cat([batch.inputs["other"] for batch in batches])
    this = torch.cat([batch.inputs["this"] for batch in batches])
    assert 0 < lacking.sum() < len(lacking)
    assert torch.equal(other[lacking], torch.full((int(lacking.sum()), 2), train.mean().item() + 1))
    assert torch.equal(other[~lacking], this[~lacking])


@pytest.mark.parametrize("whole", [False, True])
def test_rows_are_read_as_trained_on_or_scored_by_what_the_spec_makes_of_them(whole):
    def fractions(data):
        return {split: {float(x) % 1 for x in numbers(data.eval_loader(split, 8))} for split in data.splits}

    data = prepare(Numbers(whole), DataKeys(split=Split(test=0.2, by="random")), seed=0, batch_size=9)
    assert fractions(data) == {"train": {0.0}, "val": {0.5}, "test": {0.5}}
    data = prepare(Numbers(whole), DataKeys(folds=Folds(count=3, index=0, by="random")), seed=0, batch_size=9)
    assert fractions(data) == {"train": {0.0}, "val": {0.5}}
    assert {x > 99 for x in numbers(data.eval_loader("train", 9)).tolist()} == {False, True}


def test_the_rest_of_a_fraction_is_trained_on():
    data = prepare(Numbers(whole=True), DataKeys(fraction=0.5), seed=0, batch_size=5, unlabelled=UnlabelledKeys())
    batch = next(iter(data.train_loader(5)))
    assert batch.labelled == 5
    assert {float(x) % 1 for x in batch.inputs["this"][:, 0]} == {0.0}


def test_a_second_stream_may_have_other_statistics_but_no_other_form():
    mine, theirs = Numbers(whole=True), Numbers(whole=True)
    theirs.inputs = theirs.measured([("val", range(6))])
    assert mine.inputs != theirs.inputs
    data = prepare(mine, DataKeys(allow_leaks=True), seed=0, batch_size=5, unlabelled=UnlabelledKeys(), other=theirs)
    batch = next(iter(data.train_loader(5)))
    lacking = ~batch.present["inputs/other"]
    assert torch.equal(batch.inputs["other"][lacking][:, 0], torch.full((int(lacking.sum()),), 15.5))


def test_without_statistics_a_row_without_holds_zeros():
    class Plain(Numbers):
        def measured(self, rows):
            return {name: InputShape(shape=(2,), dtype="float32", kind="feature") for name in ("this", "other")}

    columns = Collate(Plain(whole=False)).items([{"this": torch.ones(2)}], ["row"])
    assert columns["inputs/other"].tolist() == [[0, 0]]
    assert columns["present/inputs/other"].tolist() == [False]


def test_a_cache_measures_as_its_base_does(tmp_path):
    plain = prepare(Numbers(whole=False), DataKeys(folds=Folds(count=3, index=0, by="random")), seed=0)
    keys = DataKeys(folds=Folds(count=3, index=0, by="random"), cache="memmap", cache_dir=str(tmp_path))
    cached = prepare(Numbers(whole=False), keys, seed=0)
    assert cached.source.inputs == plain.source.inputs
    for one, other in zip(plain.eval_loader("train", 8), cached.eval_loader("train", 8), strict=True):
        assert torch.equal(
            one.inputs["other"][~one.present["inputs/other"]], other.inputs["other"][~other.present["inputs/other"]]
        )


class Drawn(Items):
    def __getitem__(self, index):
        shift = torch.rand(()) if self.training else 0.5
        return {name: value + shift for name, value in super().__getitem__(index).items()}


class Drawing(Numbers):
    """As `Numbers`, and what is trained on is shifted by what an item draws."""

    def dataset_for(self, split, *, training):
        return Drawn(split, training)


@pytest.mark.parametrize("keys", [{}, {"split": Split(val=0.2, by="random")}, {"workers": 1}])
def test_rows_that_are_drawn_are_drawn_with_a_cache_too(tmp_path, keys):
    """Only rows that are scored come from a cache, whichever split of the source they are of."""
    source = Drawing(False)
    source.splits = ("train",) if "split" in keys else source.splits
    plain = prepare(source, DataKeys(**keys), seed=0)
    cached = prepare(source, DataKeys(cache="memmap", cache_dir=str(tmp_path), **keys), seed=0)
    assert torch.equal(numbers(plain.eval_loader("val", 4)), numbers(cached.eval_loader("val", 4)))
    assert torch.equal(numbers(plain.eval_loader("train", 4)), numbers(cached.eval_loader("train", 4)))
    ours, theirs = iter(plain.train_loader(8)), iter(cached.train_loader(8))
    for _ in range(9):
        assert torch.equal(next(ours).inputs["this"], next(theirs).inputs["this"])
    origin = "train" if "split" in keys else "val"
    assert [path.name.split("-")[0] for path in tmp_path.iterdir() if path.is_dir()] == [origin]
