"""Loaders: the same batches for any number of workers, every row once in evaluation, and errors that say which row."""

import errno
import os
import pickle
import random
import signal
import time

import numpy as np
import pytest
import torch
from torch.utils.data import Dataset, Subset

from auxlearn.calls import Elsewhere, author_traceback
from auxlearn.data import DataSource, InputShape, Order, TargetInfo, eval_loader, train_loader
from auxlearn.data.workers import lost_worker
from auxlearn.errors import AuxlearnError, Call, DataError, EnvironmentProblem, PluginError


class Rows(Dataset):
    """Rows that say their index and draw from every generator."""

    def __init__(self, length, read=None):
        self.length, self.read = length, read

    def __len__(self):
        return self.length

    def __getitem__(self, index):
        if self.read is not None:
            return self.read(index)
        draws = [random.random(), np.random.random(), torch.rand(()).item()]
        return {"x": torch.tensor([index, *draws]), "label": index % 3}


class Whole(Rows):
    """Rows that are read together."""

    def __getitems__(self, indices):
        rows = torch.tensor(indices)
        return {
            "x": rows[:, None].expand(-1, 4).float(),
            "label": rows % 3,
            "present": {"targets/label": rows % 2 == 0},
        }


class Source(DataSource):
    """A source around one data set."""

    splits = ("train", "val")

    def __init__(self, dataset, inputs=None, targets=None):
        self.inputs = inputs or {"x": InputShape(shape=(4,), dtype="float32", kind="feature")}
        default = {"label": TargetInfo(kind="class", names=("a", "b", "c"))}
        self.targets = default if targets is None else targets
        self.rows = dataset

    def dataset(self, split):
        return self.rows


def first(loader, count):
    batches = iter(loader)
    return [next(batches) for _ in range(count)]


def equal(one, other):
    assert one.inputs.keys() == other.inputs.keys()
    assert one.targets.keys() == other.targets.keys()
    assert one.present.keys() == other.present.keys()
    assert all(torch.equal(tensor, other.inputs[name]) for name, tensor in one.inputs.items())
    assert all(torch.equal(tensor, other.targets[name]) for name, tensor in one.targets.items())
    assert torch.equal(one.ids, other.ids)


def test_a_training_batch_by_hand():
    order = Order(5, 2, seed=3)
    batch = first(train_loader(Source(Rows(5)), order), 1)[0]
    rows = [index for _, index in order.at(0)]
    assert batch.ids.tolist() == rows
    assert batch.inputs["x"][:, 0].tolist() == rows
    assert batch.targets["label"].tolist() == [row % 3 for row in rows]
    assert batch.targets["label"].dtype == torch.int64
    assert batch.present == {}


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("rows", [Rows(7), Whole(7)], ids=["rows", "whole"])
def test_workers_change_nothing(workers, rows):
    here = first(train_loader(Source(rows), Order(7, 3, seed=1)), 6)
    there = first(train_loader(Source(rows), Order(7, 3, seed=1), workers=workers), 6)
    for one, other in zip(here, there, strict=True):
        equal(one, other)


def test_starting_late_and_other_ranks_draw_the_same():
    rows = Source(Rows(7))
    alone = first(train_loader(rows, Order(7, 4, seed=1)), 6)
    late = first(train_loader(rows, Order(7, 4, seed=1, start=4)), 2)
    for one, other in zip(alone[4:], late, strict=True):
        equal(one, other)
    for rank in range(2):
        part = first(train_loader(rows, Order(7, 4, seed=1, rank=rank, world=2)), 6)
        for one, other in zip(alone, part, strict=True):
            equal(one.take(slice(rank * 2, rank * 2 + 2)), other)


def test_a_row_draws_anew_in_each_epoch():
    one, other = first(train_loader(Source(Rows(1)), Order(1, 1, seed=0)), 2)
    assert one.ids.tolist() == other.ids.tolist() == [0]
    assert (one.inputs["x"][0, 1:] != other.inputs["x"][0, 1:]).all()


def test_the_generators_of_the_training_process_are_left_alone():
    def draws():
        return random.random(), np.random.random(), torch.rand(()).item(), np.random.standard_normal()

    random.seed(0), np.random.seed(0), torch.manual_seed(0)
    np.random.standard_normal()  # leaves a second number in numpy's generator
    expected = draws()
    random.seed(0), np.random.seed(0), torch.manual_seed(0)
    np.random.standard_normal()
    first(train_loader(Source(Rows(7)), Order(7, 3, seed=1)), 2)
    assert draws() == expected


def test_the_working_folder_is_left_alone():
    def read(index):
        os.chdir("/")
        return {"x": torch.zeros(4)}

    before = os.getcwd()
    assert len(list(eval_loader(Source(Rows(4, read)), "val", 2))) == 2
    assert os.getcwd() == before


def test_torch_s_subset_is_read_row_by_row():
    source, part = Source(Rows(7)), Source(Subset(Rows(7), range(7)))
    for one, other in zip(*(first(train_loader(s, Order(7, 3, seed=1)), 3) for s in (source, part)), strict=True):
        equal(one, other)


@pytest.mark.parametrize("world", [1, 2, 3])
@pytest.mark.parametrize("workers", [0, 2])
def test_evaluation_gives_every_row_once(world, workers):
    loaders = [
        eval_loader(Source(Rows(11)), "val", 4, rank=rank, world=world, workers=workers) for rank in range(world)
    ]
    for rank, loader in enumerate(loaders):
        ids = [row for batch in loader for row in batch.ids.tolist()]
        assert ids == list(range(rank, 11, world))
        assert ids == [row for batch in loader for row in batch.ids.tolist()]  # a second time


def test_an_empty_share_of_evaluation_gives_nothing():
    assert list(eval_loader(Source(Rows(1)), "val", 4, rank=1, world=2)) == []


def test_what_rows_lack_is_masked():
    def read(index):
        item = {"x": np.full(4, index, dtype=np.float32), "y": np.zeros(2, dtype=np.float32)}
        if index == 1:
            item["label"] = None
        elif index != 2:
            item["label"] = index
        if index == 0:
            del item["y"]
        return item

    inputs = {"x": InputShape(shape=(4,), dtype="float32"), "y": InputShape(shape=(2,), dtype="float32")}
    targets = {
        "label": TargetInfo(kind="class", names=tuple("abcd")),
        "pose": TargetInfo(kind="continuous", shape=(3,)),
    }
    batch = next(iter(eval_loader(Source(Rows(4, read), inputs, targets), "val", 4)))
    assert batch.targets["label"].tolist() == [0, 0, 0, 3]
    assert batch.has("label").tolist() == [True, False, False, True]
    assert torch.equal(batch.targets["pose"], torch.zeros(4, 3))
    assert batch.has("pose").tolist() == [False] * 4
    assert batch.present["inputs/y"].tolist() == [False, True, True, True]
    assert "inputs/x" not in batch.present


def test_a_whole_batch_with_masks():
    batch = next(iter(eval_loader(Source(Whole(4)), "val", 4)))
    assert batch.has("label").tolist() == [True, False, True, False]
    even = Whole(4)
    even.__class__ = type(
        "Even", (Whole,), {"__getitems__": lambda self, rows: Whole.__getitems__(self, [0] * len(rows))}
    )
    assert next(iter(eval_loader(Source(even), "val", 4))).present == {}


def test_a_whole_batch_may_lack_a_target():
    whole = Whole(4)
    whole.__class__ = type("Bare", (Whole,), {"__getitems__": lambda self, rows: {"x": np.zeros((len(rows), 4), "f4")}})
    batch = next(iter(eval_loader(Source(whole), "val", 4)))
    assert batch.has("label").tolist() == [False] * 4


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize(
    ("item", "message"),
    [
        ({"x": torch.zeros(3)}, r"`x` has shape \(3,\); allowed: \(4,\)"),
        ({"x": torch.zeros(4, dtype=torch.uint8)}, "`x` has dtype torch.uint8"),
        ({"x": torch.full((4,), float("nan"))}, "`x` is not finite"),
        ({"x": torch.zeros(4), "label": 1.5}, "`label` has dtype"),
        ({"x": torch.zeros(4), "label": "07"}, "`label` is '07'"),
        ({"x": torch.zeros(4), "label": [1, 2]}, "`label` has shape"),
        ({"label": 1}, "the row has no input"),
        ({"x": torch.zeros(4), "label": 7}, r"`label` is 7; allowed: 0 to 2 \(a, b, c\)"),
        ({"x": torch.zeros(4), "label": -1}, r"`label` is -1; allowed: 0 to 2 \(a, b, c\)"),
    ],
)
def test_rows_that_are_not_as_declared_are_named(workers, item, message):
    good = {"x": torch.zeros(4), "label": 0}
    source = Source(Rows(4, lambda index: item if index == 2 else good))
    with pytest.raises(DataError, match=f"val/2: {message}"):
        list(eval_loader(source, "val", 4, workers=workers))


class Listed(Rows):
    """Rows that are read together, as a list."""

    def __getitems__(self, indices):
        return [self[index] for index in indices]


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize(("rows", "method"), [(Rows, "__getitem__"), (Listed, "__getitems__")])
@pytest.mark.parametrize(("item", "told"), [(None, "None"), ((torch.zeros(4), 0), "tuple")])
def test_an_item_that_is_no_mapping_is_named(workers, rows, method, item, told):
    source = Source(rows(4, lambda index: item if index == 2 else {"x": torch.zeros(4), "label": 0}))
    message = f"^val/2: data source: `{method}` should return a mapping, it returned {told}$"
    with pytest.raises(PluginError, match=message) as caught:
        list(eval_loader(source, "val", 4, workers=workers))
    assert caught.value.call == Call("data", "", method)


@pytest.mark.parametrize(("read", "told"), [(None, "None"), (3, "int")])
def test_what_is_read_together_is_no_number(read, told):
    rows = Whole(4)
    rows.__class__ = type("Bare", (Whole,), {"__getitems__": lambda self, indices: read})
    message = f"`__getitems__` should return a mapping of columns or a list of mappings, it returned {told}"
    with pytest.raises(PluginError, match=message):
        list(eval_loader(Source(rows), "val", 4))


def test_classes_read_together_are_in_range_where_there_are_any():
    def read(labels, given):
        rows = Whole(4)
        columns = {
            "x": torch.zeros(4, 4),
            "label": torch.tensor(labels),
            "present": {"targets/label": torch.tensor(given)},
        }
        rows.__class__ = type("Bare", (Whole,), {"__getitems__": lambda self, indices: columns})
        return next(iter(eval_loader(Source(rows), "val", 4)))

    assert read([0, 1, 2, -9], [True, True, True, False]).targets["label"].tolist() == [0, 1, 2, 0]
    with pytest.raises(DataError) as caught:
        read([3, 1, -1, 0], [True] * 4)
    assert [(one.where, one.what) for one in caught.value.problems] == [
        ("val/0", "`label` is 3"),
        ("val/2", "`label` is -1"),
    ]


@pytest.mark.parametrize("workers", [0, 1])
def test_a_mistake_in_a_data_set_names_the_row_and_keeps_the_traceback(workers):
    def read(index):
        return {"x": torch.zeros(4)} if index < 3 else {}["gone"]

    with pytest.raises(PluginError, match="val/3: data source: `__getitem__` failed with KeyError: 'gone'") as caught:
        list(eval_loader(Source(Rows(4, read)), "val", 4, workers=workers))
    assert "in read" in author_traceback(caught.value.__cause__)
    assert isinstance(caught.value.__cause__, Elsewhere if workers else KeyError)
    assert caught.value.problems[0].exit_code == 3


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize(
    ("error", "kind", "message"),
    [
        (FileNotFoundError(2, "gone"), DataError, "val/1: .* failed with FileNotFoundError"),
        (SystemExit(0), PluginError, "val/1: .* failed with SystemExit: 0"),
        (GeneratorExit(), PluginError, "val/1: .* failed with GeneratorExit"),
        (OSError(errno.ENOSPC, "full"), EnvironmentProblem, "the disk is full"),
        (MemoryError(), EnvironmentProblem, "out of memory"),
        (PluginError("bad"), PluginError, "bad"),
        (DataError("bad"), DataError, "bad"),
    ],
)
def test_what_reading_raises_has_the_kind_that_it_is_of(workers, error, kind, message):
    def read(index):
        if index == 1:
            raise error
        return {"x": torch.zeros(4)}

    with pytest.raises(AuxlearnError, match=message) as caught:
        list(eval_loader(Source(Rows(4, read)), "val", 4, workers=workers))
    assert type(caught.value) is kind
    assert caught.value.call == Call("data", "", "__getitem__")


@pytest.mark.parametrize("workers", [0, 1])
def test_all_bad_rows_of_a_batch_come_together(workers):
    def read(index):
        raise DataError(f"row {index} is bad")

    with pytest.raises(DataError) as caught:
        list(eval_loader(Source(Rows(4, read)), "val", 4, workers=workers))
    assert [problem.what for problem in caught.value.problems] == [f"row {index} is bad" for index in range(4)]


def kill(index):
    if index == 5:
        os.kill(os.getpid(), signal.SIGKILL)
    return {"x": torch.zeros(4)}


def test_a_killed_worker_is_told_soon():
    begin = time.monotonic()
    with pytest.raises(DataError, match=r"was ended from outside, .* or by the code of the data source") as caught:
        list(eval_loader(Source(Rows(8, kill)), "val", 4, workers=2))
    assert time.monotonic() - begin < 30
    assert caught.value.problems[0].where.startswith("val, rows val/")
    assert caught.value.exit_code == 4


def stall(index):
    time.sleep(60 if index == 5 else 0)
    return {"x": torch.zeros(4)}


def test_a_stalled_worker_is_told_after_the_timeout():
    begin = time.monotonic()
    with pytest.raises(DataError, match=r"no batch in time.*data\.timeout"):
        list(eval_loader(Source(Rows(8, stall)), "val", 4, workers=2, timeout=1))
    assert time.monotonic() - begin < 40


def test_a_worker_that_dies_while_the_main_process_is_busy_is_told_there():
    batches = iter(eval_loader(Source(Rows(40, kill)), "val", 4, workers=1))

    def step():
        next(batches)
        time.sleep(30)

    with pytest.raises(DataError, match="was ended from outside"):
        step()


def test_only_torch_s_own_errors_are_translated():
    assert lost_worker(RuntimeError("CUDA error")) is None
    assert isinstance(lost_worker(RuntimeError("DataLoader worker (pid 3) is killed by signal: Killed. ")), DataError)


def test_what_workers_get_can_be_pickled():
    loader = eval_loader(Source(Whole(4)), "val", 4)
    reader = pickle.loads(pickle.dumps(loader._loader.dataset))
    assert torch.equal(reader.__getitems__([(0, 2)])["inputs/x"], torch.full((1, 4), 2.0))
