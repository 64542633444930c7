"""Finding the installed plugins, each loaded on its own, so that a broken one never hides another."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from typing import Any

import attrs
import pluggy

from auxlearn.errors import Problem, error_of, escape, nearest, place_of
from auxlearn.registry import hooks
from auxlearn.registry.contract import ContractError, check_provider, providers_of
from auxlearn.registry.installed import GROUP, Candidate, engine_version, installed
from auxlearn.registry.provider import KINDS
from auxlearn.registry.registry import BUILTIN, Blocked, Broken, Found, Registry, normalized

__all__ = ["ALLOW_VARIABLE", "discover"]

ALLOW_VARIABLE = "AUXLEARN_PLUGINS"
_BUILTIN_MODULE = "auxlearn.builtin"
_NOTHING = "offers nothing: no function of it is a hook, marked with `@auxlearn.registry.hookimpl`"


def discover(plugins: Sequence[Any] = (), block: Sequence[str] = ()) -> Registry:
    """Load every installed plugin and return what they offer.

    Plugins are the entry points of the group `auxlearn`, or of the group of a later version of the plugin interfaces,
    as `auxlearn.2`: one that offers no version from `OLDEST_API` to `API_VERSION` is not imported. The environment
    variable `AUXLEARN_PLUGINS` (names of distributions or entry points, separated by commas) restricts them to a list,
    and to none if it is empty. The engine's own providers are always there.

    Args:
        plugins: Modules (or other objects with hooks) to register besides the installed plugins.
        block: Names of distributions or entry points to leave out.

    Raises:
        PluginError: A list names a plugin that is not installed, or one of `plugins` is broken.
    """
    allow = None if ALLOW_VARIABLE not in os.environ else _names(os.environ[ALLOW_VARIABLE].split(","))
    candidates, left_out = installed(), _names(block)
    _check_names(left_out, "--no-plugin", candidates)
    _check_names(allow or {}, ALLOW_VARIABLE, candidates)
    loader = _Loader()
    found = loader.load(_builtin(), ())
    blocked: list[Blocked] = []
    broken: list[Broken] = []
    for candidate in candidates:
        by = _blocked_by(candidate, left_out, allow)
        if by:
            blocked.append(Blocked(by=by, **_origin(candidate)))
        else:
            _collect(loader, candidate, found, broken)
    for plugin in plugins:
        refused: list[Broken] = []
        _collect(loader, _given(plugin), found, refused, given=True)
        if refused:
            raise error_of([Problem(what=str(refused[0]), fix=refused[0].fix, exit_code=3)])
    return Registry(tuple(found), tuple(broken), tuple(blocked))


def _names(given: Iterable[str]) -> dict[str, str]:
    """Return names as they were written, by the spelling that names are compared by."""
    return {normalized(name.strip()): name.strip() for name in given if name.strip()}


def _builtin() -> Candidate:
    return Candidate(
        distribution=BUILTIN,
        version=engine_version(),
        entry_point="builtin",
        module=_BUILTIN_MODULE,
        load=lambda: importlib.import_module(_BUILTIN_MODULE),
    )


def _given(plugin: Any) -> Candidate:
    name = str(getattr(plugin, "__name__", type(plugin).__name__))
    version = str(getattr(plugin, "__version__", ""))
    module = str(getattr(plugin, "__module__", name))
    return Candidate(distribution=name, version=version, entry_point=name, module=module, load=lambda: plugin)


def _check_names(names: Mapping[str, str], source: str, candidates: Sequence[Candidate]) -> None:
    known = {name for candidate in candidates for name in candidate.names}
    problems = []
    for key, name in names.items():
        if key in (BUILTIN, "builtin"):
            what = f'{source} names "{name}", the engine itself, which is always loaded'
            problems.append(Problem(what=what, exit_code=3))
        elif key not in known:
            what = f'{source} names the plugin "{name}", which is not installed'
            spelt = [spelling for one in candidates for spelling in (one.distribution, one.entry_point)]
            allowed, meant = ", ".join(sorted({*spelt})) or None, nearest(name, spelt)
            problems.append(Problem(what=what, allowed=allowed, meant=meant, exit_code=3))
    if problems:
        raise error_of(problems)


def _blocked_by(candidate: Candidate, block: Container[str], allow: Container[str] | None) -> str | None:
    if any(name in block for name in candidate.names):
        return "--no-plugin"
    allowed = allow is None or any(name in allow for name in candidate.names)
    return None if allowed else ALLOW_VARIABLE


def _origin(candidate: Candidate) -> dict[str, str]:
    return attrs.asdict(candidate, filter=lambda field, _: field.name in ("distribution", "version", "entry_point"))


def _collect(
    loader: _Loader, candidate: Candidate, found: list[Found], broken: list[Broken], *, given: bool = False
) -> None:
    try:
        found += loader.load(candidate, found)
    except (Exception, SystemExit) as error:  # a plugin's module may do anything
        broken.append(Broken(reason=_reason(error), fix=_fix(candidate, error, given=given), **_origin(candidate)))


class _Manager(pluggy.PluginManager):
    """Does not look for hooks among what every module has, which takes longer than to register the hooks."""

    def parse_hookimpl_opts(self, plugin: Any, name: str) -> pluggy.HookimplOpts | None:
        return None if name.startswith("__") else super().parse_hookimpl_opts(plugin, name)


class _Loader:
    """One manager for all plugins, as it takes longer to read the hooks' specifications than to register a plugin.

    Nothing of a plugin stays in it, so that one that failed cannot fail those after it.
    """

    def __init__(self) -> None:
        self._manager = _Manager(GROUP)
        self._manager.add_hookspecs(hooks)

    def load(self, candidate: Candidate, before: Sequence[Found]) -> list[Found]:
        """Return what one plugin offers.

        Raises:
            Exception: Anything that it does wrong.
        """
        plugin = candidate.load()
        try:
            self._manager.register(plugin)
            self._check_known()
            found = list(self._offers(candidate, _file(plugin, candidate)))
        finally:
            if self._manager.is_registered(plugin):
                self._manager.unregister(plugin)
        if not found:
            raise ContractError(_NOTHING)
        _check_new(found, [one for one in before if one.distribution == candidate.distribution])
        return found

    def _check_known(self) -> None:
        """Raise a ContractError if the plugin has a hook that there is not."""
        for name, caller in vars(self._manager.hook).items():
            if not name.startswith("_") and not caller.has_spec() and caller.get_hookimpls():
                meant = nearest(name, KINDS.values())
                fix = f"rename it to {meant}" if meant else f"the hooks are {', '.join(KINDS.values())}"
                raise ContractError(f'has an unknown hook "{escape(name)}"', fix)

    def _offers(self, candidate: Candidate, file: str) -> Iterator[Found]:
        for kind, hook in KINDS.items():
            caller = getattr(self._manager.hook, hook)
            if caller.get_hookimpls():
                for provider in providers_of(hook, caller()):
                    check_provider(kind, provider)
                    yield Found(kind=kind, provider=provider, file=file, **_origin(candidate))


def _file(plugin: Any, candidate: Candidate) -> str:
    """Return the file of the module with the hooks, which the plugin is or stands in."""
    module = sys.modules.get(candidate.module)
    return str(getattr(plugin, "__file__", None) or getattr(module, "__file__", None) or "")


def _check_new(found: Sequence[Found], before: Sequence[Found]) -> None:
    """Raise a ContractError if something is offered that the same distribution has offered already."""
    taken = {(old.kind, old.full_name): old.entry_point for old in before}
    for new in found:
        key, kind = (new.kind, new.full_name), new.kind.replace("_", " ")
        if key in taken:
            raise ContractError(f'offers the {kind} "{new.provider.name}" twice (also entry point "{taken[key]}")')
        taken[key] = new.entry_point


def _reason(error: BaseException) -> str:
    if isinstance(error, ContractError):
        return escape(error, 400)
    if isinstance(error, pluggy.PluginValidationError):
        return escape(" ".join(str(error).split()), 400)
    what = f"import: {error}" if isinstance(error, ImportError) else f"load: {type(error).__name__}: {error}"
    return escape(f"failed to {what}", 400) + place_of(error)


def _fix(candidate: Candidate, error: BaseException, *, given: bool = False) -> str | None:
    if isinstance(error, ContractError):
        return error.fix
    if isinstance(error, ModuleNotFoundError) and error.name and not error.name.startswith("auxlearn."):
        # Not what is missing, nor a module that was handed over: a distribution of that name may be anybody's.
        return (
            "install what it imports" if given else f"pip install -U {candidate.distribution}, for what it depends on"
        )
    if isinstance(error, ImportError):
        return f"upgrade auxlearn, or install a {candidate.distribution} that fits auxlearn {engine_version()}"
    if isinstance(error, pluggy.PluginValidationError):
        return "a hook takes no arguments"
    return None
