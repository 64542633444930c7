"""`auxlearn data`: what it accepts, shows, writes and refuses, as the command line has it."""

from __future__ import annotations

import argparse
import json

import attrs
import numpy as np
import pytest
from PIL import Image

import auxlearn
from auxlearn.cli import data as command
from auxlearn.cli.main import main
from auxlearn.data import DataContext, prepare
from auxlearn.data.opening import read_section
from auxlearn.errors import DataError, EnvironmentProblem, SpecError
from auxlearn.registry import discover
from auxlearn.testing import plugin

NAMES = ("happy", "sad")


@pytest.fixture(scope="module")
def registry():
    return discover([plugin])


@pytest.fixture
def call(registry, tmp_path, monkeypatch):
    """The command with the tiny plugin, in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def run(*argv):
        parser = argparse.ArgumentParser()
        command.add(parser.add_subparsers())
        args = parser.parse_args(["data", *map(str, argv)])
        args.registry = lambda: registry
        return args.run(args)

    return run


@pytest.fixture
def pictures(tmp_path):
    """A folder of pictures by class, of two sizes."""
    draws = np.random.default_rng(0)
    for number, name in enumerate(("happy", "happy", "happy", "sad", "sad", "sad")):
        place = tmp_path / "faces" / name
        place.mkdir(parents=True, exist_ok=True)
        shape = (20, 16, 3) if number % 2 else (16, 16, 3)
        Image.fromarray(draws.integers(0, 256, shape, dtype=np.uint8)).save(place / f"{number}.png")
    (tmp_path / "faces" / "7.png").write_bytes((place / "5.png").read_bytes())
    return tmp_path


def test_show_counts_what_there_is(call, capsys):
    assert call("show", "tiny", "rows=9", "--json") == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["rows"] == {"train": 9, "val": 9, "test": 9}
    counts = facts["classes"]["kind"]
    assert {split: counts["dark"][split] + counts["bright"][split] for split in facts["rows"]} == facts["rows"]
    assert facts["sizes"] == {"8x8": 27}
    assert call("show", "tiny", "rows=9") == 0
    first, *_, last = capsys.readouterr().out.splitlines()
    assert first.split() == ["TRAIN", "VAL", "TEST"]
    assert last == "images  8 x 8 (27)"


def test_show_divides_as_a_run_would(call, registry, pictures, capsys):
    spec = {"auxlearn": 1, "seed": 3, "data": {"type": "folder", "root": "faces", "split": {"val": 0.34}}}
    (pictures / "spec.json").write_text(json.dumps(spec))
    assert call("show", "spec.json", "--json") == 0
    facts = json.loads(capsys.readouterr().out)
    source = read_section("spec.json", [], registry).choice
    built = source.provider.build(source.params, DataContext(size=8, root=str(pictures)))
    data = prepare(built, attrs.evolve(source.keys, allow_leaks=True), seed=3)
    assert facts["rows"] == {split: len(data.source.dataset(split)) for split in data.splits}
    counts = {name: {s: data.source.labels(s, "label").count(i) for s in data.splits} for i, name in enumerate(NAMES)}
    assert facts["classes"]["label"] == counts
    assert sum(facts["missing"]["label"].values()) == 1
    assert facts["sizes"] == {"16x20": 4, "16x16": 3}
    assert facts["groups"] == {"train": None, "val": None}
    call("show", "spec.json")
    assert "(no label)" in capsys.readouterr().out


@pytest.mark.parametrize("form", ["section", "data", "settings"])
def test_a_section_in_any_form(call, pictures, form, capsys):
    section = {"type": "folder", "root": "faces"}
    value = {"section": section, "data": {"data": section}, "settings": {"type": "folder", "root": "elsewhere"}}[form]
    (pictures / "given.json").write_text(json.dumps(value))
    settings = ["root=faces", "target=mood"] if form == "settings" else []
    assert call("show", "given.json", *settings, "--json") == 0
    assert list(json.loads(capsys.readouterr().out)["classes"]) == ["mood" if settings else "label"]


def test_contact_sheet(call, pictures):
    assert call("show", "folder", "root=faces", "size=16", "--sheet", "sheet.png", "--across", 2) == 0
    with Image.open(pictures / "sheet.png") as image:
        sheet = np.asarray(image.convert("RGB"))
        one = image.size
    assert one[1] == 3 * 122  # happy, sad, without a label
    tiles = [sheet[line * 122 + 6 : line * 122 + 102, 150 : 150 + 96] for line in range(3)]
    assert all(tile.std() > 20 for tile in tiles)
    call("show", "folder", "root=faces", "size=16", "--sheet", "again.png", "--across", 2)
    assert (pictures / "sheet.png").read_bytes() == (pictures / "again.png").read_bytes()
    call("show", "folder", "root=faces", "size=16", "--sheet", "other.png", "--across", 2, "--seed", 5)
    assert (pictures / "sheet.png").read_bytes() != (pictures / "other.png").read_bytes()


def test_sheet_that_cannot_be_drawn(call):
    with pytest.raises(SpecError, match=r'--target: the data has no class target "kin".*mean "kind"'):
        call("show", "tiny", "--sheet", "a.png", "--target", "kin")
    with pytest.raises(EnvironmentProblem, match=r"nowhere/a\.png: cannot be written"):
        call("show", "tiny", "--sheet", "nowhere/a.png")
    with pytest.raises(EnvironmentProblem, match="unknown file extension"):
        call("show", "tiny", "--sheet", "a.nothing")


def test_prepare_then_train_on_it(call, tmp_path, capsys):
    assert call("prepare", "tiny", "rows=24", "--out", "table", "--workers", 2, "--json") == 0
    streams = capsys.readouterr()
    facts = json.loads(streams.out)
    assert facts["rows"] == {"train": 24, "val": 24, "test": 24}
    assert streams.err.splitlines()[-1] == "72 of 72 rows"
    assert len(streams.err.splitlines()) == 10
    section = json.loads((tmp_path / "table" / "data.json").read_text())["data"]
    assert section == facts["data"]
    spec = {
        "auxlearn": 1,
        "name": "from-table",
        "data": {**section, "path": "table/manifest.csv"},
        "backbone": {"type": "tiny"},
        "primary": {"kind": {"type": "tiny"}},
        "train": {"epochs": 1, "batch_size": 8},
    }
    original = {**spec, "data": {"type": "tiny", "rows": 24}}
    runs = [auxlearn.run(one, out=name, plugins=[plugin]) for name, one in (("a", spec), ("b", original))]
    assert runs[0].test == runs[1].test
    assert [line["losses"] for line in runs[0].history if "losses" in line] == [
        line["losses"] for line in runs[1].history if "losses" in line
    ]


def test_prepare_keeps_how_a_run_divides_the_rows(call, pictures, capsys):
    settings = ["root=faces", 'split={"val": 0.34, "seed": 2}', "size=16"]
    call("prepare", "folder", *settings, "--out", "table", "--quiet", "--json")
    streams = capsys.readouterr()
    assert streams.err == ""
    section = json.loads(streams.out)["data"]
    assert (section["split"], section["size"]) == ({"val": 0.34, "seed": 2}, 16)
    counts = []
    for words in (["folder", *settings], ["table/data.json"]):
        call("show", *words, "--json")
        counts.append(json.loads(capsys.readouterr().out)["rows"])
    assert counts[0] == counts[1]


def test_prepare_builds_once_what_can_be_resized(call, pictures, monkeypatch):
    build, built = command._build, []
    monkeypatch.setattr(command, "_build", lambda *args: built.append(args) or build(*args))
    assert call("prepare", "folder", "root=faces", "--out", "t", "--quiet") == 0
    assert len(built) == 1
    with Image.open(next((pictures / "t").rglob("000000.png"))) as image:
        assert image.size == (16, 20)  # its own, and not that of the check
    assert call("prepare", "tiny", "--out", "u", "--quiet") == 0
    assert len(built) == 3


def test_prepare_refuses(call, pictures):
    with pytest.raises(SpecError, match="--align and --crop were both given"):
        call("prepare", "folder", "root=faces", "--out", "t", "--align", "--crop", "box")
    with pytest.raises(SpecError, match=r"--margin is the room round a crop; fix: give --crop too"):
        call("prepare", "folder", "root=faces", "--out", "t", "--margin", "0.2")
    for option in (["--target", "label"], ["--across", 3]):
        with pytest.raises(SpecError, match=rf"{option[0]} is about the contact sheet; fix: give --sheet FILE too"):
            call("show", "folder", "root=faces", *option)
    (pictures / "faces" / "sad" / "0.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"sad/0\.png.*the file is empty"):
        call("prepare", "folder", "root=faces", "--out", "t")
    assert not (pictures / "t").exists()
    assert call("prepare", "folder", "root=faces", "--out", "t", "--skip-bad", 1, "--quiet") == 0


def test_a_folder_that_is_called_like_a_type(call, pictures, capsys):
    (pictures / "faces").rename(pictures / "folder")
    assert call("show", "folder", "root=folder", "--json") == 0
    assert json.loads(capsys.readouterr().out)["rows"] == {"train": 7}
    (pictures / "elsewhere").mkdir()
    with pytest.raises(SpecError, match='"elsewhere" is no file and no data source'):
        call("show", "elsewhere")
    (pictures / "elsewhere" / "data.json").write_text("{}")
    with pytest.raises(SpecError, match=r"elsewhere: is a folder; fix: give its elsewhere/data\.json"):
        call("show", "elsewhere")


def test_unlabelled_rows_are_kept_if_they_are_of_this_data(call, tmp_path, capsys):
    section = {"type": "tiny", "rows": 8, "fraction": 0.5, "unlabelled": {"type": "rest", "ratio": 2}}
    for name, unlabelled in (("rest", section["unlabelled"]), ("other", "tiny")):
        (tmp_path / f"{name}.json").write_text(json.dumps({"data": {**section, "unlabelled": unlabelled}}))
        assert call("prepare", f"{name}.json", "--out", name, "--quiet") == 0
        written = json.loads((tmp_path / name / "data.json").read_text())["data"]
        assert written["fraction"] == 0.5
        assert written.get("unlabelled") == (unlabelled if name == "rest" else None)
        told = "`unlabelled` is not in data.json: its rows are of another source (tiny)" in capsys.readouterr().err
        assert told == (name == "other")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["foldr"], '"foldr" is no file and no data source; allowed: a JSON file, or .*mean "folder"'),
        (["nowhere.json"], "nowhere.json: no such file"),
        (["folder"], 'lacks the key "root"'),
        (["tiny", "row=4"], '/data/row: unknown key "row".*mean "rows"'),
        (["tiny", "rows=0"], "/data/rows: found 0; allowed: an integer, at least 1"),
        (["tiny", "../rows"], r"^\.\./rows: is no setting; allowed: key=value"),
        (["empty.json"], "empty.json: there is no section `data`"),
    ],
)
def test_mistakes(call, tmp_path, words, message):
    (tmp_path / "empty.json").write_text('{"auxlearn": 1}')
    with pytest.raises(SpecError, match=message):
        call("show", *words)


def test_exit_codes(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["data", "show", "nothing"]) == 2
    assert main(["data", "show", "folder", "--json", "root=nowhere"]) == 4
    assert f"error: {tmp_path}/nowhere: " in capsys.readouterr().err.splitlines()[-1]  # the path, and nothing before it
    for words in (["data"], ["data", "prepare", "folder"], ["data", "prepare", "folder", "--out", "x", "--size", "3"]):
        with pytest.raises(SystemExit) as caught:
            main(words)
        assert caught.value.code == 2
    assert "--size: should be an integer, 8 to 4096, found 3" in capsys.readouterr().err
    for option, value, message in (
        ("--margin", "wide", "a number, 0 to 10, found wide"),
        ("--workers", "0", "an integer, at least 1, found 0"),
        ("--quality", "7.5", "an integer, 1 to 95, found 7.5"),
    ):
        with pytest.raises(SystemExit):
            main(["data", "prepare", "folder", "--out", "x", option, value])
        assert f"argument {option}: should be {message}" in capsys.readouterr().err
