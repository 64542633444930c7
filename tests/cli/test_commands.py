import json
import os
import subprocess
import sys

import pytest

from auxlearn.cli import main as cli
from auxlearn.cli.main import main
from auxlearn.errors import Interrupted

HEAVY = ("torch", "torchvision", "timm", "kornia", "lightning", "lightning_fabric", "torchmetrics", "numpy", "PIL")
SPEC = {
    "auxlearn": 1,
    "data": {"type": "mydata"},
    "backbone": {"type": "mynet"},
    "primary": {"emotion": {"type": "mytask"}},
}
PLUGIN = """
from auxlearn.registry import Provider, hookimpl

def build(params, context):
    raise AssertionError("validation builds nothing")

@hookimpl
def auxlearn_data_sources():
    return [Provider(name="mydata", summary="Data of mine.", build=build)]

@hookimpl
def auxlearn_backbones():
    return [Provider(name="mynet", summary="A net of mine.", build=build)]

@hookimpl
def auxlearn_primary_tasks():
    return [Provider(name="mytask", summary="A task of mine.", build=build)]
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A folder with a spec, a plugin that works, and one that does not."""
    folder = tmp_path_factory.mktemp("home")
    (folder / "spec.json").write_text(json.dumps(SPEC))
    for name, code in {"mine": PLUGIN, "broken": "import no_such_module_anywhere"}.items():
        (folder / f"{name}_plugin.py").write_text(code)
        info = folder / f"{name}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[auxlearn]\n{name} = {name}_plugin\n")
    return folder


@pytest.fixture
def fresh(home):
    """Return a function that runs a command in an interpreter of its own."""

    def fresh(*args, only="mine,broken", code=None):
        program = code or "import sys; from auxlearn.cli.main import main; sys.exit(main())"
        environment = {**os.environ, "PYTHONPATH": str(home), "AUXLEARN_PLUGINS": only, "COLUMNS": "160"}
        command = [sys.executable, "-W", "error", "-c", program, *args]
        return subprocess.run(command, capture_output=True, text=True, cwd=home, env=environment, check=False)

    return fresh


IMPORTED = f"""
import sys
from auxlearn.cli.main import main
try:
    code = main()
except SystemExit as error:
    code = error.code
print(sorted(set({HEAVY!r}) & sys.modules.keys()), file=sys.stderr)
sys.exit(code)
"""


@pytest.mark.parametrize(
    "args",
    [
        ["--help"],
        ["run", "--help"],
        ["--version"],
        ["plugins", "list"],
        ["plugins", "show", "mytask"],
        ["schema"],
        ["validate", "spec.json"],
    ],
)
def test_light_commands_import_nothing_heavy_and_warn_of_nothing(fresh, args):
    done = fresh(*args, code=IMPORTED)
    assert (done.returncode, done.stderr) == (0, "[]\n")
    assert done.stdout


def test_a_mistake_in_the_spec_of_a_run_is_told_before_anything_heavy_is_imported(fresh):
    done = fresh("run", "spec.json", "train.epcohs=3", code=IMPORTED)
    assert done.returncode == 2
    assert done.stderr.startswith("error: /train/epcohs: ")
    assert done.stderr.endswith("\n[]\n")


@pytest.mark.parametrize(
    "module", ["auxlearn", "auxlearn.registry", "auxlearn.spec", "auxlearn.builtin", "auxlearn.errors"]
)
def test_light_modules_import_nothing_heavy(fresh, module):
    done = fresh(code=f"import sys, {module}; print(sorted(set({HEAVY!r}) & sys.modules.keys()))")
    assert (done.stdout, done.stderr) == ("[]\n", "")


def test_installed_plugins_import_nothing_heavy():
    code = f"import sys, auxlearn.registry as r; r.discover(); print(sorted(set({HEAVY!r}) & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("[]\n", "")


def test_a_broken_plugin_is_listed_with_its_reason_and_hides_nothing(fresh):
    done = fresh("plugins", "list")
    assert done.returncode == 0
    assert "failed to import: No module named 'no_such_module_anywhere'" in " ".join(done.stdout.split())
    assert "A task of mine." in done.stdout
    assert done.stderr == ""
    listed = json.loads(fresh("plugins", "list", "--json").stdout)
    assert [broken["entry_point"] for broken in listed["broken"]] == ["broken"]
    assert {"kind": "backbone", "name": "mynet", "distribution": "mine", "version": "1.0"}.items() <= next(
        provider for provider in listed["providers"] if provider["name"] == "mynet"
    ).items()


def test_plugins_without_an_action_lists_everything(fresh):
    assert fresh("plugins").stdout == fresh("plugins", "list").stdout


def test_showing_one_component(fresh):
    done = fresh("plugins", "show", "adamw")
    assert "optimizer adamw" in done.stdout
    assert "betas" in done.stdout
    shown = json.loads(fresh("plugins", "show", "adamw", "--json").stdout)["providers"][0]
    assert shown["options"]["properties"]["eps"]["default"] == 1e-8
    assert "A net of mine." in fresh("plugins", "show", "mine").stdout
    broken = fresh("plugins", "show", "broken")
    assert (broken.returncode, "failed to import" in broken.stdout) == (3, True)
    unknown = fresh("plugins", "show", "sgdd")
    assert unknown.returncode == 2
    assert unknown.stderr.startswith('error: nothing named "sgdd" is installed; did you mean "sgd"?')


def test_the_schema_is_one(fresh):
    from jsonschema import Draft202012Validator

    schema = json.loads(fresh("schema").stdout)
    Draft202012Validator.check_schema(schema)
    validator = Draft202012Validator(schema)
    assert validator.is_valid(SPEC)
    assert not validator.is_valid({**SPEC, "backbone": {"type": "mynet", "nothing": 1}})
    assert not validator.is_valid({**SPEC, "backbone": {"type": "othernet"}})


def test_a_valid_spec(fresh):
    done = fresh("validate", "spec.json", "train.epochs=3")
    assert done.returncode == 0
    assert done.stdout.startswith("spec.json is valid\n")
    told = json.loads(fresh("validate", "spec.json", "train.epochs=3", "--json").stdout)
    assert (told["valid"], told["resolved"]["train"]["epochs"], told["resolved"]["name"]) == (True, 3, "spec")


def test_a_wrong_spec(fresh):
    done = fresh("validate", "spec.json", "train.epcohs=3", "backbone.type=mynett")
    assert (done.returncode, done.stdout) == (2, "")
    first, second = done.stderr.splitlines()
    assert first.startswith('error: /backbone/type: no backbone "mynett" is installed; allowed: mynet (mine)')
    assert second.startswith('error: /train/epcohs: unknown key "epcohs"')
    told = json.loads(fresh("validate", "spec.json", "train.epcohs=3", "--json").stdout)
    assert (told["valid"], [problem["meant"] for problem in told["problems"]]) == (False, ["epochs"])


@pytest.mark.parametrize(
    ("args", "code", "message"),
    [
        (
            ["validate", "missing.json"],
            2,
            "error: missing.json: no such file; fix: JSON files in this folder: spec.json",
        ),
        (["--no-plugin", "mine", "validate", "spec.json"], 3, "error: /data/type: "),
        (["--no-plugin", "mien", "validate", "spec.json"], 3, 'error: --no-plugin names the plugin "mien", which'),
        (["validate"], 2, "usage: auxlearn validate"),
        (["trian"], 2, "usage: auxlearn"),
        (["validate", "spec.json", "--json", "--bad=1"], 2, "usage: auxlearn"),
        (["validate", "spec.json", "--json", "seed"], 2, "usage: auxlearn"),
        (["schema", "seed=1"], 2, "usage: auxlearn"),
        ([], 2, "usage: auxlearn"),
    ],
)
def test_errors_are_messages_with_a_code_of_their_own(fresh, args, code, message):
    done = fresh(*args)
    assert (done.returncode, done.stdout) == (code, "")
    assert done.stderr.startswith(message)
    assert "Traceback" not in done.stderr


def test_overrides_may_stand_behind_options(fresh):
    told = json.loads(fresh("validate", "spec.json", "seed=3", "--json", "train.epochs=5").stdout)
    assert (told["resolved"]["seed"], told["resolved"]["train"]["epochs"]) == (3, 5)


def test_a_plugin_that_is_not_allowed(fresh):
    done = fresh("validate", "spec.json", only="")
    assert done.returncode == 3
    assert 'no data source "mydata" is installed' in done.stderr
    assert 'plugin "mine" (mine 1.0) is blocked by AUXLEARN_PLUGINS' in done.stderr


class Command:
    """A command that ends with an error of our choice."""

    def __init__(self, error):
        self.error = error

    def add(self, subparsers):
        subparsers.add_parser("fail").set_defaults(run=self.run)

    def run(self, args):
        raise self.error


@pytest.fixture
def failing(monkeypatch):
    """Return a function that runs a command which raises an error."""

    def failing(error, *args):
        monkeypatch.setattr(cli, "COMMANDS", ("fail",))
        monkeypatch.setitem(sys.modules, "auxlearn.cli.fail", Command(error))
        return main([*args, "fail"])

    return failing


def test_an_unknown_exception_is_a_bug_with_a_traceback(failing, capsys):
    assert failing(ZeroDivisionError("oh")) == 70
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "ZeroDivisionError: oh" in shown.err
    assert shown.err.splitlines()[-1].startswith("error: this is a bug of auxlearn or of a plugin")


@pytest.mark.parametrize(("signal", "code"), [(2, 130), (15, 143)])
def test_a_signal_after_a_saved_checkpoint(failing, capsys, signal, code):
    assert failing(Interrupted(signal, "saved")) == code
    assert capsys.readouterr().err == "error: saved\n"


def test_an_interrupt_before_anything_could_be_saved(failing):
    assert failing(KeyboardInterrupt()) == 130


def test_debug_shows_the_traceback_of_every_error(failing, capsys):
    from auxlearn.errors import DataError

    assert failing(DataError("no rows"), "--debug") == 4
    shown = capsys.readouterr().err
    assert "Traceback" in shown
    assert shown.endswith("error: no rows\n")


def test_a_reader_that_leaves_early_is_no_error(home):
    environment = {**os.environ, "PYTHONPATH": str(home), "AUXLEARN_PLUGINS": "mine"}
    program = "import sys; from auxlearn.cli.main import main; sys.exit(main())"
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-c", program, "schema"]
    done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, env=environment, text=True, check=False)
    os.close(writing)
    assert (done.returncode, done.stderr) == (141, "")


WATCHED = """
import sys
from auxlearn.cli.main import main
import jsonschema, jsonschema.validators  # reads its own files

seen = []
WRITES = ("w", "a", "x", "+")

def watch(event, args):
    writes = event == "open" and isinstance(args[1], str) and any(letter in args[1] for letter in WRITES)
    if writes or event.startswith(("socket.", "subprocess.", "os.system", "os.exec", "os.fork", "os.posix_spawn")):
        seen.append((event, str(args)[:80]))

sys.addaudithook(watch)
code = main(["validate", *sys.argv[1:]])
assert not seen, seen
sys.exit(code)
"""


@pytest.mark.parametrize(
    "override", ["train.epochs=3", "backbone.type=os.system", "data.$ref=http://localhost:1/x.json"]
)
def test_validating_writes_nothing_and_reaches_nothing(fresh, override):
    done = fresh("spec.json", override, code=WATCHED)
    assert done.returncode in (0, 2, 3), done.stderr
    assert "Traceback" not in done.stderr
