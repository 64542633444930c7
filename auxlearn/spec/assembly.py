"""A document and a registry to the values of the sections: each component is found by `type`, then checked."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import attrs

from auxlearn.errors import AuxlearnError, Problem, escape, nearest, pointer
from auxlearn.registry import Found, Provider, Registry
from auxlearn.spec.frame import frame_schema
from auxlearn.spec.models import Choice
from auxlearn.spec.pointers import Path
from auxlearn.spec.schema import section_schema
from auxlearn.spec.sections import COMPONENTS, PLAIN, Section
from auxlearn.spec.structure import structure
from auxlearn.spec.validation import problems_of, validator_for

if TYPE_CHECKING:
    from jsonschema.protocols import Validator

__all__ = ["Assembly", "Selected", "assemble"]


@attrs.frozen(kw_only=True)
class Selected:
    """What one section chose: the component, its name as the spec wrote it, and the checked values."""

    section: Section
    name: str
    type: str
    found: Found
    params: Any
    keys: Any
    path: Path

    @property
    def choice(self) -> Choice:
        """The same as a part of a `Spec`."""
        return Choice(
            provider=self.found.provider,
            params=self.params,
            found=self.found,
            pointer=pointer(*self.path),
            keys=self.keys,
        )


@attrs.define
class Assembly:
    """The sections of a document that could be understood, and every problem with the others.

    Attributes:
        document: The JSON that was checked.
        registry: What is installed.
        selected: Each component by its path, e.g. `("pretext", "puzzle")`.
        plain: The sections without a component that are valid, by name.
        problems: Everything wrong, each with its path.
    """

    document: Mapping[str, Any]
    registry: Registry
    selected: dict[Path, Selected] = attrs.field(factory=dict)
    plain: dict[str, Any] = attrs.field(factory=dict)
    problems: list[tuple[Path, Problem]] = attrs.field(factory=list)

    def add(self, path: Path, problem: Problem) -> None:
        """Add a problem at `path`."""
        self.problems.append((path, attrs.evolve(problem, where=pointer(*path))))

    def valid(self, *names: str) -> bool:
        """Return whether these sections are there as far as they must be, and nothing is wrong with them."""
        lacking = [s for s in COMPONENTS if s.name in names and not s.table and (s.name,) not in self.selected]
        return not lacking and not any(path[0] in names for path, _ in self.problems if path)

    def table(self, section: str) -> dict[str, Selected]:
        """Return the tasks of a section by name."""
        return {
            item.name: item for item in self.selected.values() if item.section.name == section and item.section.table
        }


def assemble(
    document: Mapping[str, Any],
    registry: Registry,
    *,
    sections: Sequence[Section] = COMPONENTS,
    plain: Mapping[str, type] = PLAIN,
    frame: Validator | None = None,
) -> Assembly:
    """Check every section of `document` on its own and build its values; problems come in no particular order.

    Args:
        document: The JSON.
        registry: What is installed.
        sections: Those that choose components.
        plain: The classes of the sections that do not.
        frame: The validator of everything but the components; None for that of a spec of training.
    """
    assembly = Assembly(document, registry)
    assembly.problems += problems_of(frame or _frame(), document)
    for outer in sections:
        for section, path, value in _occurrences(outer, document):
            if isinstance(value, Mapping):
                _select(assembly, section, path, value)
    for name, keys in plain.items():
        if assembly.valid(name):
            value = document.get(name, None if name == "init_from" else {})
            assembly.plain[name] = None if value is None else structure(keys, value)
    return assembly


def _occurrences(section: Section, document: Mapping[str, Any]) -> Iterator[tuple[Section, Path, Any]]:
    """Yield each component of a section with its path, and those that stand inside of it."""
    entries = document.get(section.name, {})
    if section.table:
        for name, value in entries.items() if isinstance(entries, Mapping) else ():
            yield section, (section.name, name), value
        return
    if section.name in document or section.default is not None:
        yield section, (section.name,), entries
    for inner in section.inside if isinstance(entries, Mapping) else ():
        value = entries.get(inner.name)
        yield inner, (section.name, inner.name), {"type": value} if isinstance(value, str) else value


def _select(assembly: Assembly, section: Section, path: Path, value: Mapping[str, Any]) -> None:
    found = _find(assembly, section, path, value)
    problems = list(problems_of(_validator(section, found.provider if found else None), value, path))
    assembly.problems += problems
    if found is None or problems:
        return
    try:
        params = structure(found.provider.params, value)
    except ValueError as error:
        assembly.add(path, Problem(what=escape(error, 300)))
        return
    assembly.selected[path] = Selected(
        section=section,
        name=str(path[-1]),
        type=value.get("type", section.default),
        found=found,
        params=params,
        keys=structure(section.keys, value),
        path=path,
    )


def _find(assembly: Assembly, section: Section, path: Path, value: Mapping[str, Any]) -> Found | None:
    name, registry = value.get("type", section.default), section.registry(assembly.registry)
    if name is None and "type" not in value:
        names = ", ".join(found.provider.name for found in registry.of_kind(section.kind))
        siblings = [other for other in assembly.document[section.name] if other != path[-1]] if section.table else []
        meant = nearest(str(path[-1]), siblings)
        assembly.add(path, Problem(what='lacks the key "type"', allowed=names or None, meant=meant))
    elif isinstance(name, str):
        try:
            return registry.find(section.kind, name)
        except AuxlearnError as error:
            assembly.add((*path, "type"), error.problems[0])
    return None


@functools.cache
def _frame() -> Validator:
    return validator_for(frame_schema())


@functools.cache
def _validator(section: Section, provider: Provider | None) -> Validator:
    inside = {inner.name: {"type": ["object", "string", "null"]} for inner in section.inside}
    return validator_for(section_schema(section.keys, provider, {"type": "string"}, inside))
