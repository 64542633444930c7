"""The tensors inside of anything: named, to compare them; changed, to move or convert them."""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import attrs
import torch
from torch import Tensor, nn

__all__ = ["copied", "different", "mapped", "tensors_of", "unregistered"]


def tensors_of(value: Any, path: str = "") -> dict[str, Tensor]:
    """Return every tensor inside of mappings, sequences and classes of fields, by its path."""
    return dict(_walk(value, path))


def _walk(value: Any, path: str) -> Iterator[tuple[str, Tensor]]:
    if isinstance(value, Tensor):
        yield path, value
        return
    for name, part in _parts(value):
        yield from _walk(part, f"{path}/{name}" if path else name)


def _parts(value: Any) -> list[tuple[str, Any]]:
    if isinstance(value, Mapping):
        return [(str(key), part) for key, part in value.items()]
    if isinstance(value, list | tuple | deque):
        return [(str(number), part) for number, part in enumerate(value)]
    if isinstance(value, type) or not (attrs.has(type(value)) or dataclasses.is_dataclass(value)):
        return []
    fields = attrs.fields(type(value)) if attrs.has(type(value)) else dataclasses.fields(value)
    return [(field.name, getattr(value, field.name)) for field in fields]


def mapped(value: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """Return `value`, a tensor or mappings and attrs classes of them, with `change` applied to every tensor."""
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, Mapping):
        return {key: mapped(part, change) for key, part in value.items()}
    if attrs.has(type(value)):
        fields = {field.name: mapped(getattr(value, field.name), change) for field in attrs.fields(type(value))}
        return type(value)(**fields)
    return value


def copied(value: Any) -> dict[str, Tensor]:
    """Return copies of the tensors inside of `value`, to see later what became of them."""
    return {path: tensor.detach().clone() for path, tensor in tensors_of(value).items()}


def different(first: Mapping[str, Tensor], second: Mapping[str, Tensor]) -> list[str]:
    """Return the names whose tensors are not equal, bit by bit, in both."""
    names = [*first, *(name for name in second if name not in first)]
    return [n for n in names if n not in first or n not in second or not _same(first[n], second[n])]


def _same(first: Tensor, second: Tensor) -> bool:
    if first.shape != second.shape or first.dtype != second.dtype:
        return False
    if first.is_floating_point():
        return torch.equal(first.nan_to_num(), second.nan_to_num()) and torch.equal(first.isnan(), second.isnan())
    return torch.equal(first, second)


def unregistered(module: nn.Module) -> dict[str, Tensor]:
    """Return the tensors of `module` that its state dict lacks: plain attributes, lists of tensors, such buffers."""
    found: dict[str, Tensor] = {}
    for place, part in module.named_modules():
        start = f"{place}." if place else ""
        own = {name: value for name, value in vars(part).items() if not name.startswith("_")}
        own |= {name: part._buffers[name] for name in part._non_persistent_buffers_set}
        hidden = {n: v for n, v in vars(part).items() if n.startswith("_") and n not in _OF_TORCH}
        found |= {f"{start}{path}": tensor for path, tensor in tensors_of({**own, **hidden}).items()}
    return found


_OF_TORCH = frozenset(vars(nn.Module()))
