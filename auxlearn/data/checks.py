"""What can be wrong with data that is seen before the first step, each check a list of problems."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from auxlearn.data.divide import Labels
from auxlearn.data.problems import problem
from auxlearn.data.source import DataSource, LabelCounts, TargetInfo
from auxlearn.errors import Problem, escape

__all__ = ["absent_classes", "count_classes", "count_labels", "empty_splits", "few", "leaks", "wrong_labels"]

_SHOWN = 10  # problems of one kind that are listed; the rest are counted


def varying_inputs(source: DataSource) -> list[Problem]:
    """Return the inputs whose length differs from row to row, which make no batch."""
    fix = "give its rows a length in the settings of the data, or make features of them first (auxlearn extract)"
    return [
        problem("/data", f"the length of `{name}` differs from row to row, so rows make no batch", fix=fix)
        for name, form in source.inputs.items()
        if -1 in form.shape
    ]


def empty_splits(source: DataSource, batch_size: int | None) -> list[Problem]:
    """Return the splits without rows, and whether `train` cannot fill one batch."""
    if "train" not in source.splits:
        return [problem("train", "the data has no split `train`", allowed=", ".join(source.splits))]
    sizes = {split: len(source.dataset(split)) for split in source.splits}  # type: ignore[arg-type]
    fix = "a larger `data.fraction`, or other `data.split` shares"
    found = [problem(split, "the split is empty", fix=fix) for split, size in sizes.items() if size == 0]
    if batch_size is not None and 0 < sizes["train"] < batch_size:
        what = f"{sizes['train']} rows cannot fill a batch of {batch_size}"
        found.append(problem("train", what, fix=f"`train.batch_size` of at most {sizes['train']}"))
    return found


def wrong_labels(source: DataSource, labels: Labels) -> list[Problem]:
    """Return the labels that are no index of a class."""
    return [
        found
        for split, targets in labels.items()
        for target, values in targets.items()
        for found in few(_wrong(source, split, target, values), f"`{target}` in {split}")
    ]


def _wrong(source: DataSource, split: str, target: str, values: Sequence[Any]) -> Iterator[Problem]:
    classes = len(source.targets[target].names)
    allowed = f"0 to {classes - 1}, or nothing for a row without a label"
    for row, value in enumerate(values):
        if value is not None and not (type(value) is int and 0 <= value < classes):
            what = f"`{target}` is {escape(repr(value))}, which is no index of a class"
            yield problem(source.name(split, row), what, allowed=allowed)


def count_classes(info: TargetInfo, values: Sequence[Any]) -> tuple[int, ...]:
    """Return the number of rows of each class."""
    counts = Counter(values)
    return tuple(counts[index] for index in range(len(info.names)))


def count_labels(info: TargetInfo, values: Sequence[Any]) -> LabelCounts:
    """Return how often each label occurs; `values` are 0 or 1 for each of them, None for a row without."""
    given = [value for value in values if value is not None]
    table = np.asarray(given, dtype=np.float64).reshape(len(given), info.shape[0] if info.shape else len(info.names))
    return LabelCounts(rows=len(given), positives=tuple((table > 0).sum(0).tolist()))


def absent_classes(
    targets: Mapping[str, TargetInfo], counts: Mapping[str, Mapping[str, tuple[int, ...]]]
) -> tuple[list[Problem], list[str]]:
    """Return classes that are scored but cannot be learned, as problems, and those that nobody has, as notes.

    Args:
        targets: What is known about each target.
        counts: The rows of each class by split and class target.
    """
    problems, notes = [], []
    for target in counts.get("train", {}):
        names = targets[target].names
        if not sum(counts["train"][target]):
            problems.append(problem("train", f"no row has a label of `{target}`"))
            continue
        for index, name in enumerate(names):
            rows = {split: found[target][index] for split, found in counts.items() if found[target][index]}
            what = f'no row has class "{escape(name)}" of `{target}`'
            if not rows:
                notes.append(f"{what[0].upper()}{what[1:]}, in any split.")
            elif "train" not in rows:
                fix = "a larger `data.fraction`, a split by stratum, or fewer classes"
                problems.append(problem("train", f"{what}, but {_listed(rows)}", fix=fix))
    return problems, notes


def leaks(source: DataSource) -> list[Problem]:
    """Return the groups, and the rows with the same input, that stand in more than one split."""
    if len(source.splits) < 2:  # looking for duplicates may mean reading
        return []
    groups: dict[str, Counter[str]] = defaultdict(Counter)
    for split in source.splits:
        for group in source.groups(split) or ():
            if group is not None:
                groups[group][split] += 1
    by_group = 'divide by group (`"split": {"by": "group"}`), or accept it with `"allow_leaks": true`'
    divided = (
        problem(f"group {escape(group)}", "stands in " + _listed(found), fix=by_group)
        for group, found in groups.items()
        if len(found) > 1
    )
    remove = 'remove all but one, or accept it with `"allow_leaks": true`'
    copies = (
        problem(source.name(*same[0]), f"the same input stands in {_places(source, same)}", fix=remove)
        for same in source.duplicates()
        if len({split for split, _ in same}) > 1
    )
    return [*few(divided, "groups in two splits"), *few(copies, "inputs in two splits")]


def _listed(found: Mapping[str, int]) -> str:
    return " and ".join(f"{split} ({number} {'row' if number == 1 else 'rows'})" for split, number in found.items())


def _places(source: DataSource, same: Sequence[tuple[str, int]]) -> str:
    return " and ".join(f"{split} ({escape(source.name(split, row))})" for split, row in same[:4])


def few(problems: Iterator[Problem], what: str) -> list[Problem]:
    """Return the first few problems of a kind, and one that counts the rest."""
    every = list(problems)
    rest = len(every) - _SHOWN
    more = [problem("", f"{rest} more of this kind: {what}")] if rest > 0 else []
    return every[:_SHOWN] + more
