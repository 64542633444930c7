"""Every block of the docs and READMEs runs: specs validate, Python executes, commands succeed.

A comment `<!-- test adds: a.b=c ... -->` before a shell block adds arguments to its commands, so that a command which
a reader runs for minutes takes the test seconds. A `console` block shows what one command prints, which is compared;
`<!-- test expects exit code 2 -->` before it says that the command fails.
"""

from __future__ import annotations

import importlib
import re
import shlex
import sys
import tomllib
from pathlib import Path

import attrs
import pytest

from auxlearn.cli.main import main
from auxlearn.registry import hooks

ROOT = Path(__file__).parents[1]
REFERENCE = ROOT / "docs" / "pages" / "reference"
PAGES = sorted([*ROOT.glob("docs/pages/**/*.md"), ROOT / "README.md", *ROOT.glob("plugins/*/README.md")])
FENCE = re.compile(
    r"^(?:<!-- test (?:adds: (?P<adds>[^\n]*)|expects exit code (?P<code>\d+)) -->\n)?"
    r"(?P<indent> *)```(?P<info>[^\n`]*)\n(?P<body>.*?)^(?P=indent)```",
    re.MULTILINE | re.DOTALL,
)
TITLE = re.compile(r'title="([^"]+)"')


@attrs.frozen
class Block:
    """A fenced block of a page: the file that it is, if any, its first line, and what the test adds and expects."""

    language: str
    title: str | None
    body: str
    line: int
    adds: tuple[str, ...]
    code: int


def blocks(page: Path) -> list[Block]:
    text = page.read_text(encoding="utf-8")
    found = []
    for match in FENCE.finditer(text):
        body = "".join(line[len(match["indent"]) :] for line in match["body"].splitlines(keepends=True))
        title = TITLE.search(match["info"])
        found.append(
            Block(
                language=match["info"].strip().split(" ")[0],
                title=title and title[1],
                body=body,
                line=text[: match.start("body")].count("\n") + 1,
                adds=tuple(shlex.split(match["adds"] or "")),
                code=int(match["code"] or 0),
            )
        )
    return found


def commands(body: str) -> list[list[str]]:
    """Return the commands of a shell block, without a prompt and without `uv run`."""
    lines = [part for line in body.replace("\\\n", " ").splitlines() for part in line.split("&&")]
    words = [shlex.split(line.strip().removeprefix("$ "), comments=True) for line in lines]
    return [w[2:] if w[:2] == ["uv", "run"] else w for w in words if w]


def install(folder: Path, where: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the package in `folder` importable, with its entry points, as `pip install -e` does."""
    project = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    name = project["name"].replace("-", "_")
    facts = where / "installed" / f"{name}-{project['version']}.dist-info"
    facts.mkdir(parents=True)
    (facts / "METADATA").write_text(f"Metadata-Version: 2.4\nName: {project['name']}\nVersion: {project['version']}\n")
    groups = project["entry-points"].items()
    lines = [f"[{group}]\n" + "".join(f"{n} = {target}\n" for n, target in points.items()) for group, points in groups]
    (facts / "entry_points.txt").write_text("\n".join(lines))
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.syspath_prepend(str(facts.parent))


@pytest.fixture
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A working folder in which commands may name files of the repository, and nothing imported from it stays."""
    for folder in ("docs", "benchmarks"):
        (tmp_path / folder).symlink_to(ROOT / folder)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = set(sys.modules)
    yield tmp_path
    sys.path_importer_cache.pop(".", None)  # it stands for the folder that was the working one when it was first used
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", None)).startswith(str(tmp_path)):
            del sys.modules[name]


# In a shell and environments of its own, by tests/packaging/test_tutorial.py.
ELSEWHERE = {ROOT / "docs" / "pages" / "tutorials" / "publish-a-pretext-task.md"}
RUN = [p for p in PAGES if any(b.language in ("python", "sh", "json") for b in blocks(p)) and p not in ELSEWHERE]


@pytest.mark.slow
@pytest.mark.parametrize("page", RUN, ids=lambda p: str(p.relative_to(ROOT)))
def test_blocks_run(
    page: Path, scratch: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    names: dict[str, object] = {"__name__": "__main__"}
    for block in blocks(page):
        where = f"{page}:{block.line}"
        if block.title:
            target = scratch / block.title
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(block.body, encoding="utf-8")
        if block.language == "json" and block.title:
            assert main(["validate", block.title]) == 0, where
        elif block.language == "python" and not block.title:
            exec(compile("\n" * (block.line - 1) + block.body, str(page), "exec"), names)
        elif block.language == "console":
            command, _, printed = block.body.partition("\n")
            capfd.readouterr()
            assert main(commands(command)[0][1:]) == block.code, where
            assert "".join(capfd.readouterr()) == printed, where
        elif block.language == "sh":
            for words in commands(block.body):
                if words[:3] == ["pip", "install", "-e"] and (scratch / words[3] / "pyproject.toml").is_file():
                    install(scratch / words[3], scratch, monkeypatch)
                elif words[0] == "auxlearn":
                    assert main([*words[1:], *block.adds]) == 0, f"{where}: {shlex.join(words)}"


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_no_block_is_overlooked(page: Path) -> None:
    text, found = page.read_text(encoding="utf-8"), blocks(page)
    assert 2 * len(found) == len(re.findall("^ *```", text, re.MULTILINE))
    assert text.count("<!-- test ") == sum(bool(block.adds or block.code) for block in found)


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_inside_the_repository_exist(page: Path) -> None:
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    for target in re.findall(r"\]\(([^)#\s]+)", text):
        if not target.startswith(("http:", "https:", "mailto:")):
            assert (page.parent / target).exists(), target


def test_generated_parts_are_as_the_code_has_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT / "docs")
    for page, text in importlib.import_module("generate").pages().items():
        # argparse wraps lines differently from one Python to the next, so the words are compared.
        assert page.read_text(encoding="utf-8").split() == text.split(), f"{page}: run `python docs/generate.py`"


def test_every_hook_is_documented_by_its_signature() -> None:
    text = (REFERENCE / "plugins.md").read_text(encoding="utf-8")
    found = re.findall(r"^### `?(auxlearn_\w+)\(\) -> Iterable\[Provider\]", text, re.MULTILINE)
    assert sorted(found) == sorted(name for name in hooks.__all__ if name.startswith("auxlearn_"))


PUBLIC = ["", "data", "learning", "registry", "registry.hooks", "results", "errors", "testing", "testing.fakes"]
PUBLIC += ["testing.modalities", "testing.plugin", "deprecation"]


@pytest.mark.parametrize("module", PUBLIC)
def test_every_public_name_is_in_the_reference(module: str) -> None:
    package = importlib.import_module(f"auxlearn.{module}".rstrip("."))
    pages = ("python.md", "plugins.md", "testing.md", "compatibility.md")
    text = "".join((REFERENCE / page).read_text(encoding="utf-8") for page in pages)
    entries = {line.rpartition(".")[2] for line in re.findall(r"^::: (\S+)", text, re.MULTILINE)}
    listed = set(re.findall(r"`(\w+)", text))
    whole = f"::: {package.__name__}\n" in text
    assert [n for n in package.__all__ if not (whole or n in entries | listed or n.startswith("__"))] == []


def test_every_exit_code_is_documented() -> None:
    from auxlearn import errors

    text = (REFERENCE / "run-folder.md").read_text(encoding="utf-8")
    kinds = [getattr(errors, name) for name in errors.__all__ if isinstance(getattr(errors, name), type)]
    codes = {kind.exit_code for kind in kinds if issubclass(kind, errors.AuxlearnError)}
    assert {str(code) for code in codes} <= set(re.findall(r"^\| (\d+)", text, re.MULTILINE))
