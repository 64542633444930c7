"""Nothing that a plugin calls itself, says or raises moves the cursor, changes colours or begins a line of its own."""

import importlib
import json
import sys

import pytest

from auxlearn.cli.main import main

# An escape sequence, its one-byte form, a title of the window, a reversal of the text, a bell, a line of its own.
EVIL = "\x1b[31m\x9b2J\x1b]0;title\x07\u202e\u2066\x08\x7f"

PLUGIN = """
import attrs
from auxlearn.registry import Provider, hookimpl, option

EVIL = {evil!r} + "\\nBROKEN  nothing"

@attrs.frozen(kw_only=True)
class Params:
    mode: str = option(EVIL, help=EVIL, choices=(EVIL, "plain"), pattern=None)
    either: str = option("a", help=EVIL, pattern="a|\\x1b+")

def build(params, context):
    raise RuntimeError(EVIL)

def preset(params, context):
    return {{EVIL: EVIL}}

@hookimpl
def auxlearn_pretext_tasks():
    yield Provider(name="hostile", summary=EVIL, params=Params, build=build)

@hookimpl
def auxlearn_presets():
    yield Provider(name="hostile-preset", summary=EVIL, build=preset)
    yield Provider(name="hostile-failure", summary=EVIL, build=build)
"""
BROKEN = "raise RuntimeError({evil!r} + '\\nBROKEN  nothing')"


@pytest.fixture(autouse=True)
def installed(tmp_path, monkeypatch):
    site = tmp_path / f"site{EVIL}"  # a path may hold anything but NUL and a slash
    site.mkdir()
    codes = {"hostile": PLUGIN, "failing": BROKEN, "newer": "", "blocked": "", "mistaken": ""}
    groups = {"newer": "auxlearn.2", "mistaken": f"auxlearn.{EVIL}"}
    for name, code in codes.items():
        (site / f"evil_{name}.py").write_text(code.format(evil=EVIL))
        info = site / f"{name}-1.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Name: {name}{EVIL}\nVersion: 1{EVIL}\n")
        (info / "entry_points.txt").write_text(
            f"[{groups.get(name, 'auxlearn')}]\n{name} = evil_{name}\n{name}{EVIL} = evil_{name}\n"
        )
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.setenv("AUXLEARN_PLUGINS", ",".join(name for name in codes if name != "blocked"))
    importlib.invalidate_caches()
    yield
    for name in [name for name in sys.modules if name.startswith("evil_")]:
        del sys.modules[name]


COMMANDS = {
    "list": (["plugins", "list"], 0),
    "all": (["plugins"], 0),
    "json": (["plugins", "list", "--json"], 0),
    "show": (["plugins", "show", "hostile"], 0),
    "show json": (["plugins", "show", "hostile", "--json"], 0),
    "show broken": (["plugins", "show", "failing"], 3),
    "show newer": (["plugins", "show", "newer"], 3),
    "preset": (["plugins", "show", "hostile-preset"], 0),
    "preset that fails": (["plugins", "show", "hostile-failure"], 3),
    "unknown": (["plugins", "show", f"other{EVIL}"], 2),
    "check broken": (["plugins", "check", "failing"], 3),
    "no such plugin": (["--no-plugin", f"other{EVIL}", "plugins"], 3),
    "not found": (["validate", "spec.json"], 2),
}


@pytest.mark.parametrize("command", COMMANDS)
def test_what_is_printed_can_be_printed(command, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    spec = {
        "auxlearn": 1,
        "data": {"type": "nobody"},
        "backbone": {"type": "failing"},
        "primary": {},
        "pretext": {"a": {"type": "newer"}, "b": {"type": "hostile", "mode": EVIL * 2}},
    }
    (tmp_path / "spec.json").write_text(json.dumps(spec))
    arguments, code = COMMANDS[command]
    found = main(arguments)
    printed = "".join(capsys.readouterr())
    strange = {char for char in printed if not char.isprintable()} - {"\n"}
    assert not strange, [line for line in printed.splitlines() if strange & set(line)]
    assert not [line for line in printed.splitlines() if line.startswith("BROKEN  nothing")]
    assert found == code, printed
    assert printed


def test_what_was_escaped_is_shown(capsys):
    main(["plugins", "list"])
    printed = "".join(capsys.readouterr().out.split())
    assert "hostile\\x1b[31m\\x9b2J\\x1b]0;title\\x07\\u202e" in printed
    assert "failedtoload:RuntimeError:\\x1b[31m" in printed


@pytest.mark.parametrize("action", ["show", "check"])
def test_a_broken_plugin_is_told_in_full_as_json(action, capsys):
    assert main(["plugins", action, "failing", "--json"]) == 3
    for broken in json.loads(capsys.readouterr().out)["broken"]:
        assert set(broken) == {"distribution", "version", "entry_point", "reason", "fix"}
        assert broken["entry_point"].startswith("failing")


@pytest.mark.parametrize(
    ("command", "code"),
    [
        (["plugins", "show", "nobody", "--json"], 2),
        (["--no-plugin", "nobody", "plugins", "list", "--json"], 3),
        (["eval", "nowhere", "--json"], 6),
        (["run", "nowhere.json", "--json"], 2),
    ],
)
def test_what_fails_is_told_as_json_too(command, code, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(command) == code
    printed = capsys.readouterr()
    told = json.loads(printed.out.splitlines()[-1])
    assert told["exit_code"] == code
    assert set(told["problems"][0]) == {"what", "where", "allowed", "meant", "fix", "exit_code"}
    assert printed.err.startswith("error: ")
    main([word for word in command if word != "--json"])
    assert capsys.readouterr() == ("", printed.err)
