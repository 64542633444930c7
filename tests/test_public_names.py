"""What is public is written down in `public_names.txt`, one line a name; a change of it is a decision.

`python tests/test_public_names.py` writes the file anew. The page `reference/compatibility.md` of the docs says which
change is allowed in which release.
"""

from __future__ import annotations

import argparse
import functools
import importlib
import inspect
import json
import re
import types
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs
import pytest

from auxlearn.cli import main as command_line
from auxlearn.registry.forms import record_of
from auxlearn.spec.sections import COMPONENTS, PLAIN
from auxlearn.spec.structure import unstructure

WRITTEN = Path(__file__).with_name("public_names.txt")
MODULES = (
    *("auxlearn", "auxlearn.data", "auxlearn.learning", "auxlearn.results", "auxlearn.errors", "auxlearn.registry"),
    *("auxlearn.registry.hooks", "auxlearn.testing", "auxlearn.testing.fakes", "auxlearn.testing.modalities"),
    *("auxlearn.testing.plugin", "auxlearn.deprecation"),
)


def public() -> list[str]:
    """Return a line for everything public."""
    lines = {line for module in MODULES for line in names(module)}
    return sorted({*lines, *options(command_line._parser()), *keys()})


def names(module: str) -> Iterator[str]:
    home = importlib.import_module(module)
    for name in home.__all__:
        yield from described(f"{module}.{name}", getattr(home, name))


def described(name: str, value: Any) -> Iterator[str]:
    if isinstance(value, type):
        yield f"{name}{signature(value)}"
        if issubclass(value, Exception) and hasattr(value, "exit_code"):
            yield f"{name}.exit_code = {value.exit_code}"
        for member, what in members(value).items():
            if member != "exit_code":
                yield f"{name}.{member}{what}"
    elif callable(value) and not isinstance(value, types.GenericAlias) and hasattr(value, "__name__"):
        yield f"{name}{signature(value)}"
    else:
        yield f"{name}: {type(value).__name__}"


def members(cls: type) -> dict[str, str]:
    """Return what users find on a class that is ours, besides what its constructor takes."""
    found: dict[str, str] = {}
    fields = {field.name for field in attrs.fields(cls)} if attrs.has(cls) else set()
    for base in reversed([base for base in cls.__mro__ if base.__module__.startswith("auxlearn")]):
        for name, kind in inspect.get_annotations(base).items():
            if not name.startswith("_") and name not in fields:
                found[name] = f": {getattr(kind, '__forward_arg__', kind)}"
        for name, value in vars(base).items():
            if name.startswith("_") or name in fields or isinstance(value, types.MemberDescriptorType):
                continue
            if isinstance(value, property | functools.cached_property):
                found[name] = ": property"
            elif callable(getattr(cls, name)):
                found[name] = signature(getattr(cls, name))
    return found


def signature(value: Any) -> str:
    try:
        shown = inspect.signature(value)
    except ValueError:  # an exception, whose constructor is C
        return "(...)"
    parameters = [
        one.replace(default=one.default if one.default is one.empty else Shown(one.default))
        for one in shown.parameters.values()
    ]
    if isinstance(value, type):
        shown = shown.replace(return_annotation=shown.empty)
    # Annotations are text, as every module postpones them; their quotes are no part of them.
    text = re.sub(r"ForwardRef\((['\"])(.*?)\1\)", r"\2", str(shown.replace(parameters=parameters)))
    return re.sub(r"(: |-> )(['\"])(.*?)\2(?=[,)=\s]|$)", r"\1\3", text)


class Shown:
    """A default as the same text in every interpreter."""

    def __init__(self, value: Any) -> None:
        plain = value is None or isinstance(value, bool | int | float | str | tuple)
        name = "..." if value is attrs.NOTHING else getattr(value, "__name__", type(value).__name__)
        self.text = repr(value) if plain else name

    def __repr__(self) -> str:
        return self.text


def options(parser: argparse.ArgumentParser) -> Iterator[str]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for child in action.choices.values():
                yield from options(child)
        else:
            choices = f" {{{','.join(map(str, action.choices))}}}" if action.choices else ""
            yield f"$ {parser.prog} {', '.join(action.option_strings) or action.metavar or action.dest}{choices}"


def keys() -> Iterator[str]:
    """Yield the engine's keys of a spec with their defaults."""
    records = {section.name + (".*" if section.table else ""): section.keys for section in COMPONENTS}
    records |= {f"{s.name}.{inner.name}": inner.keys for s in COMPONENTS for inner in s.inside}
    for where, record in {**records, **PLAIN}.items():
        for field in record_of(record).fields:
            default = "required" if field.required else json.dumps(unstructure(field.default), sort_keys=True)
            yield f"spec {where}.{field.name} = {default}"


def by_name(lines: list[str]) -> dict[str, str]:
    return {line.partition(" {")[0] if line[0] == "$" else re.split(r"\(|: | = ", line)[0]: line for line in lines}


def differences(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """Return a line for each difference, those that break what others wrote first."""
    gone = [f"breaking: {name} was removed or renamed" for name in before if name not in now]
    changed = [
        f"breaking, unless every call of before still works:\n  was {before[name]}\n  is  {line}"
        for name, line in now.items()
        if name in before and before[name] != line
    ]
    return gone + changed + [f"new: {line}" for name, line in now.items() if name not in before]


ADVICE = """
What is public has changed. If that is meant:
1. Follow docs/pages/reference/compatibility.md: what goes away is deprecated first (auxlearn/deprecation.py).
2. Add a line to docs/pages/changelog.md; for what breaks something also to docs/pages/how-to/migrate.md.
3. Run `python tests/test_public_names.py` and commit tests/public_names.txt.
"""


def test_what_is_public_is_written_down() -> None:
    found = differences(by_name(WRITTEN.read_text(encoding="utf-8").splitlines()), by_name(public()))
    if found:
        pytest.fail("\n".join([*found, ADVICE]), pytrace=False)


def test_every_line_has_a_name_of_its_own_and_no_address() -> None:
    lines = public()
    assert len(by_name(lines)) == len(lines)
    assert not [line for line in lines if "0x" in line or "<" in line.replace("<class", "")]


BEFORE = {"a.f": "a.f(x: int)", "a.g": "a.g()", "$ auxlearn run --out": "$ auxlearn run --out"}


@pytest.mark.parametrize(
    ("now", "told"),
    [
        (BEFORE, []),
        ({**BEFORE, "a.h": "a.h()"}, ["new: a.h()"]),
        ({**BEFORE, "a.f": "a.f(x: int, y: int = 0)"}, ["breaking, unless every call of before still works:"]),
        ({"a.f": BEFORE["a.f"]}, ["breaking: a.g was removed", "breaking: $ auxlearn run --out was removed"]),
        ({**BEFORE, "a.k": "a.k()"} | {"a.g": "a.g(x)"}, ["breaking, unless", "new: a.k()"]),
    ],
)
def test_differences_are_told_by_what_they_do_to_others(now: dict[str, str], told: list[str]) -> None:
    found = differences(BEFORE, now)
    assert [line.startswith(start) for line, start in zip(found, told, strict=True)] == [True] * len(told)


@attrs.frozen(kw_only=True)
class Sample:
    """A class like ours."""

    size: int = 3
    kind: str | None = None
    parts: tuple[str, ...] = attrs.field(factory=tuple)

    @property
    def area(self) -> int:
        return self.size**2

    def grown(self, by: int = 1, *, like: type = int) -> Sample:
        return attrs.evolve(self, size=self.size + by)


def test_a_class_is_described_by_its_constructor_and_members(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Sample, "__module__", "auxlearn.sample")
    assert list(described("a.Sample", Sample)) == [
        "a.Sample(*, size: int = 3, kind: str | None = None, parts: tuple[str, ...] = ...)",
        "a.Sample.area: property",
        "a.Sample.grown(self, by: int = 1, *, like: type = int) -> Sample",
    ]


if __name__ == "__main__":
    WRITTEN.write_text("\n".join(public()) + "\n", encoding="utf-8")
