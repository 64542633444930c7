"""`extract`: the vectors by hand, the files, going on after any end, and every refusal."""

from __future__ import annotations

import copy
import csv
import importlib.util
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from auxlearn import api
from auxlearn.cli.main import main
from auxlearn.data.prepare import prepare
from auxlearn.errors import DataError, EnvironmentProblem, SpecError
from auxlearn.registry import discover
from auxlearn.results import extraction
from auxlearn.results.feature_folder import FeatureFolder
from auxlearn.spec.models import DataKeys
from auxlearn.testing import plugin as tiny

WORKER = Path(__file__).with_name("extracting.py")


def load():
    spec = importlib.util.spec_from_file_location("extracting", WORKER)
    module = importlib.util.module_from_spec(spec)
    sys.modules["extracting"] = module
    spec.loader.exec_module(module)
    return module


plugin = load()
SPEC = plugin.SPEC


@pytest.fixture(scope="module")
def registry():
    return discover([tiny, plugin])


@pytest.fixture(scope="module")
def whole(registry, tmp_path_factory):
    """A folder that was written at once."""
    return api.extract(SPEC, tmp_path_factory.mktemp("whole") / "out", registry=registry)


def changed(**data):
    spec = copy.deepcopy(SPEC)
    spec["data"] |= data
    return spec


def contents(folder):
    return {path.name: path.read_bytes() for path in sorted(Path(folder).iterdir())}


def test_the_vectors_are_the_means_over_the_windows(whole):
    found = np.load(whole.path / "short.npy")
    assert found.shape == (10, 4)
    assert found.dtype == np.float32
    splits = [plugin.Rows(plugin.Lines(0, ()), split) for split in plugin.SPLITS]
    rows = [split[index]["sound"].double() for split in splits for index in range(len(split))]
    for vector, given in zip(found, rows, strict=True):
        row = given if len(given) >= 4 else given.repeat(4)[:4]
        starts = [*range(0, len(row) - 4, 3), len(row) - 4]
        windows = torch.stack([row[start : start + 4] for start in starts])
        expected = torch.stack([windows.mean(1), windows.amin(1), windows.amax(1)], 1).mean(0)
        np.testing.assert_allclose(vector[:3], expected, rtol=1e-5)


def test_a_row_that_lacks_an_input_has_no_vector(whole):
    found = np.load(whole.path / "text.npy")
    lacking = np.isnan(found).all(1)
    assert np.flatnonzero(lacking).tolist() == [2, 9]
    assert np.isfinite(found[~lacking]).all()
    assert whole.missing == {"short": 0, "text": 2}
    assert found[3, :3].tolist() == [2.5, 1, 4]


def test_the_table_says_what_is_known_of_each_row(whole):
    with (whole.path / "rows.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["id"] for row in rows] == [f"train/{i}.wav" for i in range(7)] + [f"test/{i}.wav" for i in range(3)]
    assert rows[3] == {
        "id": "train/3.wav",
        "split": "train",
        "group": "train-1",
        "mood": "happy",
        "marks": "a|b",
        "yaw": "",
        "pitch": "",
    }
    assert rows[1]["yaw"] == "0.33333334"


def test_the_section_is_ready_for_a_spec(whole):
    section = json.loads((whole.path / "data.json").read_text())["data"]
    assert section == whole.section
    assert section | {"targets": None} == {
        "type": "features",
        "path": "rows.csv",
        "inputs": ["short", "text"],
        "id_column": "id",
        "split_column": "split",
        "group_column": "group",
        "targets": None,
        "split": {"val": 0.3},
    }
    assert section["targets"]["mood"] == {"classes": ["sad", "happy"]}
    assert whole.rows == plugin.SPLITS
    assert whole.widths == {"short": 4, "text": 4}


def test_workers_change_nothing(whole, registry, tmp_path):
    made = api.extract(SPEC, tmp_path / "out", ["data.workers=2"], registry=registry)
    assert contents(made.path) == contents(whole.path)


def test_a_whole_folder_is_left_as_it_is(whole, registry):
    before = {path: path.stat().st_mtime_ns for path in whole.path.iterdir()}
    again = api.extract(SPEC, whole.path, registry=registry)
    assert again == whole
    assert {path: path.stat().st_mtime_ns for path in whole.path.iterdir()} == before


@pytest.mark.parametrize("last", range(10))
def test_going_on_after_an_error_anywhere_makes_the_same_files(whole, registry, tmp_path, monkeypatch, last):
    add = FeatureFolder.add

    def stops(folder, line, vectors):
        if folder.rows == last:
            raise KeyboardInterrupt
        add(folder, line, vectors)

    with monkeypatch.context() as patch:
        patch.setattr(FeatureFolder, "add", stops)
        with pytest.raises(KeyboardInterrupt):
            api.extract(SPEC, tmp_path / "out", registry=registry)
    assert not (tmp_path / "out" / "data.json").exists()
    done = []
    made = api.extract(SPEC, tmp_path / "out", registry=registry, progress=told(done))
    assert done[0] == last
    assert contents(made.path) == contents(whole.path)


def told(done):
    import contextlib

    return lambda total: contextlib.nullcontext(done.append)


@pytest.mark.parametrize("part", ["_write_array", "report"])
def test_going_on_after_an_error_at_the_end_makes_the_same_files(whole, registry, tmp_path, monkeypatch, part):
    method, calls = getattr(FeatureFolder, part), []

    def stops(*arguments):
        if calls:
            raise KeyboardInterrupt
        calls.append(1)
        return method(*arguments) if part == "_write_array" else stops()

    with monkeypatch.context() as patch:
        patch.setattr(FeatureFolder, part, stops)
        with pytest.raises(KeyboardInterrupt):
            api.extract(SPEC, tmp_path / "out", registry=registry)
    assert contents(api.extract(SPEC, tmp_path / "out", registry=registry).path) == contents(whole.path)


@pytest.mark.slow
def test_a_killed_process_loses_little_and_spoils_nothing(whole, registry, tmp_path):
    out = tmp_path / "out"
    environment = {**os.environ, "KILL": "5", "AUXLEARN_PLUGINS": ""}
    killed = subprocess.run([sys.executable, str(WORKER), str(out)], env=environment, capture_output=True, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    assert json.loads((out / ".partial" / "state.json").read_text())["rows"] == 5
    for name in ("rows.jsonl", "short.f32"):
        with (out / ".partial" / name).open("ab") as file:
            file.write(b'{"half a line')  # what the system wrote of a row that was not committed
    # There the plugin is the program itself; nothing else differs.
    theirs, ours = (json.loads((folder / "extraction.json").read_text()) for folder in (out, whole.path))
    assert theirs | {"plugins": None} == ours | {"plugins": None}
    (out / "extraction.json").write_bytes((whole.path / "extraction.json").read_bytes())
    assert contents(api.extract(SPEC, out, registry=registry).path) == contents(whole.path)


@pytest.mark.parametrize(
    ("override", "where"),
    [
        ("extract.short.stride=2", "/extract/short/stride"),
        ("extract.short.scale=2", "/extract/short/scale"),
        ("extract.text=null", None),
        ("seed=1", "/seed"),
        ("data.salt=1", "/data/salt"),
    ],
)
def test_a_folder_of_other_settings_is_refused(whole, registry, override, where):
    with pytest.raises(SpecError) as caught:
        api.extract(SPEC, whole.path, [override], registry=registry)
    if where is not None:
        assert where in [one.where for one in caught.value.problems]
        assert "another --out" in str(caught.value)


def test_other_weights_are_other_settings(whole, registry, tmp_path):
    made = api.extract(SPEC, tmp_path / "out", ["seed=1"], registry=registry)
    first, second = (json.loads((p / "extraction.json").read_text())["networks"] for p in (whole.path, made.path))
    assert first["short"]["weights"] != second["short"]["weights"]
    assert (np.load(made.path / "short.npy")[:, :3] == np.load(whole.path / "short.npy")[:, :3]).all()


def test_anything_else_is_left_alone(registry, tmp_path):
    (tmp_path / "mine.txt").write_text("precious")
    for out in (tmp_path, tmp_path / "mine.txt"):
        with pytest.raises(SpecError, match="is there already, and no folder of features"):
            api.extract(SPEC, out, registry=registry)
    assert contents(tmp_path) == {"mine.txt": b"precious"}


def test_two_processes_do_not_write_one_folder(registry, tmp_path, monkeypatch):
    def second(*_, **__):
        with pytest.raises(EnvironmentProblem, match="another process works here"):
            api.extract(SPEC, tmp_path / "out", registry=registry)
        raise KeyboardInterrupt

    monkeypatch.setattr(extraction, "_add_rows", second)
    with pytest.raises(KeyboardInterrupt):
        api.extract(SPEC, tmp_path / "out", registry=registry)


def test_bad_rows_stop_it_unless_they_may_be_left_out(whole, registry, tmp_path):
    spec = changed(bad=[1, 4])
    with pytest.raises(DataError, match=r"1\.wav: is damaged; fix: --skip-bad 1 leaves it out; what is done is kept"):
        api.extract(spec, tmp_path / "out", registry=registry)
    with pytest.raises(DataError, match=r"4\.wav: is damaged; fix: --skip-bad 2"):
        api.extract(spec, tmp_path / "out", registry=registry, skip_bad=1)
    made = api.extract(spec, tmp_path / "out", registry=registry, skip_bad=2)
    kept = [0, 2, 3, 5, 6, 7, 8, 9]
    for name in ("short", "text"):
        assert np.array_equal(
            np.load(made.path / f"{name}.npy"), np.load(whole.path / f"{name}.npy")[kept], equal_nan=True
        )
    assert made.rows == {"train": 5, "test": 3}
    assert [line.split(":")[0] for line in made.skipped] == ["1.wav", "4.wav"]
    assert api.extract(spec, tmp_path / "out", registry=registry).skipped == made.skipped


def test_no_row_at_all(registry, tmp_path, monkeypatch):
    monkeypatch.setitem(plugin.SPLITS, "test", 0)
    with pytest.raises(DataError, match="no row can be read"):
        api.extract(changed(bad=list(range(7))), tmp_path / "out", registry=registry, skip_bad=10)


def test_vectors_are_finite(registry, tmp_path):
    with pytest.raises(DataError, match=r"train/0\.wav: the features of `short` are not finite"):
        api.extract(SPEC, tmp_path / "out", ["extract.short.scale=1e39"], registry=registry)


def test_images_are_rows_of_one_input(registry, tmp_path):
    spec = {"auxlearn": 1, "data": {"type": "tiny"}, "extract": {"look": {"type": "tiny"}}}
    made = api.extract(spec, tmp_path / "out", registry=registry)
    assert np.load(made.path / "look.npy").shape == (3 * 48, 8)


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("extract.short.input=sond", '/extract/short/input: the data has no input "sond"; .* did you mean "sound"'),
        ("extract.short.input=null", "/extract/short/input: the data has several inputs; allowed: sound, text"),
        ("extract.text.stride=2", "/extract/text/stride: there are no windows to move"),
        ("extract.short.window=0", "/extract/short/window: found 0; allowed: an integer, at least 1"),
        ("extract.short.windows=4", 'unknown key "windows"; .* did you mean "window"'),
        ("extract.short.type=moment", '/extract/short/type: .* did you mean "moments"'),
        ("extract={}", "/extract: there is no network"),
        ("train.steps=3", '/train: unknown key "train"'),
        ("data.unlabelled=tiny", "/data/unlabelled: a second stream is extracted on its own"),
        ("data.type=null", "/data/type: found null"),
        ("auxlearn=2", "/auxlearn: found 2; allowed: 1"),
    ],
)
def test_mistakes_in_the_spec(registry, tmp_path, override, expected):
    with pytest.raises(SpecError, match=expected):
        api.extract(SPEC, tmp_path / "out", [override], registry=registry)
    assert not (tmp_path / "out").exists()


def test_rows_of_no_fixed_length_are_not_trained_on():
    source = plugin.Lines(0, ())
    with pytest.raises(DataError, match=r"/data: the length of `sound` differs .*auxlearn extract"):
        prepare(source, DataKeys(), seed=0, batch_size=2)


def test_the_command(registry, tmp_path, monkeypatch, capsys, whole):
    (tmp_path / "spec.json").write_text(json.dumps(changed(bad=[1])))
    monkeypatch.setattr("auxlearn.registry.discover", lambda *_, **__: registry)
    monkeypatch.chdir(tmp_path)
    assert main(["extract", "spec.json", "--out", "out"]) == 4
    assert "error: 1.wav: is damaged" in capsys.readouterr().err
    assert main(["extract", "spec.json", "--out", "out", "--skip-bad", "1"]) == 0
    out, err = capsys.readouterr()
    assert out.splitlines() == [
        "wrote    out",
        "rows     train 6, test 3",
        "vectors  short 4",
        "vectors  text 4, 2 rows lack it",
        "section  out/data.json",
    ]
    assert "10 of 10 rows" in err
    assert "left out: 1.wav: is damaged" in err
    assert main(["extract", "spec.json", "--out", "out", "--json", "--quiet"]) == 0
    assert json.loads(capsys.readouterr().out)["widths"] == {"short": 4, "text": 4}


def test_validate_knows_the_spec_of_an_extraction(registry, tmp_path, monkeypatch, capsys):
    (tmp_path / "spec.json").write_text(json.dumps(SPEC))
    monkeypatch.setattr("auxlearn.registry.discover", lambda *_, **__: registry)
    assert main(["validate", str(tmp_path / "spec.json")]) == 0
    assert [line.split()[:3] for line in capsys.readouterr().out.splitlines()[2:]] == [
        ["data", "lines", "extracting"],
        ["extract", "short", "moments"],
        ["extract", "text", "moments"],
    ]
    assert main(["validate", str(tmp_path / "spec.json"), "extract.text.window=0", "--json"]) == 2
    assert json.loads(capsys.readouterr().out)["problems"][0]["where"] == "/extract/text/window"
    assert main(["validate", str(tmp_path / "spec.json"), "--deep"]) == 2
