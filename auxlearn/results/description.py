"""`preprocess.json`: everything about an export that its weights do not say, written and read."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs

from auxlearn.data import InputShape
from auxlearn.errors import ExportError, Problem
from auxlearn.learning import Preprocess
from auxlearn.registry.installed import version_of
from auxlearn.results.exporter import ExportJob
from auxlearn.spec.validation import problems_of, validator_for

__all__ = ["FILE", "describe", "inputs_of", "preprocess_of", "read_description"]

FILE = "preprocess.json"

_VERSION = 1
_SHAPE: dict[str, Any] = {"type": "array", "items": {"type": "integer", "minimum": 1}, "minItems": 1}
_NAMES = {"type": "array", "items": {"type": "string"}}
_INPUT = {
    "type": "object",
    "properties": {
        "kind": {"enum": ["image", "feature"]},
        "shape": _SHAPE,
        "stored": {**_SHAPE, "minItems": 3, "maxItems": 3},
        "dtype": {"type": "string"},
        "crop": {"type": "number", "exclusiveMinimum": 0, "maximum": 1},
        "size": {"type": ["integer", "null"], "minimum": 1},
        "mean": {"type": ["array", "null"], "items": {"type": "number"}},
    },
    "required": ["kind", "shape"],
    "if": {"properties": {"kind": {"const": "image"}}},
    "then": {"required": ["stored", "crop", "size"]},
}
_TASK = {
    "type": "object",
    "properties": {
        "kind": {"enum": ["class", "multilabel", "continuous"]},
        "classes": _NAMES,
        "components": _NAMES,
        "unit": {"type": "string"},
        "threshold": {"type": "number"},
    },
}
# What is read again; the rest is for people.
_SCHEMA = {
    "type": "object",
    "properties": {
        "auxlearn_export": {"const": _VERSION},
        "format": {"type": "string"},
        "part": {"enum": ["model", "backbone"]},
        "inputs": {"type": "object", "additionalProperties": _INPUT},
        "tasks": {"type": "object", "additionalProperties": _TASK},
        "load": {"type": "object"},
    },
    "required": ["auxlearn_export", "format", "part", "inputs", "tasks", "load"],
}


def describe(job: ExportJob, *, normalises: bool) -> dict[str, Any]:
    """Return what every format says about a model: its inputs, its tasks, what it is made of.

    Args:
        job: What is exported.
        normalises: Whether the exported network applies mean and std itself.
    """
    model = job.program
    return {
        "auxlearn_export": _VERSION,
        "part": job.part,
        "inputs": {name: _input(job, name, normalises=normalises) for name in job.inputs},
        "tasks": job.model.facts() if job.part == "model" else {},
        "model": {
            "backbone": job.spec["backbone"],
            "primary": job.spec["primary"] if job.part == "model" else {},
            "parameters": sum(p.numel() for p in model.parameters()),
        },
        "versions": {
            "python": platform.python_version(),
            **{name: version_of(name) for name in ("torch", *job.spec.get("plugins", {}))},
        },
    }


def _input(job: ExportJob, name: str, *, normalises: bool) -> dict[str, Any]:
    given, seen = job.data.inputs[name], job.inputs[name]
    facts: dict[str, Any] = {"kind": given.kind, "shape": list(seen.shape)}
    if given.kind != "image":
        filled = {"mean": list(given.mean), "missing": "a vector of NaN, which counts as the mean"}
        return facts | {"dtype": given.dtype} | (filled if given.mean else {})
    backbone, preprocess = job.model.backbone, job.model.preprocess
    return facts | {
        "layout": "NCHW",
        "colour": {3: "RGB", 1: "grey"}.get(seen.shape[0]),
        "range": [0, 1],
        "stored": list(given.shape),
        "crop": preprocess.crop,
        "size": preprocess.size,
        "resize": "the central square, to the size stored, then its part `crop`, to `size`; bilinear with antialiasing",
        "mean": backbone.mean and list(backbone.mean),
        "std": backbone.std and list(backbone.std),
        "normalised_by": "the network" if normalises else "its user: (x - mean) / std",
    }


def read_description(folder: Path) -> dict[str, Any]:
    """Return the content of the `preprocess.json` in `folder`.

    Raises:
        ExportError: If there is none, or it is none of ours.
    """
    path = folder / FILE
    try:
        found = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise ExportError(Problem(where=str(path), what="not found; this is no export", exit_code=9)) from None
    except (OSError, ValueError, RecursionError) as error:
        raise ExportError(Problem(where=str(path), what=f"cannot be read: {error}", exit_code=9)) from None
    problems = [problem for _, problem in problems_of(validator_for(_SCHEMA), found)]
    if problems:
        raise ExportError([attrs.evolve(p, where=f"{path} {p.where}".rstrip(), exit_code=9) for p in problems])
    return dict(found)


def inputs_of(description: Mapping[str, Any]) -> dict[str, InputShape]:
    """Return the form of each modality as the data gave it."""
    return {
        name: InputShape(
            shape=tuple(one.get("stored", one["shape"])),
            dtype=one.get("dtype", "uint8"),
            kind=one["kind"],
            mean=tuple(one.get("mean") or ()) if one["kind"] == "feature" else (),
        )
        for name, one in description["inputs"].items()
    }


def preprocess_of(description: Mapping[str, Any]) -> Preprocess:
    """Return what has to be done to an image."""
    images = {name: one for name, one in description["inputs"].items() if one["kind"] == "image"}
    first: Mapping[str, Any] = next(iter(images.values()), {"size": None, "crop": 1.0})
    return Preprocess(size=first["size"], crop=first["crop"], modalities=tuple(images))
