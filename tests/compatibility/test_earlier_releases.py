"""What each release has written can be read: its run is scored, used, exported and begun from, with the same answers.

`python tests/compatibility/test_earlier_releases.py` writes the folder of this version: once, when it is released.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

import auxlearn
from auxlearn.testing import plugin

HERE = Path(__file__).parent
RELEASES = sorted(path for path in HERE.iterdir() if path.is_dir() and (path / "answers.json").is_file())
SPEC: dict[str, Any] = {
    "auxlearn": 1,
    "name": "run",
    "data": {"type": "tiny", "rows": 20},
    "backbone": {"type": "tiny", "width": 4},
    "primary": {"kind": {"type": "tiny"}},
    "pretext": {"flip": {"type": "tiny", "view": "own", "portion": 0.5}},
    "train": {"epochs": 2, "batch_size": 10, "accelerator": "cpu", "precision": "32-true", "ema": 0.5},
    "checkpoint": {"keep_last": 1},
}
# What says where a run was made. The rest of the folder is as it was written.
_PRIVATE = {"root": ".", "cpu": "", "cores": 0, "platform": "", "command": [], "host": "", "pid": 0, "gpus": []}


def images() -> torch.Tensor:
    """Images that need no generator of random numbers, whose numbers another version of torch may change."""
    return (torch.arange(6 * 3 * 8 * 8).reshape(6, 3, 8, 8) * 37 % 256).to(torch.uint8)


def answers(path: Path) -> dict[str, Any]:
    """Return what the run at `path` says."""
    run = auxlearn.load_run(path, plugins=[plugin])
    pooled = run.model.features(images())["image"].pooled
    return {"pooled": pooled.tolist(), "step": run.step, "val": _numbers(run.score("val"))}


def _numbers(scores: Mapping[str, Any]) -> dict[str, float]:
    return {name: float(value) for name, value in scores.items() if isinstance(value, int | float)}


@pytest.fixture(params=RELEASES, ids=lambda path: path.name)
def release(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A copy of what a release has written."""
    return Path(shutil.copytree(request.param, tmp_path / request.param.name))


def test_the_first_release_is_among_them() -> None:
    assert RELEASES[0].name == "0.1.0"


def test_a_run_gives_the_answers_that_it_gave(release: Path) -> None:
    before, now = json.loads((release / "answers.json").read_text()), answers(release / "run")
    assert now["step"] == before["step"]
    torch.testing.assert_close(torch.tensor(now["pooled"]), torch.tensor(before["pooled"]))
    assert now["val"].keys() >= before["val"].keys()
    assert {name: now["val"][name] for name in before["val"]} == pytest.approx(before["val"], rel=1e-4)


def test_its_spec_means_the_same(release: Path) -> None:
    resolved = json.loads((release / "run" / "resolved.json").read_text())
    now = auxlearn.validate(resolved, plugins=[plugin]).resolved
    for section in resolved.keys() - {"plugins"}:  # with their versions
        assert _kept(resolved[section], now[section]), section


def _kept(before: Any, now: Any) -> bool:
    """Return whether `now` has everything that `before` has; a later release may have more keys."""
    if isinstance(before, dict):
        return isinstance(now, dict) and all(key in now and _kept(one, now[key]) for key, one in before.items())
    return bool(before == now)


def test_it_can_be_exported(release: Path, tmp_path: Path) -> None:
    run = auxlearn.load_run(release / "run", plugins=[plugin])
    assert Path(run.export(format="state_dict", out=tmp_path / "export")).exists()


def test_a_run_can_begin_from_it(release: Path, tmp_path: Path) -> None:
    spec = {
        **SPEC,
        "name": "next",
        "init_from": {"path": str(release / "run")},
        "train": {"epochs": 1, "batch_size": 10},
    }
    assert auxlearn.run(spec, out=tmp_path / "next", plugins=[plugin]).best["step"]


def write(folder: Path) -> None:
    """Write the run of this version into `folder`, with its answers, and nothing about where it was made."""
    with tempfile.TemporaryDirectory() as home:
        made = auxlearn.run(SPEC, out=Path(home, "run"), plugins=[plugin]).path
        for name in ("manifest.json", "status.json"):
            content = json.loads((made / name).read_text())
            content |= {key: value for key, value in _PRIVATE.items() if key in content}
            (made / name).write_text(json.dumps(content, indent=2) + "\n")
        for name in (".lock", "train.log", "metrics.jsonl"):
            (made / name).unlink(missing_ok=True)
        shutil.copytree(made, folder / "run")
    (folder / "answers.json").write_text(json.dumps(answers(folder / "run"), indent=1) + "\n")


if __name__ == "__main__":
    torch.set_num_threads(1)
    write(HERE / auxlearn.__version__)
