"""Samples: what a batch is, where it comes from, in which order, and what is checked before it is used."""

from auxlearn.data.batch import Batch as Batch
from auxlearn.data.source import DataContext as DataContext
from auxlearn.data.source import DataSource as DataSource
from auxlearn.data.source import InputShape as InputShape
from auxlearn.data.source import TargetInfo as TargetInfo

__all__ = ["Batch", "DataContext", "DataSource", "InputShape", "TargetInfo"]
