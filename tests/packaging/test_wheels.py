"""The engine and a plugin as wheels, in a fresh environment, away from the checkout: found, and running."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

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


@pytest.mark.slow
def test_a_wheel_holds_the_package_its_licence_and_its_types(wheels: list[Path]) -> None:
    engine = next(w for w in wheels if w.name.startswith("auxlearn-"))
    names = zipfile.ZipFile(engine).namelist()
    assert "auxlearn/py.typed" in names
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert not [n for n in names if n.startswith(("tests/", "benchmarks/", "plugins/", "docs/"))]


@pytest.mark.slow
def test_an_installed_plugin_is_found_and_listed(fresh, tmp_path: Path) -> None:
    listed = json.loads(fresh.auxlearn("plugins", "list", "--json", cwd=tmp_path))
    assert "puzzling" in json.dumps(listed)
    shown = fresh.auxlearn("plugins", "show", "puzzling", cwd=tmp_path)
    assert "auxlearn-puzzling" in shown
    assert str(ROOT) not in shown


@pytest.mark.slow
def test_a_run_with_an_installed_plugin(fresh, tmp_path: Path) -> None:
    printed = fresh.call(fresh.python, "-W", "error", "-c", RUN, tmp_path / "run", cwd=tmp_path)
    found = json.loads(printed.splitlines()[-1])
    assert str(ROOT) not in found["home"]
    assert found["losses"] == ["loss/kind@clean", "loss/puzzle@puzzle"]
