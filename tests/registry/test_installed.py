"""What is found by metadata alone: versions of the interfaces, damaged metadata, and how much work it is."""

import sys
from importlib.metadata import PathDistribution

import pluggy
import pytest

from auxlearn import __version__
from auxlearn.errors import PluginError
from auxlearn.registry import API_VERSION, OLDEST_API, discover, hooks
from auxlearn.registry import installed as finding


@pytest.fixture
def interfaces(monkeypatch):
    """Return a function that makes the engine one that knows some versions of the plugin interfaces."""

    def interfaces(oldest, newest):
        monkeypatch.setattr(finding, "OLDEST_API", oldest)
        monkeypatch.setattr(finding, "API_VERSION", newest)

    return interfaces


@pytest.fixture
def offer(install, tmp_path):
    """Return a function that installs a distribution whose entry points are in several groups, as written."""

    def offer(distribution, groups, **options):
        module = install(distribution, **options)
        name = f"{distribution.replace('-', '_')}-1.2.dist-info"
        text = groups.replace("MODULE", module)
        (tmp_path / name / "entry_points.txt").write_text(text)
        return module

    return offer


def test_this_engine_has_the_first_version():
    assert (OLDEST_API, API_VERSION) == (1, 1)


@pytest.mark.parametrize("group", ["auxlearn.2", "auxlearn.17"])
def test_a_plugin_for_newer_interfaces_is_told_without_importing_it(install, only, group):
    module = install("auxlearn-jigsaw", "raise SystemExit('imported')", group=group)
    only("auxlearn-jigsaw")
    registry = discover()
    (broken,) = registry.broken
    number = group.partition(".")[2]
    assert broken.reason == (
        f"is written for version {number} of the plugin interfaces, auxlearn {__version__} has version 1"
    )
    assert broken.fix == "pip install -U auxlearn"
    assert module not in sys.modules
    with pytest.raises(PluginError) as caught:
        registry.find("pretext_task", "jigsaw")
    assert caught.value.exit_code == 3
    assert "fix: pip install -U auxlearn" in str(caught.value)


def test_a_plugin_for_interfaces_that_are_gone_is_told_without_importing_it(install, only, interfaces):
    module = install("old-puzzle", "raise SystemExit('imported')")
    only("old-puzzle")
    interfaces(2, 3)
    (broken,) = discover().broken
    assert broken.reason.endswith(
        f"is written for version 1 of the plugin interfaces, auxlearn {__version__} has versions 2 to 3"
    )
    assert broken.fix == "pip install -U old-puzzle"
    assert module not in sys.modules


@pytest.mark.parametrize(("oldest", "newest", "loaded"), [(1, 1, "one"), (1, 2, "two"), (2, 3, "two"), (1, 9, "five")])
def test_the_newest_version_that_both_know_is_loaded_and_no_other(offer, only, interfaces, oldest, newest, loaded):
    points = {"one": "auxlearn", "two": "auxlearn.2", "five": "auxlearn.5"}
    lines = [
        f"[{group}]\n{name} = {'MODULE' if name == loaded else 'no_such_module'}\n" for name, group in points.items()
    ]
    offer("several", "".join(lines))
    only("several")
    interfaces(oldest, newest)
    registry = discover()
    assert not registry.broken
    assert registry.find("pretext_task", "jigsaw").entry_point == loaded


def test_what_is_both_too_old_and_too_new_waits_for_the_engine(offer, only, interfaces):
    offer("several", "[auxlearn]\na = MODULE\n[auxlearn.5]\nb = MODULE\n")
    only("several")
    interfaces(2, 3)
    (broken,) = discover().broken
    assert (broken.entry_point, broken.fix) == ("b", "pip install -U auxlearn")


@pytest.mark.parametrize(
    "group", ["auxlearn.x", "auxlearn.1", "auxlearn.0", "auxlearn.02", "auxlearn.", "auxlearn.2.1"]
)
def test_a_group_that_is_no_version_is_told(install, only, group):
    install("mistaken", group=group)
    install("puzzle")
    only("mistaken", "puzzle")
    registry = discover()
    (broken,) = registry.broken
    assert f'in the group "{group}", which is no version of the plugin interfaces' in broken.reason
    assert 'the group of version 1 is "auxlearn"' in broken.fix
    assert registry.find("pretext_task", "jigsaw").distribution == "puzzle"


def test_such_a_group_beside_a_right_one_does_no_harm(offer, only):
    offer("puzzle", "[auxlearn.extras]\nb = nothing\n[auxlearn]\na = MODULE\n")
    only("puzzle")
    assert not discover().broken


@pytest.mark.parametrize("group", ["auxlearners", "auxlearn_own.2", "other"])
def test_a_group_of_somebody_else_is_none_of_ours(install, group):
    install("another", group=group)
    assert not [one for one in finding.installed() if one.distribution == "another"]


DAMAGED = {
    "no equals sign": "[auxlearn]\nfoo\n",
    "no name": "[auxlearn]\n = MODULE\n",
    "no value": "[auxlearn]\nfoo =\n",
    "no module": "[auxlearn]\nfoo = ???\n",
    "twice": "[auxlearn]\na = MODULE\na = MODULE\n",
    "outside of a section": "a = b\n[auxlearn]\na = no_such_module\n",
}


@pytest.mark.parametrize("kind", DAMAGED)
def test_damaged_entry_points_are_told_and_hide_no_other(offer, install, only, kind):
    offer("damaged", DAMAGED[kind])
    install("puzzle")
    only("damaged", "puzzle")
    registry = discover()
    assert {broken.distribution for broken in registry.broken} == {"damaged"} or kind == "no name"
    assert registry.find("pretext_task", "puzzle:jigsaw").version == "1.2"


METADATA = {
    "no name": (b"Metadata-Version: 2.1\nVersion: 3\n", ("unknown", "3")),
    "no version": (b"Metadata-Version: 2.1\nName: puzzle\n", ("puzzle", "")),
    "empty": (b"", ("unknown", "")),
    "no text": (b"Name: \xff\xfe\n", ("unknown", "")),
    "in the README only": (b"Name: puzzle\nVersion: 3\n\nName: other\nVersion: 4\n", ("puzzle", "3")),
    "Windows": (b"Name: puzzle\r\nVersion: 3\r\n\r\nName: other\r\n", ("puzzle", "3")),
    "twice": (b"Name: puzzle\nName: other\nVersion: 3\nVersion: 4\n", ("puzzle", "3")),
}


@pytest.mark.parametrize("kind", METADATA)
def test_damaged_metadata_break_nothing(install, tmp_path, monkeypatch, kind):
    module = install("puzzle")
    content, expected = METADATA[kind]
    (tmp_path / "puzzle-1.2.dist-info" / "METADATA").write_bytes(content)
    (one,) = [one for one in finding.installed() if one.module == module]
    assert (one.distribution, one.version) == expected
    monkeypatch.setenv("AUXLEARN_PLUGINS", one.distribution)
    assert discover().find("pretext_task", "jigsaw").version == expected[1]


def test_missing_metadata_break_nothing(install, tmp_path, only):
    module = install("puzzle")
    (tmp_path / "puzzle-1.2.dist-info" / "METADATA").unlink()
    (one,) = [one for one in finding.installed() if one.module == module]
    assert (one.distribution, one.version) == ("unknown", "")


def test_bytes_that_are_no_text_break_nothing(install, tmp_path, only):
    install("puzzle")
    install("binary")
    (tmp_path / "binary-1.2.dist-info" / "entry_points.txt").write_bytes(b"[auxlearn]\na = \xff\xfe\n")
    only("puzzle")
    assert discover().find("pretext_task", "jigsaw").distribution == "puzzle"


def test_an_installed_distribution_that_python_would_not_import_does_not_count(install, only, tmp_path, monkeypatch):
    install("puzzle")
    install("other")
    (tmp_path / "front").mkdir()
    monkeypatch.syspath_prepend(str(tmp_path / "front"))
    install("puzzle", version="2.0", where=tmp_path / "front", group="somebody.elses")
    only("other")
    assert "puzzle" not in {one.distribution for one in finding.installed()}


def test_nobody_else_can_be_the_engine(install, monkeypatch):
    module = install("Auxlearn", entry_point="thief")
    monkeypatch.delenv("AUXLEARN_PLUGINS", raising=False)
    registry = discover()
    (broken,) = [broken for broken in registry.broken if broken.entry_point == "thief"]
    assert "has the name of the engine" in broken.reason
    assert module not in sys.modules


def many(install, count):
    return [install(f"puzzle-{number}") for number in range(count)]


@pytest.mark.parametrize("count", [10, 100])
def test_each_file_of_metadata_is_read_once_and_only_those_of_plugins(install, only, monkeypatch, count):
    modules = many(install, count)
    read, parsed, original = [], [], PathDistribution.read_text

    def counted(self, name):
        read.append(name)
        return original(self, name)

    def parse(_):
        parsed.append(1)

    plugins = len(finding.installed())
    monkeypatch.setattr(PathDistribution, "read_text", counted)
    monkeypatch.setattr("email.message_from_string", parse)
    found = finding.installed()
    assert len(found) == plugins >= count
    assert {one.module for one in found} >= set(modules)
    assert plugins <= read.count("METADATA") <= plugins + 1  # and the engine's own, if it is installed
    assert not parsed


@pytest.mark.parametrize("count", [10, 100])
def test_the_hooks_specifications_are_read_once(install, only, monkeypatch, count):
    many(install, count)
    only(*[f"puzzle-{number}" for number in range(count)])
    managers, parsed = [], []
    make, parse = pluggy.PluginManager.__init__, pluggy.PluginManager.parse_hookspec_opts

    def counted(self, *arguments):
        managers.append(self)
        make(self, *arguments)

    def counting(self, module, name):
        parsed.append(name)
        return parse(self, module, name)

    monkeypatch.setattr(pluggy.PluginManager, "__init__", counted)
    monkeypatch.setattr(pluggy.PluginManager, "parse_hookspec_opts", counting)
    assert len(discover().of_kind("pretext_task")) == count
    assert len(managers) == 1
    assert len(parsed) == len(dir(hooks))
    assert not managers[0].get_plugins()
