"""Every block of the docs and READMEs runs: specs validate, Python executes, commands succeed."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from auxlearn.cli.main import main

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("docs/pages/**/*.md"), ROOT / "README.md", *ROOT.glob("plugins/*/README.md")])
FENCE = re.compile(r"^(?P<indent> *)```(?P<info>[^\n`]*)\n(?P<body>.*?)^(?P=indent)```", re.MULTILINE | re.DOTALL)
TITLE = re.compile(r'title="([^"]+)"')


def blocks(page: Path) -> list[tuple[str, str, int]]:
    """Return each fenced block: its info string, its text, its line."""
    text = page.read_text(encoding="utf-8")
    found = []
    for match in FENCE.finditer(text):
        indent = len(match["indent"])
        body = "".join(line[indent:] for line in match["body"].splitlines(keepends=True))
        found.append((match["info"].strip(), body, text[: match.start()].count("\n") + 2))
    return found


def commands(body: str) -> list[list[str]]:
    """Return the `auxlearn` commands of a shell block, without a prompt and without `uv run`."""
    lines = body.replace("\\\n", " ").splitlines()
    words = [shlex.split(line.removeprefix("$ "), comments=True) for line in lines]
    words = [w[2:] if w[:2] == ["uv", "run"] else w for w in words]
    return [w[1:] for w in words if w[:1] == ["auxlearn"]]


RUN = [p for p in PAGES if any(i.split(" ")[0] in ("python", "sh", "json") for i, _, _ in blocks(p))]


@pytest.mark.slow
@pytest.mark.parametrize("page", RUN, ids=lambda p: str(p.relative_to(ROOT)))
def test_blocks_run(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder in ("docs", "benchmarks"):  # so that commands may name files of the repository
        (tmp_path / folder).symlink_to(ROOT / folder)
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {"__name__": "__main__"}
    for info, body, line in blocks(page):
        language = info.split(" ")[0]
        where = f"{page}:{line}"
        title = TITLE.search(info)
        if title:
            target = tmp_path / title[1]
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(body, encoding="utf-8")
        if language == "json" and title:
            assert main(["validate", title[1]]) == 0, where
        elif language == "python" and not title:
            exec(compile("\n" * (line - 1) + body, str(page), "exec"), names)
        elif language == "sh":
            for command in commands(body):
                assert main(command) == 0, f"{where}: auxlearn {shlex.join(command)}"


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_inside_the_repository_exist(page: Path) -> None:
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    for target in re.findall(r"\]\(([^)#\s]+)", text):
        if not target.startswith(("http:", "https:", "mailto:")):
            assert (page.parent / target).exists(), target
