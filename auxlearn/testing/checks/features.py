"""What a backbone says: features of the declared form, each from its own row."""

from __future__ import annotations

from collections import Counter

import torch
from torch import Tensor

from auxlearn.learning import Backbone, Feature, Features, FeatureShape
from auxlearn.testing.asking import few, require_finite, require_images
from auxlearn.testing.checking import Fault, check
from auxlearn.testing.subject import Bench, Subject
from auxlearn.testing.tensors import tensors_of
from auxlearn.testing.working import draws_at, given_to, work

__all__ = [
    "features_as_declared",
    "finite_on_plain_images",
    "layers_name_every_parameter",
    "normalisation_is_described",
    "rows_do_not_mix",
]


def _backbone(bench: Bench) -> Backbone:
    backbone: Backbone = bench.component
    return backbone


@check("backbone", fix="set `shapes` to what `forward` returns: width, channels and reduction of each map", asks="form")
def features_as_declared(subject: Subject) -> None:
    """Features have the form that `shapes` declares: heads are built from it before any image is seen."""
    bench = subject.bench().eval()
    shapes, features = _backbone(bench).shapes, work(subject, bench, given_to(subject), draws_at())
    if not isinstance(features, Features) or set(features) != set(shapes):
        found = sorted(features) if isinstance(features, Features) else type(features).__name__
        raise Fault(f"gives features of {found}, `shapes` declares {sorted(shapes)}")
    for name, shape in shapes.items():
        size = subject.inputs[name].shape[1:] if name in subject.inputs else ()
        wrong = _wrong(features[name], shape, subject.trial.rows, size)
        if wrong:
            raise Fault(f"{name}: {wrong}")


def _wrong(found: Feature, shape: FeatureShape, rows: int, size: tuple[int, ...]) -> str | None:
    if found.pooled.shape != (rows, shape.pooled):
        return f"`pooled` is {tuple(found.pooled.shape)}, declared {(rows, shape.pooled)}"
    if len(found.maps) != len(shape.maps):
        return f"there are {len(found.maps)} maps, declared {len(shape.maps)}"
    for number, (one, declared) in enumerate(zip(found.maps, shape.maps, strict=True)):
        off = [abs(side - whole / declared.reduction) for side, whole in zip(one.shape[2:], size, strict=False)]
        if one.ndim != 4 or one.shape[:2] != (rows, declared.channels) or any(d > 1 for d in off):
            return f"map {number} is {tuple(one.shape)}, declared {declared.channels} channels, 1/{declared.reduction}"
    width = None if found.source is None else found.source.shape[-1]
    return None if width == shape.source else f"`source` has width {width}, declared {shape.source}"


@check("backbone", fix="in evaluation use no statistics of the batch")
def rows_do_not_mix(subject: Subject) -> None:
    """In evaluation a row's features depend on that row alone: results must not depend on the batch."""
    bench, inputs = subject.bench().eval(), given_to(subject)
    whole = tensors_of(work(subject, bench, inputs, draws_at()))
    part = tensors_of(work(subject, bench, {name: tensor[:2] for name, tensor in inputs.items()}, draws_at()))
    wrong = [name for name, tensor in part.items() if not _near(tensor, whole[name][:2])]
    if wrong:
        raise Fault(f"the first rows change with the others: {few(wrong)}")


def _near(first: Tensor, second: Tensor) -> bool:
    return first.shape == second.shape and torch.allclose(first, second, rtol=1e-3, atol=1e-4)


@check("backbone", fix="name each parameter once in `layers`, from input to output")
def layers_name_every_parameter(subject: Subject) -> None:
    """`layers` names every parameter once: layer decay gives each a learning rate by it."""
    backbone = _backbone(subject.bench())
    named = Counter(name for layer in backbone.layers() for name in layer)
    known = [name for name, _ in backbone.named_parameters()]
    unknown = [f"{name} is none" for name in named if name not in known]
    wrong = [f"{name} {named[name]} times" for name in known if named[name] != 1]
    if wrong or unknown:
        raise Fault(few([*unknown, *wrong]))


@check("backbone", fix="set both `mean` and `std`, a number for each channel, or neither")
def normalisation_is_described(subject: Subject) -> None:
    """`mean` and `std` are None, or say for each channel how `forward` normalises: exports describe it."""
    backbone = _backbone(subject.bench())
    channels = {one.shape[-3] for one in subject.inputs.values() if len(one.shape) >= 3}  # of images, or of frames
    for name in ("mean", "std"):
        found = getattr(backbone, name)
        if found is None and backbone.mean == backbone.std:
            continue
        numbers = isinstance(found, tuple) and all(isinstance(value, float) for value in found)
        if not numbers or len(found) not in channels:
            raise Fault(f"`{name}` is {found!r:.60}, expected {few([str(c) for c in channels])} floats")


@check("backbone", fix="look for a division by the image's own deviation")
def finite_on_plain_images(subject: Subject) -> None:
    """Black and white images have finite features: data sets have both."""
    require_images(subject)
    bench = subject.bench()
    images = {name for name, one in subject.inputs.items() if one.kind == "image"}
    for value, colour in ((0.0, "black"), (1.0, "white")):
        inputs = {n: torch.full_like(t, value) if n in images else t for n, t in given_to(subject).items()}
        require_finite(work(subject, bench, inputs, draws_at()), f" for {colour} images")
