"""How often each label of a multi-label target occurs in training, told by the source or read from its rows."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torch.utils.data import Dataset

from auxlearn.data import DataSource, InputShape, LabelCounts, TableRow, TableSource, TargetInfo, prepare
from auxlearn.spec.models import DataKeys

TAGS = TargetInfo(kind="multilabel", names=("loud", "fast"), shape=(2,))
ROWS = st.lists(st.one_of(st.none(), st.tuples(st.integers(0, 1), st.integers(0, 1))), min_size=1, max_size=40)


class Tagged(DataSource):
    """Rows with two labels, or None for none."""

    def __init__(self, rows, told):
        self.rows, self.told = rows, told
        self.inputs = {"x": InputShape(shape=(1,), dtype="float32", kind="feature")}
        self.targets = {"tags": TAGS}
        self.splits = ("train", "val")

    def dataset(self, split):
        return Items(self.rows if split == "train" else [(1, 1)])

    def labels(self, split, target):
        return (self.rows if split == "train" else [(1, 1)]) if self.told else None


class Items(Dataset):
    def __init__(self, rows):
        self.rows = rows

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, index):
        row = self.rows[index]
        return {"x": torch.zeros(1), "tags": None if row is None else torch.tensor(row, dtype=torch.float32)}


@given(ROWS, st.booleans())
def test_rows_that_have_the_target_are_counted(rows, told):
    known = [row for row in rows if row is not None]
    wanted = LabelCounts(rows=len(known), positives=tuple(sum(row[k] for row in known) for k in range(2)))
    assert prepare(Tagged(rows, told), DataKeys(), seed=0).label_counts == {"tags": wanted}


@pytest.mark.parametrize("told", [True, False])
def test_only_the_rows_that_a_fraction_draws_count(told):
    rows = [(1, index % 2) for index in range(40)]
    prepared = prepare(Tagged(rows, told), DataKeys(fraction=0.25), seed=3)
    drawn = [rows[int(name.split("/")[1])] for name in prepared.drawn]
    assert prepared.label_counts["tags"] == LabelCounts(rows=10, positives=(10, sum(fast for _, fast in drawn)))


def test_a_table_tells_its_labels(tmp_path):
    for name in "abc":
        Image.new("RGB", (8, 8), (ord(name), 0, 0)).save(tmp_path / f"{name}.png")
    given_ = {"a": ["fast"], "b": None, "c": ["loud", "fast"]}
    rows = [
        TableRow(path=f"{name}.png", targets={} if tags is None else {"tags": tags}) for name, tags in given_.items()
    ]
    source = TableSource(rows, root=tmp_path, targets={"tags": TAGS}, size=4)
    assert source.labels("train", "tags") == [[0, 1], None, [1, 1]]
    assert prepare(source, DataKeys(), seed=0).label_counts == {"tags": LabelCounts(rows=2, positives=(1, 2))}
