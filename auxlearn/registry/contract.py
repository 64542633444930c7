"""What every provider has to fulfil, asked when its plugin is loaded."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, get_args

from auxlearn.registry.forms import record_of
from auxlearn.registry.known import RESERVED
from auxlearn.registry.provider import Arrangements, Kind, Provider

__all__ = ["ContractError", "check_provider", "providers_of"]


class ContractError(Exception):
    """A plugin broke the contract.

    Args:
        reason: How, with what would be right.
        fix: What to do about it, where that is more.
    """

    def __init__(self, reason: str, fix: str | None = None) -> None:
        super().__init__(reason)
        self.fix = fix


def providers_of(hook: str, results: Sequence[Any]) -> tuple[Provider, ...]:
    """Return the providers that the results of one hook of one plugin hold.

    Raises:
        ContractError: A result is no iterable of providers.
    """
    if not results:
        raise ContractError(f"returned None from `{hook}`, which should return a list of Provider")
    found: list[Provider] = []
    for result in results:
        if isinstance(result, Provider):
            what = f'returned the Provider "{result.name}" itself from `{hook}`, which should return a list of Provider'
            raise ContractError(what, "yield it, or return [provider]")
        if isinstance(result, str) or not isinstance(result, Iterable):
            raise ContractError(f"returned {result!r:.80} from `{hook}`, which should return a list of Provider")
        for offer in result:
            if not isinstance(offer, Provider):
                raise ContractError(f"gave {offer!r:.80} from `{hook}`, which should give Provider objects only")
            found.append(offer)
    return tuple(found)


def check_provider(kind: Kind, provider: Provider) -> None:
    """Check one provider.

    Raises:
        ContractError: Its declaration is wrong.
    """
    who = f'{kind.replace("_", " ")} "{provider.name}"'
    if not isinstance(provider.summary, str):
        raise ContractError(f"declares a summary for {who} that is no text: {provider.summary!r:.80}")
    if provider.view not in get_args(Arrangements):
        raise ContractError(
            f"declares view {provider.view!r} for {who}, which should be one of {get_args(Arrangements)}"
        )
    if not callable(provider.build):
        raise ContractError(f"declares a `build` for {who} that is no function: {provider.build!r:.80}")
    try:
        record = record_of(provider.params)
    except ValueError as error:
        raise ContractError(f"declares params for {who} that cannot be used: {error}") from error
    taken = sorted({field.name for field in record.fields} & RESERVED[kind])
    if taken:
        raise ContractError(
            f"declares params for {who} whose names are keys of the engine in the same section: {', '.join(taken)}"
        )
