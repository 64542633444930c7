"""`answer_rows`: what a model says about the rows of a data source, whatever their modalities are."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from auxlearn.data import Batch, DataSource, InputShape, eval_loader
from auxlearn.errors import DataError, Problem, nearest
from auxlearn.results.predictor import Predictor

__all__ = ["answer_rows", "require_inputs", "require_split"]


def answer_rows(predictor: Predictor, source: DataSource, split: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the name of each row of `split`, and the answer of every task.

    A feature that a row lacks counts as its mean over the rows that the model was trained on.

    Raises:
        DataError: If the source has no such split, its inputs are not those of the model, or a row cannot be read.
    """
    require_split(source, split)
    require_inputs(source, predictor)
    for batch in eval_loader(source, split, predictor.batch_size):
        inputs = {name: _of_batch(batch, name, form) for name, form in predictor.inputs.items()}
        names = [source.name(split, row) for row in batch.ids.tolist()]
        yield from zip(names, predictor.answer(predictor.prepare_rows(inputs)), strict=True)


def require_split(source: DataSource, split: str) -> None:
    """Raise a DataError if the source has no such split."""
    if split not in source.splits:
        what, known = f'the data has no split "{split}"', ", ".join(source.splits)
        raise DataError(Problem(what=what, allowed=known, meant=nearest(split, source.splits), exit_code=4))


def require_inputs(source: DataSource, predictor: Predictor) -> None:
    """Raise a DataError if the inputs of the source are not those of the model; images may be of any size."""
    problems = [_unlike(name, source.inputs.get(name), wanted) for name, wanted in predictor.inputs.items()]
    if any(problems):
        raise DataError([problem for problem in problems if problem])


def _unlike(name: str, found: InputShape | None, wanted: InputShape) -> Problem | None:
    kept = 1 if wanted.kind == "image" else len(wanted.shape)
    if found is not None and (found.kind, found.shape[:kept]) == (wanted.kind, wanted.shape[:kept]):
        return None
    what = f"the data has no `{name}`" if found is None else f"`{name}` of the data is {found.kind} {found.shape}"
    return Problem(what=what, allowed=f"{wanted.kind} {wanted.shape}, as the model reads it", exit_code=4)


def _of_batch(batch: Batch, name: str, form: InputShape) -> Tensor:
    """Return an input, as NaN where a row lacks a feature."""
    rows, there = batch.inputs[name], batch.present.get(f"inputs/{name}")
    if there is None or form.kind == "image":
        return rows
    return torch.where(there.view(-1, *(1 for _ in form.shape)), rows, torch.nan)
