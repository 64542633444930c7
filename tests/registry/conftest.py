import importlib
import itertools
import sys
import textwrap

import pytest

GOOD = """
import attrs
from auxlearn.registry import Provider, hookimpl, option

@attrs.frozen(kw_only=True)
class Params:
    grid: int = option(3, ge=2, help="Tiles along each side.")

def build(params, context):
    raise RuntimeError("never built")

@hookimpl
def auxlearn_pretext_tasks():
    return [Provider(name="jigsaw", summary="A puzzle.", params=Params, build=build)]
"""

_numbers = itertools.count()


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Return a function that installs a distribution with one entry point, and gives the name of its module."""
    monkeypatch.syspath_prepend(str(tmp_path))
    loaded = set(sys.modules)

    def install(distribution, code=GOOD, *, version="1.2", entry_point=None, where=tmp_path, group="auxlearn"):
        module = f"fake_plugin_{next(_numbers)}"
        (where / f"{module}.py").write_text(textwrap.dedent(code))
        info = where / f"{distribution.replace('-', '_')}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n")
        (info / "entry_points.txt").write_text(f"[{group}]\n{entry_point or distribution} = {module}\n")
        (info / "RECORD").write_text(f"{module}.py,,\n{info.name}/METADATA,,\n{info.name}/RECORD,,\n")
        importlib.invalidate_caches()
        return module

    yield install
    for name in set(sys.modules) - loaded:
        if name.startswith("fake_plugin_"):
            del sys.modules[name]


@pytest.fixture
def only(monkeypatch):
    """Return a function that restricts discovery to some plugins, so that what else is installed does not matter."""

    def only(*names):
        monkeypatch.setenv("AUXLEARN_PLUGINS", ",".join(names))

    only()
    return only
