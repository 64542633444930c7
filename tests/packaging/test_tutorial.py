"""The tutorial "Publish a pretext task", word for word: what it says to type and to write, in one shell."""

from __future__ import annotations

import shlex
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "pages" / "tutorials" / "publish-a-pretext-task.md"
OUTSIDER = ROOT / "tests" / "outsiders" / "auxlearn-patches"
END = "END_OF_THE_BLOCK"


def heredoc(command: str, text: str) -> str:
    return f"{command} <<'{END}'\n{text}{END}\n"


def script(page: Path, docs) -> str:
    """Return the page as a script of bash: files are written, commands run, and what they print is compared."""
    lines = ["set -euo pipefail\n"]
    for block in docs.blocks(page):
        lines.append(f"echo '== {page.name}:{block.line}' >&2\n")
        if block.title:
            lines.append(heredoc(f"mkdir -p {Path(block.title).parent}; cat > {block.title}", block.body))
        elif block.language == "python":
            lines.append(heredoc("python -", block.body))
        elif block.language == "console":
            command, _, printed = block.body.partition("\n")
            run = f"{command.removeprefix('$ ')} > printed 2>&1 || test $? = {block.code}"
            lines.append(f"{run}\n" + heredoc("diff printed -", printed))
        else:
            assert block.language == "sh", block
            lines.append(block.body)
    return "".join(lines)


def tree(folder: Path) -> dict[str, str]:
    """Return the files of a distribution by their path, less what tools leave behind."""
    left = {".pytest_cache", ".ruff_cache", ".hypothesis", "__pycache__", "build"}
    paths = [path.relative_to(folder) for path in folder.rglob("*") if path.is_file()]
    return {str(path): (folder / path).read_text() for path in paths if not left & set(path.parts)}


@pytest.fixture(scope="session")
def docs():
    """The reader of pages that `tests/test_docs.py` has."""
    import importlib.util

    spec = importlib.util.spec_from_file_location("reader_of_pages", ROOT / "tests" / "test_docs.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
def test_the_tutorial_can_be_followed_word_for_word(docs, offline, tmp_path: Path) -> None:
    (tmp_path / "auxlearn").symlink_to(ROOT)
    shell = ["bash", "-c", script(PAGE, docs)]
    done = subprocess.run(
        shell, cwd=tmp_path, env=offline.variables, check=False, capture_output=True, text=True, timeout=900
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-6000:]
    assert "patches" in done.stdout
    assert tree(tmp_path / "auxlearn-patches") == tree(OUTSIDER)


def test_the_outsider_is_what_the_tutorial_writes(docs) -> None:
    written = {block.title: block.body for block in docs.blocks(PAGE) if block.title}
    ours = {title: body for title, body in written.items() if title.startswith("auxlearn-patches/")}
    assert len(ours) == 4
    assert [title for title, body in ours.items() if (OUTSIDER.parent / title).read_text() != body] == []
    made = next(words for block in docs.blocks(PAGE) for words in docs.commands(block.body) if "new" in words[:3])
    assert shlex.join(made[:4]) == "auxlearn plugins new patches"
