"""Every example in a docstring runs, with no names but those it imports or its module exports."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ["auxlearn", *sorted(path.parent.name for path in ROOT.glob("plugins/*/auxlearn_*/__init__.py"))]
OPTIONS = doctest.NORMALIZE_WHITESPACE | doctest.IGNORE_EXCEPTION_DETAIL


def examples(package: str) -> list[doctest.DocTest]:
    """Return the docstrings of a package that have examples."""
    top = importlib.import_module(package)
    names = [package, *(found.name for found in pkgutil.walk_packages(top.__path__, f"{package}."))]
    finder = doctest.DocTestFinder(exclude_empty=True)
    modules = [importlib.import_module(name) for name in names if not name.endswith("__main__")]
    return [test for module in modules for test in finder.find(module, globs=_exported(module)) if test.examples]


def _exported(module: ModuleType) -> dict[str, object]:
    return {name: getattr(module, name) for name in getattr(module, "__all__", ())}


@pytest.mark.parametrize("package", PACKAGES)
def test_examples_run(
    package: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)  # some write
    runner = doctest.DocTestRunner(optionflags=OPTIONS)
    for test in examples(package):
        runner.run(test)
    assert runner.failures == 0, capsys.readouterr().out


def test_there_are_examples() -> None:
    assert len(examples("auxlearn")) >= 20
