"""Paths from a manifest stay below the root, whatever they look like and wherever links lead."""

import os
import sys

import pytest

from auxlearn.data.paths import contained


@pytest.fixture
def root(tmp_path):
    """A root with an image, beside a secret; links and other files of every kind inside."""
    root = tmp_path / "root"
    (root / "sub").mkdir(parents=True)
    (root / "sub" / "a.png").write_text("inside")
    (tmp_path / "secret").write_text("outside")
    (tmp_path / "rooted").write_text("a name that begins like the root")
    (root / "out").symlink_to(tmp_path / "secret")
    (root / "up").symlink_to(tmp_path)
    (root / "in").symlink_to(root / "sub" / "a.png")
    (root / "loop").symlink_to(root / "loop")
    (root / "zero").symlink_to("/dev/zero")
    (root / "self").symlink_to(root)
    os.mkfifo(root / "pipe")
    return os.path.realpath(root)


HOSTILE = [
    "../../etc/passwd",
    "..",
    "sub/../../secret",
    "sub/../sub/a.png",
    "../rooted",
    "/etc/passwd",
    "/dev/zero",
    "//etc/passwd",
    "C:\\Windows\\win.ini",
    "C:/Windows/win.ini",
    "\\\\host\\share\\a.png",
    "sub\\a.png",
    "file:///etc/passwd",
    "http://host/a.png",
    "a\0b",
    "sub/a.png\n",
    "a\x1b[31m",
    "",
    "   ",
    ".",
    "sub",
    "sub/",
    "missing.png",
    "out",
    "up/secret",
    "loop",
    "zero",
    "pipe",
    "self/self/up/secret",
    "a" * 5000,
    "x/" * 3000,
    "~/.ssh/id_rsa",
    "%2e%2e/secret",
    "\ud800",
]


OPENED: list[object] = []


@pytest.fixture(scope="module")
def opened():
    """Every path that is opened, from now on: an audit hook cannot be taken away again."""
    sys.addaudithook(lambda event, arguments: OPENED.append(arguments[0]) if event == "open" else None)
    with open(os.devnull):
        assert [os.devnull] == OPENED
    return OPENED


@pytest.mark.parametrize("path", HOSTILE, ids=lambda path: repr(path[:30]))
def test_hostile_paths_are_refused_without_opening_a_file(root, opened, path):
    opened.clear()
    with pytest.raises(ValueError, match=r"^(is|leads|holds|cannot) "):
        contained(root, path)
    assert opened == []


@pytest.mark.parametrize("path", ["sub/a.png", "./sub/a.png", "in", "self/sub/a.png"])
def test_files_inside_are_resolved(root, path):
    assert contained(root, path) == os.path.join(root, "sub", "a.png")


def test_names_with_spaces_dots_and_other_scripts(root):
    for name in ["a b.png", "..a.png", "a..b", "sämple.png", "图.png", "-rf"]:
        with open(os.path.join(root, name), "w", encoding="utf-8"):
            pass
        assert contained(root, name) == os.path.join(root, name)
