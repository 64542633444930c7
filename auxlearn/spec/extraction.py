"""`load_extraction`: the spec of frozen networks and the rows that they are run over, read as strictly as any spec."""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import attrs

from auxlearn.errors import Problem, error_of
from auxlearn.registry import CheckContext, Registry, option
from auxlearn.spec.asking import own_problems
from auxlearn.spec.assembly import Assembly, Selected, assemble
from auxlearn.spec.frame import place_of
from auxlearn.spec.models import Choice
from auxlearn.spec.overrides import apply_overrides
from auxlearn.spec.pointers import in_document_order
from auxlearn.spec.reading import read
from auxlearn.spec.sections import COMPONENTS, SPEC_VERSION, Section
from auxlearn.spec.structure import unstructure
from auxlearn.spec.validation import validator_for

if TYPE_CHECKING:
    from jsonschema.protocols import Validator

__all__ = ["EXTRACT", "ExtractKeys", "Extraction", "is_extraction", "load_extraction"]


@attrs.frozen(kw_only=True)
class ExtractKeys:
    """The engine's keys of an entry of `extract`: which part of a row its network sees at a time.

    A row of an input whose length differs, such as a clip, is a series of elements: frames, samples, bytes.
    """

    input: str | None = option(None, help="The input of the data that the network reads; null: the only one.")
    every: int = option(1, ge=1, help="Take every n-th element along time.")
    window: int | Literal["all"] | None = option(
        None, ge=1, help="How many elements the network sees at a time; `all`: the whole row; null: each on its own."
    )
    stride: int | None = option(None, ge=1, help="Elements from one window to the next; null: those of a window.")
    size: int | None = option(None, ge=8, le=4096, help="Side to which pictures are resized; null: as the data has it.")
    batch_size: int = option(16, ge=1, help="How many elements or windows pass through the network at a time.")


_DATA = next(section for section in COMPONENTS if section.name == "data")
EXTRACT = Section(
    name="extract",
    help="Only for `auxlearn extract`, whose spec has `auxlearn`, `seed`, `data` and this: the frozen networks, by the "
    "names that their features shall have.",
    kind="backbone",
    keys=ExtractKeys,
    table=True,
)
_SECTIONS = (_DATA, EXTRACT)


@attrs.frozen(kw_only=True)
class Extraction:
    """A spec of `extract`, read and checked.

    Attributes:
        data: Where the rows come from.
        networks: The frozen networks by name; their keys are `ExtractKeys`.
        seed: Seed of the weights that are not loaded.
        root: The folder that relative paths refer to.
        given: The section `data` as JSON.
        resolved: The spec with every default filled in.
        plugins: The version of each distribution that offers a part.
    """

    data: Choice
    networks: Mapping[str, Choice]
    seed: int
    root: str
    given: Mapping[str, Any]
    resolved: Mapping[str, Any]
    plugins: Mapping[str, str]


def is_extraction(source: str | os.PathLike[str] | bytes | Mapping[str, Any]) -> bool:
    """Return whether a document is a spec of `extract`, and none of training.

    >>> is_extraction({"auxlearn": 1, "data": {}, "extract": {}})
    True
    """
    return "extract" in read(source).value


def load_extraction(
    source: str | os.PathLike[str] | bytes | Mapping[str, Any],
    overrides: Sequence[str],
    registry: Registry,
    *,
    seed: int | None = None,
    root: str | os.PathLike[str] | None = None,
) -> Extraction:
    """Read, check and complete a spec of `extract`, without importing torch.

    Args:
        source: Path of a JSON file; or JSON as bytes; or a mapping, whose relative paths refer to the working folder.
        overrides: `a.b=c`, applied before anything is checked.
        registry: What is installed.
        seed: Replaces the spec's seed.
        root: The folder that relative paths refer to, instead of that of the file.

    Raises:
        SpecError: It is no such spec; every mistake is in `error.problems`, in the order of the document.
        PluginError: A plugin that it needs is missing, broken, blocked, or offers an ambiguous name.

    Examples:
        >>> from auxlearn.errors import SpecError
        >>> from auxlearn.registry import discover
        >>> from auxlearn.spec.extraction import load_extraction
        >>> try:
        ...     load_extraction({"auxlearn": 1, "data": {"type": "folder"}, "extarct": {}}, (), discover())
        ... except SpecError as error:
        ...     print(error.problems[-1].where, error.problems[-1].meant)
        /extarct extract
    """
    document = read(source)
    document = document if root is None else attrs.evolve(document, root=os.fspath(root))
    given = document.value
    problems = apply_overrides(given, overrides)
    given |= {} if seed is None else {"seed": seed}
    assembly = assemble(given, registry, sections=_SECTIONS, plain={}, frame=_frame())
    _check(assembly)
    problems += in_document_order([*document.problems, *assembly.problems], given)
    if problems:
        raise error_of(problems)
    chosen = assembly.selected
    seed = int(given.get("seed", 0))
    return Extraction(
        data=chosen["data",].choice,
        networks={name: item.choice for name, item in assembly.table("extract").items()},
        seed=seed,
        root=document.root,
        given=given["data"],
        resolved={
            "auxlearn": SPEC_VERSION,
            "seed": seed,
            "data": _resolved(chosen["data",]),
            "extract": {name: _resolved(item) for name, item in assembly.table("extract").items()},
        },
        plugins={item.found.distribution: item.found.version for item in chosen.values()},
    )


def _resolved(item: Selected) -> dict[str, Any]:
    return {"type": item.type, **unstructure(item.params), **unstructure(item.keys)}


def _check(assembly: Assembly) -> None:
    """Add what the schema cannot say."""
    for path, item in assembly.selected.items():
        if any(place[: len(path)] == path for place, _ in assembly.problems):
            continue
        for place, problem in own_problems(item, CheckContext()):
            assembly.add(place, problem)
        keys = item.keys
        if isinstance(keys, ExtractKeys) and keys.stride is not None and not isinstance(keys.window, int):
            assembly.add((*path, "stride"), Problem(what="there are no windows to move", fix="give `window` too"))
    if assembly.document.get("extract") == {}:
        assembly.add(("extract",), Problem(what="there is no network", fix='e.g. {"video": {"type": ...}}'))
    if isinstance(assembly.document.get("data"), Mapping) and assembly.document["data"].get("unlabelled") is not None:
        what = "a second stream is extracted on its own"
        assembly.add(("data", "unlabelled"), Problem(what=what, fix="a spec with its section as `data`"))


@functools.cache
def _frame() -> Validator:
    whole = {"type": "object"}
    return validator_for(
        {
            "type": "object",
            "properties": {
                "$schema": {"type": "string"},
                "auxlearn": {"const": SPEC_VERSION},
                "seed": {"type": "integer", "minimum": 0, "maximum": 2**63 - 1},
                **{section.name: place_of(section, whole) for section in _SECTIONS},
            },
            "required": ["auxlearn", "data", "extract"],
            "additionalProperties": False,
        }
    )
