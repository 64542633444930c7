"""What the settings of `features` say without torch: facts about the data, and what contradicts itself."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from auxlearn.errors import DataError, PluginError, Problem
from auxlearn.registry import DataFacts
from auxlearn_features.names import pointers, wrong_names
from auxlearn_features.params import FeaturesParams, InputParams
from auxlearn_features.sheet import inputs_of, read_sheet
from auxlearn_tables.provider import check_targets
from auxlearn_tables.targets import targets_of

__all__ = ["facts_of", "problems_of"]

_TABLES = {"array": (".npz",), "column": (".parquet",)}


def facts_of(params: FeaturesParams) -> DataFacts | None:
    """Tell what is in the table, if its place is certain: a relative path is known only with the spec's folder.

    Vectors are not read, so of the modalities only those are told whose width the settings give, and only together.
    """
    if not Path(params.path).is_absolute():
        return None
    try:
        sheet = read_sheet(params, ".")
        classes = {
            target.name: target.classes([target.read(row.cells) for row in sheet.rows])
            for target in targets_of(params)
            if target.params.kind == "class"
        }
    except (DataError, PluginError):
        return None  # `build` says what is wrong
    targets = {target.name: classes.get(target.name, ()) for target in targets_of(params)}
    widths = {name: one.width for name, one in inputs_of(params).items()}
    shown = (params.copies,) if params.copies > 1 else ()
    shapes = {name: (*shown, width) for name, width in widths.items() if width is not None}
    inputs = shapes if len(shapes) == len(widths) else {}
    return DataFacts(inputs=inputs, targets=targets, splits=tuple(dict.fromkeys(sheet.splits)))


def problems_of(params: FeaturesParams) -> Iterator[Problem]:
    """Yield settings that contradict each other."""
    inputs = inputs_of(params)
    targets = [target.name for target in targets_of(params)]
    if not inputs:
        yield Problem(where="/inputs", what="there is none", fix='e.g. ["video", "audio"]')
    yield from wrong_names("/inputs", params.inputs, targets)
    for name, pointer in pointers("/inputs", params.inputs):
        yield from _wrong_input(pointer, inputs[name], Path(params.path).suffix.lower())
    yield from check_targets(params)
    if params.group_pattern is not None:
        yield from _wrong_pattern(params)


def _wrong_input(where: str, one: InputParams, ending: str) -> Iterator[Problem]:
    ways = [way for way in ("array", "column", "file", "files") if getattr(one, way)]
    if len(ways) > 1:
        yield Problem(where=where, what=f"it is to come from {' and '.join(ways)}", allowed="one of them")
    for way, endings in _TABLES.items():
        if getattr(one, way) and ending not in endings:
            fix = "`file` or `files`" if ending != ".npz" else "`array`"
            yield Problem(where=f"{where}/{way}", what=f"a table {ending} has no {way}s of vectors", fix=fix)


def _wrong_pattern(params: FeaturesParams) -> Iterator[Problem]:
    try:
        brackets = re.compile(params.group_pattern or "").groups
    except re.error as error:
        yield Problem(where="/group_pattern", what=f"it is no regular expression: {error}")
        return
    if not brackets:
        yield Problem(where="/group_pattern", what="it has no brackets", fix='e.g. "(.*)_[0-9]+"')
    if params.group_column is None:
        yield Problem(where="/group_pattern", what="there is no `group_column` to find the group in")
