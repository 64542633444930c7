"""Nothing that a plugin's author or a user may write is missing from the reference."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest

from auxlearn.data import DataContext
from auxlearn.learning import BuildContext, StepContext
from auxlearn.registry import KINDS, CheckContext, DataFacts, Found, Option, Provider, discover
from auxlearn.registry.forms import record_of
from auxlearn.results import ExportContext
from auxlearn.testing import check_provider
from auxlearn.training.schedules import ScheduleContext

ROOT = Path(__file__).parents[1]
REFERENCE = ROOT / "docs" / "pages" / "reference"
HOOKS = (REFERENCE / "plugins.md").read_text(encoding="utf-8")
PLUGINS = [path.parent.name for path in ROOT.glob("plugins/*/pyproject.toml")]
ROOMS = ["data", "deprecation", "errors", "learning", "registry", "registry.hooks", "results"]
ROOMS += ["testing", "testing.fakes", "testing.modalities", "testing.plugin"]
MODULES = ["auxlearn", *(f"auxlearn.{room}" for room in ROOMS)]
FOUND = [one for kind in KINDS for one in discover().of_kind(kind) if one.distribution in {"auxlearn", *PLUGINS}]


def by_kind(found: Found) -> str:
    return f"{found.kind}-{found.provider.name}"


def section_of_hook(kind: str) -> str:
    """Return what the page says under the heading of a hook."""
    return HOOKS.split(f"### `{KINDS[kind]}() -> Iterable[Provider]`\n")[1].split("\n## ")[0].split("\n### ")[0]


def example_of(kind: str) -> str:
    """Return the file that is the example of a kind."""
    (block,) = re.findall(r'^```python title="my_\w+\.py"\n(.*?)^```$', section_of_hook(kind), re.MULTILINE | re.DOTALL)
    return block


@pytest.mark.parametrize("kind", KINDS)
def test_each_hook_says_what_build_is_given_and_has_an_example(kind: str) -> None:
    assert re.search(r"`build(\(params, \w+\))?`", section_of_hook(kind))
    assert f"@hookimpl\ndef {KINDS[kind]}():\n    yield Provider(" in example_of(kind)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_each_example_conforms(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = f"example_{kind}"
    (tmp_path / f"{name}.py").write_text(example_of(kind), encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    try:
        (provider,) = getattr(importlib.import_module(name), KINDS[kind])()
        report = check_provider(provider, kind)
    finally:
        sys.modules.pop(name, None)
    assert report.ok


@pytest.mark.parametrize(
    "kind",
    [Provider, BuildContext, DataContext, StepContext, ScheduleContext, CheckContext, ExportContext, DataFacts, Option],
    ids=lambda kind: kind.__name__,
)
def test_each_field_of_what_plugins_give_and_get_is_documented(kind: type) -> None:
    assert re.search(rf"^::: auxlearn\.[\w.]*\b{kind.__name__}$", HOOKS, re.MULTILINE)
    told = set(documented(kind, "Attributes"))
    assert {field.name for field in attrs.fields(kind)} <= told


def documented(thing: Any, heading: str) -> Iterator[str]:
    """Yield the names under `Args:` or `Attributes:` of a docstring."""
    _, _, after = (inspect.getdoc(thing) or "").partition(f"{heading}:\n")
    for line in after.splitlines():
        if line and not line.startswith(" "):
            return
        if match := re.match(r"    (\*{0,2}\w+(?:, \*{0,2}\w+)*): ", line):
            yield from match[1].split(", ")


@pytest.mark.parametrize("found", FOUND, ids=by_kind)
def test_each_option_of_a_component_is_in_the_reference(found: Found) -> None:
    anchor = f"{{ #{found.kind.replace('_', '-')}-{found.provider.name} }}"
    text = (REFERENCE / "components.md").read_text(encoding="utf-8")
    assert anchor in text, "run `python docs/generate.py`"
    section = re.split(r"\n##", text.split(anchor)[1])[0]
    rows = set(re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE))
    assert {field.name for field in record_of(found.provider.params).fields} <= rows


def public() -> Iterator[tuple[str, Any]]:
    for module in MODULES:
        for name in importlib.import_module(module).__all__:
            thing = getattr(importlib.import_module(module), name)
            if inspect.isfunction(thing) or inspect.isclass(thing):
                yield f"{module}.{name}", thing


@pytest.mark.parametrize("thing", [pytest.param(thing, id=name) for name, thing in public()])
def test_each_argument_of_a_public_name_is_told_of(thing: Any) -> None:
    if inspect.isclass(thing) and attrs.has(thing):
        names = {field.name for field in attrs.fields(thing) if "auxlearn" not in field.metadata}  # options have a help
    elif inspect.isfunction(thing):
        names = set(inspect.signature(thing).parameters)
    else:
        names = set(inspect.signature(vars(thing).get("__init__", object)).parameters) - {"self"}
    assert names <= set(re.findall(r"\w+", inspect.getdoc(thing) or ""))
