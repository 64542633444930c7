"""`Choice`: what a section of a spec chose."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from auxlearn.registry import Found, Provider

__all__ = ["Choice"]


@attrs.frozen(kw_only=True)
class Choice:
    """A component that a section of the spec chose.

    Attributes:
        provider: Who builds it.
        params: An instance of the provider's params class.
        found: Where the provider comes from.
        pointer: Where the section stands in the spec.
        keys: The engine's keys of the same section.
        inside: The components that stand inside of it, by key.
    """

    provider: Provider
    params: Any
    found: Found
    pointer: str
    keys: Any
    inside: Mapping[str, Choice] = attrs.field(factory=dict)

    @property
    def distribution(self) -> str:
        """Name of the distribution that offers it."""
        return self.found.distribution

    @property
    def version(self) -> str:
        """Version of the distribution."""
        return self.found.version
