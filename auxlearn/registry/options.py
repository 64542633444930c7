"""`option`: one declaration of a setting, for the validator, the JSON Schema, the docs and `plugins show`."""

from __future__ import annotations

from typing import Any

import attrs

__all__ = ["Option", "option"]

_KEY = "auxlearn"


@attrs.frozen(kw_only=True)
class Option:
    """What `option` knows about a field besides its type and default.

    Attributes:
        help: One sentence for the reader of `plugins show` and of the schema.
        ge, gt, le, lt: Bounds of a number, or of each member of a tuple of numbers.
        choices: The values that are allowed, where a `Literal` type cannot say it.
        pattern: A regular expression that a string has to match as a whole.
        min_items, max_items: How many members a tuple of any length may have.
    """

    help: str
    ge: float | None = None
    gt: float | None = None
    le: float | None = None
    lt: float | None = None
    choices: tuple[Any, ...] | None = None
    pattern: str | None = None
    min_items: int | None = None
    max_items: int | None = None

    @classmethod
    def of(cls, field: attrs.Attribute[Any]) -> Option:
        """Return the declaration that `option` attached to `field`; ValueError if there is none."""
        if _KEY not in field.metadata:
            raise ValueError(f"Field `{field.name}` of a params class should be declared with `option`.")
        declared: Option = field.metadata[_KEY]
        return declared


def option(
    default: Any = attrs.NOTHING,
    *,
    help: str,  # noqa: A002 (the word every command-line library uses)
    ge: float | None = None,
    gt: float | None = None,
    le: float | None = None,
    lt: float | None = None,
    choices: tuple[Any, ...] | None = None,
    pattern: str | None = None,
    min_items: int | None = None,
    max_items: int | None = None,
) -> Any:
    """Declare one setting of a params class.

    Args:
        default: The value if the spec leaves it out; without one the setting is required.
        help: One sentence that says what it does, with its unit.
        ge: Least value.
        gt: Bound that the value stays above.
        le: Greatest value.
        lt: Bound that the value stays below.
        choices: The allowed values, where a `Literal` type cannot say it.
        pattern: A regular expression that a string has to match as a whole.
        min_items: Least number of members of a tuple.
        max_items: Greatest number of members of a tuple.

    Examples:
        >>> import attrs
        >>> from auxlearn.registry import Option, option
        >>> @attrs.frozen(kw_only=True)
        ... class Params:
        ...     grid: int = option(3, ge=2, help="Tiles along each side of the image.")
        >>> Params().grid, Option.of(attrs.fields(Params).grid).ge
        (3, 2)
    """
    declared = Option(
        help=help,
        ge=ge,
        gt=gt,
        le=le,
        lt=lt,
        choices=choices,
        pattern=pattern,
        min_items=min_items,
        max_items=max_items,
    )
    return attrs.field(default=default, metadata={_KEY: declared})
