"""`derive_seed`: one seed out of names and numbers. Everything random in auxlearn starts here."""

from __future__ import annotations

import hashlib

__all__ = ["derive_seed"]


def derive_seed(*parts: object) -> int:
    """Return a 63-bit seed that depends on every part and on their order.

    >>> derive_seed(0, "puzzle", 3) == derive_seed(0, "puzzle", 3)
    True
    >>> derive_seed(0, "puzzle", 3) == derive_seed(0, "puzzle3")
    False
    """
    text = "\x1f".join(str(part) for part in parts).encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big") >> 1
