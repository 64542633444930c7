"""Writes the parts of the reference that the code already says: `python docs/generate.py`.

`tests/test_docs.py` fails where what is committed differs.
"""

from __future__ import annotations

import argparse
import html
import json
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from study_tables import studies

from auxlearn.cli import main as command_line
from auxlearn.registry import KINDS, Found, discover
from auxlearn.registry.forms import Array, Form, OneOf, Record, Table, record_of
from auxlearn.spec.extraction import EXTRACT
from auxlearn.spec.frame import frame_schema
from auxlearn.spec.schema import params_schema
from auxlearn.spec.sections import COMPONENTS, PLAIN
from auxlearn.spec.validation import describe
from auxlearn.testing import checks_of

ROOT = Path(__file__).parents[1]
REFERENCE = ROOT / "docs" / "pages" / "reference"
HEADINGS = {
    "backbone": "Backbones",
    "primary_task": "Primary tasks",
    "pretext_task": "Pretext tasks",
    "data_source": "Data sources",
    "augmentation": "Augmentations",
    "balancer": "Balancers",
    "optimizer": "Optimizers",
    "schedule": "Schedules",
    "exporter": "Export formats",
    "preset": "Presets",
}


def pages() -> dict[Path, str]:
    """Return the pages with their generated parts as the code has them now."""
    parts = {
        ROOT / "README.md": _fenced("json", (ROOT / "docs" / "quickstart.json").read_text(encoding="utf-8")),
        REFERENCE / "spec.md": _sections(),
        REFERENCE / "components.md": _components(),
        REFERENCE / "commands.md": _commands(),
        REFERENCE / "testing.md": _checks(),
        ROOT / "docs" / "pages" / "gallery.md": _gallery(),
        ROOT / "docs" / "pages" / "explanation" / "does-it-help.md": studies(ROOT / "benchmarks" / "studies"),
    }
    return {page: _with_part(page, text) for page, text in parts.items()}


def _checks() -> str:
    """Return a table of all checks of the conformance kit."""
    found = {check.id: check for kind in HEADINGS for check in checks_of(kind)}
    lines = ["| Check | Asked of | What it asks | If it fails |", "|-|-|-|-|"]
    for check in found.values():
        kinds = "all" if len(check.kinds) == len(HEADINGS) else ", ".join(kind.split("_")[0] for kind in check.kinds)
        level = "" if check.level == "required" else " (recommended)"
        lines.append(f"| `{check.id}`{level} | {kinds} | {_cell(check.reason)} | {_cell(check.fix)} |")
    return "\n".join(lines) + "\n"


def _fenced(language: str, text: str) -> str:
    return f"```{language}\n{text.rstrip()}\n```\n"


def _with_part(page: Path, part: str) -> str:
    text = page.read_text(encoding="utf-8")
    begin, end = "<!-- generated: python docs/generate.py -->\n", "<!-- end of the generated part -->"
    pattern = re.compile(f"{re.escape(begin)}.*{re.escape(end)}", re.DOTALL)
    if not pattern.search(text):
        raise ValueError(f"{page} should have a generated part between `{begin.strip()}` and `{end}`.")
    return pattern.sub(lambda _: f"{begin}\n{part}\n{end}", text)


def _sections() -> str:
    """Return a table for each section of a spec, in its order."""
    frame = frame_schema()["properties"]
    plain = {name: frame[name] for name in ("auxlearn", "preset", "name", "seed", "stages")}
    parts = [f"## The top\n\n{_table(plain, required=('auxlearn',))}"]
    for section in COMPONENTS:
        parts += list(_component_section(section))
    parts += list(_component_section(EXTRACT))
    for name, keys in PLAIN.items():
        parts += [f"## `{name}`", *_described(keys), _options(keys), *_nested(keys)]
    return "\n\n".join(parts) + "\n"


def _component_section(section: Any) -> Iterator[str]:
    yield f"## `{section.name}`"
    link = f"components.md#{_slug(HEADINGS[section.kind])}"
    many = " An object of objects." if section.table else ""
    default = f" `type` may be left out: `{section.default}`." if section.default else ""
    yield f"{section.help}{many} `type` chooses [a component]({link}), whose settings stand beside it.{default}"
    if params_schema(section.keys)["properties"]:
        yield _options(section.keys)
    yield from _nested(section.keys)
    for inner in section.inside:
        own = "".join(f" `{one.name}`: {one.summary[0].lower()}{one.summary[1:]}" for one in inner.own)
        yield f"`{inner.name}` as an object; null, the default, for none. {inner.help}{own} Others are [these]({link})."
        yield _options(inner.keys)


def _described(keys: type) -> Iterator[str]:
    first = (keys.__doc__ or "").splitlines()[0]
    _, _, said = first.partition(": ")
    yield said[0].upper() + said[1:]


def _nested(keys: type) -> Iterator[str]:
    """Yield what stands inside of those settings that are objects with keys of their own."""
    for field in record_of(keys).fields:
        for record in _records(field.form):
            first = (record.type.__doc__ or "").splitlines()[0]
            yield f"`{field.name}` as an object. {first}"
            yield _options(record.type)
            yield from _nested(record.type)


def _records(form: Form) -> Iterator[Record]:
    if isinstance(form, Record):
        yield form
    elif isinstance(form, OneOf):
        for member in form.members:
            yield from _records(member)
    elif isinstance(form, (Array, Table)):
        yield from _records(form.item)


def _components() -> str:
    """Return every component of the distributions of this repository with its settings."""
    ours = {tomllib.loads(path.read_text(encoding="utf-8"))["project"]["name"] for path in _projects()}
    registry = discover()
    parts = []
    for kind in KINDS:
        parts.append(f"## {HEADINGS[kind]}")
        for found in registry.of_kind(kind):
            if found.distribution in ours:
                parts += list(_component(found))
    return "\n\n".join(parts) + "\n"


def _component(found: Found) -> Iterator[str]:
    provider = found.provider
    yield f"### `{provider.name}` {{ #{found.kind.replace('_', '-')}-{provider.name} }}"
    view = f" View unless the spec says otherwise: `{provider.view}`." if found.kind == "pretext_task" else ""
    yield f"{provider.summary} From `{found.distribution}`.{view}"
    if params_schema(provider.params)["properties"]:
        yield _options(provider.params)
        yield from _nested(provider.params)


def _gallery() -> str:
    """Return each distribution of this repository: what its metadata say, and what discovery finds in it."""
    offers: dict[str, list[Found]] = {}
    for found in (one for kind in KINDS for one in discover().of_kind(kind)):
        offers.setdefault(found.distribution, []).append(found)
    projects = [tomllib.loads(path.read_text(encoding="utf-8"))["project"] for path in _projects()]
    return "\n\n".join(part for project in projects for part in _distribution(project, offers[project["name"]])) + "\n"


def _projects() -> list[Path]:
    return [ROOT / "pyproject.toml", *sorted(ROOT.glob("plugins/*/pyproject.toml"))]


def _distribution(project: Mapping[str, Any], offers: Sequence[Found]) -> Iterator[str]:
    name, extras = project["name"], project.get("optional-dependencies", {})
    yield f"### {name}\n\n{_cell(project['description'])} Version {project['version']}."
    yield _fenced("sh", f"pip install {name}").rstrip()
    more = [f"[{label}]({url})" for label, url in project.get("urls", {}).items()]
    more += [f"Extras: {', '.join(f'`{extra}`' for extra in extras)}"] if extras else []
    lines = [f"- {HEADINGS[kind]}: {_links(kind, offers)}" for kind in KINDS if any(one.kind == kind for one in offers)]
    yield "\n".join([*lines, *([f"- {'; '.join(more)}"] if more else [])])


def _links(kind: str, offers: Sequence[Found]) -> str:
    names = [one.provider.name for one in offers if one.kind == kind]
    return ", ".join(f"[`{name}`](reference/components.md#{kind.replace('_', '-')}-{name})" for name in names)


def _options(params: type) -> str:
    schema = params_schema(params)
    return _table(schema["properties"], schema["required"])


def _table(options: Mapping[str, Any], required: Sequence[str]) -> str:
    lines = ["| key | type | default | |", "|---|---|---|---|"]
    for name, option in options.items():
        default = "required" if name in required else _code(option["default"]) if "default" in option else ""
        lines.append(f"| `{name}` | {_cell(_type(option))} | {default} | {_cell(option['description'])} |")
    return "\n".join(lines)


def _type(option: Mapping[str, Any]) -> str:
    return f"`{option['const']}`" if "const" in option else describe(dict(option))


def _code(value: Any) -> str:
    return f"`{json.dumps(value)}`"


def _cell(text: str) -> str:
    """Return text for a cell of a table: outside of `code`, nothing in it is Markdown."""
    parts = text.replace("\n", " ").split("`")
    shown = [part if inside % 2 else html.escape(part, quote=False) for inside, part in enumerate(parts)]
    plain = [part if inside % 2 else re.sub(r"([\[*_|])", r"\\\1", part) for inside, part in enumerate(shown)]
    return "`".join(plain)


def _commands() -> str:
    """Return the help of every command, at a width of 100."""
    parser = command_line._parser()
    return "\n\n".join(_help(parser)) + "\n"


def _help(parser: argparse.ArgumentParser) -> Iterator[str]:
    yield f"## {parser.prog}\n\n{_fenced('text', help_text(parser))}".rstrip()
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for child in action.choices.values():
                yield from _help(child)


def help_text(parser: argparse.ArgumentParser) -> str:
    """Return the help of a parser at a width of 100, whatever the terminal."""
    kind = parser.formatter_class
    parser.formatter_class = lambda prog: kind(prog, width=100)  # type: ignore[assignment, misc]
    try:
        return parser.format_help()
    finally:
        parser.formatter_class = kind


def _slug(heading: str) -> str:
    return heading.lower().replace(" ", "-")


if __name__ == "__main__":
    for page, text in pages().items():
        page.write_text(text, encoding="utf-8")
