"""`read_section`: the data that a command line means, by a spec, by its section `data`, or by a type and settings."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from auxlearn.errors import Problem, SpecError, error_of, escape, nearest
from auxlearn.registry import CheckContext, Registry
from auxlearn.spec.asking import own_problems
from auxlearn.spec.assembly import Assembly, assemble
from auxlearn.spec.models import Choice, DataKeys
from auxlearn.spec.overrides import apply_overrides
from auxlearn.spec.pointers import Path, in_document_order
from auxlearn.spec.presets import expand_preset
from auxlearn.spec.reading import read

__all__ = ["DataSection", "read_section"]


@attrs.frozen(kw_only=True)
class DataSection:
    """A checked section `data`.

    Attributes:
        choice: The data source and the engine's keys.
        given: The section as JSON.
        root: The folder that relative paths refer to.
        seed: Seed of the spec, 0 without one.
    """

    choice: Choice
    given: Mapping[str, Any]
    root: str
    seed: int = 0

    @property
    def own_keys(self) -> dict[str, Any]:
        """The engine's keys that the section gives, as JSON; with `unlabelled`, if that is the rest of these rows."""
        names = {field.name for field in attrs.fields(DataKeys)}
        if self.unlabelled == "rest":
            names.add("unlabelled")
        return {name: value for name, value in self.given.items() if name in names}

    @property
    def unlabelled(self) -> str | None:
        """The type of the source of unlabelled rows, None without one."""
        given = self.given.get("unlabelled")
        return given["type"] if isinstance(given, Mapping) else given


def read_section(what: str, settings: Sequence[str], registry: Registry) -> DataSection:
    """Return the data that `what` and `settings` mean.

    Args:
        what: A JSON file with a spec, with `{"data": ...}`, or with that section alone; or the type of a data source,
            also where a folder has the same name.
        settings: `key=value` of the section, laid over what the file says.
        registry: What is installed.

    Raises:
        AuxlearnError: If there is no such file or type, or the section is wrong, with every mistake.
    """
    document, section, root = _found(what, registry)
    seed = document.get("seed", 0)
    whole: dict[str, Any] = {"data": section}
    problems = [
        Problem(where=escape(one), what="is no setting", allowed="key=value") for one in settings if "=" not in one
    ]
    problems += apply_overrides(whole, [f"data.{one}" for one in settings if "=" in one])
    assembly = assemble(whole, registry)
    selected = assembly.selected.get(("data",))
    if selected is not None and not _of_data(assembly):
        for place, problem in own_problems(selected, CheckContext()):
            assembly.add(place, problem)
    problems += in_document_order(_of_data(assembly), whole)
    if problems or selected is None:
        raise error_of(problems or [Problem(where="/data", what="is no section of data")])
    return DataSection(choice=selected.choice, given=whole["data"], root=root, seed=seed if type(seed) is int else 0)


def _of_data(assembly: Assembly) -> list[tuple[Path, Problem]]:
    return [item for item in assembly.problems if item[0][:1] == ("data",)]


def _found(what: str, registry: Registry) -> tuple[Mapping[str, Any], Any, str]:
    """Return the document, its section of data, and its folder."""
    if os.path.isdir(what) or not (what.endswith(".json") or os.path.exists(what)):
        known = [found.provider.name for found in registry.of_kind("data_source")]
        if what not in known and not any(what.endswith(f":{name}") for name in known):
            inside = os.path.join(what, "data.json")
            if os.path.isfile(inside):
                raise SpecError(Problem(where=escape(what), what="is a folder", fix=f"give its {escape(inside)}"))
            text = f'"{escape(what)}" is no file and no data source'
            allowed = f"a JSON file, or {', '.join(known) or 'an installed data source'}"
            raise SpecError(Problem(what=text, allowed=allowed, meant=nearest(what, known)))
        return {}, {"type": what}, os.getcwd()
    document = read(what)
    if document.problems:
        raise error_of(in_document_order(list(document.problems), document.value))
    if "type" in document.value and "data" not in document.value:
        return {}, document.value, document.root
    expanded = expand_preset(document.value, registry).document
    if not isinstance(expanded.get("data"), dict):
        fix = 'a spec, {"data": {"type": ...}}, or {"type": ...}'
        raise SpecError(Problem(where=escape(what), what="there is no section `data`", fix=fix))
    return expanded, dict(expanded["data"]), document.root
