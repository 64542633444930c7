"""Which code a run used: the distribution, version and hash of each plugin that its spec names, and of the engine.

The hash is that of the files as they lie on the disk, not of what the installer noted, so that a file that was changed
after installation is noticed. A wheel and an editable install of the same files have the same hash, which is what
`sha256sum $(find PACKAGE -name '*.py' | LC_ALL=C sort) | sha256sum` prints for a package of Python files only.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

import attrs

from auxlearn.errors import CheckpointError, PluginError, Problem, escape
from auxlearn.registry.installed import engine_version
from auxlearn.registry.registry import BUILTIN, Found

__all__ = ["check_locked", "drift", "provenance", "read_provenance"]

_KEY = "provenance"
_CODE = (".py", ".so", ".pyd")
_SHOWN = 12  # digits of a hash that tell two apart for a reader
_UNREADABLE = "unreadable"


def provenance(used: Iterable[Found]) -> list[dict[str, Any]]:
    """Return for each plugin that offers one of `used`, and for the engine, what the manifest of a run records.

    Returns:
        Objects with `distribution`, `version`, `entry_point`, the number of `files` of code and their joint `sha256`;
        0 and null for a module without a file.
    """
    plugins = {(BUILTIN, "builtin"): (engine_version(), str(Path(__file__).parents[1] / "__init__.py"))}
    for found in used:
        if found.distribution != BUILTIN:
            plugins[found.distribution, found.entry_point] = (found.version, found.file)
    lines = []
    known: dict[tuple[str, str], tuple[int, str | None]] = {}
    for (name, entry_point), (version, file) in sorted(plugins.items()):
        if (name, file) not in known:
            known[name, file] = _digest(_code(name, Path(file)) if file else {})
        files, sha256 = known[name, file]
        line = {"distribution": name, "version": version, "entry_point": entry_point, "files": files, "sha256": sha256}
        lines.append(line)
    return lines


def read_provenance(path: str | Path) -> list[Mapping[str, Any]]:
    """Return what a run has recorded of its plugins.

    Args:
        path: The run folder, or its `manifest.json`.

    Raises:
        CheckpointError: If it cannot be read, or records nothing of the kind.
    """
    file = Path(path) / "manifest.json" if Path(path).is_dir() else Path(path)
    where = escape(file, 400)
    try:
        manifest = json.loads(file.read_bytes())
    except FileNotFoundError:
        raise CheckpointError(Problem(where=where, what="not found; this is no run folder", exit_code=6)) from None
    except (OSError, ValueError) as error:
        raise CheckpointError(Problem(where=where, what=f"cannot be read: {error}", exit_code=6)) from None
    lines = manifest.get(_KEY) if isinstance(manifest, dict) else None
    if not isinstance(lines, list) or not all(map(_is_line, lines)):
        raise CheckpointError(Problem(where=where, what=f"does not record which plugins the run used (`{_KEY}`)"))
    return lines


def _is_line(line: Any) -> bool:
    strings = ("distribution", "version", "entry_point")
    return isinstance(line, dict) and "sha256" in line and all(isinstance(line.get(key), str) for key in strings)


def drift(then: Sequence[Mapping[str, Any]], now: Sequence[Mapping[str, Any]]) -> list[Problem]:
    """Return how the plugins that are used now differ from those of then, in version or files, one problem for each."""
    before = {(line["distribution"], line["entry_point"]): line for line in then}
    problems = []
    for line in now:
        old = before.get((line["distribution"], line["entry_point"]))
        if old is None or (old["version"], old["sha256"]) != (line["version"], line["sha256"]):
            what = f"then {_shown(old) if old else 'not used'}, now {_shown(line)}"
            what += ": its files differ" if old is not None and old["version"] == line["version"] else ""
            where = f'plugin "{line["entry_point"]}" ({line["distribution"]})'
            other = old is not None and old["version"] not in ("", line["version"])
            fix = f"pip install {line['distribution']}=={old['version']}" if old and other else None
            problems.append(Problem(where=where, what=what, fix=fix, exit_code=3))
    return problems


def check_locked(used: Iterable[Found], path: str | Path | None) -> None:
    """Raise a PluginError that names each difference if plugins are not those that the run at `path`, if any, used."""
    problems = [] if path is None else drift(read_provenance(path), provenance(used))
    if problems:
        raise PluginError(refused(problems))


def refused(differences: Iterable[Problem]) -> list[Problem]:
    """Return what `drift` found, as that for which `--locked` refuses."""
    way = "or leave --locked out"
    return [
        attrs.evolve(
            one, what=f"refused by --locked: {one.what}", fix=f"{one.fix or 'install what the run used'}, {way}"
        )
        for one in differences
    ]


def _shown(line: Mapping[str, Any]) -> str:
    digest = "no files" if line["sha256"] is None else f"sha256 {str(line['sha256'])[:_SHOWN]}..."
    return f"{line['version']} ({digest})"


def _digest(code: Mapping[str, Path]) -> tuple[int, str | None]:
    """Return the number of files and the hash over the hash and path of each."""
    if not code:
        return 0, None
    whole = hashlib.sha256()
    for path in sorted(code):
        try:
            one = hashlib.sha256(code[path].read_bytes()).hexdigest()
        except OSError:
            one = _UNREADABLE
        whole.update(f"{one}  {path}\n".encode("utf-8", "surrogateescape"))
    return len(code), whole.hexdigest()


def _code(name: str, file: Path) -> dict[str, Path]:
    """Return the files of code by their path as an import would find them.

    What was installed as files belongs to the distribution as a whole. Of an editable install, and of a module that was
    handed over, there is the outermost package around the module, or the module alone.
    """
    try:
        recorded = dict(_recorded(distribution(name)))
    except (PackageNotFoundError, OSError, ValueError):
        recorded = {}
    if file.resolve() in {path.resolve() for path in recorded.values()}:
        return recorded
    if not (file.parent / "__init__.py").is_file():
        return {file.name: file}
    package = file.parent
    while (package.parent / "__init__.py").is_file():
        package = package.parent
    found = (path for path in package.rglob("*") if path.suffix in _CODE and path.is_file())
    return {path.relative_to(package.parent).as_posix(): path for path in found}


def _recorded(one: Distribution) -> Iterator[tuple[str, Path]]:
    """Yield the files of code of a distribution; scripts, which installers rewrite, lie outside of it."""
    for path in one.files or ():
        if path.suffix in _CODE and ".." not in path.parts and not path.is_absolute():
            yield path.as_posix(), Path(str(one.locate_file(path)))
