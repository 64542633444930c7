"""What can be wrong with the second stream of rows, and with what an epoch is."""

from __future__ import annotations

from collections.abc import Iterator

from auxlearn.errors import Problem
from auxlearn.spec.assembly import Assembly
from auxlearn.spec.models import TrainKeys, UnlabelledKeys
from auxlearn.spec.pointers import Path

__all__ = ["check_epoch", "check_unlabelled", "joint_rows"]

Found = Iterator[tuple[Path, Problem]]

_PATH = ("data", "unlabelled")


def joint_rows(assembly: Assembly) -> int:
    """Return the clean views in one optimizer step, of labelled and unlabelled rows together."""
    train: TrainKeys = assembly.plain.get("train", TrainKeys())
    stream, augment = assembly.selected.get(_PATH), assembly.selected.get(("augment",))
    rows = train.batch_size + (stream.keys.rows(train.batch_size) if stream else 0)
    return rows * (augment.keys.repeats if augment else 1)


def check_unlabelled(assembly: Assembly) -> Found:
    """Yield what is wrong with the second stream of rows."""
    stream = assembly.selected.get(_PATH)
    if stream is None:
        return
    keys: UnlabelledKeys = stream.keys
    if not assembly.document.get("pretext"):
        what = "nothing learns from unlabelled rows: there is no pretext task"
        yield _PATH, Problem(what=what, fix='name one in "pretext", or leave `unlabelled` out')
    if stream.found.provider in stream.section.own:
        if assembly.selected["data",].keys.fraction == 1.0:
            what = "there is no rest: `data.fraction` is 1, so all training rows are labelled ones"
            yield _PATH, Problem(what=what, fix="a `data.fraction` below 1, or the name of another data source")
        if keys.split != UnlabelledKeys().split:
            what = f'the rest of the training rows is of no split "{keys.split}"'
            yield (*_PATH, "split"), Problem(what=what, fix="leave `split` out")
    yield from _check_ratio(keys, assembly.plain["train"])


def _check_ratio(keys: UnlabelledKeys, train: TrainKeys) -> Found:
    rows, parts = keys.rows(train.batch_size), train.devices * train.nodes * train.accumulate
    if rows and rows % parts == 0:
        return
    below = rows // parts * parts
    near = " or ".join(f"{size / train.batch_size:.6g}" for size in (below, below + parts) if size)
    what = f"{keys.ratio:g} for each of the {train.batch_size} labelled rows of a step makes {rows} unlabelled rows"
    if rows:
        what += f", which cannot be divided evenly among {parts} (devices x nodes x accumulate)"
    yield (*_PATH, "ratio"), Problem(what=what, allowed=f"{near}, or another that makes a multiple of {parts}")


def check_epoch(assembly: Assembly) -> Found:
    """Yield what is wrong with `train.epoch`."""
    train: TrainKeys = assembly.plain["train"]
    if train.epoch.by == "steps" and train.epoch.steps is None:
        what = "an epoch by steps needs the number of its steps"
        yield ("train", "epoch"), Problem(what=what, fix='"epoch": {"by": "steps", "steps": 100}')
    if train.epoch.by != "steps" and train.epoch.steps is not None:
        what = f"an epoch by {train.epoch.by} has as many steps as its rows make"
        yield ("train", "epoch", "steps"), Problem(what=what, fix='"by": "steps", or leave `steps` out')
