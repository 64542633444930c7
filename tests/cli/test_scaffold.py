"""`auxlearn plugins new` writes what ruff finds nothing in, and overwrites nothing.

That it passes its own tests and mypy where it is installed, `tests/packaging/test_new_plugins.py` shows.
"""

import os
import subprocess
import sys

import pytest

from auxlearn.cli.main import main
from auxlearn.cli.scaffold import SHAPES

KINDS = tuple(SHAPES)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    out = tmp_path_factory.mktemp("new")
    for kind in KINDS:
        assert main(["plugins", "new", f"my-{kind}", "--kind", kind, "--out", str(out)]) == 0
    return out


def call(*command, cwd, **variables):
    environment = {**os.environ, **variables}
    done = subprocess.run(command, check=False, cwd=cwd, env=environment, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_it_writes_a_whole_distribution(written):
    home = written / "auxlearn-my-pretext"
    assert sorted(str(path.relative_to(home)) for path in home.rglob("*") if path.is_file()) == [
        ".github/workflows/test.yml",
        "README.md",
        "auxlearn_my_pretext/__init__.py",
        "auxlearn_my_pretext/provider.py",
        "auxlearn_my_pretext/py.typed",
        "auxlearn_my_pretext/task.py",
        "pyproject.toml",
        "tests/test_my_pretext.py",
    ]
    assert not [path for path in home.rglob("*") if path.is_file() and "$" in path.read_text().replace("${{", "")]
    assert "${{ matrix.python-version }}" in (home / ".github/workflows/test.yml").read_text()


@pytest.mark.parametrize("kind", KINDS)
def test_ruff_finds_nothing(written, kind):
    home = written / f"auxlearn-my-{kind}"
    call(sys.executable, "-m", "ruff", "check", "--no-cache", ".", cwd=home)
    call(sys.executable, "-m", "ruff", "format", "--no-cache", "--check", ".", cwd=home)


def test_nothing_is_overwritten(written, capsys):
    before = (written / "auxlearn-my-data" / "README.md").read_text()
    assert main(["plugins", "new", "my-data", "--kind", "pretext", "--out", str(written)]) == 2
    assert "auxlearn-my-data: exists already" in capsys.readouterr().err
    assert (written / "auxlearn-my-data" / "README.md").read_text() == before


@pytest.mark.parametrize("name", ["My-Plugin", "../up", "a_b", "1a", "", "auxlearn-", "a--b"])
def test_odd_names_are_refused(name, tmp_path, capsys):
    assert main(["plugins", "new", name, "--kind", "pretext", "--out", str(tmp_path)]) == 2
    assert "is no name of a plugin" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_summary_of_ones_own(tmp_path):
    options = ("--kind", "pretext", "--out", str(tmp_path), "--summary", " count the $eyes of 'cats' ")
    assert main(["plugins", "new", "eyes", *options]) == 0
    texts = [path.read_text() for path in tmp_path.rglob("*") if path.is_file()]
    assert sum(text.count("Count the $eyes of 'cats'.") for text in texts) == 4
    call(sys.executable, "-m", "ruff", "check", "--no-cache", ".", cwd=tmp_path / "auxlearn-eyes")


@pytest.mark.parametrize("summary", ["", ".", "two\nlines", 'a "word"', "back\\slash", "1st", "x" * 100])
def test_odd_summaries_are_refused(summary, tmp_path, capsys):
    assert main(["plugins", "new", "eyes", "--kind", "pretext", "--out", str(tmp_path), "--summary", summary]) == 2
    assert "is no summary" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_written_is_told(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert main(["plugins", "new", "mine", "--kind", "pretext", "--out", str(tmp_path / "file")]) == 8
    assert "error: " in capsys.readouterr().err


def test_the_command_offers_every_shape(capsys):
    with pytest.raises(SystemExit):
        main(["plugins", "new", "mine", "--kind", "other"])
    told = capsys.readouterr().err
    assert [kind for kind in KINDS if kind not in told] == []


def test_a_word_of_python_is_told_as_such(tmp_path, capsys):
    assert main(["plugins", "new", "class", "--kind", "pretext", "--out", str(tmp_path)]) == 2
    assert '"class" is a word of Python' in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_name_that_is_taken_is_told(tmp_path, capsys):
    assert main(["plugins", "new", "fixed", "--kind", "balancer", "--out", str(tmp_path)]) == 0
    said = capsys.readouterr().err
    assert said.startswith("warning: auxlearn 0.")
    assert said.endswith(
        'offers a balancer of this name already; with both installed, a spec has to write "auxlearn:fixed" for it\n'
    )
    assert main(["plugins", "new", "fixed", "--kind", "data", "--out", str(tmp_path / "other")]) == 0
    assert capsys.readouterr().err == ""
