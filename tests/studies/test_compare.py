"""`compare` for runs that are there, and both commands."""

from __future__ import annotations

import json
import shutil
import sys

import pytest
from filelock import FileLock

import auxlearn
from auxlearn.cli.main import main
from auxlearn.errors import CheckpointError, SpecError
from auxlearn.registry import discover
from auxlearn.studies import loading, running


def edit(path, **changes):
    content = json.loads(path.read_text())
    path.write_text(json.dumps(content | changes))


@pytest.fixture
def folders(done):
    return sorted(done.path.glob("cells/*/*/*"))


@pytest.fixture
def command(plugins, monkeypatch):
    """The command line with the tiny components installed."""
    registry = discover(plugins)
    monkeypatch.setattr(running, "discover", lambda *_: registry)
    monkeypatch.setattr("auxlearn.studies.work._registry", lambda *_: registry)
    monkeypatch.setattr("auxlearn.cli.main._registry", lambda _: lambda: registry)
    return lambda *words: main([str(word) for word in words])


def test_the_runs_of_a_study_give_its_table(done, folders):
    found = auxlearn.compare(folders, baseline=folders[0])
    assert [(r.arm, r.fraction, r.estimate, r.difference) for r in found.rows] == [
        (r.arm, r.fraction, r.estimate, r.difference) for r in done.summary.rows
    ]
    assert [row.cost for row in found.rows] == [row.cost for row in done.summary.rows]


def test_the_baseline_is_that_of_the_first_or_as_named(folders):
    plain, turned = (next(f for f in folders if arm in f.parts) for arm in ("plain", "turned"))
    assert auxlearn.compare([turned, plain]).baseline == "turned"
    assert auxlearn.compare([turned, plain], baseline=plain).baseline == "plain"
    with pytest.raises(SpecError, match="is none of the runs"):
        auxlearn.compare([turned], baseline=plain)


def test_arms_that_differ_in_their_name_only_are_told_apart_by_it(folders, tmp_path):
    twin = tmp_path / "twin"
    shutil.copytree(folders[0], twin)
    with pytest.raises(SpecError, match="the same spec and seed"):
        auxlearn.compare([folders[0], twin])
    edit(twin / "resolved.json", name="twin")
    rows = auxlearn.compare([folders[0], twin]).rows
    assert [(row.arm, row.difference and row.difference.mean) for row in rows] == [("plain", None), ("twin", 0.0)]


def test_arms_of_one_name_are_numbered(folders, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(next(f for f in folders if "turned" in f.parts), other)
    edit(other / "resolved.json", name="plain")
    assert [row.arm for row in auxlearn.compare([folders[0], other]).rows] == ["plain", "plain#2"]


def test_runs_scored_on_other_rows_are_refused(folders, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(next(f for f in folders if "turned" in f.parts), other)
    manifest = json.loads((other / "manifest.json").read_text())
    manifest["data"]["splits"]["test"] = "others"
    edit(other / "manifest.json", data=manifest["data"])
    with pytest.raises(SpecError, match="scored on other rows"):
        auxlearn.compare([folders[0], other])


def test_runs_that_are_not_done_or_none_are_refused(folders, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(folders[0], other)
    edit(other / "status.json", state="interrupted")
    with pytest.raises(CheckpointError, match=r"not done.*auxlearn resume"):
        auxlearn.compare([other, folders[1]])
    with pytest.raises(CheckpointError, match="no run folder"):
        auxlearn.compare([tmp_path])


def test_the_command_compare(folders, command, tmp_path, capsys):
    assert command("compare", *folders, "--metric", "kind/loss", "--out", tmp_path / "report") == 0
    shown = capsys.readouterr().out
    assert "`kind/loss`, of which less is better" in shown
    assert {path.name for path in (tmp_path / "report").iterdir()} == {"summary.json", "report.md", "figures"}
    assert command("compare", *folders, "--json") == 0
    assert len(json.loads(capsys.readouterr().out)["rows"]) == 4
    assert command("compare", *folders, "--metric", "kind/acuracy") == 2
    assert 'did you mean "kind/accuracy"' in capsys.readouterr().err
    assert command("compare", tmp_path) == 6


def test_a_folder_for_the_report_that_cannot_be_written_is_told(folders, command, tmp_path, capsys):
    (tmp_path / "report.md").write_text("mine")
    assert command("compare", *folders, "--out", tmp_path / "report.md") == 8
    told = f"error: {tmp_path}/{{}}: is a file, where a folder is needed; fix: another --out\n"
    assert capsys.readouterr().err == told.format("report.md")
    assert command("compare", *folders, "--out", tmp_path / "report.md" / "inner") == 8
    assert "inner: cannot be written: Not a directory" in capsys.readouterr().err
    assert (tmp_path / "report.md").read_text() == "mine"
    (tmp_path / "figures").touch()
    assert command("compare", *folders, "--out", tmp_path) == 8
    assert capsys.readouterr().err == told.format("figures")


def test_a_report_without_the_package_for_its_pictures_is_told(folders, command, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert command("compare", *folders) == 0
    assert command("compare", *folders, "--out", tmp_path / "report") == 8
    assert "need the package matplotlib" in capsys.readouterr().err
    assert not (tmp_path / "report").exists()


def test_a_stage_that_runs_do_not_have_is_told(folders, tmp_path):
    with pytest.raises(SpecError, match="0: has no stages"):
        auxlearn.compare(folders, stage="fine")
    other = tmp_path / "other"
    shutil.copytree(folders[0], other)
    edit(other / "resolved.json", stages=[{"name": "pre"}, {"name": "fine"}])
    with pytest.raises(SpecError, match='has no stage "fien"; allowed: pre, fine; did you mean "fine"'):
        auxlearn.compare([other], stage="fien")


def test_the_address_of_a_cluster_is_for_ray(small, command, tmp_path, capsys):
    (tmp_path / "few.json").write_text(json.dumps(small))
    assert command("study", tmp_path / "few.json", "--address", "auto", "--out", tmp_path / "new") == 2
    assert capsys.readouterr().err.endswith("runs are local; fix: --executor ray\n")
    assert not (tmp_path / "new").exists()


def test_a_study_file_beside_its_own_runs_is_not_written_over(small, command, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "study.json").write_text(json.dumps(small))
    assert command("study", "study.json", "--out", ".") == 2
    assert "study.json: is not from a study that was run here" in capsys.readouterr().err
    assert json.loads((tmp_path / "study.json").read_text()) == small
    assert command("study", "study.json", "--no-run") == 2
    assert "no run of the study is there yet" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["study.json"]


def test_a_narrow_terminal_goes_without_the_least_columns(folders, command, capsys, monkeypatch):
    assert command("compare", *folders) == 0
    whole = capsys.readouterr().out.splitlines()
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", str(len(whole[0]) - 1))
    assert command("compare", *folders) == 0
    narrow = capsys.readouterr().out.splitlines()
    assert whole[0].endswith("memory")
    assert narrow[0].endswith("time")
    assert max(len(line) for line in narrow) < len(whole[0])
    assert narrow[-1] == "- Too wide for this terminal: memory. `--json` has all."


def test_the_command_study(small, command, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "few.json"
    arms = {**small["arms"], "hot": {"optimizer.lr": 1e30, "train.epochs": 3}}
    file.write_text(json.dumps({**small, "arms": arms, "fractions": [1], "seeds": [0]}))
    assert command("validate", file) == 0
    assert "few.json is valid: 3 arms, 3 runs\n  plain (baseline)\n" in capsys.readouterr().out
    assert command("validate", file, "--json") == 0
    assert json.loads(capsys.readouterr().out)["resolved"]["arms"]["turned"]["pretext"]["turned"]["weight"] == 0.5
    assert command("validate", file, "--deep") == 2
    capsys.readouterr()
    assert command("study", file) == 5  # one has diverged
    said = capsys.readouterr()
    assert "hot     100 %   0 of 1" in said.out
    assert "failed: hot, 100 % of the labels, seed 0: " in said.err
    assert command("study", file, "--no-run", "--json", "--quiet") == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["runs"], len(facts["summary"]["rows"])) == (3, 3)
    assert command("study", file, "arms.hot.backbone.width=0") == 2
    assert "/arms/hot/backbone/width" in capsys.readouterr().err
    assert command("study", tmp_path / "absent.json") == 2
    assert command("study", file, "base.train.batch_size=4") == 6  # not the runs that are there


def test_a_study_that_another_process_runs_can_be_looked_at(small, command, tmp_path, capsys):
    (tmp_path / "few.json").write_text(json.dumps({**small, "fractions": [1], "seeds": [0]}))
    words = ("study", tmp_path / "few.json", "--out", tmp_path / "few")
    assert command(*words, "--quiet") == 0
    assert capsys.readouterr().out.endswith(f"report        {tmp_path}/few/report.md\n")
    for name in ("results.csv", "results.json", "report.md"):
        (tmp_path / "few" / name).unlink()
    with FileLock(tmp_path / "few" / ".lock"):
        assert command(*words, "--no-run") == 0
    shown = capsys.readouterr().out
    assert "`kind/accuracy`, of which more is better" in shown
    assert shown.endswith(f"study folder  {tmp_path}/few\n")


def test_the_schema_of_a_study(command, capsys):
    assert command("schema", "study") == 0
    assert json.loads(capsys.readouterr().out)["title"] == "auxlearn study"


def test_names_are_public_and_lazy():
    assert auxlearn.studies.study is auxlearn.study
    assert auxlearn.studies.compare is auxlearn.compare
    assert loading.is_study(b'{"auxlearn_study": 1}')
