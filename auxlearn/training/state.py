"""The state of a trainer as a `Snapshot`, and back."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import zip_longest
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from auxlearn.errors import CheckpointError, Problem
from auxlearn.training.checkpoint import Snapshot
from auxlearn.training.trainer import Trainer

__all__ = ["averaged_weights", "kept_weights", "load_model", "pack", "unpack"]

_EMA = "ema."  # before the names of what belongs to the moving average
_FORMAT = 1


def pack(trainer: Trainer, extra: Mapping[str, Any]) -> Snapshot:
    """Return the state of `trainer`; `extra` is JSON of the caller's that goes with it."""
    model = dict(trainer.learner.state_dict())
    if trainer.average is not None:
        model |= {_EMA + name: tensor for name, tensor in trainer.average.state_dict().items()}
    tensors, rest = _pack_optimizer(trainer.raw_optimizer)
    state = {
        "format": _FORMAT,
        "steps": trainer.steps,
        "updates": trainer.updates,
        "skips": trainer.skips,
        "optimizer": rest,
        "precision": trainer.fabric.strategy.precision.state_dict(),
        "scheduler": None if trainer.scheduler is None else trainer.scheduler.state_dict(),
        "extra": dict(extra),
    }
    return Snapshot(model=model, optimizer=tensors, state=state)


def unpack(trainer: Trainer, snapshot: Snapshot) -> dict[str, Any]:
    """Put `trainer` into the state of `snapshot`; return the caller's JSON that went with it."""
    found = snapshot.state.get("format")
    if found != _FORMAT:
        what = f"the checkpoint has format {found!r}, another version of auxlearn wrote it"
        raise CheckpointError(Problem(what=what, allowed=str(_FORMAT), fix="resume with that version", exit_code=6))
    load_model(trainer, snapshot)
    _unpack_optimizer(trainer.raw_optimizer, snapshot.optimizer, snapshot.state["optimizer"])
    if trainer.scheduler is not None:
        trainer.scheduler.load_state_dict(_as_before(snapshot.state["scheduler"], trainer.scheduler.state_dict()))
    trainer.fabric.strategy.precision.load_state_dict(snapshot.state["precision"])
    trainer.steps = snapshot.state["steps"]
    trainer.updates = snapshot.state["updates"]
    trainer.skips = snapshot.state["skips"]
    return dict(snapshot.state["extra"])


def averaged_weights(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the weights of the moving average in a checkpoint's model, none if there is none."""
    start = f"{_EMA}module."
    return {name.removeprefix(start): tensor for name, tensor in tensors.items() if name.startswith(start)}


def kept_weights(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the weights of a checkpoint's model as they are scored: the moving average's where there is one."""
    return {n: t for n, t in tensors.items() if not n.startswith(_EMA)} | averaged_weights(tensors)


def load_model(trainer: Trainer, snapshot: Snapshot) -> None:
    """Put the weights of `snapshot` into the learner of `trainer`, and into its moving average if it has one."""
    average = {n.removeprefix(_EMA): t for n, t in snapshot.model.items() if n.startswith(_EMA)}
    _load(trainer.learner, {n: t for n, t in snapshot.model.items() if not n.startswith(_EMA)})
    if trainer.average is not None:
        _load(trainer.average, average)


def _load(module: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    try:
        module.load_state_dict(dict(tensors), strict=True)
    except RuntimeError as error:
        raise CheckpointError(Problem(what=f"the checkpoint does not fit the model: {error}")) from None


def _pack_optimizer(optimizer: Optimizer) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return the tensors of the optimizer's state by `<parameter>.<name>`, and all the rest as JSON."""
    packed = optimizer.state_dict()
    tensors: dict[str, Tensor] = {}
    rest: dict[str, dict[str, Any]] = {}
    for number, state in packed["state"].items():
        for name, value in state.items():
            if isinstance(value, Tensor):
                tensors[f"{number}.{name}"] = value
            else:
                rest.setdefault(str(number), {})[name] = value
    return tensors, {"groups": packed["param_groups"], "rest": rest}


def _unpack_optimizer(optimizer: Optimizer, tensors: Mapping[str, Tensor], packed: Mapping[str, Any]) -> None:
    state: dict[int, dict[str, Any]] = {int(number): dict(rest) for number, rest in packed["rest"].items()}
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    for key, tensor in tensors.items():
        number, _, name = key.partition(".")
        state.setdefault(int(number), {})[name] = _laid_out_like(parameters[int(number)], tensor)
    groups = _as_before(packed["groups"], optimizer.state_dict()["param_groups"])
    optimizer.load_state_dict({"state": state, "param_groups": groups})


def _laid_out_like(parameter: Tensor, tensor: Tensor) -> Tensor:
    """Return `tensor` in the memory format of `parameter`: fused optimizers go through both as flat memory."""
    return torch.empty_like(parameter, dtype=tensor.dtype).copy_(tensor) if tensor.shape == parameter.shape else tensor


def _as_before(value: Any, like: Any) -> Any:
    """Return what JSON has made of a value as what it was, as far as `like`, the value that is there now, tells.

    A tensor was written as numbers, a tuple as a list, and the keys of a mapping as text.
    """
    if isinstance(like, Tensor):
        return torch.as_tensor(value, dtype=like.dtype, device=like.device)
    if isinstance(value, list) and isinstance(like, list | tuple):
        parts = [_as_before(part, now) for part, now in zip_longest(value, like[: len(value)])]
        return tuple(parts) if isinstance(like, tuple) else parts
    if isinstance(value, dict) and isinstance(like, dict):
        kinds = {type(key) for key in like}
        key = kinds.pop() if len(kinds) == 1 else str
        found = like.copy()  # a Counter stays one
        found.clear()
        found.update({key(name): _as_before(part, like.get(key(name))) for name, part in value.items()})
        return found
    return value
