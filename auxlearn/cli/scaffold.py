"""`auxlearn plugins new`: a complete distribution of a plugin, from the small files of `auxlearn/templates`."""

from __future__ import annotations

import keyword
import re
from collections.abc import Iterator, Mapping
from importlib.resources import files
from pathlib import Path
from string import Template

import attrs

from auxlearn.errors import EnvironmentProblem, Problem, SpecError, escape

__all__ = ["SHAPES", "Shape", "component_of", "write_plugin"]

_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_SUMMARY = re.compile(r"[^\W\d_][^\"\\\x00-\x1f\x7f-\x9f\u2028\u2029]{0,98}")  # it stands in Python and TOML strings
_PREFIX = "auxlearn-"


@attrs.frozen(kw_only=True)
class Shape:
    """What a new plugin of one kind looks like.

    Attributes:
        hook: The hook that it has.
        module: The module that does the work.
        summary: What the example does.
        usage: How a spec names it, with `$component` for the name.
    """

    hook: str
    module: str
    summary: str
    usage: str


SHAPES: Mapping[str, Shape] = {
    "pretext": Shape(
        hook="auxlearn_pretext_tasks",
        module="task",
        summary="Tell whether the colours of an image were inverted.",
        usage='{"pretext": {"$component": {"type": "$component", "weight": 0.5}}}',
    ),
    "primary": Shape(
        hook="auxlearn_primary_tasks",
        module="task",
        summary="Tell which of several classes an image belongs to.",
        usage='{"primary": {"label": {"type": "$component", "dropout": 0.1}}}',
    ),
    "backbone": Shape(
        hook="auxlearn_backbones",
        module="backbone",
        summary="A chain of convolutions, with a feature map after each.",
        usage='{"backbone": {"type": "$component", "width": 32}}',
    ),
    "data": Shape(
        hook="auxlearn_data_sources",
        module="source",
        summary="Images of noise with a bright half, left or right.",
        usage='{"data": {"type": "$component", "rows": 256}}',
    ),
    "augmentation": Shape(
        hook="auxlearn_augmentations",
        module="augmentation",
        summary="Change the brightness of each image.",
        usage='{"augment": {"type": "$component", "strength": 0.5}}',
    ),
    "balancer": Shape(
        hook="auxlearn_balancers",
        module="balancer",
        summary="The weighted sum of the losses, with weights that add up to the same in every step.",
        usage='{"balance": {"type": "$component"}}',
    ),
}


def write_plugin(name: str, kind: str, out: Path, summary: str | None = None) -> tuple[Path, ...]:
    """Write a distribution into a folder of its name, and return its files.

    Args:
        name: What it is called, with or without `auxlearn-` in front.
        kind: What it offers: a key of `SHAPES`.
        out: The folder to put it in.
        summary: What it does, in one line; None for what the example does.

    Raises:
        SpecError: If it cannot be called so, if the summary is no line, or its folder exists and is not empty.
        EnvironmentProblem: If it cannot be written.
    """
    words = _words(name, SHAPES[kind], summary)
    folder = out / words["distribution"]
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        fix = "choose another name or --out, or remove it; nothing is overwritten"
        raise SpecError(Problem(where=escape(folder), what="exists already", fix=fix))
    written = []
    try:
        for path, text in _contents(kind, words):
            file = folder / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
            written.append(file)
    except OSError as error:
        problem = Problem(where=escape(error.filename or folder), what=error.strerror or str(error), exit_code=8)
        raise EnvironmentProblem(problem) from error
    return tuple(written)


def component_of(name: str) -> str:
    """Return what a spec writes for the component of a plugin of this name."""
    return name.removeprefix(_PREFIX).replace("-", "_")


def _words(name: str, shape: Shape, summary: str | None) -> dict[str, str]:
    """Return what stands for each placeholder."""
    from auxlearn import __version__

    short = name.removeprefix(_PREFIX)
    component = component_of(name)
    if keyword.iskeyword(component):
        what = f'"{component}" is a word of Python, which no module can be called by'
        raise SpecError(Problem(where="NAME", what=what, fix="choose another name"))
    if not _NAME.fullmatch(short):
        allowed = "lower case letters and digits, in words joined by hyphens, a letter first"
        raise SpecError(Problem(where="NAME", what=f'"{escape(name)}" is no name of a plugin', allowed=allowed))
    distribution = f"{_PREFIX}{short}"
    return {
        "distribution": distribution,
        "package": distribution.replace("-", "_"),
        "component": component,
        "Class": "".join(word.capitalize() for word in short.split("-")),
        "hook": shape.hook,
        "module": shape.module,
        "summary": shape.summary if summary is None else _sentence(summary),
        "usage": shape.usage.replace("$component", component),
        "version": __version__,
    }


def _sentence(summary: str) -> str:
    """Return what a user wrote as a sentence, as docstrings have it; SpecError if it cannot stand in a string."""
    text = summary.strip().rstrip(".")
    if not _SUMMARY.fullmatch(text):
        allowed = "one line of at most 99 characters that begins with a letter, without double quotes and backslashes"
        raise SpecError(Problem(where="--summary", what=f'"{escape(summary)}" is no summary', allowed=allowed))
    return f"{text[0].upper()}{text[1:]}."


def _contents(kind: str, words: Mapping[str, str]) -> Iterator[tuple[Path, str]]:
    """Yield the path of each file in the distribution, and what is in it."""
    package, module = words["package"], words["module"]
    homes = {
        "common/pyproject.toml": "pyproject.toml",
        "common/README.md": "README.md",
        "common/ci.yml": ".github/workflows/test.yml",
        "common/init.py": f"{package}/__init__.py",
        f"{kind}/provider.py": f"{package}/provider.py",
        f"{kind}/{module}.py": f"{package}/{module}.py",
        f"{kind}/test.py": f"tests/test_{words['component']}.py",
    }
    templates = files("auxlearn") / "templates"
    for template, home in homes.items():
        text = templates.joinpath(f"{template}.tmpl").read_text(encoding="utf-8")
        yield Path(home), Template(text).substitute(words)
    yield Path(package, "py.typed"), ""
