"""`answers`: what the primary tasks say about each image, in words: classes by name, numbers with their unit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from torch import Tensor

from auxlearn.data import TargetInfo
from auxlearn.learning import PrimaryTask

__all__ = ["Answer", "answers", "task_facts"]

Answer = dict[str, Any]

_DIGITS = 6


def task_facts(task: PrimaryTask, targets: Mapping[str, TargetInfo]) -> dict[str, Any]:
    """Return as JSON what is needed to put the outputs of `task` into words.

    `kind` and `unit` are those of its first target, `classes` (or `components` of a continuous target) the names;
    what the task itself describes goes before what is known of the target.
    """
    facts: dict[str, Any] = {}
    info = targets.get(task.targets[0])
    if info is not None:
        names = "components" if info.kind == "continuous" else "classes"
        facts = {"kind": info.kind, names: list(info.names), "unit": info.unit}
    return {name: value for name, value in {**facts, **task.describe()}.items() if value not in (None, [])}


def answers(tasks: Mapping[str, Mapping[str, Any]], outputs: Mapping[str, Tensor]) -> list[dict[str, Answer]]:
    """Return the answer of every task for each row.

    Args:
        tasks: The facts of each task, from `task_facts`.
        outputs: Its outputs by `<task>.<output>`, rows first.

    Examples:
        >>> import torch
        >>> from auxlearn.results.answers import answers
        >>> facts = {"mood": {"kind": "class", "classes": ["sad", "happy"]}}
        >>> answers(facts, {"mood.probabilities": torch.tensor([[0.25, 0.75]])})
        [{'mood': {'class': 'happy', 'probabilities': {'sad': 0.25, 'happy': 0.75}}}]
    """
    rows: list[dict[str, Answer]] = [{} for _ in range(len(next(iter(outputs.values()), ())))]
    for task, facts in tasks.items():
        own = {name.removeprefix(f"{task}."): t.cpu() for name, t in outputs.items() if name.startswith(f"{task}.")}
        for row, answer in zip(rows, _answers_of(facts, own, len(rows)), strict=True):
            row[task] = answer
    return rows


def _answers_of(facts: Mapping[str, Any], outputs: Mapping[str, Tensor], number: int) -> Iterator[Answer]:
    outputs = _with_probabilities(facts, outputs)
    for row in range(number):
        answer: Answer = {}
        for name, tensor in outputs.items():
            if name == "probabilities" and tensor.ndim == 2:
                answer |= _named(facts, tensor[row].tolist())
            else:
                answer[name] = _components(facts, tensor[row].tolist())
        yield answer | ({"unit": facts["unit"]} if "unit" in facts else {})


def _with_probabilities(facts: Mapping[str, Any], outputs: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """Return the outputs with probabilities in place of logits, which are all that a plain classifier gives."""
    logits = outputs.get("logits")
    if logits is None or "probabilities" in outputs or facts.get("kind") not in ("class", "multilabel"):
        return outputs
    chances = logits.softmax(1) if facts["kind"] == "class" else logits.sigmoid()
    return {**{name: t for name, t in outputs.items() if name != "logits"}, "probabilities": chances}


def _named(facts: Mapping[str, Any], chances: Sequence[float]) -> Answer:
    names = _names(facts.get("classes"), len(chances))
    probabilities = {name: _rounded(chance) for name, chance in zip(names, chances, strict=True)}
    if facts.get("kind") == "multilabel":
        threshold = facts.get("threshold", 0.5)
        chosen = [name for name, chance in zip(names, chances, strict=True) if chance >= threshold]
        return {"classes": chosen, "probabilities": probabilities}
    return {"class": names[max(range(len(chances)), key=chances.__getitem__)], "probabilities": probabilities}


def _components(facts: Mapping[str, Any], value: Any) -> Any:
    names = facts.get("components")
    if names and isinstance(value, list) and len(value) == len(names):
        return {name: _rounded(part) for name, part in zip(names, value, strict=True)}
    return _rounded(value)


def _names(given: Sequence[str] | None, number: int) -> list[str]:
    """Return the names of the classes; their numbers where there are no names for them."""
    return list(given) if given and len(given) == number else [str(index) for index in range(number)]


def _rounded(value: Any) -> Any:
    if isinstance(value, list):
        return [_rounded(part) for part in value]
    return float(f"{value:.{_DIGITS}g}") if isinstance(value, float) else value
