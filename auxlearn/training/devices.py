"""Devices, precision and processes: everything that Lightning Fabric does for the trainer."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.precision import MixedPrecision
from lightning_fabric.strategies.ddp import DDPStrategy
from torch import Tensor, nn
from torch.amp import GradScaler
from torch.nn.parallel import DistributedDataParallel

from auxlearn.errors import DistributedError, Problem, escape
from auxlearn.learning.learner import Learner
from auxlearn.learning.statistics import batch_norms
from auxlearn.spec.models import TrainKeys

__all__ = [
    "FabricGather",
    "NormAverage",
    "make_fabric",
    "mean_over_processes",
    "precision_of",
    "scaler_of",
    "sum_over_processes",
]


def make_fabric(keys: TrainKeys, *, unused_parameters: bool) -> Fabric:
    """Return the Fabric for the settings of `train`.

    Args:
        keys: The settings.
        unused_parameters: Some parameters get no gradient in some backward passes.
    """
    processes = keys.devices * keys.nodes
    strategy = _ddp(unused_parameters) if processes > 1 or keys.strategy == "ddp" else "auto"
    return Fabric(
        accelerator=keys.accelerator,
        devices=keys.devices,
        num_nodes=keys.nodes,
        strategy=strategy,
        precision=_precision(keys),  # type: ignore[arg-type]
    )


def _precision(keys: TrainKeys) -> str:
    if keys.precision != "auto":
        return keys.precision
    on_gpu = keys.accelerator in ("auto", "cuda") and torch.cuda.is_available()
    return "bf16-mixed" if on_gpu and torch.cuda.is_bf16_supported() else "32-true"


def precision_of(fabric: Fabric) -> str:
    """Return the precision in use, e.g. `"bf16-mixed"` where `"auto"` was asked for."""
    return str(fabric.strategy.precision.precision)


def _ddp(unused_parameters: bool) -> DDPStrategy:
    # Buffers are kept equal by `NormAverage` and by gathered updates, not by a broadcast in every forward pass.
    known = inspect.signature(DistributedDataParallel).parameters
    sync = "forward_sync_buffers" if "forward_sync_buffers" in known else "broadcast_buffers"
    options: dict[str, Any] = {sync: False, "find_unused_parameters": unused_parameters}
    return DDPStrategy(gradient_as_bucket_view=True, **options)


def sum_over_processes(fabric: Fabric, tensor: Tensor) -> Tensor:
    """Return the sum of `tensor` over all processes; it may be changed in place.

    `Fabric.all_reduce` does the same with a barrier before it, which waits for the device in every step.
    """
    if fabric.world_size > 1:
        with _talking():
            torch.distributed.all_reduce(tensor)
    return tensor


@contextmanager
def _talking() -> Iterator[None]:
    """Tell what fails between processes as such, and not as the fault of whoever asked for the others' rows."""
    try:
        yield
    except RuntimeError as error:
        what = f"another process of the run cannot be reached: {escape(error, 400)}"
        fix = "look at what the other processes say; the first to fail says why"
        raise DistributedError(Problem(what=what, fix=fix, exit_code=7)) from error


def mean_over_processes(fabric: Fabric, *tensors: Tensor) -> None:
    """Make each tensor its mean over all processes, in place, with one collective."""
    if fabric.world_size == 1 or not tensors:
        return
    if len(tensors) == 1 and tensors[0].is_contiguous():
        sum_over_processes(fabric, tensors[0]).div_(fabric.world_size)
        return
    flat = torch.cat([t.flatten() for t in tensors])
    parts = torch.split(sum_over_processes(fabric, flat).div_(fabric.world_size), [t.numel() for t in tensors])
    torch._foreach_copy_(list(tensors), [p.view_as(t) for p, t in zip(parts, tensors, strict=True)])


class FabricGather:
    """`Gather` over the processes of a Fabric.

    Args:
        fabric: Whose processes.
    """

    def __init__(self, fabric: Fabric) -> None:
        self._fabric = fabric

    @property
    def world_size(self) -> int:
        """How many processes there are."""
        return self._fabric.world_size

    def __call__(self, tensor: Tensor, *, grad: bool = False) -> Tensor:
        """Return the rows of all processes, in rank order; every process has equally many."""
        tensor = tensor if grad else tensor.detach()
        if self._fabric.world_size == 1:
            return tensor
        rows: Tensor = _GatherRows.apply(tensor, self._fabric.global_rank, self._fabric.world_size)
        return rows


class _GatherRows(torch.autograd.Function):
    """Concatenation over processes; in the backward pass each row gets the gradients that all processes have for it."""

    @staticmethod
    def forward(ctx: Any, tensor: Tensor, rank: int, world: int) -> Tensor:
        ctx.rank, ctx.rows = rank, len(tensor)
        parts = [torch.empty_like(tensor, memory_format=torch.contiguous_format) for _ in range(world)]
        with _talking():
            torch.distributed.all_gather(parts, tensor.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        joint = gradients[0].clone(memory_format=torch.contiguous_format)
        torch.distributed.all_reduce(joint)
        return joint[ctx.rank * ctx.rows : (ctx.rank + 1) * ctx.rows], None, None


class NormAverage:
    """Keeps BatchNorm's running statistics equal in all processes: their mean, after each step.

    One small collective instead of a broadcast of every buffer before every forward pass; and the mean over
    processes stands for all rows, where the broadcast keeps those of the first process only.

    Args:
        fabric: Whose processes.
        module: Whose BatchNorm layers.
    """

    def __init__(self, fabric: Fabric, module: nn.Module) -> None:
        self._fabric = fabric
        self.buffers = [
            buffer
            for norm in batch_norms(module).values()
            for buffer in (norm.running_mean, norm.running_var)
            if buffer is not None
        ]

    def __call__(self) -> None:
        """Average now."""
        mean_over_processes(self._fabric, *self.buffers)


def scaler_of(fabric: Fabric, learner: Learner) -> GradScaler | None:
    """Return what scales float16 gradients, if anything does."""
    precision = fabric.strategy.precision
    scaler = precision.scaler if isinstance(precision, MixedPrecision) else None
    if scaler is not None and learner.balancer.needs == "gradients":
        name = type(learner.balancer).__name__
        raise ValueError(f"Parameter `fabric` should not have the precision '16-mixed' with {name}.")
    return scaler
