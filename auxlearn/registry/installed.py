"""What is installed, by metadata alone: nothing of a plugin is imported before its interfaces are known to be ours.

The group of an entry point says for which version of the plugin interfaces it is written: `auxlearn` is version 1,
`auxlearn.2` version 2. A distribution may offer several, so that it works with engines of before and after.

Each distribution is looked at on its own, as one whose metadata is damaged would end `importlib.metadata.entry_points`
for all; and its METADATA is read once, as bytes: to parse its README as a mail takes longer than to import a plugin.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import Distribution, EntryPoint, PackageNotFoundError, distribution, distributions
from typing import Any, NoReturn

import attrs

from auxlearn.errors import escape
from auxlearn.registry.contract import ContractError
from auxlearn.registry.registry import BUILTIN, normalized

__all__ = ["API_VERSION", "GROUP", "OLDEST_API", "Candidate", "engine_version", "installed", "version_of"]

GROUP = "auxlearn"
OLDEST_API = 1
API_VERSION = 1

_BUILTIN_MODULE = "auxlearn.builtin"
_SECTION = re.compile(rf"^\s*\[\s*{GROUP}\s*[.\]]", re.MULTILINE)
_LATER_GROUP = re.compile(rf"{GROUP}\.([1-9][0-9]{{0,5}})")
_FIELD = re.compile(r"^(Name|Version):[ \t]*(\S.*?)[ \t]*$", re.MULTILINE)
_UNNAMED = "unknown"

Groups = Mapping[int | None, list[EntryPoint]]


def _printable(name: str) -> str:
    return escape(name, 200)


@attrs.frozen(kw_only=True)
class Candidate:
    """A plugin before it is loaded. Its names are metadata, which may hold anything; here they are fit for a terminal.

    Attributes:
        distribution: Name of the distribution, or of the module that was handed over.
        version: Version of the distribution.
        entry_point: Name of the entry point.
        module: Name of the module with the hooks.
        load: Returns the object with the hooks; ContractError, without any import, if this engine cannot use it.
    """

    distribution: str = attrs.field(converter=_printable)
    version: str = attrs.field(converter=_printable)
    entry_point: str = attrs.field(converter=_printable)
    module: str
    load: Callable[[], Any]

    @functools.cached_property
    def names(self) -> frozenset[str]:
        """The names that mean this plugin, in the one spelling they are compared by."""
        return frozenset([normalized(self.distribution), normalized(self.entry_point)])


def engine_version() -> str:
    """Return the version of auxlearn."""
    from auxlearn import __version__

    return __version__


def installed() -> list[Candidate]:
    """Return each installed plugin once, in an order that does not depend on the search path.

    An editable install beside an old wheel shows the same distribution twice; the first on the path counts, as it does
    for Python's imports.
    """
    found: dict[str, list[Candidate]] = {}
    for one in distributions():
        try:
            text = one.read_text("entry_points.txt")
        except (OSError, ValueError):  # no text: it cannot be said whose it is
            continue
        if text is None or not _SECTION.search(text):
            continue
        name, version = _name_and_version(one)
        key = normalized(name) or f"unnamed {len(found)}"
        if key not in found and not _shadowed(one, name):
            found[key] = list(_candidates(one, name or _UNNAMED, version))
    return sorted((one for some in found.values() for one in some), key=lambda one: (one.distribution, one.entry_point))


def version_of(name: str) -> str | None:
    """Return the version of a distribution, None if it is not installed."""
    try:
        return distribution(name).version
    except PackageNotFoundError:
        return None


def _name_and_version(one: Distribution) -> tuple[str, str]:
    """Return name and version of a distribution, empty where its metadata do not say."""
    try:
        text = one.read_text("METADATA") or one.read_text("PKG-INFO") or ""
    except (OSError, ValueError):
        text = ""
    head = re.split(r"\r?\n\r?\n", text, maxsplit=1)[0]
    fields = dict(reversed(_FIELD.findall(head)))
    return fields.get("Name", ""), fields.get("Version", "")


def _shadowed(one: Distribution, name: str) -> bool:
    """Return whether Python would import another distribution of this name, from a folder before."""
    try:
        return bool(name) and distribution(name).locate_file("") != one.locate_file("")
    except (PackageNotFoundError, ValueError):
        return False


def _candidates(one: Distribution, name: str, version: str) -> Iterator[Candidate]:
    """Yield the entry points of the newest interfaces that both sides know; of those it offers, if none is known."""
    make = functools.partial(Candidate, distribution=name, version=version)
    try:
        groups = _groups(one)
    except Exception as error:  # importlib.metadata has no error of its own for what is no entry point
        reason = f"has metadata that cannot be read: entry_points.txt: {type(error).__name__}: {error}"
        yield make(entry_point=name, module="", load=functools.partial(_refuse, reason, f"pip install -U {name}"))
        return
    known = [number for number in groups if number is not None]
    usable = [number for number in known if OLDEST_API <= number <= API_VERSION]
    chosen = max(usable or known, default=None)
    for point in (one for one in groups.get(chosen, ()) if one.value != _BUILTIN_MODULE):
        load = point.load if usable else functools.partial(_refuse, *_unusable(chosen, point.group, name))
        if normalized(name) == BUILTIN:
            load = functools.partial(_refuse, "has the name of the engine, whose components cannot be replaced")
        module = re.split(r"[:\[\s]", point.value, maxsplit=1)[0]
        yield make(entry_point=point.name, module=module, load=load)


def _groups(one: Distribution) -> Groups:
    """Return the entry points by the version of their group; None for groups that are no version."""
    groups: dict[int | None, list[EntryPoint]] = {}
    for point in one.entry_points:
        if point.group == GROUP:
            groups.setdefault(1, []).append(point)
        elif point.group.startswith(f"{GROUP}."):
            later = _LATER_GROUP.fullmatch(point.group)
            number = int(later[1]) if later else 0
            groups.setdefault(number if number > 1 else None, []).append(point)
    return groups


def _unusable(number: int | None, group: str, name: str) -> tuple[str, str]:
    """Return why interfaces of this version cannot be used, and what to do."""
    ours = f"version {API_VERSION}" if OLDEST_API == API_VERSION else f"versions {OLDEST_API} to {API_VERSION}"
    engine = f"auxlearn {engine_version()} has {ours}"
    if number is None:
        reason = f'has its entry point in the group "{group}", which is no version of the plugin interfaces; {engine}'
        return reason, f'the group of version 1 is "{GROUP}", that of version 2 "{GROUP}.2"'
    newer = number > API_VERSION
    reason = f"is written for version {number} of the plugin interfaces, {engine}"
    return reason, f"pip install -U {GROUP if newer else name}"


def _refuse(reason: str, fix: str | None = None) -> NoReturn:
    raise ContractError(reason, fix)
