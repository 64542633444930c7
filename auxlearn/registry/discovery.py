"""Finding the installed plugins, each loaded on its own, so that a broken one never hides another."""

from __future__ import annotations

import importlib
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from importlib.metadata import EntryPoint, entry_points
from typing import Any

import attrs
import pluggy

from auxlearn.errors import Problem, error_of, escape, nearest
from auxlearn.registry import hooks
from auxlearn.registry.contract import ContractError, check_provider, providers_of
from auxlearn.registry.provider import KINDS
from auxlearn.registry.registry import BUILTIN, Blocked, Broken, Found, Registry, normalized

__all__ = ["ALLOW_VARIABLE", "GROUP", "discover"]

GROUP = "auxlearn"
ALLOW_VARIABLE = "AUXLEARN_PLUGINS"
_BUILTIN_MODULE = "auxlearn.builtin"


@attrs.frozen(kw_only=True)
class _Candidate:
    """A plugin before it is loaded."""

    distribution: str
    version: str
    entry_point: str
    load: Callable[[], Any]

    def named(self, names: Iterable[str]) -> bool:
        return bool({normalized(self.distribution), normalized(self.entry_point)} & {normalized(n) for n in names})


def discover(plugins: Sequence[Any] = (), block: Sequence[str] = ()) -> Registry:
    """Load every installed plugin and return what they offer.

    Plugins are the entry points of group `auxlearn`. The environment variable `AUXLEARN_PLUGINS` (names of
    distributions or entry points, separated by commas) restricts them to a list, and to none if it is empty.
    The engine's own providers are always there.

    Args:
        plugins: Modules (or other objects with hooks) to register besides the installed plugins.
        block: Names of distributions or entry points to leave out.

    Raises:
        PluginError: A list names a plugin that is not installed, or one of `plugins` is broken.
    """
    allow = None if ALLOW_VARIABLE not in os.environ else _names(os.environ[ALLOW_VARIABLE])
    installed = list(_installed())
    _check_names(block, "--no-plugin", installed)
    _check_names(allow or (), ALLOW_VARIABLE, installed)
    builtin = _Candidate(
        distribution=BUILTIN,
        version=_engine_version(),
        entry_point="builtin",
        load=lambda: importlib.import_module(_BUILTIN_MODULE),
    )
    found = list(_load(builtin, ()))
    blocked: list[Blocked] = []
    broken: list[Broken] = []
    for candidate in installed:
        by = _blocked_by(candidate, block, allow)
        if by:
            blocked.append(Blocked(by=by, **_origin(candidate)))
            continue
        _collect(candidate, found, broken)
    for plugin in plugins:
        refused: list[Broken] = []
        _collect(_given(plugin), found, refused)
        if refused:
            raise error_of([Problem(what=str(refused[0]), fix=refused[0].fix, exit_code=3)])
    return Registry(tuple(found), tuple(broken), tuple(blocked))


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _engine_version() -> str:
    from auxlearn import __version__

    return __version__


def _installed() -> Iterator[_Candidate]:
    """Yield each installed plugin once, in an order that does not depend on the search path.

    An editable install beside an old wheel shows the same entry point twice; the first on the path counts.
    """
    seen: set[tuple[str, str]] = set()
    candidates = sorted(map(_described, entry_points(group=GROUP)), key=lambda described: described[:2])
    for distribution, name, version, value, entry_point in candidates:
        key = (normalized(distribution), name)
        if value != _BUILTIN_MODULE and key not in seen:
            seen.add(key)
            yield _Candidate(distribution=distribution, version=version, entry_point=name, load=entry_point.load)


def _described(entry_point: EntryPoint) -> tuple[str, str, str, str, EntryPoint]:
    distribution = entry_point.dist
    name = (distribution.name if distribution else None) or "unknown"
    version = (distribution.version if distribution else None) or ""
    return name, entry_point.name, version, entry_point.value, entry_point


def _given(plugin: Any) -> _Candidate:
    name = str(getattr(plugin, "__name__", type(plugin).__name__))
    version = str(getattr(plugin, "__version__", ""))
    return _Candidate(distribution=name, version=version, entry_point=name, load=lambda: plugin)


def _check_names(names: Iterable[str], source: str, installed: Sequence[_Candidate]) -> None:
    known = [name for candidate in installed for name in (candidate.distribution, candidate.entry_point)]
    problems = []
    for name in names:
        if normalized(name) == BUILTIN or name == "builtin":
            what = f'{source} names "{name}", the engine itself, which is always loaded'
            problems.append(Problem(what=what, exit_code=3))
        elif not any(candidate.named([name]) for candidate in installed):
            what = f'{source} names the plugin "{name}", which is not installed'
            distributions = sorted({candidate.distribution for candidate in installed})
            problems.append(
                Problem(what=what, allowed=", ".join(distributions) or None, meant=nearest(name, known), exit_code=3)
            )
    if problems:
        raise error_of(problems)


def _blocked_by(candidate: _Candidate, block: Sequence[str], allow: Sequence[str] | None) -> str | None:
    if candidate.named(block):
        return "--no-plugin"
    return ALLOW_VARIABLE if allow is not None and not candidate.named(allow) else None


def _origin(candidate: _Candidate) -> dict[str, str]:
    return attrs.asdict(candidate, filter=lambda field, _: field.name != "load")


def _collect(candidate: _Candidate, found: list[Found], broken: list[Broken]) -> None:
    try:
        found += _load(candidate, found)
    except (Exception, SystemExit) as error:  # a plugin's module may do anything
        broken.append(Broken(reason=_reason(error), fix=_fix(candidate, error), **_origin(candidate)))


def _load(candidate: _Candidate, before: Sequence[Found]) -> list[Found]:
    """Load one plugin in a manager of its own, so that nothing of a failed one stays behind."""
    plugin = candidate.load()
    manager = pluggy.PluginManager(GROUP)
    manager.add_hookspecs(hooks)
    manager.register(plugin)
    manager.check_pending()
    file = str(getattr(plugin, "__file__", None) or "")
    found: list[Found] = []
    for kind, hook in KINDS.items():
        caller = getattr(manager.hook, hook)
        if not caller.get_hookimpls():
            continue
        for provider in providers_of(hook, caller()):
            check_provider(kind, provider)
            new = Found(kind=kind, provider=provider, file=file, **_origin(candidate))
            _check_new(new, [*before, *found])
            found.append(new)
    if not found:
        raise ContractError("offers nothing: no function of it is a hook, marked with `@auxlearn.registry.hookimpl`")
    return found


def _check_new(new: Found, before: Sequence[Found]) -> None:
    for old in before:
        same = (old.kind, old.full_name) == (new.kind, new.full_name)
        if same:
            kind = new.kind.replace("_", " ")
            raise ContractError(f'offers the {kind} "{new.provider.name}" twice (also entry point "{old.entry_point}")')


def _reason(error: BaseException) -> str:
    if isinstance(error, ContractError):
        return escape(error, 400)
    if isinstance(error, pluggy.PluginValidationError):
        return escape(" ".join(str(error).split()), 400)
    if isinstance(error, ImportError):
        return escape(f"failed to import: {error}", 400)
    return escape(f"failed to load: {type(error).__name__}: {error}", 400)


def _fix(candidate: _Candidate, error: BaseException) -> str | None:
    if isinstance(error, ModuleNotFoundError) and error.name and not error.name.startswith("auxlearn."):
        return f"pip install {error.name.partition('.')[0]}"
    if isinstance(error, ImportError) or "of the plugin interfaces" in str(error):
        return f"upgrade auxlearn, or install a {candidate.distribution} that fits auxlearn {_engine_version()}"
    if isinstance(error, pluggy.PluginValidationError):
        meant = [near for word in re.findall(r"auxlearn_\w+", str(error)) if (near := nearest(word, KINDS.values()))]
        return f"rename it to {meant[0]}" if "unknown hook" in str(error) and meant else "a hook takes no arguments"
    return None
