"""Plugins written against the wheel and the docs only: a pretext task, a backbone, and data, used together."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

OUTSIDERS = Path(__file__).parents[1] / "outsiders"
OFFERED = {"patches": "pretext_task", "shapes": "data_source", "torchvision_resnet": "backbone"}

SPEC = {
    "auxlearn": 1,
    "name": "outsiders",
    "data": {"type": "shapes", "rows": 96, "size": 48},
    "backbone": {"type": "torchvision_resnet"},
    "primary": {"shape": {"type": "classification"}},
    "pretext": {"where": {"type": "patches", "portion": 0.5, "gap": 0.25}},
    "optimizer": {"type": "adamw", "layer_decay": 0.9},
    "train": {"epochs": 2, "batch_size": 16},
}

pytestmark = pytest.mark.slow


def test_they_are_found_from_their_wheels(fresh, tmp_path: Path) -> None:
    listed = json.loads(fresh.auxlearn("plugins", "list", "--json", cwd=tmp_path))
    assert listed["broken"] == []
    found = {one["name"]: one for one in listed["providers"] if one["name"] in OFFERED}
    assert {name: one["kind"] for name, one in found.items()} == OFFERED
    assert all(Path(one["file"]).is_relative_to(fresh.python.parents[1]) for one in found.values())


@pytest.mark.parametrize("name", OFFERED)
def test_they_conform(name: str, fresh, tmp_path: Path) -> None:
    told = json.loads(fresh.auxlearn("plugins", "check", name, "--json", cwd=tmp_path))
    assert told["ok"]
    assert [report["name"] for report in told["reports"]] == [name]


@pytest.mark.parametrize("name", ["patches", "shapes", "torchvision"])
def test_their_own_tests_pass(name: str, fresh, tmp_path: Path) -> None:
    """Those of the conformance kit were run by `auxlearn plugins check`, and need not be again."""
    source = OUTSIDERS / f"auxlearn-{name}"
    shutil.copytree(source / "tests", tmp_path / "tests")
    shutil.copy(source / "pyproject.toml", tmp_path)
    options = ("-q", "-p", "no:cacheprovider", "-k", "not test_conforms")
    assert "passed" in fresh.call(fresh.python, "-m", "pytest", *options, cwd=tmp_path)


def interrupted(fresh, place: Path) -> None:
    """Run the spec, and stop it by a signal after its first epoch."""
    command = [fresh.python.parent / "auxlearn", "run", "spec.json", "--out", "broken"]
    streams = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, cwd=place, env=fresh.variables, **streams) as run:
        while run.poll() is None and not (place / "broken" / "checkpoints" / "6").exists():
            time.sleep(0.01)
        run.send_signal(signal.SIGTERM)
        told = run.communicate(timeout=300)[1].decode()
    assert run.returncode == 143, told


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "checkpoints" / "12" / "model.safetensors")


def test_one_spec_uses_all_three(fresh, tmp_path: Path) -> None:
    (tmp_path / "spec.json").write_text(json.dumps(SPEC))
    assert "spec.json is valid" in fresh.auxlearn("validate", "--deep", "spec.json", cwd=tmp_path)
    fresh.auxlearn("run", "spec.json", "--out", "whole", cwd=tmp_path)
    interrupted(fresh, tmp_path)
    fresh.auxlearn("resume", "broken", cwd=tmp_path)
    whole, broken = weights(tmp_path / "whole"), weights(tmp_path / "broken")
    assert whole.keys() == broken.keys()
    assert [name for name in whole if not torch.equal(whole[name], broken[name])] == []
    used = json.loads((tmp_path / "whole" / "manifest.json").read_text())["plugins"]
    assert {"auxlearn-patches", "auxlearn-shapes", "auxlearn-torchvision"} <= set(str(used).replace("'", " ").split())
    fresh.auxlearn("export", "whole", "--format", "torch_export", cwd=tmp_path)
    (export,) = (tmp_path / "whole" / "export").iterdir()
    for number, side in enumerate((48, 60)):
        Image.new("RGB", (side, 48), (9, 99, 199)).save(tmp_path / f"{number}.png")
    printed = fresh.auxlearn("predict", export, "0.png", "1.png", cwd=tmp_path)
    rows = [json.loads(line) for line in printed.splitlines()]
    assert len(rows) == 2
    assert "circle" in printed
