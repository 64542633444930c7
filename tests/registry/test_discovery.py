import re
import sys
import types

import pytest

from auxlearn.errors import PluginError, SpecError
from auxlearn.registry import NoParams, Provider, Registry, discover, hookimpl

OTHER = """
from auxlearn.registry import Provider, hookimpl

@hookimpl
def {hook}({arguments}):
    {body}
"""


def plugin(body="return [Provider(name='other', summary='', build=print)]", hook="auxlearn_balancers", arguments=""):
    return OTHER.format(hook=hook, arguments=arguments, body=body)


def test_a_plugin_is_found_with_its_origin(install, only):
    module = install("somebodys-puzzle")
    only("somebodys-puzzle")
    found = discover().find("pretext_task", "jigsaw")
    assert (found.distribution, found.version, found.entry_point) == ("somebodys-puzzle", "1.2", "somebodys-puzzle")
    assert found.file == sys.modules[module].__file__


def test_the_engine_is_always_there_and_first(only):
    registry = discover()
    assert {found.distribution for found in registry.found} == {"auxlearn"}
    assert registry.find("augmentation", "identity").full_name == "auxlearn:identity"
    assert {b.by for b in registry.blocked} <= {"AUXLEARN_PLUGINS"}


BROKEN = {
    "missing": ("import no_such_module_anywhere", "failed to import: No module named 'no_such_module_anywhere'"),
    "syntax": ("def (", "failed to load: SyntaxError"),
    "exits": ("raise SystemExit(3)", "failed to load: SystemExit: 3"),
    "misspelt": (plugin(hook="auxlearn_pretext_task"), 'has an unknown hook "auxlearn_pretext_task"'),
    "arguments": (plugin(arguments="config"), "auxlearn_balancers"),
    "empty": ("x = 1", "offers nothing"),
    "raises": (plugin("raise KeyError('a')"), "failed to load: KeyError: 'a' ("),
    "none": (plugin("return None"), "returned None from `auxlearn_balancers`"),
    "text": (plugin("return 'fixed'"), "returned 'fixed' from `auxlearn_balancers`"),
    "single": (plugin("return Provider(name='a', summary='', build=print)"), "which should return a list of Provider"),
    "wrong": (plugin("return [3]"), "gave 3 from `auxlearn_balancers`"),
    "generator": (plugin("yield Provider(name='a', summary='', build=print); raise OSError('late')"), "OSError: late"),
    "name": (
        plugin("return [Provider(name='No Name', summary='', build=print)]"),
        "failed to load: ValueError: The name of a provider should be of lower case letters, digits, hyphens and "
        "underscores, a letter first, found 'No Name'. (",
    ),
    "twice": (
        plugin("return [Provider(name='a', summary='', build=print) for _ in range(2)]"),
        'offers the balancer "a" twice',
    ),
    "nosummary": (plugin("return [Provider(name='a', summary=3, build=print)]"), "that is no text: 3"),
    "nobuild": (plugin("return [Provider(name='a', summary='', build=3)]"), "no function: 3"),
    "noview": (plugin("return [Provider(name='a', summary='', build=print, view='top')]"), "declares view 'top'"),
    "noparams": (plugin("return [Provider(name='a', summary='', build=print, params=dict)]"), "frozen attrs class"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_plugin_is_kept_with_its_reason_and_hides_no_other(install, only, kind):
    code, reason = BROKEN[kind]
    install("aaa-good", plugin())
    install(f"bbb-{kind}", code, version="0.3")
    install("ccc-good")
    only("aaa-good", f"bbb-{kind}", "ccc-good")
    registry = discover()
    (broken,) = registry.broken
    assert (broken.distribution, broken.version, broken.entry_point) == (f"bbb-{kind}", "0.3", f"bbb-{kind}")
    assert reason in broken.reason
    assert registry.find("balancer", "other").distribution == "aaa-good"
    assert registry.find("pretext_task", "jigsaw").distribution == "ccc-good"


@pytest.mark.parametrize(
    ("kind", "fix"),
    [
        ("missing", "pip install -U broken, for"),
        ("misspelt", "rename it to auxlearn_pretext_tasks"),
        ("arguments", "a hook takes no arguments"),
        ("single", "yield it, or return [provider]"),
    ],
)
def test_a_broken_plugin_comes_with_a_way_to_mend_it(install, only, kind, fix):
    install("broken", BROKEN[kind][0])
    only("broken")
    assert discover().broken[0].fix.startswith(fix)


@pytest.mark.parametrize(
    ("kind", "line"), [("missing", 1), ("syntax", 1), ("exits", 1), ("raises", 6), ("generator", 6), ("name", 6)]
)
def test_what_a_plugin_raises_is_told_with_its_line(install, only, kind, line):
    module = install("broken", BROKEN[kind][0])
    only("broken")
    assert discover().broken[0].reason.endswith(f"/{module}.py, line {line})")


def test_what_a_library_raises_is_told_with_the_line_that_called_it(install, only):
    module = install("broken", "import json\n\njson.loads('{')\n")
    only("broken")
    assert discover().broken[0].reason.endswith(f"/{module}.py, line 3)")


def test_a_hook_that_is_like_no_other_comes_with_those_that_there_are(install, only):
    install("broken", plugin(hook="something"))
    only("broken")
    (broken,) = discover().broken
    assert broken.reason == 'has an unknown hook "something"'
    assert broken.fix.startswith("the hooks are auxlearn_backbones, auxlearn_primary_tasks")


def test_a_module_that_is_handed_over_is_no_distribution_to_install():
    module = types.ModuleType("mine")
    exec(plugin("import no_such_module_anywhere"), module.__dict__)
    with pytest.raises(PluginError, match=r"No module named 'no_such_module_anywhere'; fix: install what it imports$"):
        discover([module])


PARAMS = {
    "def Params(): pass": "should be a frozen attrs class",
    "@attrs.define\nclass Params:\n    a: int = option(1, help='')": "should be frozen",
    "@attrs.define(slots=False)\nclass Params:\n    a: int = option(1, help='')": "should be frozen",
    "@attrs.frozen\nclass Params:\n    a: int = 1": "should be declared with `option`",
    "@attrs.frozen\nclass Params:\n    a: list = option(1, help='')": "found `<class 'list'>`",
    "@attrs.frozen\nclass Params:\n    a: 'Missing' = option(1, help='')": "should be importable at run time",
    "@attrs.frozen\nclass Params:\n    a: int | float = option(1, help='')": "two of type number",
    "@attrs.frozen\nclass Params:\n    _a: int = option(1, help='')": "should be named like",
    "@attrs.frozen\nclass Params:\n    a: str = option('', help='', pattern='(')": "should be a regular expression",
    "@attrs.frozen\nclass Params:\n    a: str = option('', help='', pattern='(a+)+')": "repeats a repetition",
    "@attrs.frozen\nclass Params:\n    weight: float = option(1.0, help='')": "engine in the same section: weight",
    "@attrs.frozen\nclass Params:\n    type: str = option('', help='')": "engine in the same section: type",
}


@pytest.mark.parametrize("declaration", PARAMS)
def test_params_that_cannot_be_used_are_refused(install, only, declaration):
    body = "return [Provider(name='a', summary='', build=print, params=Params)]"
    code = "import attrs\nfrom auxlearn.registry import option\n" + declaration
    install("broken", code + plugin(body, hook="auxlearn_primary_tasks"))
    only("broken")
    assert PARAMS[declaration] in discover().broken[0].reason


def test_a_name_that_nobody_offers(install, only):
    install("puzzles")
    only("puzzles")
    with pytest.raises(SpecError) as caught:
        discover().find("pretext_task", "jigsww")
    (problem,) = caught.value.problems
    assert problem.what == 'no pretext task "jigsww" is installed'
    assert (problem.allowed, problem.meant, problem.exit_code) == ("jigsaw (puzzles)", "jigsaw", 2)


def test_a_name_that_is_known_but_not_installed(only):
    registry = Registry(discover().found)
    for name, fix in {"wek": 'pip install auxlearn-kornia, which offers "weak"', "xyz": None}.items():
        with pytest.raises(SpecError) as caught:
            registry.find("augmentation", name)
        assert caught.value.problems[0].fix == fix


def test_what_is_broken_or_blocked_may_have_offered_an_unknown_name(install, only):
    install("first", "import no_such_module_anywhere")
    install("second")
    only("first", "second")
    with pytest.raises(PluginError) as caught:
        discover(block=["second"]).find("pretext_task", "something")
    message = str(caught.value)
    assert 'one of these may offer it: plugin "first" (first 1.2) failed to import' in message
    assert 'plugin "second" (second 1.2) is blocked by --no-plugin' in message


def test_many_plugins_that_are_blocked_are_counted(install, only):
    for name in ("first", "second", "auxlearn-mytiny", "fourth"):
        install(name)
    only("first")
    registry = discover()
    with pytest.raises(PluginError, match="fix: one of these may offer it: ") as caught:
        registry.find("pretext_task", "something")
    (told,) = caught.value.problems
    (count,) = re.findall(r"(\d+) plugins are blocked by AUXLEARN_PLUGINS \(auxlearn plugins list\)", told.fix)
    assert int(count) >= 3
    assert '"second"' not in told.fix
    with pytest.raises(PluginError) as caught:
        registry.find("pretext_task", "tiny")
    told = caught.value.problems[0].fix
    assert told.endswith("is blocked by AUXLEARN_PLUGINS: add auxlearn-mytiny to AUXLEARN_PLUGINS")
    assert "second" not in told


def test_the_plugin_that_should_offer_it_is_broken(install, only):
    install("auxlearn-jigsaw", "import no_such_module_anywhere")
    only("auxlearn-jigsaw")
    with pytest.raises(PluginError) as caught:
        discover().find("pretext_task", "jigsaw")
    message = str(caught.value)
    assert 'plugin "auxlearn-jigsaw" (auxlearn-jigsaw 1.2) failed to import' in message
    assert "No module named 'no_such_module_anywhere'" in message
    assert "fix: pip install -U auxlearn-jigsaw, for what it depends on" in message
    assert "pip install no_such_module_anywhere" not in message


def test_two_distributions_with_one_name_clash_only_where_it_is_used(install, only):
    install("first")
    install("second")
    only("first", "second")
    registry = discover()
    with pytest.raises(PluginError, match=r"offered by first 1\.2 and second 1\.2") as caught:
        registry.find("pretext_task", "jigsaw")
    assert caught.value.problems[0].allowed == '"first:jigsaw" or "second:jigsaw"'
    assert registry.find("pretext_task", "second:jigsaw").distribution == "second"
    with pytest.raises(SpecError):
        registry.find("pretext_task", "third:jigsaw")


def test_a_built_in_name_stays_the_built_in_one(install, only):
    install("thief", plugin("return [Provider(name='fixed', summary='', build=print)]"))
    only("thief")
    registry = discover()
    assert registry.find("balancer", "fixed").distribution == "auxlearn"
    assert registry.find("balancer", "thief:fixed").distribution == "thief"


def test_one_distribution_seen_twice_is_no_clash(install, only, tmp_path, monkeypatch):
    install("puzzle")
    (tmp_path / "wheel").mkdir()
    monkeypatch.syspath_prepend(str(tmp_path / "wheel"))
    install("puzzle", version="1.1", where=tmp_path / "wheel")
    only("puzzle")
    registry = discover()
    assert not registry.broken
    assert registry.find("pretext_task", "jigsaw").version == "1.1"  # the first on the path is the one that is imported


def test_a_list_of_plugins_blocks_the_others_and_says_so(install, only):
    install("puzzle", entry_point="jigsaw")
    install("other", plugin())
    only("other")
    with pytest.raises(PluginError, match="is blocked by AUXLEARN_PLUGINS") as caught:
        discover().find("pretext_task", "jigsaw")
    assert caught.value.problems[0].fix == "add puzzle to AUXLEARN_PLUGINS"


@pytest.mark.parametrize("name", ["my-puzzle", "My_Puzzle", "jigsaw"])
def test_blocking_by_distribution_or_entry_point(install, only, name):
    install("my-puzzle", entry_point="jigsaw")
    only("my-puzzle")
    registry = discover(block=[name])
    assert [(blocked.distribution, blocked.by) for blocked in registry.blocked][-1:] == [("my-puzzle", "--no-plugin")]
    with pytest.raises(PluginError, match="blocked by --no-plugin"):
        registry.find("pretext_task", "jigsaw")


def test_a_blocked_plugin_is_not_imported(install, only):
    module = install("puzzle")
    only("puzzle")
    discover(block=["puzzle"])
    assert module not in sys.modules


@pytest.mark.parametrize("name", ["auxlearn", "builtin"])
def test_the_engine_cannot_be_blocked(only, name):
    with pytest.raises(PluginError, match="always loaded"):
        discover(block=[name])


def test_lists_may_only_name_what_is_installed(install, monkeypatch):
    install("puzzle")
    with pytest.raises(PluginError, match='did you mean "puzzle"'):
        discover(block=["puzle"])
    monkeypatch.setenv("AUXLEARN_PLUGINS", "puzle")
    with pytest.raises(PluginError, match="AUXLEARN_PLUGINS names the plugin"):
        discover()


def test_a_list_may_name_distributions_and_entry_points(install):
    install("puzzle", entry_point="tiles")
    with pytest.raises(PluginError) as caught:
        discover(block=["xyz"])
    assert {"puzzle", "tiles"} <= set(caught.value.problems[0].allowed.split(", "))


def test_a_module_can_be_handed_over(only):
    module = types.ModuleType("mine")
    module.auxlearn_balancers = hookimpl(lambda: [Provider(name="mine", summary="", build=print)])
    found = discover([module]).find("balancer", "mine")
    assert (found.distribution, found.provider.params) == ("mine", NoParams)


def test_a_module_that_is_handed_over_must_work(only):
    with pytest.raises(PluginError, match=re.escape('plugin "empty" (empty ) offers nothing')):
        discover([types.ModuleType("empty")])


def test_control_characters_of_a_plugin_do_not_reach_the_terminal(install, only):
    install("evil", r"raise ValueError('\x1b[31m\n')")
    only("evil")
    assert "\x1b" not in str(discover().broken[0])
    assert "\n" not in str(discover().broken[0])
