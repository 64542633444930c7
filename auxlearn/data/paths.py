"""`contained`: a path from a manifest, proven to be a regular file inside the data's root."""

from __future__ import annotations

import os
import re
import stat

__all__ = ["contained", "written"]

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")


def written(path: str) -> str | None:
    """Return what is wrong with `path` as it is written, without looking at any file, or None.

    >>> written("images/a.jpg"), written("../a.jpg")
    (None, 'leads out of the root')
    """
    if not path.strip():
        return "is empty"
    if not path.isprintable():
        return "holds a control character"
    if path.startswith("/") or path.startswith("\\") or _SCHEME.match(path):
        return "is absolute or a URL"
    if "\\" in path:
        return "holds a backslash"
    return "leads out of the root" if ".." in path.split("/") else None


def contained(root: str, path: str) -> str:
    """Return the real path of `path` below `root`: a regular file, wherever symbolic links may lead.

    What a name looks like proves nothing, as a link can lead anywhere, so names are resolved before they are
    compared; and the file is not opened, since opening a pipe or a device can block for ever.

    Args:
        root: The folder, as `os.path.realpath` gives it.
        path: Relative to `root`, with `/` between its parts on every system.

    Raises:
        ValueError: If it is anything else, saying what.
    """
    wrong = written(path)
    if wrong is not None:
        raise ValueError(wrong)
    try:
        real = _resolved(root, path)
        inside = os.path.normcase(real).startswith(os.path.normcase(os.path.join(root, "")))
        mode = os.stat(real).st_mode if inside else 0
    except FileNotFoundError:
        raise ValueError("is missing") from None
    except OSError as error:
        raise ValueError(f"cannot be looked up ({error.strerror})") from None
    if not inside:
        raise ValueError("is a link that leads out of the root")
    if not stat.S_ISREG(mode):
        raise ValueError("is not a regular file")
    return real


def _resolved(root: str, path: str) -> str:
    """Return the real path of `path` below `root`: as `os.path.realpath` does, faster where no link is met."""
    place = root
    for part in path.split("/"):
        if part not in ("", "."):
            place = os.path.join(place, part)
            if stat.S_ISLNK(os.lstat(place).st_mode):
                return os.path.realpath(os.path.join(root, path))
    return place
