"""What a hundred installed plugins cost `auxlearn plugins`, against ten; and the hash of a plugin, against a copy."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from auxlearn.registry import Found, discover
from auxlearn.registry.provenance import provenance
from benchmarks.paired import Line, compare, take_turns, timed
from benchmarks.startup import process

__all__ = ["install", "run"]

_COMMAND = [sys.executable, "-c", "import sys; from auxlearn.cli.main import main; sys.exit(main())", "plugins", "list"]

_TOP = '''"""A plugin."""

from {module}.provider import auxlearn_pretext_tasks

__all__ = ["auxlearn_pretext_tasks"]
'''
_PROVIDER = '''"""What the plugin offers."""

import attrs

from auxlearn.registry import Provider, hookimpl, option


@attrs.frozen(kw_only=True)
class Params:
    """Settings."""

    grid: int = option(3, ge=2, le=8, help="Tiles along each side of the image.")
    dropout: float = option(0.0, ge=0, lt=1, help="Dropout of the head.")
    hidden: int | None = option(None, ge=1, help="Width of a hidden layer; null: none.")


def build(params, context):
    """Make the task."""
    from {module}.task import Task

    return Task(params, context)


@hookimpl
def auxlearn_pretext_tasks():
    """Offer it."""
    yield Provider(name="task{number}", summary="Tell how the tiles lie.", params=Params, build=build)
'''


def install(count: int, folder: Path) -> None:
    """Install so many distributions into `folder`, each with a package of two modules and the metadata of a wheel."""
    for number in range(count):
        name, module = f"stranger-{number}", f"stranger_{number}"
        package, info = folder / module, folder / f"{module}-1.0.dist-info"
        package.mkdir(parents=True)
        info.mkdir()
        (package / "__init__.py").write_text(_TOP.format(module=module))
        (package / "provider.py").write_text(_PROVIDER.format(module=module, number=number))
        head = f"Metadata-Version: 2.4\nName: {name}\nVersion: 1.0\nRequires-Dist: auxlearn>=0.1\n\n"
        (info / "METADATA").write_text(head + f"# {name}\n\nTells how the tiles of an image lie.\n" * 50)
        (info / "entry_points.txt").write_text(f"[auxlearn]\ntask{number} = {module}\n")
        (info / "RECORD").write_text(f"{module}/__init__.py,,\n{module}/provider.py,,\n")


def run(rounds: int) -> list[Line]:
    """Measure `auxlearn plugins list` in processes of its own, and the hash of the engine in this one.

    The plugins of this repository are left out, so that ten and a hundred are what is loaded besides the engine.
    """
    with tempfile.TemporaryDirectory() as folder:
        timings = take_turns(
            {f"{count} plugins": process(_COMMAND, _environment(count, Path(folder))) for count in (100, 10, 0)},
            max(2, rounds // 2),  # a round takes seconds
        )
    engine = [found for found in discover().found if found.distribution == "auxlearn"][:1]
    timings |= take_turns({"hash": timed(lambda: provenance(engine)), "read": timed(lambda: _read(engine[0]))}, rounds)
    return [
        compare(timings, "100 plugins", "10 plugins", goal=2),
        compare(timings, "10 plugins", "0 plugins"),
        compare(timings, "hash", "read", note=f"{provenance(engine)[0]['files']} files of the engine"),
    ]


def _environment(count: int, folder: Path) -> Mapping[str, str]:
    site = folder / str(count)
    site.mkdir()
    install(count, site)
    # Byte code is compiled in the round that does not count, whatever the environment says about it.
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    names = ",".join(f"stranger-{number}" for number in range(count))
    path = os.pathsep.join([str(site), str(Path(__file__).parents[1]), *filter(None, [kept.get("PYTHONPATH")])])
    return {**kept, "PYTHONPYCACHEPREFIX": str(folder / "bytes"), "PYTHONPATH": path, "AUXLEARN_PLUGINS": names}


def _read(found: Found) -> int:
    """Read every file of the package of a module, and do nothing with it."""
    return sum(len(path.read_bytes()) for path in Path(found.file).parent.rglob("*.py"))
