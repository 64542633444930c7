"""Checkpoints: committed or not there, found out when damaged, and never removed too early."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from auxlearn.errors import CheckpointError, EnvironmentProblem
from auxlearn.files import write_atomically
from auxlearn.training.checkpoint import Checkpoints, Snapshot


def snapshot(value: float) -> Snapshot:
    weight = torch.full((2, 3, 4, 4), value).to(memory_format=torch.channels_last)
    return Snapshot(model={"w": weight}, optimizer={"0.m": torch.tensor(value)}, state={"steps": int(value)})


def test_what_was_saved_is_loaded(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(3, snapshot(3.0))
    found = checkpoints.load(3)
    assert torch.equal(found.model["w"], snapshot(3.0).model["w"])
    assert found.state == {"steps": 3}
    assert sorted(p.name for p in checkpoints.path(3).iterdir()) == [
        "checksums.json",
        "model.safetensors",
        "optimizer.safetensors",
        "state.json",
    ]


def test_numbers_that_are_not_finite_come_back_from_strict_json(tmp_path: Path) -> None:
    state = {"sums": {"a": float("nan"), "b": float("inf")}, "list": [float("-inf"), 1.5, "nan", None], "n": {}}
    path = Checkpoints(tmp_path).save(1, Snapshot(model={}, optimizer={}, state=state))

    def refuse(name: str) -> None:
        raise AssertionError(name)

    json.loads((path / "state.json").read_bytes(), parse_constant=refuse)
    assert repr(Checkpoints(tmp_path).load(1).state) == repr(state)


def test_prune_keeps_what_it_is_told_and_removes_the_litter_of_crashes(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    for step in (1, 2, 3):
        checkpoints.save(step, snapshot(step))
    (tmp_path / ".new-9-123").mkdir()
    (tmp_path / "notes.txt").write_text("mine")
    checkpoints.prune({1, 3})
    assert checkpoints.steps() == [1, 3]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["1", "3", "notes.txt"]


@settings(max_examples=60, deadline=None)
@given(
    name=st.sampled_from(["model.safetensors", "optimizer.safetensors", "state.json", "checksums.json"]), data=st.data()
)
def test_damage_is_found_and_the_one_before_is_used(
    name: str, data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("damage")
    checkpoints = Checkpoints(folder)
    checkpoints.save(1, snapshot(1.0))
    checkpoints.save(2, snapshot(2.0))
    path = checkpoints.path(2) / name
    content = bytearray(path.read_bytes())
    kind = data.draw(st.sampled_from(["flip", "cut", "remove"]))
    if kind == "flip":
        # A flip of the case of a hex digit, or in white space, could be harmless: flip a high bit.
        content[data.draw(st.integers(0, len(content) - 1))] ^= 0x80
        path.write_bytes(content)
    elif kind == "cut":
        path.write_bytes(content[: data.draw(st.integers(0, len(content) - 1))])
    else:
        path.unlink()
    step, found, faults = checkpoints.load_last()
    assert (step, len(faults)) == (1, 1)
    assert str(checkpoints.path(2)) in faults[0]
    assert found.state == {"steps": 1}


def test_no_sound_checkpoint_is_an_error_and_removes_nothing(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(1, snapshot(1.0))
    (checkpoints.path(1) / "state.json").write_bytes(b"")
    with pytest.raises(CheckpointError, match="no sound checkpoint"):
        checkpoints.load_last()
    assert checkpoints.steps() == [1]


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.EACCES])
@pytest.mark.parametrize("call", ["fsync", "rename", "mkdir"])
def test_every_call_may_fail_and_nothing_is_lost(
    code: int, call: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(1, snapshot(1.0))
    calls_of_a_save = {"fsync": 6, "rename": 1, "mkdir": 2}
    for number in range(1, 9):
        seen = 0
        owner = Path if call == "mkdir" else os
        real = getattr(owner, call)

        def failing(*args: object, _real=real, _number=number, **kwargs: object) -> object:
            nonlocal seen
            seen += 1
            if seen == _number:
                raise OSError(code, os.strerror(code))
            return _real(*args, **kwargs)

        with monkeypatch.context() as patch:
            patch.setattr(owner, call, failing)
            if number <= calls_of_a_save[call]:
                with pytest.raises(EnvironmentProblem, match=os.strerror(code)):
                    checkpoints.save(2, snapshot(2.0))
            else:
                checkpoints.save(2, snapshot(2.0))
        assert checkpoints.load(1).state == {"steps": 1}
        assert not [p for p in tmp_path.iterdir() if p.name.startswith(".new")]
        if seen < number:
            break
    assert checkpoints.load_last()[0] == 2


def test_write_atomically_leaves_the_old_content_when_it_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "status.json"
    write_atomically(path, b"old")

    def full(_handle: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(EnvironmentProblem, match="bytes are free"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["status.json"]
