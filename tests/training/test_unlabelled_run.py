"""Whole runs with an unlabelled stream, and what an epoch is."""

from __future__ import annotations

import json
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

import auxlearn
from auxlearn.data import DataSource, prepare
from auxlearn.errors import DataError, DivergedError, Interrupted
from auxlearn.spec.models import DataKeys, Epoch, UnlabelledKeys
from auxlearn.testing import plugin
from auxlearn.testing.fakes import TinySource
from auxlearn.training.feed import Feed
from auxlearn.training.folder import RunFolder
from auxlearn.training.progress import Silent


def spec(**changes: Any) -> dict[str, Any]:
    base: dict[str, Any] = {
        "auxlearn": 1,
        "name": "tiny",
        "data": {"type": "tiny", "fraction": 0.25, "unlabelled": {"type": "rest", "ratio": 2}},
        "backbone": {"type": "tiny", "dropout": 0.1},
        "primary": {"kind": {"type": "tiny"}},
        "pretext": {"flip": {"type": "tiny", "view": "own", "portion": 0.5}},
        "train": {"epochs": 3, "batch_size": 4},
        "log": {"every_steps": 1},
    }
    return base | changes


def run(folder: Path, given: Mapping[str, Any], **options: Any) -> auxlearn.api.RunResult:
    return auxlearn.run(given, out=folder, plugins=[plugin], **options)


def weights(folder: Path) -> dict[str, torch.Tensor]:
    checkpoints = RunFolder(folder).checkpoints
    return dict(checkpoints.load(checkpoints.steps()[-1]).model)


class StopAt(Silent):
    """Interrupts the run after some step."""

    def __init__(self, step: int) -> None:
        self.step = step

    def advance(self, step: int, epoch: float, rate: float, losses: Mapping[str, float] | None) -> None:
        if step == self.step:
            signal.raise_signal(signal.SIGTERM)


def feed(epoch: Epoch | None, rows: int = 48, fraction: float = 0.25, ratio: float = 2.0, batch_size: int = 4) -> Feed:
    keys = UnlabelledKeys(ratio=ratio)
    data = prepare(TinySource(rows=rows), DataKeys(fraction=fraction), seed=0, batch_size=batch_size, unlabelled=keys)
    return Feed(data, batch_size=batch_size, by=epoch)


@pytest.mark.parametrize(
    ("epoch", "ratio", "length"),
    [
        (None, 2.0, 12 / 4),
        (Epoch(by="labelled"), 2.0, 12 / 4),
        (Epoch(by="all"), 2.0, 36 / 8),
        (Epoch(by="all"), 3.0, 36 / 12),
        (Epoch(by="all"), 6.0, 12 / 4),  # the labelled rows take longer
        (Epoch(by="steps", steps=7), 2.0, 7),
    ],
)
def test_what_an_epoch_is(epoch: Epoch | None, ratio: float, length: float) -> None:
    found = feed(epoch, ratio=ratio)
    assert found.steps_per_epoch == length
    assert [found.epoch(step) for step in range(30)] == pytest.approx([step / length for step in range(30)])
    assert [found.epochs_done(step) for step in range(30)] == [int(step // length) for step in range(30)]
    for epochs in range(1, 5):
        steps = found.steps(epochs)
        assert found.epochs_done(steps) >= epochs > found.epochs_done(steps - 1)


def test_by_all_every_row_of_either_stream_comes_at_least_once_an_epoch() -> None:
    for ratio in (0.5, 2.0, 6.0):
        found = feed(Epoch(by="all"), ratio=ratio)
        batches = iter(found.train(0))
        taken = [next(batches) for _ in range(found.steps(1))]
        known = {i for batch in taken for i in batch.ids[: batch.labelled].tolist()}
        other = {i for batch in taken for i in batch.ids[batch.labelled :].tolist()}
        assert (len(known), len(other)) == (12, 36)


def test_what_a_step_and_an_epoch_are_is_told() -> None:
    assert feed(None).describe(9) == (
        "a step: 4 labelled and 8 unlabelled rows; an epoch: 3 steps, one pass over the 12 labelled rows; "
        "in all 9 steps"
    )
    assert "an epoch: 4.5 steps, one pass over the 36 unlabelled rows" in feed(Epoch(by="all")).describe(9)
    assert "an epoch: 5 steps, as the spec says" in feed(Epoch(by="steps", steps=5)).describe(9)
    alike = feed(Epoch(by="all"), fraction=0.5, ratio=0.5)
    assert "an epoch: 12 steps, one pass over the 24 unlabelled rows" in alike.describe(9)
    plain = Feed(prepare(TinySource(), DataKeys(), seed=0), batch_size=4)
    assert plain.describe(12) == (
        "a step: 4 labelled rows; an epoch: 12 steps, one pass over the 48 labelled rows; in all 12 steps"
    )


def test_a_run_and_its_baseline_take_the_same_steps_on_the_same_labelled_rows(tmp_path: Path) -> None:
    among = run(tmp_path / "among", spec())
    data = {"type": "tiny", "fraction": 0.25}
    alone = run(tmp_path / "alone", spec(data=data, pretext={}))
    steps = [[line["step"] for line in one.history if line["kind"] == "train"] for one in (among, alone)]
    assert steps[0] == steps[1] == list(range(1, 10))
    drawn = [json.loads((tmp_path / name / "drawn.json").read_text()) for name in ("among", "alone")]
    assert drawn[0] == drawn[1]
    log = (tmp_path / "among" / "train.log").read_text()
    assert "a step: 4 labelled and 8 unlabelled rows; an epoch: 3 steps" in log
    manifest = json.loads((tmp_path / "among" / "manifest.json").read_text())
    assert {"section": "data.unlabelled", "type": "rest", "distribution": "auxlearn"}.items() <= (
        next(line for line in manifest["plugins"] if line["section"] == "data.unlabelled").items()
    )


def test_with_a_task_of_weight_zero_the_weights_are_those_of_the_baseline(tmp_path: Path) -> None:
    pretext = {"flip": {"type": "tiny", "view": "own", "weight": 0}}
    run(tmp_path / "among", spec(pretext=pretext))
    run(tmp_path / "alone", spec(pretext=pretext, data={"type": "tiny", "fraction": 0.25}))
    one, other = weights(tmp_path / "among"), weights(tmp_path / "alone")
    assert one.keys() == other.keys()
    assert all(torch.equal(tensor, other[name]) for name, tensor in one.items())


@pytest.mark.parametrize(("before", "after"), [(0, 0), pytest.param(2, 1, marks=pytest.mark.slow)])
@pytest.mark.parametrize("unlabelled", ["rest", {"type": "tiny", "rows": 30, "ratio": 3}])
def test_resume_is_bit_exact(unlabelled: Any, before: int, after: int, tmp_path: Path) -> None:
    data = {"type": "tiny", "fraction": 0.25, "unlabelled": unlabelled}
    given = spec(data=data, train={"epochs": 2, "batch_size": 4, "accumulate": 2, "epoch": {"by": "all"}})
    whole = run(tmp_path / "whole", given)
    with pytest.raises(Interrupted):
        run(tmp_path / "cut", {**given, "data": {**data, "workers": before}}, reporter=StopAt(5))
    again = auxlearn.resume(tmp_path / "cut", (f"data.workers={after}",), plugins=[plugin])
    one, other = weights(tmp_path / "whole"), weights(tmp_path / "cut")
    assert all(torch.equal(tensor, other[name]) for name, tensor in one.items())
    assert again.history == whole.history


def test_epochs_by_steps_govern_scoring_and_checkpoints(tmp_path: Path) -> None:
    train = {"epochs": 3, "batch_size": 4, "epoch": {"by": "steps", "steps": 5}}
    done = run(tmp_path / "run", spec(train=train, checkpoint={"keep_last": 9}))
    scored = [(line["step"], line["epoch"]) for line in done.history if line["kind"] == "val"]
    assert scored == [(5, 1.0), (10, 2.0), (15, 3.0)]
    assert RunFolder(tmp_path / "run").checkpoints.steps() == [5, 10, 15]


def test_scoring_later_needs_no_unlabelled_rows(tmp_path: Path) -> None:
    done = run(tmp_path / "run", spec())
    loaded = auxlearn.load_run(tmp_path / "run", plugins=[plugin])
    assert loaded.score("test") == pytest.approx(done.test)


def test_a_step_that_is_not_finite_names_rows_of_either_stream(tmp_path: Path) -> None:
    given = spec(optimizer={"type": "sgd", "lr": 1e30})
    with pytest.raises(DivergedError) as caught:
        run(tmp_path / "run", given)
    told = str(caught.value)
    rest = json.loads((tmp_path / "run" / "drawn.json").read_text())["train"]
    named = told.rsplit("; rows ", maxsplit=1)[-1].split(", ")[:4]
    assert [name in rest for name in named] == [True, True, False, False]


def test_held_out_rows_are_found_before_anything_is_written(tmp_path: Path) -> None:
    data = {"type": "tiny", "unlabelled": {"type": "tiny", "split": "val"}}
    with pytest.raises(DataError, match="among the unlabelled rows"):
        run(tmp_path / "run", spec(data=data))
    assert not (tmp_path / "run").exists()


def test_sources_tell_of_no_files_by_default() -> None:
    source: DataSource = TinySource()
    assert source.files("train") is None
