"""The engine's own formats: `state_dict`, `torch_export`, `onnx`."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from auxlearn.errors import ExportError, Problem, escape
from auxlearn.registry import Registry
from auxlearn.results.exporter import Exporter, ExportJob, Opened
from auxlearn.results.model import Program
from auxlearn.results.rebuilding import build_model, kept_sections, load_weights
from auxlearn.training.build import DataShape

__all__ = ["Onnx", "StateDict", "TorchExport", "save_weights"]

_ONNX_PACKAGES = ("onnx", "onnxscript", "onnxruntime")


def save_weights(tensors: Mapping[str, Tensor], path: Path) -> None:
    """Write a safetensors file that other libraries read as PyTorch's; each tensor gets memory of its own.

    Args:
        tensors: The weights by name, on any device.
        path: The file to write; one that is there is replaced.
    """
    save_file({name: t.detach().cpu().contiguous().clone() for name, t in tensors.items()}, path, {"format": "pt"})


class StateDict(Exporter):
    """`model.safetensors`, with the names of training: `backbone.*`, `primary.<task>.*`.

    Args:
        registry: The plugins that build the model when the file is opened.
    """

    file: ClassVar[str] = "model.safetensors"

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    def write(self, job: ExportJob, folder: Path) -> Mapping[str, Any]:
        """Write the weights; return what the model is built from."""
        save_weights(job.program.state_dict(), folder / self.file)
        # Of the augmentation the model needs the size only, so whoever opens the file needs not its plugin.
        augment = {"type": "identity", "size": job.spec["augment"]["size"]}
        spec = {**kept_sections(job.spec), "augment": augment}
        return {"spec": spec if job.part == "model" else {**spec, "primary": {}}, "data": job.data.to_json()}

    def open(self, folder: Path, description: Mapping[str, Any]) -> Opened:
        """Build the model anew and load the weights, strictly."""
        load = description["load"]
        model = build_model(load["spec"], DataShape.from_json(load["data"]), self._registry)
        weights = load_file(folder / self.file)
        load_weights(model, weights, str(folder / self.file))
        return Opened(run=Program(model, description["part"]), weights=weights)


class TorchExport(Exporter):
    """`model.pt2`, a program of `torch.export` for any batch size, which needs neither auxlearn nor its plugins."""

    tolerance = 1e-4
    file: ClassVar[str] = "model.pt2"

    def write(self, job: ExportJob, folder: Path) -> Mapping[str, Any]:
        """Trace the model and write the program."""
        arguments, dynamic = _example(job)
        with _explained("torch.export"), torch.no_grad():
            program = torch.export.export(job.program, arguments, dynamic_shapes=dynamic)
            torch.export.save(program, folder / self.file)
        return {}

    def open(self, folder: Path, description: Mapping[str, Any]) -> Opened:
        """Read the program."""
        program = torch.export.load(folder / self.file)
        module = program.module()
        return Opened(run=lambda inputs: module(_argument(inputs)), weights=program.state_dict)


class Onnx(Exporter):
    """`model.onnx`, for any batch size. The exporter folds BatchNorm into convolutions, so weights differ by rounding.

    Raises:
        ExportError: If the packages of the extra `onnx` are missing.
    """

    tolerance = 1e-4
    exact = False
    file: ClassVar[str] = "model.onnx"

    def __init__(self) -> None:
        missing = [name for name in _ONNX_PACKAGES if importlib.util.find_spec(name) is None]
        if missing:
            what = f"the format onnx needs {', '.join(missing)}"
            raise ExportError(Problem(what=what, fix='pip install "auxlearn[onnx]"', exit_code=9))

    def write(self, job: ExportJob, folder: Path) -> Mapping[str, Any]:
        """Trace the model and write the graph."""
        (argument,), (dynamic,) = _example(job)
        names = list(job.run(job.random_inputs(1)))
        # The exporter prints its progress, and onnxscript warns about itself.
        with _explained("torch.onnx"), torch.no_grad(), contextlib.redirect_stdout(io.StringIO()):
            torch.onnx.export(
                job.program,
                (),  # by name: a dict that comes last by position would be taken for the names
                folder / self.file,
                kwargs={"inputs": argument},
                dynamo=True,
                dynamic_shapes={"inputs": dynamic},
                input_names=list(job.inputs),
                output_names=names,
                external_data=False,
                verbose=False,
            )
        return {}

    def open(self, folder: Path, description: Mapping[str, Any]) -> Opened:
        """Open a session of onnxruntime on the CPU."""
        import onnx
        import onnxruntime

        session = onnxruntime.InferenceSession(str(folder / self.file), providers=["CPUExecutionProvider"])
        names = [output.name for output in session.get_outputs()]

        def run(inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
            found = session.run(names, {name: tensor.cpu().numpy() for name, tensor in inputs.items()})
            return {name: torch.from_numpy(array) for name, array in zip(names, found, strict=True)}

        graph = onnx.load(folder / self.file).graph
        weights = {one.name: torch.from_numpy(onnx.numpy_helper.to_array(one).copy()) for one in graph.initializer}
        return Opened(run=run, weights=weights)


def _example(job: ExportJob) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    """Return arguments to trace with and their dynamic shapes; of a size that tracing does not take for a constant."""
    inputs = job.random_inputs(2)
    batch = torch.export.Dim("batch")
    dynamic: dict[str, dict[int, Any]] = {name: {0: batch} for name in inputs}
    return (_argument(inputs),), (_argument(dynamic),)


def _argument(inputs: Mapping[str, Any]) -> Any:
    """Return the argument of a program: the one input itself, or several by name."""
    return next(iter(inputs.values())) if len(inputs) == 1 else dict(inputs)


@contextlib.contextmanager
def _explained(who: str) -> Iterator[None]:
    """Turn whatever a tracer raises into one message, and keep its warnings to itself: the outputs are compared."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except OSError:
        raise
    except Exception as error:
        what = f"{who} cannot write this model: {type(error).__name__}: {escape(error, 400)}"
        raise ExportError(Problem(what=what, fix="another format, e.g. state_dict", exit_code=9)) from error
