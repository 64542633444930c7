from __future__ import annotations

import argparse
import json
import os

import numpy as np
import pytest
import torch
from PIL import Image

from auxlearn.cli import eval as eval_command
from auxlearn.cli import export as export_command
from auxlearn.cli import predict as predict_command
from auxlearn.errors import DataError, EnvironmentProblem, SpecError
from auxlearn.results import LoadedRun


@pytest.fixture
def call(registry):
    """The command line with the tiny plugin."""

    def run(*argv):
        parser = argparse.ArgumentParser()
        subparsers = parser.add_subparsers()
        for command in (eval_command, export_command, predict_command):
            command.add(subparsers)
        args = parser.parse_args([str(word) for word in argv])
        args.registry = lambda: registry
        return args.run(args)

    return run


@pytest.fixture
def pictures(tmp_path):
    """A tree of pictures of several sizes and formats, and something else."""
    folder = tmp_path / "pictures"
    (folder / "b").mkdir(parents=True)
    draws = np.random.default_rng(0)
    for name, size in (("b/z.PNG", (12, 12)), ("a.jpg", (40, 30)), ("b/c.webp", (9, 21)), ("grey.bmp", (12, 12))):
        pixels = draws.integers(0, 256, (*size, 3), dtype=np.uint8)
        image = Image.fromarray(pixels)
        (image.convert("L") if "grey" in name else image).save(folder / name)
    (folder / "notes.txt").write_text("not a picture")
    return folder


def lines(text):
    return [json.loads(line) for line in text.splitlines()]


def test_predict_reads_folders_and_files_in_order(call, result, run, pictures, capsys):
    assert call("predict", result.path, pictures, pictures / "a.jpg") == 0
    found = lines(capsys.readouterr().out)
    files = [pictures / name for name in ("a.jpg", "grey.bmp", "b/c.webp", "b/z.PNG", "a.jpg")]
    assert [line.pop("path") for line in found] == [str(file) for file in files]
    assert found == run.predict(files)
    assert sum(found[0]["kind"]["probabilities"].values()) == pytest.approx(1, abs=1e-5)


def test_a_picture_of_the_data_is_predicted_as_in_evaluation(run, pictures):
    pixels = torch.from_numpy(np.array(Image.open(pictures / "b/z.PNG"))).permute(2, 0, 1)
    whole = Image.open(pictures / "a.jpg")
    assert run.predict(pictures / "b/z.PNG") == run.predict(pixels)
    assert run.predict(whole) == run.predict(pictures / "a.jpg")
    # The data has 12 pixels, the model sees 8: first the one, then the other.
    by_hand = whole.resize((12, 12), Image.Resampling.BILINEAR, box=(0, 5, 30, 35))
    assert run.predict(pictures / "a.jpg") == run.predict(torch.from_numpy(np.array(by_hand)).permute(2, 0, 1))


@pytest.mark.parametrize("format_", ["state_dict", "torch_export"])
def test_predict_uses_an_export_as_it_uses_the_run(call, result, pictures, tmp_path, capsys, format_):
    assert call("export", result.path, "--format", format_, "--out", tmp_path / "made") == 0
    shown = capsys.readouterr().out
    assert f"exported   {tmp_path / 'made'}" in shown
    assert "read back; outputs differ by" in shown
    for path in (result.path, tmp_path / "made"):
        assert call("predict", path, pictures, "--out", tmp_path / f"{path.name}.jsonl", "--batch-size", 3) == 0
    ours, theirs = (lines((tmp_path / f"{name}.jsonl").read_text()) for name in ("made", result.path.name))
    for one, other in zip(ours, theirs, strict=True):
        assert one["path"] == other["path"]
        assert one["kind"]["probabilities"] == pytest.approx(other["kind"]["probabilities"], abs=1e-4)
    assert capsys.readouterr().out == ""


def test_unreadable_pictures_have_a_line_and_an_exit_code(call, result, run, pictures, capsys):
    good = (pictures / "a.jpg").read_bytes()
    hostile = {
        "empty.png": b"",
        "page.jpg": b"<html>no</html>",
        "cut.jpg": good[: len(good) // 2],
        "bomb.png": bytes.fromhex("89504e470d0a1a0a0000000d49484452")
        + (60000).to_bytes(4, "big") * 2
        + b"\x08\x02\0\0\0",
    }
    for name, content in hostile.items():
        (pictures / name).write_bytes(content)
    os.mkfifo(pictures / "pipe.png")
    assert call("predict", result.path, pictures, pictures / "gone.png") == 4
    captured = capsys.readouterr()
    found = {os.path.basename(line["path"]): line for line in lines(captured.out)}
    assert {name for name, line in found.items() if "error" in line} == {*hostile, "pipe.png", "gone.png"}
    assert found["gone.png"]["error"] == "the file is missing"
    assert found["pipe.png"]["error"] == "this is no file"
    assert found["a.jpg"]["kind"] == run.predict(pictures / "a.jpg")[0]["kind"]
    assert captured.err == "error: 6 of 10 images could not be read; see their lines\n"


def test_no_damaged_picture_ends_in_a_traceback(run, pictures, tmp_path):
    draws = np.random.default_rng(1)
    predictor = run.model.predictor()
    for name in ("a.jpg", "b/z.PNG", "b/c.webp", "grey.bmp"):
        content = (pictures / name).read_bytes()
        for _ in range(100):
            damaged = bytearray(content)
            for place in draws.integers(0, len(content), 8):
                damaged[place] = draws.integers(0, 256)
            (tmp_path / "damaged").write_bytes(damaged[: draws.integers(1, len(content) + 1)])
            try:
                prepared = predictor.prepare(tmp_path / "damaged")
            except DataError:
                continue
            assert prepared.shape == (3, 8, 8)


def test_predict_says_what_is_wrong_with_the_request(call, result, pictures, tmp_path):
    (tmp_path / "bare").mkdir()
    with pytest.raises(DataError, match="there are no images"):
        call("predict", result.path, tmp_path / "bare")
    with pytest.raises(EnvironmentProblem, match="cannot be written"):
        call("predict", result.path, pictures, "--out", tmp_path / "no" / "where")
    with pytest.raises(SystemExit):
        call("predict", result.path, pictures, "--batch-size", "0")


def test_eval_shows_the_scores_again(call, result, capsys):
    assert call("eval", result.path) == 0
    shown = capsys.readouterr().out
    assert f"step {result.best['step']} of {result.path}, test" in shown
    accuracy = result.test["kind/accuracy"]
    assert ["kind", "accuracy", f"{accuracy:.4f}"] in [line.split() for line in shown.splitlines()]
    assert call("eval", result.path, "--split", "val", "--which", "last", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    last = next(line for line in reversed(result.history) if line["kind"] == "val")
    assert found["step"] == last["step"]
    assert found["scores"] == {name: value for name, value in last.items() if "/" in name}


def test_export_as_json_says_where_it_lies(call, result, registry, tmp_path, capsys):
    steps = LoadedRun.open(result.path, which="last", registry=registry).step
    words = ("--part", "backbone", "--which", "last", "--out", tmp_path / "made", "--json")
    assert call("export", result.path, "--format", "state_dict", *words) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["path"], found["step"], found["part"]) == (str(tmp_path / "made"), steps, "backbone")
    assert sorted(found["files"]) == sorted(os.listdir(tmp_path / "made"))
    assert found["check"]["difference"] == 0


def test_options_of_a_format_are_json_or_text(call, result, tmp_path):
    with pytest.raises(SpecError, match='"opset" has no value'):
        call("export", result.path, "--format", "state_dict", "--option", "opset")
    with pytest.raises(SpecError, match='unknown key "opset"'):
        call("export", result.path, "--format", "state_dict", "--option", "opset=18", "--out", tmp_path / "made")
