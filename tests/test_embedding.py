"""`auxlearn.build`: the learner and the data of a spec in a training loop of one's own."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

import auxlearn
from auxlearn.errors import CheckpointError, DataError, SpecError
from auxlearn.testing import plugin


def spec(**changes: Any) -> dict[str, Any]:
    base: dict[str, Any] = {
        "auxlearn": 1,
        "name": "embedded",
        "seed": 3,
        "data": {"type": "tiny", "lacking": 5},
        "backbone": {"type": "tiny", "dropout": 0.1},
        "primary": {"kind": {"type": "tiny"}},
        "pretext": {
            "flip": {"type": "tiny", "view": "own", "portion": 0.5, "every": 2, "weight": 0.7},
            "late": {"type": "tiny", "view": "shared", "weight": {"start": 0, "end": 1, "begin": 1, "until": 2}},
        },
        "optimizer": {"type": "sgd", "lr": 0.1, "momentum": 0, "weight_decay": 0},
        "schedule": {"type": "constant"},
        "train": {"epochs": 3, "batch_size": 12, "channels_last": False},
        "log": {"every_steps": 1},
    }
    return base | changes


def build(given: dict[str, Any] | None = None, **options: Any) -> auxlearn.Built:
    return auxlearn.build(spec() if given is None else given, plugins=[plugin], **options)


def train(built: auxlearn.Built, optimizer: torch.optim.Optimizer, start: int = 0) -> list[dict[str, float]]:
    """Take the steps that are left, and return the losses of each."""
    found = []
    for batch, moment in built.steps(start):
        result = built.learner.step(batch, moment)
        optimizer.zero_grad()
        result.total.backward()
        optimizer.step()
        built.learner.after_step(result, moment)
        found.append({str(key): loss.item() for key, loss in result.losses.items()})
    return found


@pytest.mark.slow
def test_a_loop_of_ones_own_takes_the_steps_of_a_run(tmp_path: Path) -> None:
    run = auxlearn.run(spec(), out=tmp_path / "run", plugins=[plugin])
    built = build()
    losses = train(built, torch.optim.SGD(built.learner.parameters(), lr=0.1))
    recorded = [line for line in run.history if line["kind"] == "train"]
    names = [[name for name in line if name.startswith("loss/")] for line in recorded]
    by_step = zip(recorded, names, strict=True)
    assert losses == [{name.removeprefix("loss/"): line[name] for name in known} for line, known in by_step]
    assert {len(step) for step in losses} == {1, 2, 3}, "tasks that are off in some steps"
    last = auxlearn.load_run(run.path, which="last", plugins=[plugin])
    assert built.score("test") == last.score("test")


def test_steps_know_when_they_are_and_go_on_anywhere() -> None:
    built = build()
    all_of_them = list(built.steps())
    moments = [moment for _, moment in all_of_them]
    assert [moment.step for moment in moments] == list(range(12))
    assert [moment.epoch for moment in moments] == [step / 4 for step in range(12)]
    assert [moment.progress for moment in moments] == [step / 12 for step in range(12)]
    later = list(built.steps(start=5))
    assert [moment for _, moment in later] == moments[5:]
    for (batch, _), (again, _) in zip(all_of_them[5:], later, strict=True):
        assert torch.equal(batch.ids, again.ids)
        assert torch.equal(batch.image, again.image)
    assert list(built.steps(start=12)) == []


def test_a_model_is_a_copy_without_auxiliary_parts() -> None:
    built = build()
    model = built.model()
    assert not model.training
    assert built.learner.training
    assert {name.split(".")[0] for name in model.state_dict()} == {"backbone", "primary"}
    images = built.data.source.dataset("val")[0]["image"][None]
    before = model(images)["kind"]["probabilities"]
    train(built, torch.optim.SGD(built.learner.parameters(), lr=0.1))
    torch.testing.assert_close(model(images)["kind"]["probabilities"], before, rtol=0, atol=0)
    assert not torch.equal(built.model()(images)["kind"]["probabilities"], before)
    assert model.predict(images)[0]["kind"]["class"] in ("dark", "bright")


def test_the_loop_gets_whole_batches_whatever_the_spec_says_of_devices() -> None:
    built = build(spec(train={"batch_size": 12, "devices": 2, "accumulate": 3, "steps": 1}))
    ((batch, _),) = built.steps()
    assert len(batch) == 12
    assert built.spec.rows_per_step == 12


def test_weights_of_another_run_are_taken_over(tmp_path: Path) -> None:
    run = auxlearn.run(spec(train={"steps": 2, "batch_size": 12}), out=tmp_path / "run", plugins=[plugin])
    start = {"path": str(run.path), "which": "last", "parts": ["backbone"]}
    pretext = {"flip": {"type": "tiny", "view": "own", "statistics": "separate"}}
    built = build(spec(init_from=start, pretext=pretext))
    kept = auxlearn.load_run(run.path, which="last", plugins=[plugin]).model.state_dict()
    for name, tensor in built.learner.backbone.state_dict().items():
        assert torch.equal(tensor, kept[f"backbone.{name}"]), name
    assert not torch.equal(built.learner.primary["kind"].head.weight, kept["primary.kind.head.weight"])
    norms, backbone = built.learner.norms["flip"].layers[0].state_dict(), built.learner.backbone.state_dict()
    (mean,) = [tensor for name, tensor in backbone.items() if name.endswith("running_mean")]
    assert torch.equal(norms["running_mean"], mean)
    assert mean.any()


@pytest.mark.parametrize(
    ("changes", "kind", "words"),
    [
        ({"stages": [{"name": "a"}, {"name": "b"}]}, SpecError, "/stages: these are several runs (a, b)"),
        ({"trian": {}}, SpecError, "/trian: unknown key"),
        ({"init_from": {"path": "nowhere"}}, CheckpointError, "nowhere"),
    ],
)
def test_what_cannot_be_built_is_told(changes: dict[str, Any], kind: type[Exception], words: str) -> None:
    with pytest.raises(kind) as raised:
        build(spec(**changes))
    assert words in str(raised.value)


def test_an_unknown_split_is_told() -> None:
    with pytest.raises(DataError, match='no split "vall"'):
        build().score("vall")


def test_overrides_and_seed_are_those_of_a_run() -> None:
    built = build(overrides=["train.epochs=null", "train.steps=1", "pretext.flip.weight=0.1"], seed=8)
    assert built.spec.seed == built.learner.seed == 8
    assert built.learner.arrange["flip"].weight == 0.1
    assert len(list(built.steps())) == 1


PAGE = Path(__file__).parents[1] / "docs" / "pages" / "how-to" / "embed.md"
PROGRAMS = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("program", PROGRAMS, ids=["plain", "lightning"])
def test_the_programs_of_the_docs_are_short_and_whole(program: str) -> None:
    assert program.count("\n") < 40
    check = [sys.executable, "-m", "ruff", "check", "--isolated", "--select", "F", "-"]
    found = subprocess.run(check, input=program, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stdout


@pytest.mark.slow
def test_lightning_takes_the_steps_of_a_plain_loop(tmp_path: Path) -> None:
    names: dict[str, Any] = {}
    exec(PROGRAMS[1].split("\n\n\nbuilt = ")[0], names)
    found = []

    class Recorded(names["Emotions"]):
        def on_train_batch_end(self, *_: Any) -> None:
            super().on_train_batch_end()
            found.append({str(key): loss.item() for key, loss in self.result.losses.items()})

        def on_train_end(self) -> None:
            """Score nothing."""

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.SGD(self.learner.parameters(), lr=0.1)

    quiet = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False)
    trainer = names["lightning"].Trainer(max_epochs=1, accelerator="cpu", default_root_dir=tmp_path, **quiet)
    trainer.fit(Recorded(build()))
    plain = build()
    assert found == train(plain, torch.optim.SGD(plain.learner.parameters(), lr=0.1))
    assert len(found) == 12
