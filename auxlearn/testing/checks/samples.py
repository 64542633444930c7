"""What a data source gives: the same rows to everybody, as it says they are."""

from __future__ import annotations

import pickle
from typing import Any

import torch
from torch import Tensor

from auxlearn.data import DataSource, eval_loader
from auxlearn.data.checks import leaks
from auxlearn.errors import AuxlearnError
from auxlearn.registry import DataFacts
from auxlearn.testing.asking import few
from auxlearn.testing.checking import Fault, NotApplicable, check
from auxlearn.testing.state import scramble
from auxlearn.testing.subject import Subject
from auxlearn.testing.tensors import copied, different, tensors_of

__all__ = [
    "datasets_travel_to_workers",
    "description_agrees",
    "fingerprint_repeats",
    "groups_stay_together",
    "items_as_declared",
    "items_repeat",
    "labels_agree_with_items",
    "names_are_unique",
    "reading_at_once_agrees",
    "resizing_keeps_rows",
    "same_for_any_workers",
    "scored_rows_are_fixed",
    "splits_have_rows",
]

_ROWS = 6  # of each split that are read


def _source(subject: Subject, *, anew: bool = False) -> DataSource:
    source: DataSource = subject.bench(anew=anew).component
    return source


def _length(source: DataSource, split: str) -> int:
    return len(source.dataset(split))  # type: ignore[arg-type]


def _first(source: DataSource, split: str) -> range:
    return range(min(_ROWS, _length(source, split)))


def _read(source: DataSource, split: str, rows: Any, workers: int = 0) -> dict[str, Tensor]:
    """Return rows as training reads them."""
    loader = eval_loader(source, split, 3, rows=list(rows), workers=workers)
    return tensors_of([copied(batch) for batch in loader])


@check("data_source", fix="name in `splits` what `dataset` has, with rows in each", asks="form")
def splits_have_rows(subject: Subject) -> None:
    """Every split that it names has rows."""
    source = _source(subject)
    if not source.splits or not isinstance(source.splits, tuple):
        raise Fault(f"`splits` is {source.splits!r}, expected a tuple of names")
    empty = [split for split in source.splits if not _length(source, split)]
    if empty:
        raise Fault(f"no rows in {few(empty)}")


@check(
    "data_source", fix="declare `inputs` and `targets` as the items are: shapes, dtypes, uint8 for images", asks="form"
)
def items_as_declared(subject: Subject) -> None:
    """Items have the shapes, dtypes and classes that are declared, images as uint8: models are built from it."""
    source = _source(subject)
    floats = [name for name, one in source.inputs.items() if one.kind == "image" and one.dtype != "uint8"]
    if not source.inputs or floats:
        raise Fault(f"images should be uint8: {few(floats)}" if floats else "there are no `inputs`")
    for split in source.splits:
        try:
            _read(source, split, _first(source, split))
        except AuxlearnError as error:
            raise Fault(str(error.problems[0])) from error
        for index in _first(source, split):
            _require_classes(source, split, index)


def _require_classes(source: DataSource, split: str, index: int) -> None:
    item = source.dataset(split)[index]
    unknown = [name for name in item if name not in (*source.inputs, *source.targets)]
    if unknown:
        raise Fault(f"{source.name(split, index)} has {few(unknown)}, which is not declared")
    for name, info in source.targets.items():
        value = item.get(name)
        if info.kind == "class" and value is not None and not 0 <= int(value) < len(info.names):
            raise Fault(f"{source.name(split, index)}: {name} is {int(value)}, declared are {len(info.names)} classes")


@check("data_source", fix="make an item from its index alone, and leave no state behind between two of them")
def items_repeat(subject: Subject) -> None:
    """An item is the same in every order, and from a source built anew: runs can be repeated."""
    first, second = _source(subject), _source(subject, anew=True)
    for split in first.splits:
        rows = _first(first, split)
        scramble(1)
        forth = [_read(first, split, [row]) for row in rows]
        scramble(2)
        back = [_read(second, split, [row]) for row in reversed(rows)][::-1]
        for row, one, other in zip(rows, forth, back, strict=True):
            changed = different(one, other)
            if changed:
                raise Fault(f"{first.name(split, row)} differs when it is read again: {few(changed)}")


@check("data_source", fix="override `dataset_for`, and draw only in rows that are trained on")
def scored_rows_are_fixed(subject: Subject) -> None:
    """A row that is scored is the same whatever the generators hold: scores are compared, and rows cached."""
    source = _source(subject)
    for split in source.splits:
        dataset: Any = source.dataset_for(split, training=False)
        for row in _first(source, split):
            changed = different(*(_item(dataset, row, seed) for seed in (1, 2)))
            if changed:
                raise Fault(f"{source.name(split, row)} differs when it is scored again: {few(changed)}")


def _item(dataset: Any, row: int, seed: int) -> dict[str, Tensor]:
    scramble(seed)
    return {name: torch.as_tensor(value).clone() for name, value in dataset[row].items() if value is not None}


@check("data_source", fix="draw from the generators of torch, numpy and Python only, which are seeded for each item")
def same_for_any_workers(subject: Subject) -> None:
    """Rows are the same for any number of workers: a run does not depend on the machine."""
    source = _source(subject)
    split = source.splits[0]
    alone, helped = (_read(source, split, _first(source, split), workers) for workers in (0, 2))
    changed = different(alone, helped)
    if changed:
        raise Fault(f"differs between no workers and two: {few(changed)}")


@check("data_source", fix="let `labels` return one entry a row: what the item has, None for a row without")
def labels_agree_with_items(subject: Subject) -> None:
    """`labels` says of each row what its item says: fractions and class weights are made of it."""
    source, told = _source(subject), False
    for split in source.splits:
        for target, info in source.targets.items():
            labels = source.labels(split, target) if info.kind == "class" else None
            if labels is None:
                continue
            told = True
            if len(labels) != _length(source, split):
                raise Fault(f"{split}: {len(labels)} labels of {target} for {_length(source, split)} rows")
            for index in _first(source, split):
                value = source.dataset(split)[index].get(target)
                if (None if value is None else int(value)) != labels[index]:
                    where = source.name(split, index)
                    raise Fault(f"{where}: the item has {target} {value}, `labels` says {labels[index]}")
    if not told:
        raise NotApplicable("tells no labels ahead")


@check("data_source", fix="let `__getitems__` return rows first what `__getitem__` returns for each")
def reading_at_once_agrees(subject: Subject) -> None:
    """Reading many rows at once gives what reading each gives."""
    source = _source(subject)
    split = source.splits[0]
    if not hasattr(source.dataset(split), "__getitems__"):
        raise NotApplicable("reads row by row")
    rows = _first(source, split)
    dataset: Any = source.dataset(split)
    whole = dataset.__getitems__(list(rows))
    for row in rows:
        item = source.dataset(split)[row]
        for name in (*source.inputs, *source.targets):
            if not hasattr(whole, "keys") or item.get(name) is None:
                continue
            one, many = torch.as_tensor(item[name]), torch.as_tensor(whole[name][row])
            if not torch.equal(one.double(), many.double()):
                raise Fault(f"{source.name(split, row)}: {name} differs when many rows are read at once")


@check("data_source", fix="call each row by what it is read from, or by its index")
def names_are_unique(subject: Subject) -> None:
    """Every row has a name of its own: lists of rows that are saved go by it."""
    source = _source(subject)
    names = [source.name(split, index) for split in source.splits for index in range(_length(source, split))]
    wrong = [repr(name) for name in names if not isinstance(name, str) or not name]
    twice = sorted({name for name in names if names.count(name) > 1}) if len(set(names)) < len(names) else []
    if wrong or twice:
        raise Fault(f"no names: {few(wrong)}" if wrong else f"names of several rows: {few(twice)}")


@check("data_source", fix="give each row's group once, and divide the groups among the splits", level="recommended")
def groups_stay_together(subject: Subject) -> None:
    """No group and no input stands in two splits: what is tested would have been learned."""
    source = _source(subject)
    groups = {split: source.groups(split) for split in source.splits}
    for split, found in groups.items():
        if found is not None and len(found) != _length(source, split):
            raise Fault(f"{split}: {len(found)} groups for {_length(source, split)} rows")
    found_leaks = leaks(source)
    if found_leaks:
        raise Fault(str(found_leaks[0]))


@check("data_source", fix="let `describe` say what the built source says, or None where that takes reading")
def description_agrees(subject: Subject) -> None:
    """What the provider describes ahead is what the source says: specs are checked by it."""
    facts = None if subject.provider.describe is None else subject.provider.describe(subject.params)
    if facts is None:
        raise NotApplicable("describes nothing ahead")
    if not isinstance(facts, DataFacts):
        raise Fault(f"`describe` returned {facts!r:.60}, expected DataFacts or None")
    source = _source(subject)
    if facts.splits and set(facts.splits) != set(source.splits):
        raise Fault(f"describes splits {facts.splits}, the source has {source.splits}")
    if facts.inputs and set(facts.inputs) != set(source.inputs):
        raise Fault(f"describes inputs {sorted(facts.inputs)}, the source has {sorted(source.inputs)}")
    for name, names in facts.targets.items():
        info = source.targets.get(name)
        if info is None or (info.kind == "class" and names != info.names):
            raise Fault(f"describes {name} as {names}, the source has {None if info is None else info.names}")


@check("data_source", fix="hash what the samples depend on: settings, files, their sizes or checksums")
def fingerprint_repeats(subject: Subject) -> None:
    """The fingerprint is there, and the same for the same samples: resuming compares it."""
    first, second = (_source(subject, anew=anew).fingerprint() for anew in (False, True))
    if first != second or not isinstance(first, str) or not first:
        raise Fault(f"is {first!r}, then {second!r}" if first != second else f"is {first!r}")


@check(
    "data_source",
    fix="open files in `__getitem__`, and keep no handles, locks or lambdas in the dataset",
    asks="limits",
)
def datasets_travel_to_workers(subject: Subject) -> None:
    """Datasets can be pickled: workers are started afresh on some systems."""
    source = _source(subject)
    for split in source.splits:
        try:
            pickle.dumps(source.dataset(split))
        except Exception as error:
            raise Fault(f"{split}: {type(error).__name__}: {error}") from error


@check("data_source", fix="return None from `resized`, or the same rows with images of that size")
def resizing_keeps_rows(subject: Subject) -> None:
    """A source that can be resized keeps its rows, with images of the new size."""
    source = _source(subject)
    other = source.resized(16)
    if other is None:
        raise NotApplicable("is built again for another size")
    if other.splits != source.splits or any(_length(other, s) != _length(source, s) for s in source.splits):
        raise Fault(f"has splits {other.splits} once it is resized, and {source.splits} before")
    wrong = [name for name, one in other.inputs.items() if one.kind == "image" and one.shape[1:] != (16, 16)]
    if wrong:
        raise Fault(f"resized to 16 px, the form says {other.inputs[wrong[0]].shape} of {wrong[0]}")
    _read(other, source.splits[0], _first(source, source.splits[0]))
