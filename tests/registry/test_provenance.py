"""Which files of which distribution a run used: against hashes that are computed by hand."""

import hashlib
import importlib.util
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import auxlearn
from auxlearn.errors import CheckpointError, PluginError
from auxlearn.registry import discover
from auxlearn.registry.provenance import check_locked, drift, provenance, read_provenance


def by_hand(root, *paths):
    lines = [f"{hashlib.sha256((root / path).read_bytes()).hexdigest()}  {path}\n" for path in sorted(paths)]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def of(distribution, lines):
    (line,) = [line for line in lines if line["distribution"] == distribution]
    return line


def used(name="jigsaw", plugins=()):
    return [discover(plugins).find("pretext_task", name)]


def test_a_module_that_was_installed(install, only, tmp_path):
    module = install("puzzle", entry_point="tiles")
    only("puzzle")
    assert of("puzzle", provenance(used())) == {
        "distribution": "puzzle",
        "version": "1.2",
        "entry_point": "tiles",
        "files": 1,
        "sha256": by_hand(tmp_path, f"{module}.py"),
    }


def test_the_engine_is_always_among_them(only):
    root = Path(auxlearn.__file__).parents[1]
    files = [path.relative_to(root).as_posix() for path in (root / "auxlearn").rglob("*.py")]
    (line,) = provenance([])
    assert (line["distribution"], line["version"]) == ("auxlearn", auxlearn.__version__)
    assert (line["files"], line["sha256"]) == (len(files), by_hand(root, *files))


def package(tmp_path, install, *, record):
    """Install a distribution with a package of two files, data and a script; `record` says which files it lists."""
    module = install("tiles", "raise RuntimeError")
    (tmp_path / f"{module}.py").unlink()
    folder = tmp_path / "fake_plugin_tiles"
    (folder / "inner").mkdir(parents=True)
    code = "from auxlearn.registry import Provider, hookimpl\n\n@hookimpl\ndef auxlearn_pretext_tasks():\n"
    code += "    return [Provider(name='tiles', summary='', build=print)]\n"
    (folder / "__init__.py").write_text("")
    (folder / "inner" / "__init__.py").write_text(code)
    (folder / "inner" / "task.py").write_text("x = 1\n")
    (folder / "weights.bin").write_bytes(b"1")
    (tmp_path / "fake_plugin_tiles_tool.py").write_text("y = 1\n")
    info = tmp_path / "tiles-1.2.dist-info"
    (info / "entry_points.txt").write_text("[auxlearn]\ntiles = fake_plugin_tiles.inner\n")
    (info / "RECORD").write_text("".join(f"{path},,\n" for path in record))
    return folder


PACKAGE = [f"fake_plugin_tiles/{path}" for path in ("__init__.py", "inner/__init__.py", "inner/task.py")]


def test_a_wheel_has_the_files_of_its_record_and_no_scripts(install, only, tmp_path):
    record = [*PACKAGE, "fake_plugin_tiles/weights.bin", "fake_plugin_tiles_tool.py", "../../bin/tool.py"]
    package(tmp_path, install, record=record)
    only("tiles")
    line = of("tiles", provenance(used("tiles")))
    assert line["files"] == 4
    assert line["sha256"] == by_hand(tmp_path, *PACKAGE, "fake_plugin_tiles_tool.py")


@pytest.mark.parametrize("record", [[], ["tiles.pth"], ["__editable___tiles_finder.py"]])
def test_an_editable_install_has_those_of_its_outermost_package(install, only, tmp_path, record):
    package(tmp_path, install, record=record)
    only("tiles")
    assert of("tiles", provenance(used("tiles")))["sha256"] == by_hand(tmp_path, *PACKAGE)


def test_a_wheel_and_an_editable_install_of_the_same_files_are_the_same(install, only, tmp_path):
    package(tmp_path, install, record=PACKAGE)
    only("tiles")
    installed = provenance(used("tiles"))
    (tmp_path / "tiles-1.2.dist-info" / "RECORD").write_text("tiles.pth,,\n")
    assert provenance(used("tiles")) == installed


@pytest.mark.skipif(shutil.which("sha256sum") is None, reason="there is no sha256sum")
def test_the_shell_finds_the_same_hash(install, only, tmp_path):
    package(tmp_path, install, record=PACKAGE)
    only("tiles")
    command = "sha256sum $(find fake_plugin_tiles -name '*.py' | LC_ALL=C sort) | sha256sum"
    printed = subprocess.run(["sh", "-c", command], cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    assert of("tiles", provenance(used("tiles")))["sha256"] == printed.split()[0]


def test_an_entry_point_may_name_an_object_in_a_module(install, only, tmp_path):
    module = install("puzzle")
    info = tmp_path / "puzzle-1.2.dist-info"
    (tmp_path / f"{module}.py").write_text(
        "from auxlearn.registry import Provider, hookimpl\nclass Hooks:\n    @hookimpl\n"
        "    def auxlearn_pretext_tasks(self):\n        return [Provider(name='jigsaw', summary='', build=print)]\n"
        "hooks = Hooks()\n"
    )
    (info / "entry_points.txt").write_text(f"[auxlearn]\npuzzle = {module}:hooks\n")
    only("puzzle")
    assert of("puzzle", provenance(used()))["sha256"] == by_hand(tmp_path, f"{module}.py")


def handed_over(folder, name="mine"):
    (folder / f"{name}.py").write_text(
        "from auxlearn.registry import Provider, hookimpl\n__version__ = '7'\n\n"
        "@hookimpl\ndef auxlearn_pretext_tasks():\n    return [Provider(name='mine', summary='', build=print)]\n"
    )
    spec = importlib.util.spec_from_file_location(name, folder / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_module_that_is_handed_over(only, tmp_path):
    line = of("mine", provenance(used("mine", [handed_over(tmp_path)])))
    assert (line["version"], line["files"], line["sha256"]) == ("7", 1, by_hand(tmp_path, "mine.py"))


def test_a_module_that_is_handed_over_is_not_the_installed_distribution_of_its_name(install, only, tmp_path):
    install("mine")
    (tmp_path / "here").mkdir()
    line = of("mine", provenance(used("mine", [handed_over(tmp_path / "here")])))
    assert line["sha256"] == by_hand(tmp_path / "here", "mine.py")


def test_a_module_without_a_file(only):
    import types

    from auxlearn.registry import Provider, hookimpl

    module = types.ModuleType("thin_air")
    module.auxlearn_pretext_tasks = hookimpl(lambda: [Provider(name="air", summary="", build=print)])
    line = of("thin_air", provenance(used("air", [module])))
    assert (line["files"], line["sha256"]) == (0, None)
    assert drift([line], [line]) == []


def test_no_file_of_a_plugin_is_read_that_is_not_used(install, only, monkeypatch):
    wanted = install("puzzle")
    others = [install(f"other-{number}", version="3") for number in range(5)]
    only("puzzle", *[f"other-{number}" for number in range(5)])
    found = [one for one in discover().of_kind("pretext_task") if one.distribution == "puzzle"]
    read, original = [], Path.read_bytes

    def counted(path):
        read.append(path.name)
        return original(path)

    monkeypatch.setattr(Path, "read_bytes", counted)
    provenance([*found, *found])
    assert read.count(f"{wanted}.py") == 1
    assert not set(read) & {f"{module}.py" for module in others}


def changed(tmp_path, module):
    file = tmp_path / f"{module}.py"
    file.write_text(file.read_text() + "# another line\n")


def test_changed_and_missing_files_are_a_difference_and_changed_times_are_none(install, only, tmp_path):
    module = install("puzzle")
    only("puzzle")
    found = used()
    then = provenance(found)
    (tmp_path / f"{module}.py").touch()
    assert drift(then, provenance(found)) == []
    changed(tmp_path, module)
    now = provenance(found)
    (problem,) = drift(then, now)
    old, new = of("puzzle", then)["sha256"], of("puzzle", now)["sha256"]
    assert problem.where == 'plugin "puzzle" (puzzle)'
    assert problem.what == f"then 1.2 (sha256 {old[:12]}...), now 1.2 (sha256 {new[:12]}...): its files differ"
    (tmp_path / f"{module}.py").unlink()
    assert len(drift(then, provenance(found))) == 1
    assert len(drift(now, provenance(found))) == 1


def test_another_version_of_the_same_files_is_a_difference(install, only, tmp_path):
    install("puzzle")
    only("puzzle")
    then = provenance(used())
    info = tmp_path / "puzzle-1.2.dist-info"
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: puzzle\nVersion: 1.3\n")
    (problem,) = drift(then, provenance(used()))
    assert "then 1.2 (" in problem.what
    assert "now 1.3 (" in problem.what
    assert problem.fix == "pip install puzzle==1.2"


def test_only_what_is_used_now_counts(install, only):
    install("puzzle")
    only("puzzle")
    engine, both = provenance([]), provenance(used())
    assert drift(both, engine) == []
    (problem,) = drift(engine, both)
    assert problem.what.startswith("then not used, now 1.2")


def test_a_lock_is_a_run_folder_or_its_manifest(install, only, tmp_path):
    module = install("puzzle")
    only("puzzle")
    found = used()
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "manifest.json").write_text(json.dumps({"provenance": provenance(found)}))
    for path in (tmp_path / "run", str(tmp_path / "run" / "manifest.json")):
        check_locked(found, path)
    changed(tmp_path, module)
    with pytest.raises(PluginError, match=r'plugin "puzzle" \(puzzle\): refused by --locked: then 1\.2') as caught:
        check_locked(found, tmp_path / "run")
    assert caught.value.exit_code == 3
    (problem,) = caught.value.problems
    assert problem.what.endswith(": its files differ")
    assert problem.fix == "install what the run used, or leave --locked out"


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (None, "not found"),
        ("{", "cannot be read"),
        ("[]", "does not record"),
        ("{}", "does not record"),
        ('{"provenance": {}}', "does not record"),
        ('{"provenance": [3]}', "does not record"),
        ('{"provenance": [{"distribution": []}]}', "does not record"),
        ("\x00\x1b[31m", "cannot be read"),
    ],
)
def test_a_lock_that_cannot_be_read(tmp_path, content, what):
    if content is not None:
        (tmp_path / "manifest.json").write_text(content)
    with pytest.raises(CheckpointError, match=what):
        read_provenance(tmp_path)


def test_names_of_a_manifest_do_not_reach_the_terminal(install, only):
    install("puzzle")
    only("puzzle")
    now = provenance(used())
    line = {**of("puzzle", now), "version": "\x1b[31m"}
    assert "\x1b" not in str(drift([line], now)[0])


def test_it_is_told_without_torch():
    code = (
        "import sys; from auxlearn.registry.provenance import provenance; provenance([]); print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
