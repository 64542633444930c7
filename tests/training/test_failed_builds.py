"""A `build` that returns something else, or lacks a library: the message names the plugin, its section and its kind."""

import importlib.util
import sys
from pathlib import Path

import pytest

import auxlearn
from auxlearn.errors import PluginError
from auxlearn.registry import Provider, discover, hookimpl
from auxlearn.results.export import make_exporter
from auxlearn.testing import plugin


@pytest.fixture
def hostile(monkeypatch):
    """Return a fresh plugin of tiny components, to be changed."""
    spec = importlib.util.spec_from_file_location("hostile", Path(__file__).with_name("hostile.py"))
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "hostile", module)
    spec.loader.exec_module(module)
    return module


SPEC = {
    "auxlearn": 1,
    "name": "tiny",
    "data": {"type": "faulty"},
    "augment": {"type": "faulty"},
    "backbone": {"type": "faulty"},
    "primary": {"kind": {"type": "faulty"}},
    "pretext": {"flip": {"type": "faulty", "view": "own"}},
    "balance": {"type": "faulty"},
    "optimizer": {"type": "faulty", "lr": 0.01},
    "schedule": {"type": "faulty"},
    "train": {"steps": 2, "batch_size": 10},
}

KINDS = {
    "augment": ("/augment", "an Augmentation"),
    "backbone": ("/backbone", "a Backbone"),
    "primary": ("/primary/kind", "a PrimaryTask"),
    "pretext": ("/pretext/flip", "a PretextTask"),
    "balance": ("/balance", "a Balancer"),
    "optimizer": ("/optimizer", "an Optimizer"),
    "schedule": ("/schedule", "an LRScheduler"),
}


@pytest.mark.parametrize("part", KINDS)
@pytest.mark.parametrize(("made", "told"), [(None, "None"), (Provider, "type")])
def test_a_component_of_another_class_names_who_built_it(tmp_path, monkeypatch, hostile, part, made, told):
    where, wanted = KINDS[part]
    monkeypatch.setattr(hostile, "faulty", lambda section, right: made if section == part else right)
    with pytest.raises(PluginError) as caught:
        auxlearn.run(SPEC, out=tmp_path / "run", plugins=[plugin, hostile])
    message = f"{where}: faulty of hostile 1.2: `build` should return {wanted}, it returned {told}"
    assert str(caught.value).splitlines()[0] == message
    assert caught.value.exit_code == 3
    assert not (tmp_path / "run").exists()


def test_a_data_source_that_is_none(tmp_path, monkeypatch, hostile):
    monkeypatch.setattr(hostile, "Source", lambda: None)
    with pytest.raises(
        PluginError, match=r"^/data: faulty of hostile 1.2: `build` should return a DataSource, it returned"
    ):
        auxlearn.run(SPEC, out=tmp_path / "run", plugins=[plugin, hostile])


class Exporters:
    """A plugin whose exporters are none."""

    __name__ = "exporters"

    @staticmethod
    @hookimpl
    def auxlearn_exporters():
        return [
            Provider(name="nothing", summary="Nothing.", build=lambda *_: None),
            Provider(name="broken", summary="It fails.", build=lambda *_: 1 / 0),
        ]


def test_an_exporter_that_is_none_or_fails():
    registry = discover([Exporters])
    with pytest.raises(PluginError, match=r"nothing of .*: `build` should return an Exporter, it returned None"):
        make_exporter("nothing", registry)
    with pytest.raises(PluginError, match=r"broken of .* failed to build: ZeroDivisionError: division by zero"):
        make_exporter("broken", registry)


def test_a_library_that_is_missing_says_what_to_install(tmp_path, monkeypatch, hostile):
    def lacks(*_, **__):
        import a_library_that_nobody_has

        return a_library_that_nobody_has

    monkeypatch.setattr(hostile, "TinyPretext", lacks)
    with pytest.raises(PluginError) as caught:
        auxlearn.run(SPEC, out=tmp_path / "run", plugins=[plugin, hostile])
    assert str(caught.value) == (
        "/pretext/flip: faulty of hostile 1.2 failed to build: ModuleNotFoundError: No module named "
        "'a_library_that_nobody_has'; fix: pip install -U hostile, for what it depends on"
    )


@pytest.mark.parametrize("error", [SystemExit("bye"), GeneratorExit()])
def test_a_build_that_ends_python(tmp_path, monkeypatch, hostile, error):
    def fails(*_, **__):
        raise error

    monkeypatch.setattr(hostile, "TinyBackbone", fails)
    with pytest.raises(PluginError, match=f"/backbone: .* failed to build: {type(error).__name__}: {error}"):
        auxlearn.run(SPEC, out=tmp_path / "run", plugins=[plugin, hostile])
