"""`FakeDevice`: a GPU that is not there. Tensors on it have a form and no values, so reading one is an error."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    DynamicOutputShapeException,
    FakeTensorMode,
)
from torch.utils._python_dispatch import _disable_current_modes

from auxlearn.learning import Draws
from auxlearn.testing.checking import Fault
from auxlearn.testing.tensors import mapped

__all__ = ["FakeDevice"]

_GPU = torch.device("cuda", 0)


class FakeDevice:
    """A GPU that is not there, to find out what would make a real one wait."""

    def __init__(self) -> None:
        self.mode = FakeTensorMode(allow_non_fake_inputs=True)

    def take(self, module: nn.Module) -> None:
        """Move the parameters and buffers of `module` here, as `module.to(device)` does."""
        for part in module.modules():
            for name, parameter in part._parameters.items():
                if parameter is not None:
                    part._parameters[name] = nn.Parameter(self._fake(parameter), parameter.requires_grad)
            for name, buffer in part._buffers.items():
                if buffer is not None:
                    part._buffers[name] = self._fake(buffer)

    def moved(self, value: Any) -> Any:
        """Return `value` with its tensors here."""
        return mapped(value, lambda tensor: self._fake(tensor).requires_grad_(tensor.requires_grad))

    def draws(self, draws: Draws) -> Draws:
        """Return the same draws for this device: made on the host, where they have values, then moved."""
        return _FakeDraws(seed=draws.seed, name=draws.name, step=draws.step, device=_GPU)

    @contextmanager
    def problems(self) -> Iterator[None]:
        """Raise what code in the block asks of the device and should not as a fault that says where."""
        try:
            with self.mode:
                yield
        except DataDependentOutputException as error:
            raise Fault(f"reads a value back ({error.func}): {_where(error)}") from error
        except DynamicOutputShapeException as error:
            raise Fault(f"has a shape that depends on values ({error.func}): {_where(error)}") from error
        except Exception as error:
            text = str(error).partition("\n")[0]
            if "device" in text or "numpy()" in text or "cuda" in text.lower():
                raise Fault(f"{text}: {_where(error)}") from error
            raise

    def _fake(self, tensor: Tensor) -> Tensor:
        fake = self.mode.from_tensor(tensor.detach().clone())
        fake.fake_device = _GPU
        return fake


class _FakeDraws(Draws):
    """Draws whose numbers are real until they are moved to the device."""

    def child(self, name: str) -> Draws:
        return _FakeDraws(seed=self.seed, name=f"{self.name}/{name}", step=self.step, device=self.device)

    def number(self, low: float = 0.0, high: float = 1.0) -> float:
        with _disable_current_modes():
            return super().number(low, high)

    def on_device(self, rows: int, draw: Callable[[int], Tensor]) -> Tensor:
        return draw(rows)

    @contextmanager
    def seeded(self, *, joint: bool = False) -> Iterator[None]:
        yield

    def _host(self, draw: Callable[[torch.Generator], Tensor], part: int = 0) -> Tensor:
        with _disable_current_modes():
            return super()._host(draw, part)


def _where(error: BaseException) -> str:
    """Return the last line of code that is neither torch's nor this kit's."""
    place, trace = "", error.__traceback__
    while trace is not None:
        file = trace.tb_frame.f_code.co_filename
        if "/torch/" not in file and "auxlearn/testing" not in file and not file.startswith("<"):
            place = f"{file.rpartition('/')[2]}:{trace.tb_lineno} in {trace.tb_frame.f_code.co_name}"
        trace = trace.tb_next
    return place or "at an unknown place"
