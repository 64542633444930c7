"""Runs and the files of the plugins that they used: recorded, compared, and locked."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import auxlearn
from auxlearn.cli.main import main
from auxlearn.errors import CheckpointError, PluginError
from auxlearn.testing import plugin
from auxlearn.training.progress import Silent
from auxlearn.training.resuming import changes

CODE = """
from auxlearn.registry import Provider, hookimpl

def build(params, context):
    from auxlearn.testing.fakes import TinyPretext
    return TinyPretext(context.feature.pooled)

@hookimpl
def auxlearn_pretext_tasks():
    return [Provider(name="NAME", summary="Upside down or not.", build=build, moves_pixels=True)]
"""


class Heard(Silent):
    """Keeps what is said."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, message: str) -> None:
        self.said.append(message)


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Path]]:
    """Return a function that installs a plugin with one pretext task, and gives its file."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "site").mkdir()
    monkeypatch.syspath_prepend(str(tmp_path / "site"))

    def install(name: str, version: str = "1.2") -> Path:
        file = tmp_path / "site" / f"locked_{name}.py"
        file.write_text(CODE.replace("NAME", name))
        info = tmp_path / "site" / f"{name}-1.2.dist-info"
        info.mkdir(exist_ok=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        (info / "entry_points.txt").write_text(f"[auxlearn]\n{name} = locked_{name}\n")
        (info / "RECORD").write_text(f"{file.name},,\n")
        importlib.invalidate_caches()
        monkeypatch.setenv("AUXLEARN_PLUGINS", "wobble,spare" if name == "spare" else "wobble")
        return file

    yield install
    for name in [name for name in sys.modules if name.startswith("locked_")]:
        del sys.modules[name]


def spec(**changes: Any) -> dict[str, Any]:
    base: dict[str, Any] = {
        "auxlearn": 1,
        "name": "r",
        "data": {"type": "tiny", "rows": 10},
        "backbone": {"type": "tiny"},
        "primary": {"kind": {"type": "tiny"}},
        "pretext": {"flip": {"type": "wobble"}},
        "train": {"epochs": 1, "batch_size": 10},
    }
    return base | changes


def chain() -> dict[str, Any]:
    one = spec()
    return one | {"stages": [{"name": "first", "pretext": one.pop("pretext")}, {"name": "second"}]}


def run(given: dict[str, Any], **options: Any) -> Path:
    return auxlearn.run(given, plugins=[plugin], **options).path


def resume(path: Path, **options: Any) -> Any:
    return auxlearn.resume(path, plugins=[plugin], **options)


def provenance(path: Path) -> dict[str, dict[str, Any]]:
    lines = json.loads((path / "manifest.json").read_text())["provenance"]
    return {line["distribution"]: line for line in lines}


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_manifest_has_the_plugins_that_the_spec_names(install: Callable[..., Path]) -> None:
    install("wobble")
    install("spare")
    recorded = provenance(run(spec()))
    assert recorded.keys() == {"auxlearn", "auxlearn.testing.plugin", "wobble"}
    assert recorded["wobble"].items() >= {"version": "1.2", "entry_point": "wobble", "files": 1}.items()
    # A module of the engine that is handed over is in its package.
    assert recorded["auxlearn"]["sha256"] == recorded["auxlearn.testing.plugin"]["sha256"]


def test_resuming_with_another_file_is_noted(install: Callable[..., Path]) -> None:
    file = install("wobble")
    path = run(spec())
    heard = Heard()
    resume(path, reporter=heard)
    resume(path, locked=True)
    assert not [line for line in heard.said if "plugin" in line]
    file.write_text(file.read_text() + "# fixed\n")
    resume(path, reporter=heard)
    (note,) = [line for line in heard.said if "plugin" in line]
    assert note.startswith('note: plugin "wobble" (wobble): then 1.2 (sha256 ')
    assert note in (path / "train.log").read_text()


def test_resuming_locked_refuses_and_writes_nothing(install: Callable[..., Path]) -> None:
    file = install("wobble")
    path = run(spec())
    file.write_text(file.read_text() + "# fixed\n")
    before = contents(path)
    with pytest.raises(CheckpointError) as caught:
        resume(path, locked=True)
    assert caught.value.exit_code == 6
    assert [problem.where for problem in caught.value.problems] == ['plugin "wobble" (wobble)']
    assert contents(path) == before


def test_another_version_is_refused_unless_told_and_then_noted(install: Callable[..., Path]) -> None:
    install("wobble")
    path = run(spec())
    install("wobble", version="1.3")
    with pytest.raises(CheckpointError, match=r"was 'wobble 1\.2', is 'wobble 1\.3'"):
        resume(path)
    heard = Heard()
    resume(path, allow_inexact=True, reporter=heard)
    assert [line for line in heard.said if "then 1.2 (" in line and "now 1.3 (" in line]
    with pytest.raises(CheckpointError, match=r"then 1\.2 .* now 1\.3"):
        resume(path, allow_inexact=True, locked=True)


def test_another_distribution_is_another_run() -> None:
    assert changes({"plugins": {"a": "1"}}, {"plugins": {"a": "2"}}) == []
    (problem,) = changes({"plugins": {"a": "1"}}, {"plugins": {"b": "1"}})
    assert problem.where == "/plugins"


def test_a_run_that_recorded_no_plugins_goes_on_with_a_note(install: Callable[..., Path]) -> None:
    install("wobble")
    path = run(spec())
    manifest = json.loads((path / "manifest.json").read_text())
    del manifest["provenance"]
    (path / "manifest.json").write_text(json.dumps(manifest))
    heard = Heard()
    resume(path, reporter=heard)
    assert [line for line in heard.said if "does not record which plugins" in line]
    with pytest.raises(CheckpointError, match="does not record which plugins"):
        resume(path, locked=True)


def test_a_run_may_be_locked_to_another(install: Callable[..., Path], tmp_path: Path) -> None:
    file = install("wobble")
    install("spare")
    path = run(spec())
    run(spec(pretext={}), out="without", locked=path)
    again = run(spec(), out="again", locked=path / "manifest.json")
    assert provenance(again) == provenance(path)
    with pytest.raises(PluginError, match=r'plugin "spare" \(spare\): refused by --locked: then not used, now 1\.2'):
        run(spec(pretext={"flip": {"type": "spare"}}), out="other", locked=path)
    file.write_text(file.read_text() + "# fixed\n")
    with pytest.raises(PluginError, match=r'plugin "wobble" \(wobble\): refused by --locked: then 1\.2'):
        run(spec(), out="other", locked=path)
    assert not (tmp_path / "other").exists()


def test_stages_are_locked_together(install: Callable[..., Path]) -> None:
    file = install("wobble")
    path = run(chain())
    assert provenance(path).keys() == {"auxlearn", "auxlearn.testing.plugin", "wobble"}
    assert "wobble" in provenance(path / "first")
    assert "wobble" not in provenance(path / "second")
    resume(path, locked=True)
    file.write_text(file.read_text() + "# fixed\n")
    resume(path)
    assert "plugin" in (path / "train.log").read_text()
    run(chain(), overwrite=True)  # the note is no stranger in the folder
    file.write_text(file.read_text() + "# fixed again\n")
    with pytest.raises(CheckpointError, match="wobble"):
        resume(path, locked=True)


def test_the_commands_end_with_their_codes(
    install: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = install("wobble")
    name, info = "auxlearn-tiny", tmp_path / "site" / "auxlearn_tiny-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Name: {name}\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[auxlearn]\ntiny = auxlearn.testing.plugin\n")
    importlib.invalidate_caches()
    monkeypatch.setenv("AUXLEARN_PLUGINS", f"wobble,{name}")
    (tmp_path / "r.json").write_text(json.dumps(spec()))
    assert main(["run", "r.json", "--quiet"]) == 0
    assert main(["run", "r.json", "--quiet", "--out", "two", "--locked", "runs/r"]) == 0
    assert main(["resume", "runs/r", "--quiet", "--locked"]) == 0
    file.write_text(file.read_text() + "# fixed\n")
    capsys.readouterr()
    assert main(["run", "r.json", "--out", "three", "--locked", "runs/r"]) == 3
    assert main(["resume", "runs/r", "--locked"]) == 6
    errors = capsys.readouterr().err.splitlines()
    assert len(errors) == 2
    assert all(
        line.startswith('error: plugin "wobble" (wobble): refused by --locked: then 1.2 (sha256 ') for line in errors
    )
    assert not Path("three").exists()
    assert main(["run", "r.json", "--out", "three", "--locked", "nowhere"]) == 6
    assert "this is no run folder" in capsys.readouterr().err
    assert main(["resume", "runs/r"]) == 0
    assert 'note: plugin "wobble" (wobble): then 1.2' in capsys.readouterr().err
