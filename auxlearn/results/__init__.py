"""Afterwards: the trained model, its predictions and scores, and its exports."""

from auxlearn.results.loaded import LoadedRun as LoadedRun
from auxlearn.results.model import TrainedModel as TrainedModel

__all__ = ["LoadedRun", "TrainedModel"]
