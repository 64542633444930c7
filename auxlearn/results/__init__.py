"""Afterwards: the trained model, its predictions and scores, and its exports."""

from auxlearn.results.export import export as export
from auxlearn.results.exported import LoadedExport as LoadedExport
from auxlearn.results.exporter import ExportContext as ExportContext
from auxlearn.results.exporter import Exporter as Exporter
from auxlearn.results.exporter import ExportJob as ExportJob
from auxlearn.results.exporter import Opened as Opened
from auxlearn.results.formats import save_weights as save_weights
from auxlearn.results.loaded import LoadedRun as LoadedRun
from auxlearn.results.model import TrainedModel as TrainedModel

__all__ = [
    "ExportContext",
    "ExportJob",
    "Exporter",
    "LoadedExport",
    "LoadedRun",
    "Opened",
    "TrainedModel",
    "export",
    "save_weights",
]
