"""The second stream: which rows it has, in which order they come, and what is wrong with it."""

import shutil

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch.utils.data import Dataset

from auxlearn.data import DataSource, InputShape, TableRow, TableSource, TargetInfo, prepare
from auxlearn.errors import DataError, PluginError
from auxlearn.spec.models import DataKeys, Split, UnlabelledKeys


class Numbers(DataSource):
    """Rows that are their number, with a class, in splits of given sizes; some number is broken."""

    def __init__(self, *, broken=(), groups=None, first=0, mark="numbers", also=None, **sizes):
        self.inputs = {"x": InputShape(shape=(1,), dtype="float32", kind="feature")}
        if also:
            self.inputs["also"] = also
        self.targets = {"label": TargetInfo(kind="class", names=("a", "b"))}
        self.sizes, self.splits = sizes, tuple(sizes)
        self.broken, self.grouped, self.first, self.mark = set(broken), groups, first, mark

    def dataset(self, split):
        return Items(self.sizes[split], self.first, self.broken)

    def groups(self, split):
        return self.grouped and self.grouped[split]

    def name(self, split, index):
        return f"{self.mark}/{split}/{index}"

    def fingerprint(self):
        return f"{self.mark}{self.first}{sorted(self.sizes.items())}"


class Items(Dataset):
    def __init__(self, size, first, broken):
        self.size, self.first, self.broken = size, first, broken

    def __len__(self):
        return self.size

    def __getitem__(self, index):
        if index in self.broken:
            raise ValueError(f"number {index} is broken")
        return {
            "x": torch.tensor([float(self.first + index)]),
            "label": index % 2,
            "also": torch.zeros(2),
        }


def ready(source, other=None, *, batch_size=4, seed=0, ratio=1.0, split="train", **keys):
    if other is None:
        keys = {"fraction": 0.25, **keys}
    return prepare(
        source,
        DataKeys(**keys),
        seed=seed,
        batch_size=batch_size,
        unlabelled=UnlabelledKeys(ratio=ratio, split=split),
        other=other,
    )


def batches(prepared, count, batch_size=4, **place):
    iterator = iter(prepared.train_loader(batch_size, **place))
    return [next(iterator) for _ in range(count)]


def numbers(batch):
    return batch.inputs["x"].flatten().int().tolist()


@given(st.integers(8, 60), st.sampled_from([0.1, 0.25, 0.5, 0.9]), st.integers(0, 5))
def test_the_rest_and_the_fraction_are_the_training_rows(rows, fraction, seed):
    prepared = ready(Numbers(train=rows), batch_size=1, fraction=fraction, seed=seed)
    drawn = {int(name.split("/")[-1]) for name in prepared.drawn}
    left = numbers(batches(prepared, 1, 1)[0])[1:]
    assert prepared.rows("train") == len(drawn)
    assert prepared.unlabelled_rows == rows - len(drawn)
    rest = {int(prepared.unlabelled.name("unlabelled", i).split("/")[-1]) for i in range(prepared.unlabelled_rows)}
    assert rest == set(range(rows)) - drawn
    assert set(left) <= rest


@settings(max_examples=25)
@given(st.integers(4, 12), st.integers(5, 30), st.sampled_from([1, 2, 5]), st.integers(0, 9))
def test_either_stream_has_its_own_epochs_and_every_batch_is_full(rows, others, size, seed):
    other = Numbers(first=1000, mark="o", train=others)
    prepared = ready(Numbers(train=rows), other, batch_size=2, ratio=size / 2, seed=seed)
    steps = -(-2 * max(rows * size, others * 2) // (2 * size))  # two epochs of the longer one
    seen = batches(prepared, steps, 2)
    assert {(len(batch), batch.labelled) for batch in seen} == {(2 + size, 2)}
    known = [number for batch in seen for number in numbers(batch)[:2]]
    unknown = [number for batch in seen for number in numbers(batch)[2:]]
    for stream, first, length in ((known, 0, rows), (unknown, 1000, others)):
        for start in range(0, len(stream) - length + 1, length):
            assert sorted(stream[start : start + length]) == list(range(first, first + length))


def test_the_labelled_rows_are_those_of_a_run_without_the_stream():
    source = Numbers(train=40)
    among = batches(ready(source, ratio=2), 9)
    alone = batches(prepare(source, DataKeys(fraction=0.25), seed=0, batch_size=4), 9)
    for one, other in zip(among, alone, strict=True):
        assert numbers(one)[:4] == numbers(other)
        assert one.targets["label"].tolist() == other.targets["label"].tolist() == [n % 2 for n in numbers(other)]
        assert (one.labelled, other.labelled, len(one), len(other)) == (4, None, 12, 4)
        assert one.ids[:4].tolist() == other.ids.tolist()


@pytest.mark.parametrize("workers", [0, 2])
def test_starting_late_with_any_number_of_workers_draws_the_same(workers):
    source, other = Numbers(train=10), Numbers(first=100, train=7)
    whole = [numbers(batch) for batch in batches(ready(source, other), 8)]
    late = batches(ready(source, other, workers=workers), 3, start=5)
    assert [numbers(batch) for batch in late] == whole[5:]


@given(st.integers(1, 3), st.integers(0, 6))
def test_the_ranks_together_are_one_process(world, step):
    prepared = ready(Numbers(train=24), Numbers(first=100, train=30), batch_size=6, ratio=2)
    (alone,) = batches(prepared, 1, 6, start=step)
    own = [batches(prepared, 1, 6, start=step, rank=rank, world=world)[0] for rank in range(world)]
    assert [n for batch in own for n in numbers(batch)[: batch.labelled]] == numbers(alone)[:6]
    assert [n for batch in own for n in numbers(batch)[batch.labelled :]] == numbers(alone)[6:]


def test_rows_of_either_stream_are_named():
    prepared = ready(Numbers(train=8), Numbers(mark="others", first=100, train=9))
    (batch,) = batches(prepared, 1)
    for position, number in enumerate(numbers(batch)):
        wanted = f"others/train/{number - 100}" if position >= 4 else f"numbers/train/{number}"
        assert prepared.name(batch, position) == wanted


@pytest.mark.parametrize("workers", [0, 1])
def test_what_cannot_be_read_is_named_whichever_stream_it_is_in(workers):
    broken = {"ours": Numbers(train=4, broken=[2]), "theirs": Numbers(mark="others", train=4, broken=[1])}
    fine = {"ours": Numbers(train=4), "theirs": Numbers(mark="others", train=4)}
    for ours, theirs, named in (
        (broken["ours"], fine["theirs"], ["numbers/train/2"]),
        (fine["ours"], broken["theirs"], ["others/train/1"]),
        (broken["ours"], broken["theirs"], ["numbers/train/2", "others/train/1"]),
    ):
        prepared = prepare(
            fine["ours"], DataKeys(workers=workers), seed=0, unlabelled=UnlabelledKeys(), other=fine["theirs"]
        )
        prepared.source.base, prepared.unlabelled.base = ours, theirs
        prepared.source._datasets.clear()
        prepared.unlabelled._datasets.clear()
        with pytest.raises(PluginError) as caught:
            batches(prepared, 1)
        assert [problem.where for problem in caught.value.problems] == named


@pytest.mark.parametrize("also_ours", [None, InputShape(shape=(2,), dtype="float32", kind="feature")])
def test_further_inputs_of_the_other_source_are_not_read(also_ours):
    more = InputShape(shape=(2,), dtype="float32", kind="feature")
    (batch,) = batches(ready(Numbers(train=8, also=also_ours), Numbers(first=50, train=8, also=more)), 1)
    assert list(batch.inputs) == (["x", "also"] if also_ours else ["x"])
    assert all(len(tensor) == 8 for tensor in batch.inputs.values())


def test_other_inputs_are_refused():
    more = InputShape(shape=(2,), dtype="float32", kind="feature")
    with pytest.raises(DataError, match="/data/unlabelled: these rows have no `also`"):
        ready(Numbers(train=8, also=more), Numbers(mark="others", train=8))
    other = InputShape(shape=(3,), dtype="float32", kind="feature")
    with pytest.raises(DataError, match=r"`also` is feature \(3,\) of float32; allowed: feature \(2,\) of float32"):
        ready(Numbers(train=8, also=more), Numbers(mark="others", train=8, also=other))


def test_wrong_splits_and_too_few_rows_are_refused():
    with pytest.raises(DataError, match=r'/data/unlabelled/split: the data has no split "tarin"; .*did you mean'):
        ready(Numbers(train=8), Numbers(mark="others", train=8), split="tarin")
    with pytest.raises(DataError, match="/data/unlabelled: 6 unlabelled rows cannot fill the 8 of a step"):
        ready(Numbers(train=8), Numbers(mark="others", train=6), ratio=2)


def test_a_source_among_its_own_held_out_rows_is_a_leak():
    source, same = Numbers(train=40), Numbers(train=40)
    with pytest.raises(DataError, match=r"stands in val and, as numbers/train/.*, among the unlabelled rows") as caught:
        _held_out(source, same)
    assert len(caught.value.problems) == 4
    assert _held_out(source, Numbers(mark="others", train=40)).notes == ()
    notes = _held_out(source, same, allow_leaks=True).notes
    assert len(notes) == 4
    assert all(note.startswith("Accepted by `allow_leaks`") for note in notes)


def _held_out(source, other, **keys):
    keys = DataKeys(split=Split(val=0.1), **keys)
    return prepare(source, keys, seed=0, batch_size=4, unlabelled=UnlabelledKeys(), other=other)


@pytest.mark.parametrize("seed", range(5))  # whichever part of the fraction the row falls into
def test_groups_of_the_rest_are_judged_like_those_of_the_training_rows(seed):
    groups = {"train": ["p"] * 7 + ["q"], "val": ["q"]}
    with pytest.raises(DataError, match="group q: stands in train"):
        ready(Numbers(train=8, val=1, groups=groups), batch_size=1, fraction=0.25, seed=seed)


@pytest.fixture
def photos(tmp_path):
    """Return a function that writes photos and returns the source of a folder of them."""

    def make(name, **colours):
        rows = []
        for split, values in colours.items():
            for value in values:
                path = tmp_path / name / f"{split}-{value}.png"
                path.parent.mkdir(exist_ok=True)
                Image.new("RGB", (8, 8), (value, value, value)).save(path)
                rows.append(TableRow(path=path.name, split=split, targets={"kind": "ab"[value % 2]}))
        targets = {"kind": TargetInfo(kind="class", names=("a", "b"))}
        return TableSource(rows, root=tmp_path / name, targets=targets, size=8)

    return make


def test_copies_of_held_out_files_are_a_leak(photos):
    ours = photos("ours", train=[0, 1, 2, 3], val=[4, 5])
    assert ready(ours, photos("theirs", train=[0, 1, 2, 3, 6, 7])).unlabelled_rows == 6
    with pytest.raises(
        DataError, match=r"val-5.png: stands in val and, as train-5.png, among the unlabelled"
    ) as caught:
        ready(ours, photos("more", train=[1, 5, 6, 7]))
    assert len(caught.value.problems) == 1


@pytest.mark.parametrize("cache", ["none", "memmap"])
def test_the_cache_holds_both_streams(photos, tmp_path, cache, capsys):
    ours, theirs = photos("ours", train=[0, 1, 2, 3]), photos("theirs", train=[10, 11, 12, 13, 14])
    keys = {"cache": cache, "cache_dir": str(tmp_path / "cache")}
    prepared = ready(ours, theirs, **keys)
    if cache == "memmap":
        shutil.rmtree(tmp_path / "theirs")
    (batch,) = batches(prepared, 1)
    assert sorted(batch.image[:4, 0, 0, 0].tolist()) == [0, 1, 2, 3]
    assert set(batch.image[4:, 0, 0, 0].tolist()) < {10, 11, 12, 13, 14}
    assert batch.targets["kind"].shape == (4,)
    rest = ready(photos("whole", train=range(20)), **keys)
    known, other = (batches(rest, 1)[0].image[rows, 0, 0, 0].tolist() for rows in (slice(0, 4), slice(4, 8)))
    assert {f"train-{value}.png" for value in known} <= set(rest.drawn)
    assert not {f"train-{value}.png" for value in other} & set(rest.drawn)
    capsys.readouterr()


def test_the_fingerprint_knows_the_second_stream():
    def fingerprint(*args, **keys):
        return ready(*args, **keys).fingerprint

    source = Numbers(train=40)
    plain = prepare(source, DataKeys(), seed=0).fingerprint
    kinds = {
        plain,
        prepare(source, DataKeys(fraction=0.25), seed=0).fingerprint,
        fingerprint(source),
        fingerprint(source, Numbers(first=100, train=40)),
        fingerprint(source, Numbers(first=100, train=41)),
    }
    assert len(kinds) == 5
    assert fingerprint(source) == fingerprint(Numbers(train=40))
