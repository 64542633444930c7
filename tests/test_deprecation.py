"""What is deprecated warns where it should be changed, and is gone when it was said to be."""

import ast
import importlib
import sys
from pathlib import Path

import pytest

import auxlearn
from auxlearn.deprecation import AuxlearnDeprecationWarning, deprecated

ROOT = Path(__file__).parents[1]
FILES = sorted([*(ROOT / "auxlearn").rglob("*.py"), *ROOT.glob("plugins/*/auxlearn_*/**/*.py")])

# A module with a function that was renamed, as one of ours would look.
MADE_UP = """
from auxlearn.deprecation import deprecated


def __getattr__(name):
    if name == "old_loss":
        deprecated("`old_loss`", since="0.2", removal="0.4", use="`new_loss`")
        return new_loss
    raise AttributeError(name)


def new_loss():
    return 1
"""


def release(version):
    """Return a version in an order: those before a release count as the release."""
    return tuple(int("".join(filter(str.isdigit, part.partition("rc")[0])) or 0) for part in version.split(".")[:3])


def calls(tree):
    """Yield `since` and `removal` of each call of `deprecated`, None for one that is not written out."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and getattr(node.func, "id", getattr(node.func, "attr", None)) == "deprecated":
            given = {word.arg: getattr(word.value, "value", None) for word in node.keywords}
            yield node.lineno, given.get("since"), given.get("removal")


def faults(tree, version):
    """Yield what is wrong with the deprecations of a file in some release."""
    for line, since, removal in calls(tree):
        if not (isinstance(since, str) and isinstance(removal, str)):
            yield line, "should write out `since` and `removal`"
        elif release(removal) <= release(since):
            yield line, f"should go after {since}, says {removal}"
        elif release(version) >= release(removal):
            yield line, f"was to be removed in {removal}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_nothing_stands_longer_than_it_should(path):
    if path.name != "deprecation.py":
        found = list(faults(ast.parse(path.read_text()), auxlearn.__version__))
        assert not found, f"{path.relative_to(ROOT)}: {found}; remove what is deprecated, with its call"


@pytest.mark.parametrize(
    ("version", "overdue"),
    [("0.2.0", False), ("0.3.9", False), ("0.4.0rc1", True), ("0.4", True), ("0.4.0", True), ("1.0.0", True)],
)
def test_the_release_that_removes_it_is_found(version, overdue):
    assert bool(list(faults(ast.parse(MADE_UP), version))) == overdue


@pytest.mark.parametrize(
    "call",
    [
        'deprecated("x", since="0.2", removal="0.2", use="y")',
        'deprecated("x", since="0.10", removal="0.9", use="y")',
        'deprecated("x", since="0.2", removal=soon, use="y")',
        'deprecation.deprecated("x", since="0.2", use="y")',
    ],
)
def test_a_deprecation_without_a_later_release_is_found(call):
    assert list(faults(ast.parse(call), "0.1.0"))


@pytest.fixture
def made_up(tmp_path, monkeypatch):
    (tmp_path / "made_up_losses.py").write_text(MADE_UP)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield importlib.import_module("made_up_losses")
    del sys.modules["made_up_losses"]


def test_using_it_warns_where_it_is_used(made_up):
    with pytest.warns(AuxlearnDeprecationWarning) as caught:
        assert made_up.old_loss() == 1
    (warning,) = caught
    assert warning.filename == __file__
    assert str(warning.message) == (
        "`old_loss` is deprecated since auxlearn 0.2 and will be removed in 0.4: use `new_loss`"
    )


def test_what_took_its_place_is_silent(made_up):
    assert made_up.new_loss() == 1


def test_the_call_to_change_may_stand_further_above():
    def inner():
        deprecated("x", since="0.2", removal="0.4", use="y", stacklevel=3)

    def between():
        inner()

    line = between.__code__.co_firstlineno
    with pytest.warns(AuxlearnDeprecationWarning) as caught:
        between()
    assert caught[0].lineno == line + 5


def test_whoever_runs_auxlearn_sees_it():
    assert issubclass(AuxlearnDeprecationWarning, FutureWarning)
