"""`Exporter`: what a format of export has to do. The engine does the rest: checking, describing, committing."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal

import attrs
import torch
from torch import Tensor

from auxlearn.data import InputShape
from auxlearn.registry import Registry
from auxlearn.results.model import Program, TrainedModel, read_inputs
from auxlearn.results.predictor import Run
from auxlearn.training.build import DataShape

__all__ = ["ExportContext", "ExportJob", "Exporter", "Opened", "Part"]

Part = Literal["model", "backbone"]


@attrs.frozen(kw_only=True)
class ExportContext:
    """What an exporter is built with besides its own params.

    Attributes:
        registry: The plugins, for a format whose files are read with them.
    """

    registry: Registry


@attrs.frozen(eq=False, kw_only=True, slots=False)
class ExportJob:
    """What shall be written.

    Attributes:
        model: The trained model, on the CPU, in evaluation mode.
        part: All of it, or its backbone alone.
        task: The primary task that was chosen, for formats that hold one; None if none was.
        spec: The resolved spec of the run.
        data: What was known about the data.
    """

    model: TrainedModel
    part: Part
    task: str | None
    spec: Mapping[str, Any]
    data: DataShape

    @cached_property
    def program(self) -> Program:
        """The part as a module from prepared inputs to named outputs."""
        return Program(self.model, self.part)

    @cached_property
    def inputs(self) -> dict[str, InputShape]:
        """The form of each modality as the backbone sees it: images prepared, as floats in [0, 1]."""
        read = read_inputs(self.model.backbone, self.data.inputs)
        seen = self.model.preprocess({name: torch.zeros(1, *one.shape) for name, one in read.items()})
        return {
            name: attrs.evolve(one, shape=tuple(seen[name].shape[1:]), dtype="float32") for name, one in read.items()
        }

    def random_inputs(self, rows: int) -> dict[str, Tensor]:
        """Return the same rows in each call, as the backbone could see them.

        They are uniform in [0, 1); features with known statistics are normal with these.
        """
        generator = torch.Generator().manual_seed(rows)
        return {name: _random(one, rows, generator) for name, one in self.inputs.items()}

    @torch.no_grad()
    def run(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the outputs of the trained part."""
        outputs: dict[str, Tensor] = self.program(inputs)
        return outputs


def _random(form: InputShape, rows: int, generator: torch.Generator) -> Tensor:
    if form.mean and form.std:
        spread = torch.randn(rows, *form.shape, generator=generator)
        return torch.tensor(form.mean) + torch.tensor(form.std) * spread
    return torch.rand(rows, *form.shape, generator=generator)


@attrs.frozen(eq=False, kw_only=True)
class Opened:
    """An export that was read back.

    Attributes:
        run: Computes the outputs from inputs as the backbone sees them, by the names that `Exporter.expected` has.
        weights: Its parameters and buffers, under the names that they have in the files.
    """

    run: Run
    weights: Mapping[str, Tensor]


class Exporter(ABC):
    """Writes a trained model in one format, and reads it back.

    A plugin offers it with the hook `auxlearn_exporters`; `build(params, context)` gets an `ExportContext`, and raises
    an `ExportError` there if a library is missing. The engine reads back whatever was written and compares: every
    weight (unless not `exact`) and the outputs for random images.

    Attributes:
        tolerance: Largest difference between an output and the trained model's, in units of the largest output or 1.
        exact: Every weight in the files is one of the trained part's, bit for bit.
        normalises: The exported network applies mean and std itself; else its user has to.
    """

    tolerance: ClassVar[float] = 0.0
    exact: ClassVar[bool] = True
    normalises: ClassVar[bool] = True

    @abstractmethod
    def write(self, job: ExportJob, folder: Path) -> Mapping[str, Any]:
        """Write the files into `folder`; return JSON that `open` needs besides, kept as `load` in `preprocess.json`.

        Raises:
            ExportError: If this model cannot be written in this format.
        """

    @abstractmethod
    def open(self, folder: Path, description: Mapping[str, Any]) -> Opened:
        """Return what was written into `folder`, given the content of its `preprocess.json`."""

    def expected(self, job: ExportJob, inputs: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Return what the export should say to `inputs`. Default: the outputs of the trained part."""
        return job.run(inputs)
