"""`Registry`: what discovery found, and the search in it with errors that help."""

from __future__ import annotations

import re
from collections.abc import Iterator

import attrs

from auxlearn.errors import Problem, error_of, escape, nearest
from auxlearn.registry.known import KNOWN
from auxlearn.registry.provider import Kind, Provider

__all__ = ["BUILTIN", "Blocked", "Broken", "Found", "Registry", "normalized"]

# The distribution whose names nobody can take away.
BUILTIN = "auxlearn"
# More plugins than these are counted instead of named.
_FEW = 2


def normalized(distribution: str) -> str:
    """Return the name of a distribution in the one spelling that package indexes compare by (PEP 503)."""
    return re.sub(r"[-_.]+", "-", distribution).lower()


@attrs.frozen(kw_only=True)
class Found:
    """A provider and where it comes from.

    Attributes:
        kind: What it is.
        provider: The offer itself.
        distribution: Name of the distribution, or of the module that was handed over.
        version: Version of the distribution.
        entry_point: Name of the entry point.
        file: File of the plugin's module.
    """

    kind: Kind
    provider: Provider
    distribution: str
    version: str
    entry_point: str
    file: str

    @property
    def full_name(self) -> str:
        """The name that is never ambiguous: `distribution:name`."""
        return f"{self.distribution}:{self.provider.name}"


@attrs.frozen(kw_only=True)
class Broken:
    """A plugin that could not be loaded, why, and what would mend it.

    Attributes:
        distribution: What pip installed.
        version: Of the distribution.
        entry_point: The name of its entry point.
        reason: Why it could not be loaded.
        fix: What would mend it, if that is known.
    """

    distribution: str
    version: str
    entry_point: str
    reason: str
    fix: str | None = None

    def __str__(self) -> str:
        return f'plugin "{self.entry_point}" ({self.distribution} {self.version}) {self.reason}'


@attrs.frozen(kw_only=True)
class Blocked:
    """A plugin that was not loaded because somebody said so.

    Attributes:
        distribution: What pip installed.
        version: Of the distribution.
        entry_point: The name of its entry point.
        by: What said so: an option of the command line or a variable of the environment.
    """

    distribution: str
    version: str
    entry_point: str
    by: str

    def __str__(self) -> str:
        return f'plugin "{self.entry_point}" ({self.distribution} {self.version}) is blocked by {self.by}'


@attrs.frozen
class Registry:
    """Everything that is installed, as plain data.

    Attributes:
        found: Every provider, the built-in ones first, then by distribution.
        broken: Plugins that failed to load; only a spec that needs one of them fails.
        blocked: Plugins that were left out.

    Examples:
        >>> from auxlearn.registry import discover
        >>> discover().find("optimizer", "adamw").distribution
        'auxlearn'
    """

    found: tuple[Found, ...]
    broken: tuple[Broken, ...] = ()
    blocked: tuple[Blocked, ...] = ()

    def of_kind(self, kind: Kind) -> tuple[Found, ...]:
        """Return the providers of one kind."""
        return tuple(found for found in self.found if found.kind == kind)

    def find(self, kind: Kind, name: str) -> Found:
        """Return the provider that `name` means: `name`, or `distribution:name`.

        Raises:
            SpecError: Nothing installed has this name.
            PluginError: Two distributions offer it, or a plugin that may offer it is broken or blocked.
        """
        distribution, _, short = name.rpartition(":")
        offers = [found for found in self.of_kind(kind) if found.provider.name == short]
        if distribution:
            offers = [found for found in offers if normalized(found.distribution) == normalized(distribution)]
        offers = [found for found in offers if found.distribution == BUILTIN] or offers
        if not offers:
            raise error_of([self._unknown(kind, name)])
        if len(offers) > 1:
            raise error_of([_ambiguous(kind, name, offers)])
        return offers[0]

    def _unknown(self, kind: Kind, name: str) -> Problem:
        word = f'{kind.replace("_", " ")} "{escape(name)}"'
        culprit = next(self._culprits(kind, name), None)
        if culprit:
            return attrs.evolve(culprit, what=f"{word} is not available: {culprit.what}", exit_code=3)
        offers = self.of_kind(kind)
        names = [found.provider.name for found in offers]
        short = name.rpartition(":")[2]
        meant = nearest(short, names)
        if short in names:
            meant = next(found.full_name for found in offers if found.provider.name == short)
        fix = self._remedy(kind, short, meant)
        suspects = [] if fix or meant else self._suspects(short)
        return Problem(
            what=f"no {word} is installed",
            allowed=", ".join(f"{found.provider.name} ({found.distribution})" for found in offers) or None,
            meant=meant,
            fix="one of these may offer it: " + "; ".join(suspects) if suspects else fix,
            exit_code=3 if suspects else 2,
        )

    def _remedy(self, kind: Kind, name: str, meant: str | None) -> str | None:
        near = name if (kind, name) in KNOWN else None
        if near is None and meant is None:
            near = nearest(name, [known for of_kind, known in KNOWN if of_kind == kind])
        if near is None:
            return None
        here = next((plugin for plugin in self._unusable() if plugin.distribution == KNOWN[kind, near]), None)
        return f'{here}, which offers "{near}"' if here else f'pip install {KNOWN[kind, near]}, which offers "{near}"'

    def _suspects(self, name: str) -> list[str]:
        """Return, in a few words, the plugins of which nobody knows what they would offer."""
        unknown = [plugin for plugin in self._unusable() if plugin.distribution not in KNOWN.values()]
        told = [str(plugin) for plugin in unknown if isinstance(plugin, Broken)]
        blocked: dict[str, list[Blocked]] = {}
        for plugin in unknown:
            if isinstance(plugin, Blocked):
                blocked.setdefault(plugin.by, []).append(plugin)
        for by, some in blocked.items():
            near = [one for one in some if name and name in normalized(f"{one.distribution}-{one.entry_point}")]
            shown = near or some
            if len(shown) > _FEW:
                told.append(f"{len(some)} plugins are blocked by {by} (auxlearn plugins list)")
            else:
                told += [f"{one}: {_unblocked(one)}" for one in shown]
        return told

    def _unusable(self) -> tuple[Broken | Blocked, ...]:
        return (*self.broken, *self.blocked)

    def _culprits(self, kind: Kind, name: str) -> Iterator[Problem]:
        """Yield why `name` is missing although a plugin that should offer it is there."""
        distribution, _, short = name.rpartition(":")
        expected = {normalized(distribution or KNOWN.get((kind, short), short)), normalized(f"auxlearn-{short}")}
        for broken in self.broken:
            if {normalized(broken.distribution), normalized(broken.entry_point)} & expected:
                yield Problem(what=str(broken), fix=broken.fix)
        for blocked in self.blocked:
            if {normalized(blocked.distribution), normalized(blocked.entry_point)} & expected:
                yield Problem(what=str(blocked), fix=_unblocked(blocked))


def _unblocked(blocked: Blocked) -> str:
    """Return how to use it after all; every list that names plugins is a variable or an option."""
    listed = blocked.by == "AUXLEARN_PLUGINS"
    return (
        f"add {blocked.distribution} to {blocked.by}" if listed else f"leave {blocked.distribution} out of {blocked.by}"
    )


def _ambiguous(kind: Kind, name: str, offers: list[Found]) -> Problem:
    return Problem(
        what=f'{kind.replace("_", " ")} "{name}" is offered by '
        + " and ".join(f"{found.distribution} {found.version}" for found in offers),
        allowed=" or ".join(f'"{found.full_name}"' for found in offers),
        fix="write one of these, or leave a plugin out with --no-plugin",
        exit_code=3,
    )
