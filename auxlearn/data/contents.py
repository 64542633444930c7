"""What is inside files: whether they are the same, and whether they have the checksum they should have."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any

__all__ = ["same_files", "wrong_checksum"]

_BLOCK = 4096
_BY_DIGITS = {32: "md5", 40: "sha1", 64: "sha256"}


def wrong_checksum(path: str, expected: str) -> bool:
    """Return whether the file does not have the checksum `expected`: sha256, sha1 or md5, by the number of digits.

    Raises:
        ValueError: If `expected` is none of them.
    """
    digits = expected.strip().lower()
    if not re.fullmatch(r"[0-9a-f]+", digits) or len(digits) not in _BY_DIGITS:
        raise ValueError("has a checksum that is not 64, 40 or 32 hexadecimal digits (sha256, sha1, md5)")
    with open(path, "rb") as file:
        return hashlib.file_digest(file, _BY_DIGITS[len(digits)]).hexdigest() != digits


def same_files(paths: Iterable[str]) -> Iterator[list[str]]:
    """Yield the paths, together where the files hold the same bytes; files that cannot be read are left out.

    Most files are told apart by size or by their last block, so few are read as a whole.
    """
    groups: list[list[str]] = [list(paths)]
    for key in (os.path.getsize, _last_block, _everything):
        groups = [part for group in groups for part in _parted(group, key)]
    yield from groups


def _parted(paths: list[str], key: Callable[[str], Any]) -> Iterator[list[str]]:
    """Yield the paths, together where `key` is equal. What is alone already needs no reading."""
    if len(paths) == 1:
        yield paths
        return
    parts: dict[Any, list[str]] = {}
    for path in paths:
        try:
            parts.setdefault(key(path), []).append(path)
        except OSError:
            continue  # `check` says what is wrong with it
    yield from parts.values()


def _last_block(path: str) -> bytes:
    with open(path, "rb") as file:
        file.seek(max(0, os.path.getsize(path) - _BLOCK))
        return file.read(_BLOCK)


def _everything(path: str) -> bytes:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).digest()
