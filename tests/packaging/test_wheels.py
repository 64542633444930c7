"""The engine and a plugin as wheels, in a fresh environment, away from the checkout: found, and running."""

from __future__ import annotations

import json
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PLUGIN = ROOT / "plugins" / "auxlearn-puzzling"

RUN = """
import json, sys
import auxlearn
from auxlearn.testing import plugin
spec = {
    "auxlearn": 1, "name": "wheel",
    "data": {"type": "tiny", "side": 8}, "backbone": {"type": "tiny"}, "primary": {"kind": {"type": "tiny"}},
    "pretext": {"puzzle": {"type": "puzzling", "grid": 2, "view": "own"}},
    "train": {"epochs": 1, "batch_size": 16},
}
result = auxlearn.run(spec, out=sys.argv[1], plugins=[plugin])
print(json.dumps({"home": auxlearn.__file__, "losses": [n for n in result.history[-3] if n.startswith("loss/")]}))
"""


def call(*command: object, cwd: Path) -> str:
    done = subprocess.run([str(c) for c in command], cwd=cwd, check=False, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    out = tmp_path_factory.mktemp("wheels")
    for project in (ROOT, PLUGIN):
        call(sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", out, cwd=project)
    return sorted(out.glob("*.whl"))


@pytest.fixture(scope="module")
def python(wheels: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment of its own with the wheels, over the packages (not the plugins) of this one."""
    home = tmp_path_factory.mktemp("fresh")
    venv.create(home, with_pip=True)
    python = home / "bin" / "python"
    call(python, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", *wheels, cwd=home)
    # A path in a .pth file is searched after the wheels, and .pth files in it (editable installs) are not read.
    own = Path(call(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=home).strip())
    (own / "packages_of_the_tests.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return python


@pytest.mark.slow
def test_a_wheel_holds_the_package_its_licence_and_its_types(wheels: list[Path]) -> None:
    engine = next(w for w in wheels if w.name.startswith("auxlearn-"))
    names = zipfile.ZipFile(engine).namelist()
    assert "auxlearn/py.typed" in names
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert not [n for n in names if n.startswith(("tests/", "benchmarks/", "plugins/", "docs/"))]


@pytest.mark.slow
def test_an_installed_plugin_is_found_and_listed(python: Path, tmp_path: Path) -> None:
    listed = json.loads(call(python.parent / "auxlearn", "plugins", "list", "--json", cwd=tmp_path))
    assert "puzzling" in json.dumps(listed)
    shown = call(python.parent / "auxlearn", "plugins", "show", "puzzling", cwd=tmp_path)
    assert "auxlearn-puzzling" in shown
    assert str(ROOT) not in shown


@pytest.mark.slow
def test_a_run_with_an_installed_plugin(python: Path, tmp_path: Path) -> None:
    found = json.loads(call(python, "-W", "error", "-c", RUN, tmp_path / "run", cwd=tmp_path).splitlines()[-1])
    assert str(ROOT) not in found["home"]
    assert found["losses"] == ["loss/kind@clean", "loss/puzzle@puzzle"]
