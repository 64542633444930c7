"""Samples: what a batch is, where it comes from, in which order, and what is checked before it is used.

A plugin offers a `DataSource` (a `TableSource` for images that a table names, a `DatasetSource` around an ordinary
torch `Dataset`). Training calls `prepare` once:

    data = prepare(source, keys, seed=0, batch_size=64)     # splits, fraction, checks, cache; DataError if wrong
    data.source.inputs, data.source.targets, data.splits    # what heads are sized by
    data.class_counts, data.label_counts                    # what the tasks want to know
    data.drawn, data.fingerprint                            # and the run folder

    for batch in data.train_loader(64, rank=0, world=1, start=1000):   # endless, from any step
        ...
    for batch in data.eval_loader("val", 64):               # each row once; `batch.ids` are its rows
        ...

Files, from what is below to what is above: `seeds`, `images`, `paths`, `contents`, `labels` (one row);
`batch`, `source` (the contract), `table` (images named in a table), `dataset` (an ordinary one); `order`, `collate`,
`workers`, `loader` (batches); `splits`, `selection`, `divide` (which rows are which split), `cache`, `checks`;
`prepare` (all together).
"""

from auxlearn.data.batch import Batch as Batch
from auxlearn.data.dataset import DatasetSource as DatasetSource
from auxlearn.data.images import FORMATS as FORMATS
from auxlearn.data.images import MAX_PIXELS as MAX_PIXELS
from auxlearn.data.images import read_image as read_image
from auxlearn.data.labels import Column as Column
from auxlearn.data.labels import column as column
from auxlearn.data.loader import Loader as Loader
from auxlearn.data.loader import eval_loader as eval_loader
from auxlearn.data.loader import train_loader as train_loader
from auxlearn.data.order import Order as Order
from auxlearn.data.prepare import Prepared as Prepared
from auxlearn.data.prepare import prepare as prepare
from auxlearn.data.source import DataContext as DataContext
from auxlearn.data.source import DataSource as DataSource
from auxlearn.data.source import InputShape as InputShape
from auxlearn.data.source import LabelCounts as LabelCounts
from auxlearn.data.source import Region as Region
from auxlearn.data.source import TargetInfo as TargetInfo
from auxlearn.data.table import TableRow as TableRow
from auxlearn.data.table import TableSource as TableSource

__all__ = [
    "FORMATS",
    "MAX_PIXELS",
    "Batch",
    "Column",
    "DataContext",
    "DataSource",
    "DatasetSource",
    "InputShape",
    "LabelCounts",
    "Loader",
    "Order",
    "Prepared",
    "Region",
    "TableRow",
    "TableSource",
    "TargetInfo",
    "column",
    "eval_loader",
    "prepare",
    "read_image",
    "train_loader",
]
