"""Wheels of the engine and of plugins, and environments to install them in as a user does, without the network.

What is no part of this repository is taken from the environment that runs the tests: a folder of links to the packages
that are needed stands in for the package index. pip finds them there, so it resolves requirements as always.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
import venv
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path

import attrs
import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
OUTSIDERS = ROOT / "tests" / "outsiders"
PROJECTS = (
    ROOT,
    ROOT / "plugins" / "auxlearn-puzzling",
    ROOT / "plugins" / "auxlearn-supervised",
    *sorted(path.parent for path in OUTSIDERS.glob("*/pyproject.toml")),
)


@attrs.frozen
class Offline:
    """A way to run commands away from this checkout and from the network.

    Attributes:
        variables: Of the environment: where packages are, and settings of pip.
        python: The interpreter.
    """

    variables: Mapping[str, str]
    python: Path

    def call(self, *command: object, cwd: Path, timeout: float = 300, **variables: str) -> str:
        """Return what a command printed; it has to succeed."""
        words, env = [str(word) for word in command], {**self.variables, **variables}
        done = subprocess.run(
            words, cwd=cwd, env=env, check=False, capture_output=True, text=True, timeout=timeout, errors="replace"
        )
        assert done.returncode == 0, f"{words}\n{done.stdout[-6000:]}{done.stderr[-6000:]}"
        return done.stdout

    def auxlearn(self, *words: object, cwd: Path, **variables: str) -> str:
        """Return what the command `auxlearn` printed."""
        return self.call(self.python.parent / "auxlearn", *words, cwd=cwd, **variables)


def _requirements() -> list[Requirement]:
    """Return what the projects declare to need, and the tools of an author."""
    found = [Requirement(tool) for tool in ("editables", "hatchling", "hypothesis", "mypy", "pytest", "ruff")]
    for path in (*PROJECTS, *(ROOT / "plugins" / f"auxlearn-{name}" for name in ("synthfaces", "timm"))):
        project = tomllib.loads((path / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        found += [Requirement(text) for text in project["dependencies"]]
    return [requirement for requirement in found if not requirement.name.startswith("auxlearn")]


def _link_packages(folder: Path) -> None:
    """Link what the projects need, and what that needs, and nothing else: a requirement left out is found out."""
    waiting, done = _requirements(), set()
    while waiting:
        requirement = waiting.pop()
        if str(requirement) in done:
            continue
        done.add(str(requirement))
        found = metadata.distribution(requirement.name)
        home = Path(str(found.locate_file("")))
        for name in {file.parts[0] for file in found.files or ()} - {"..", "__pycache__"}:
            if not (folder / name).exists():
                (folder / name).symlink_to(home / name)
        further = [Requirement(text) for text in found.requires or ()]
        extras = [{"extra": extra} for extra in ("", *requirement.extras)]
        waiting += [one for one in further if one.marker is None or any(map(one.marker.evaluate, extras))]


def _write_command(path: Path, line: str) -> None:
    path.write_text(f'#!/bin/sh\nexec {line} "$@"\n')
    path.chmod(0o755)


@pytest.fixture(scope="session")
def offline(tmp_path_factory: pytest.TempPathFactory) -> Offline:
    """The bare machine: a Python, a package index that has what this environment has, and no plugin at all."""
    home = tmp_path_factory.mktemp("machine")
    packages, commands = home / "packages", home / "commands"
    packages.mkdir()
    commands.mkdir()
    _link_packages(packages)
    # Console scripts of linked packages, which pip would have written into the environment.
    _write_command(commands / "python3", f"'{sys.executable}'")
    _write_command(commands / "pytest", "python -m pytest")
    _write_command(commands / "ruff", f"'{Path(sys.executable).parent / 'ruff'}'")
    own = str(Path(sys.executable).parent)
    paths = [path for path in os.environ["PATH"].split(os.pathsep) if path != own]
    dropped = ("VIRTUAL_ENV", "PYTHONPATH", "PYTHONHOME")
    variables = {name: value for name, value in os.environ.items() if name not in dropped}
    variables |= {
        "PATH": os.pathsep.join([str(commands), *paths]),
        "PYTHONPATH": str(packages),
        "PIP_NO_INDEX": "1",
        "PIP_NO_BUILD_ISOLATION": "0",  # as pip spells it: no isolation, where hatchling would be downloaded
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "OMP_NUM_THREADS": "1",
    }
    return Offline(variables, commands / "python3")


@pytest.fixture(scope="session")
def wheels(tmp_path_factory: pytest.TempPathFactory, offline: Offline) -> list[Path]:
    """The wheels of the engine, of some plugins, and of the outsiders."""
    out = tmp_path_factory.mktemp("wheels")
    for project in PROJECTS:
        command = (offline.python, "-m", "hatchling", "build", "--target", "wheel", "--directory", out)
        offline.call(*command, cwd=project)
    return sorted(out.glob("*.whl"))


@pytest.fixture(scope="session")
def fresh(wheels: list[Path], offline: Offline, tmp_path_factory: pytest.TempPathFactory) -> Offline:
    """An environment in which these wheels, and no others, were installed."""
    home = tmp_path_factory.mktemp("fresh")
    venv.create(home, with_pip=True)
    python = home / "bin" / "python"
    offline.call(python, "-m", "pip", "install", "--quiet", *wheels, cwd=home)
    return attrs.evolve(offline, python=python)
