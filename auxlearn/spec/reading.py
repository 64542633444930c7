"""Bytes to JSON, strictly: whatever two readers could understand differently is refused with its place."""

from __future__ import annotations

import json
import math
import os
import re
import stat
from collections.abc import Mapping
from pathlib import Path as FilePath
from typing import Any, NoReturn

import attrs

from auxlearn.errors import Problem, SpecError, escape, pointer
from auxlearn.spec.pointers import Path, show

__all__ = ["MAX_BYTES", "MAX_DEPTH", "Document", "read"]

MAX_BYTES = 1_000_000
MAX_DEPTH = 32
_MAX_INTEGER = 2**63 - 1
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")
_SHOWN_NAME = 200


@attrs.frozen
class Document:
    """A spec as it was read.

    Attributes:
        value: The JSON value; what could not be understood is None.
        problems: The mistakes that reading found, each with its path.
        name: The name of the run unless the spec gives one.
        root: The folder that relative paths in the spec refer to.
    """

    value: Any
    problems: tuple[tuple[Path, Problem], ...]
    name: str
    root: str


class _Strange:
    """A number or an object that JSON readers disagree about: the problem, to be placed by the walk."""

    def __init__(self, what: str, allowed: str | None = None) -> None:
        self.what = what
        self.allowed = allowed


class _Repeated(dict[str, Any]):
    """An object in which keys stand twice."""

    repeated: Mapping[str, list[Any]]


def read(source: str | os.PathLike[str] | bytes | Mapping[str, Any]) -> Document:
    """Read a spec from a file, from JSON in bytes, or from a mapping.

    Raises:
        SpecError: It is no file, no UTF-8, no JSON, too large or too deep.
    """
    if isinstance(source, Mapping):
        return _document(source, "run", FilePath.cwd())
    if isinstance(source, bytes | bytearray):
        return _document(_decode(bytes(source), "the spec"), "run", FilePath.cwd())
    if not isinstance(source, str | os.PathLike):
        raise TypeError(f"`source` should be a path, bytes or a mapping, found {type(source).__name__}")
    path = FilePath(source)
    value = _decode(_read_file(path), escape(path))
    return _document(value, _UNSAFE.sub("-", path.stem).strip("-._") or "run", path.absolute().parent)


def parse_value(text: str) -> Any:
    """Return `text` as strict JSON; ValueError where it is none."""
    problems: list[tuple[Path, Problem]] = []
    try:
        value = _plain(_parse(text), (), problems)
    except RecursionError as error:
        raise ValueError("too deep") from error
    if problems:
        raise ValueError(str(problems[0][1]))
    return value


def _document(value: Any, name: str, root: FilePath) -> Document:
    problems: list[tuple[Path, Problem]] = []
    plain = _plain(value, (), problems)
    if not isinstance(plain, dict):
        what = problems[0][1].what if problems else f"{show(plain)} is no spec"
        raise SpecError(Problem(what=what, allowed="a JSON object"))
    return Document(plain, tuple(problems), name[:100], str(root))


def _read_file(path: FilePath) -> bytes:
    shown = escape(path, _SHOWN_NAME)
    try:
        mode = path.stat()
        if not stat.S_ISREG(mode.st_mode):
            kind = "a folder" if stat.S_ISDIR(mode.st_mode) else "no regular file"
            raise SpecError(Problem(where=shown, what=f"is {kind}", allowed="a JSON file"))
        if mode.st_size > MAX_BYTES:
            _too_large(shown, mode.st_size)
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise SpecError(Problem(where=shown, what="no such file", fix=_similar(path))) from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        reason = getattr(error, "strerror", None) or str(error)
        raise SpecError(Problem(where=shown, what=f"cannot be read: {escape(reason)}")) from None
    return content


def _similar(path: FilePath) -> str | None:
    if str(path).lstrip().startswith("{"):
        return "a str is a path: pass JSON as bytes, or as a dict"
    try:
        names = sorted(entry.name for entry in path.parent.iterdir() if entry.suffix == ".json")[:10]
    except (OSError, ValueError):
        return None
    return f"JSON files in this folder: {escape(', '.join(names))}" if names else None


def _too_large(shown: str, size: int) -> NoReturn:
    raise SpecError(Problem(where=shown, what=f"has {size:,} bytes", allowed=f"at most {MAX_BYTES:,}"))


def _decode(content: bytes, shown: str) -> Any:
    if len(content) > MAX_BYTES:
        _too_large(shown, len(content))
    if content.startswith((b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")) or b"\x00" in content[:4]:
        name = "UTF-8 with a byte order mark" if content.startswith(b"\xef") else "UTF-16 or UTF-32"
        raise SpecError(Problem(where=shown, what=f"is encoded in {name}", allowed="plain UTF-8"))
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        before = content[: error.start].decode("utf-8")
        what = f"byte {content[error.start]:#04x} is not UTF-8"
        raise SpecError(Problem(where=f"{shown}:{_line_column(before, len(before))}", what=what)) from None
    try:
        return _parse(text)
    except json.JSONDecodeError as error:
        position = error.pos
        if error.msg.startswith("Illegal trailing comma"):  # Python 3.13 on points at the comma, older ones after it
            position += 1 + len(text[position + 1 :]) - len(text[position + 1 :].lstrip())
        where = f"{shown}:{_line_column(text, position)}"
        raise SpecError(Problem(where=where, what=f"is not JSON: {_hint(text, position, error.msg)}")) from None
    except RecursionError:
        raise SpecError(Problem(where=shown, what="is nested too deeply", allowed=f"{MAX_DEPTH} levels")) from None


def _line_column(text: str, position: int) -> str:
    line = text.count("\n", 0, position) + 1
    return f"{line}:{position - (text.rfind(chr(10), 0, position) + 1) + 1}"


def _hint(text: str, position: int, message: str) -> str:
    before, after = text[:position].rstrip(), text[position:].lstrip()
    if not text.strip():
        return "it is empty"
    if not after:
        return "it ends too early"
    if after.startswith(("//", "/*", "#")):
        return "it has no comments"
    if after.startswith("'"):
        return 'strings stand in double quotes (")'
    if after.startswith(("}", "]")) and before.endswith(","):
        return "there is a comma before the closing bracket"
    return message[0].lower() + message[1:]


def _parse(text: str) -> Any:
    return json.loads(
        text, object_pairs_hook=_object, parse_constant=_not_finite, parse_float=_float, parse_int=_integer
    )


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    plain = dict(pairs)
    if len(plain) == len(pairs):
        return plain
    values: dict[str, list[Any]] = {}
    for key, value in pairs:
        values.setdefault(key, []).append(value)
    marked = _Repeated(plain)
    marked.repeated = {key: found for key, found in values.items() if len(found) > 1}
    return marked


def _not_finite(text: str) -> _Strange:
    return _Strange(f"{escape(text)} is no number of JSON", "a finite number")


def _float(text: str) -> float | _Strange:
    value = float(text)
    return value if math.isfinite(value) else _not_finite(text)


def _integer(text: str) -> int | _Strange:
    if len(text) > 20 or abs(int(text)) > _MAX_INTEGER:
        return _Strange(f"{escape(text)} is too large", "an integer of 64 bits")
    return int(text)


def _plain(value: Any, path: Path, problems: list[tuple[Path, Problem]]) -> Any:
    """Return `value` as plain dicts, lists and scalars; what is no JSON becomes None and a problem."""
    if value is None or type(value) is bool or (type(value) is int and abs(value) <= _MAX_INTEGER):
        return value
    if len(path) > MAX_DEPTH:
        where = pointer(*path[:4]) + "/..."
        raise SpecError(Problem(where=where, what="is nested too deeply", allowed=f"{MAX_DEPTH} levels"))
    if isinstance(value, Mapping):
        return _plain_object(value, path, problems)
    if isinstance(value, list | tuple):
        return [_plain(item, (*path, index), problems) for index, item in enumerate(value)]
    if isinstance(value, os.PathLike):
        value = os.fspath(value)
    if isinstance(value, str):
        return _plain_text(value, path, problems)
    if type(value) is float and math.isfinite(value):
        return value
    strange = value if isinstance(value, _Strange) else _strange(value)
    problems.append((path, Problem(where=pointer(*path), what=strange.what, allowed=strange.allowed)))
    return None


def _strange(value: Any) -> _Strange:
    if type(value) is float:
        return _not_finite(str(value))
    if type(value) is int:
        return _Strange("the integer is too large", "an integer of 64 bits")
    return _Strange(f"{escape(repr(value))} of type {type(value).__name__} is no JSON")


def _plain_object(value: Mapping[Any, Any], path: Path, problems: list[tuple[Path, Problem]]) -> dict[str, Any]:
    plain: dict[str, Any] = {}
    for key, item in value.items():
        if not isinstance(key, str):
            what = f"{escape(repr(key))} is no key of JSON"
            problems.append((path, Problem(where=pointer(*path), what=what, allowed="strings")))
            continue
        _plain_text(key, (*path, key), problems)
        plain[key] = _plain(item, (*path, key), problems)
    if isinstance(value, _Repeated):
        for key, values in value.repeated.items():
            what = f"the key stands {len(values)} times, with " + " and ".join(_sample(v) for v in values[:3])
            problems.append(((*path, key), Problem(where=pointer(*path, key), what=what, fix="keep one of them")))
    return plain


def _sample(value: Any) -> str:
    return value.what if isinstance(value, _Strange) else show(value)


def _plain_text(value: str, path: Path, problems: list[tuple[Path, Problem]]) -> str | None:
    if any("\ud800" <= character <= "\udfff" for character in value):
        problems.append((path, Problem(where=pointer(*path), what=f"{show(value)} holds half of a surrogate pair")))
        return None
    return value
