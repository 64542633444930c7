"""What `auxlearn plugins new` writes, of every kind: installed, its own tests pass, and mypy finds nothing."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest

from auxlearn.cli.scaffold import SHAPES

OUTSIDERS = Path(__file__).parents[1] / "outsiders"

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def written(fresh, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a new plugin of each kind."""
    out = tmp_path_factory.mktemp("new")
    for kind in SHAPES:
        fresh.auxlearn("plugins", "new", f"my-{kind}", "--kind", kind, cwd=out)
    return out


@pytest.fixture(scope="module")
def installed(fresh, written: Path) -> str:
    """The value of PYTHONPATH with which they are installed, beside what is there."""
    homes = [written / f"auxlearn-my-{kind}" for kind in SHAPES]
    command = (fresh.python, "-m", "pip", "install", "--quiet", "--no-deps", "--target", written / "site")
    fresh.call(*command, *homes, cwd=written)
    return os.pathsep.join([fresh.variables["PYTHONPATH"], str(written / "site")])


def test_they_are_found(fresh, written: Path, installed: str) -> None:
    listed = json.loads(fresh.auxlearn("plugins", "list", "--json", cwd=written, PYTHONPATH=installed))
    assert listed["broken"] == []
    assert {f"my_{kind}" for kind in SHAPES} <= {one["name"] for one in listed["providers"]}


def test_their_tests_pass(fresh, written: Path, installed: str) -> None:
    tests = [written / f"auxlearn-my-{kind}" / "tests" for kind in SHAPES]
    options = ("-q", "-p", "no:cacheprovider", "-W", "error", "--import-mode=importlib")
    printed = fresh.call(fresh.python, "-m", "pytest", *options, *tests, cwd=written, PYTHONPATH=installed)
    assert "failed" not in printed
    assert int(re.search(r"(\d+) passed", printed)[1]) > 100


def test_mypy_finds_nothing(fresh, written: Path) -> None:
    """In the sources of the outsiders neither: one run for all, as most of it goes into reading torch."""
    homes = [*(written / f"auxlearn-my-{kind}" for kind in SHAPES), *sorted(OUTSIDERS.glob("auxlearn-*"))]
    packages = [home / home.name.replace("-", "_") for home in homes]
    options = ("--strict", "--cache-dir", os.devnull)
    paths = os.pathsep.join(map(str, homes))
    fresh.call(fresh.python, "-m", "mypy", *options, *packages, cwd=written, timeout=900, MYPYPATH=paths)
