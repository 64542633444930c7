"""The form of what the methods of components return: each function raises `Wrong` with what was expected and found.

They read shapes, types and devices only, which the host knows, so they look at every call.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from auxlearn.calls import Wrong
from auxlearn.data import Batch
from auxlearn.errors import nearest
from auxlearn.learning.features import Feature, Features, FeatureShape
from auxlearn.learning.interfaces import Balanced, TaskResult, View
from auxlearn.learning.motion import Motion

__all__ = [
    "require_augmented",
    "require_balanced",
    "require_count",
    "require_features",
    "require_inputs",
    "require_pictures",
    "require_result",
    "require_rows",
    "require_shared",
    "require_views",
]


def require_views(views: object, batch: Batch) -> tuple[View, ...]:
    """Return the views of `batch` that a pretext task made."""
    if not isinstance(views, tuple) or not all(isinstance(view, View) for view in views):
        raise Wrong(f"should return a tuple of View, it returned {_told(views)}")
    if not views:
        raise Wrong("should return at least one view, it returned none")
    for number, view in enumerate(views):
        if not view.inputs:
            raise Wrong(f"should show something, view {number} has no inputs")
        for name, tensor in view.inputs.items():
            _require_rows(f"view {number}: inputs `{name}`", tensor, len(batch), batch.device)
            _require_shown(number, name, tensor, batch.inputs)
        for name, tensor in view.answers.items():
            _require_rows(f"view {number}: answers `{name}`", tensor, len(batch), batch.device)
        if view.motion is not None:
            _require_motion(f"view {number}: ", view.motion, len(batch), batch.device)
    return views


def _require_shown(number: int, name: str, tensor: Tensor, given: Mapping[str, Tensor]) -> None:
    if name not in given:
        meant = nearest(name, given)
        hint = f'; did you mean "{meant}"?' if meant else ""
        raise Wrong(f"should show inputs of the batch, {', '.join(given)}, view {number} shows `{name}`{hint}")
    known = given[name]
    if known.is_floating_point() != tensor.is_floating_point():
        raise Wrong(f"should keep the type of inputs, view {number}: `{name}` is {_dtypes(tensor, known)}")
    # A view of a feature that has copies may show one of them.
    if known.ndim >= 4 and (tensor.ndim != known.ndim or tensor.shape[-3] != known.shape[-3]):
        shapes = f"{tuple(tensor.shape)}, in the batch {tuple(known.shape)}"
        raise Wrong(f"should keep the dimensions and channels of inputs, view {number}: `{name}` is {shapes}")


def require_shared(views: Sequence[View], batch: Batch) -> View:
    """Return the one view of a task that shares it, which is put back into the batch."""
    if len(views) != 1:
        raise Wrong(f"should return one view: a shared view is exactly one view, it returned {len(views)}")
    given, found = batch.inputs, views[0].inputs
    wanted, shapes = ({name: tuple(t.shape) for name, t in one.items()} for one in (given, found))
    if wanted != shapes:
        raise Wrong(f"should not change shapes: a shared view keeps its shape {wanted}, it returned {shapes}")
    for name, tensor in found.items():
        if tensor.dtype != given[name].dtype:
            raise Wrong(f"should keep the type of a shared view, `{name}` is {_dtypes(tensor, given[name])}")
    return views[0]


def require_count(count: object) -> Tensor | int:
    """Return the number of terms that a task counted."""
    if isinstance(count, Tensor) and not count.ndim:
        return count
    if isinstance(count, int) and not isinstance(count, bool) and count >= 0:
        return count
    raise Wrong(f"should return an int from 0 on, or a tensor without dimensions, it returned {_told(count)}")


def require_result(result: object, features: Sequence[Features]) -> TaskResult:
    """Return the outcome of a task that was asked about `features`."""
    if not isinstance(result, TaskResult):
        raise Wrong(f"should return a TaskResult, it returned {_told(result)}")
    loss = result.loss
    if not isinstance(loss, Tensor) or loss.ndim or not loss.is_floating_point():
        raise Wrong(f"should return a sum: `loss.loss` should be a scalar tensor, found {_form(loss)}")
    read = [part.pooled for one in features for part in one.values()]
    if any(tensor.device != loss.device for tensor in read):
        raise Wrong(f"should return a loss on {read[0].device}, found {loss.device}")
    if torch.is_grad_enabled() and not loss.requires_grad and any(tensor.requires_grad for tensor in read):
        raise Wrong("should return a loss with a graph to the features, it is detached from them")
    for name, tensor in result.metrics.items():
        if not isinstance(name, str):
            raise Wrong(f"should return metrics by name, a name is {_told(name)}")
        if not isinstance(tensor, Tensor) or tensor.ndim or tensor.requires_grad:
            raise Wrong(f"should return detached scalars as metrics, `{name}` is {_form(tensor)}")
    for name, tensor in result.carry.items():
        if not isinstance(name, str):
            raise Wrong(f"should carry tensors by name, a name is {_told(name)}")
        if not isinstance(tensor, Tensor) or not tensor.ndim or tensor.requires_grad:
            raise Wrong(f"should carry detached tensors with rows, `{name}` is {_form(tensor)}")
    return result


def require_features(features: object, shapes: Mapping[str, FeatureShape], inputs: Mapping[str, Tensor]) -> Features:
    """Return what a backbone that declares `shapes` says about `inputs`."""
    if not isinstance(features, Features):
        raise Wrong(f"should return Features, it returned {_told(features)}")
    first = next(iter(inputs.values()))
    for name, part in features.items():
        if name not in shapes:
            raise Wrong(f"should give what `shapes` declares, {', '.join(shapes)}, it gave `{name}`")
        _require_feature(name, part, shapes[name], first)
    for name, shape in shapes.items():
        if name not in features and all(one in inputs for one in shape.inputs or (name,)):
            raise Wrong(f"should give what `shapes` declares, `{name}` is missing")
    return features


def _require_feature(name: str, part: Feature, shape: FeatureShape, given: Tensor) -> None:
    rows = given.shape[0]
    wanted = [("pooled", part.pooled, (rows, shape.pooled))]
    if shape.source is not None:
        wanted.append(("source", part.source, (rows, shape.source)))  # type: ignore[arg-type]
    if len(part.maps) != len(shape.maps):
        raise Wrong(f"should give {len(shape.maps)} maps of `{name}` as `shapes` declares, found {len(part.maps)}")
    wanted += [
        (f"maps[{number}]", found, (rows, declared.channels))
        for number, (found, declared) in enumerate(zip(part.maps, shape.maps, strict=True))
    ]
    for leaf, tensor, form in wanted:
        dimensions = 4 if leaf.startswith("maps") else 2
        is_tensor = isinstance(tensor, Tensor)
        if not is_tensor or tensor.ndim != dimensions or tuple(tensor.shape[:2]) != form:
            raise Wrong(f"should give `{name}.{leaf}` of {form} by `shapes`, found {_form(tensor)}")
        if tensor.device != given.device:
            raise Wrong(f"should give `{name}.{leaf}` on {given.device}, found {tensor.device}")


def require_augmented(made: object, given: Mapping[str, Tensor]) -> tuple[Mapping[str, Tensor], Motion]:
    """Return the inputs and the motion that an augmentation made of `given`."""
    if not isinstance(made, tuple) or len(made) != 2:
        raise Wrong(f"should return the inputs and their motion, it returned {_told(made)}")
    inputs, motion = made
    require_inputs(inputs, given)
    first = next(iter(given.values()))
    _require_motion("", motion, first.shape[0], first.device)
    return inputs, motion


def require_inputs(made: object, given: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """Return what the backbone shall see of `given`, whose images are uint8 or in [0, 1]."""
    if not isinstance(made, Mapping) or set(made) != set(given):
        raise Wrong(f"should return all inputs, {', '.join(given)}, by name, it returned {_told(made)}")
    for name, tensor in made.items():
        _require_rows(f"`{name}`", tensor, given[name].shape[0], given[name].device)
        if given[name].ndim == 4 and not tensor.is_floating_point():  # clips are scaled by their networks
            raise Wrong(f"should return images as floats in [0, 1], `{name}` is {_form(tensor)}")
    return made


def require_pictures(pictures: object) -> Mapping[str, Tensor]:
    """Return the images to look at, by name."""
    if not isinstance(pictures, Mapping):
        raise Wrong(f"should return images by name, it returned {_told(pictures)}")
    for name, tensor in pictures.items():
        if not isinstance(tensor, Tensor) or tensor.ndim != 4 or tensor.shape[1] != 3:
            raise Wrong(f"should return images [N, 3, H, W], `{name}` is {_form(tensor)}")
    return pictures


def require_rows(found: object, rows: int) -> Mapping[str, Tensor]:
    """Return tensors by name, rows first: predictions, or targets that were moved."""
    if not isinstance(found, Mapping):
        raise Wrong(f"should return tensors by name, it returned {_told(found)}")
    for name, tensor in found.items():
        _require_rows(f"`{name}`", tensor, rows, None)
    return found


def require_balanced(balanced: object, losses: Mapping[Any, Tensor]) -> Balanced:
    """Return what a balancer made of `losses`."""
    if not isinstance(balanced, Balanced):
        raise Wrong(f"should return Balanced, it returned {_told(balanced)}")
    total, first = balanced.total, next(iter(losses.values()))
    if not isinstance(total, Tensor) or total.ndim or total.device != first.device:
        raise Wrong(f"should return a total that is a scalar on {first.device}, found {_form(total)}")
    if torch.is_grad_enabled() and not total.requires_grad and any(loss.requires_grad for loss in losses.values()):
        raise Wrong("should return a total with a graph to the losses, it is detached from them")
    _require_weights("a weight", balanced.weights, losses)
    if balanced.shared is not None:
        _require_weights("a shared weight", balanced.shared, losses)
    return balanced


def _require_weights(what: str, weights: object, losses: Mapping[Any, Tensor]) -> None:
    if not isinstance(weights, Mapping):
        raise Wrong(f"should return {what} for each loss by its key, found {_told(weights)}")
    missing = [str(key) for key in losses if key not in weights]
    if missing:
        raise Wrong(f"should return {what} for each loss, {', '.join(missing)} are missing")
    for key in losses:
        weight = weights[key]
        if not isinstance(weight, float | int) and not (isinstance(weight, Tensor) and weight.ndim == 0):
            raise Wrong(f"should return {what} for each loss that is a scalar, that of {key} is {_form(weight)}")


def _require_rows(what: str, tensor: object, rows: int, device: torch.device | None) -> None:
    if not isinstance(tensor, Tensor) or not tensor.ndim or tensor.shape[0] != rows:
        raise Wrong(f"should return tensors of {rows} rows, {what} is {_form(tensor)}")
    if device is not None and tensor.device != device:
        raise Wrong(f"should return tensors on {device}, {what} is on {tensor.device}")


def _require_motion(where: str, motion: object, rows: int, device: torch.device) -> None:
    if not isinstance(motion, Motion) or tuple(motion.matrix.shape) != (rows, 2, 3):
        found = _form(motion.matrix) if isinstance(motion, Motion) else _told(motion)
        raise Wrong(f"should return a Motion of {(rows, 2, 3)}, {where}found {found}")
    if motion.matrix.device != device:
        raise Wrong(f"should return a Motion on {device}, {where}found {motion.matrix.device}")


def _form(value: object) -> str:
    """Return the shape and type of a tensor, or what else it is."""
    if not isinstance(value, Tensor):
        return _told(value)
    attached = ", with a graph" if value.requires_grad else ""
    return f"{tuple(value.shape)} of {value.dtype} on {value.device}{attached}"


def _told(value: object) -> str:
    if value is None:
        return "None"
    if isinstance(value, int | float | str):
        return f"{type(value).__name__} {value!r:.60}"
    if isinstance(value, Tensor):
        return f"tensor {_form(value)}"
    inside = next(iter(value), None) if isinstance(value, list | tuple) else None
    return f"{type(value).__name__}" + (f" of {type(inside).__name__}" if inside is not None else "")


def _dtypes(found: Tensor, wanted: Tensor) -> str:
    return f"{found.dtype}, expected {wanted.dtype}"
