"""`deprecated`: how something public goes away, with notice; see the page on compatibility in the docs.

Each call names the release that takes the thing away. A test fails once that release is there and the call still is.
"""

from __future__ import annotations

import warnings

__all__ = ["AuxlearnDeprecationWarning", "deprecated"]


class AuxlearnDeprecationWarning(FutureWarning):
    """Something that was used will go. A `FutureWarning`, as it is for those who run auxlearn too."""


def deprecated(name: str, *, since: str, removal: str, use: str, stacklevel: int = 2) -> None:
    """Warn the caller of the caller that something goes away.

    Args:
        name: What was used.
        since: The release that deprecated it, written out in the call.
        removal: The release that will not have it any more, written out in the call.
        use: What to write instead.
        stacklevel: How many calls above this one the one stands that should be changed.

    Examples:
        >>> def mean_loss(losses):
        ...     deprecated("`mean_loss`", since="0.2", removal="0.4", use="`statistics.mean`")
        ...     return sum(losses) / len(losses)
        >>> import warnings
        >>> with warnings.catch_warnings(record=True) as caught:
        ...     warnings.simplefilter("always")
        ...     mean_loss([1.0, 3.0])
        2.0
        >>> print(caught[0].message)
        `mean_loss` is deprecated since auxlearn 0.2 and will be removed in 0.4: use `statistics.mean`
    """
    message = f"{name} is deprecated since auxlearn {since} and will be removed in {removal}: use {use}"
    warnings.warn(message, AuxlearnDeprecationWarning, stacklevel=stacklevel + 1)
