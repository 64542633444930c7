from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import onnxruntime
import pytest
import torch
from safetensors.torch import load_file, save_file

from auxlearn.errors import AuxlearnError, ExportError, SpecError
from auxlearn.registry import Provider, discover, hookimpl
from auxlearn.results import Exporter, LoadedExport, LoadedRun, Opened, save_weights
from auxlearn.testing import plugin as tiny

IMAGES = torch.randint(0, 256, (5, 3, 20, 20), dtype=torch.uint8, generator=torch.Generator().manual_seed(3))
FORMATS = {"state_dict": "model.safetensors", "torch_export": "model.pt2", "onnx": "model.onnx"}
FILES = {"preprocess.json", "checksums.json"}


@pytest.fixture(scope="module")
def exported(result, registry, tmp_path_factory):
    """Every format and part, each written once."""
    run = LoadedRun.open(result.path, registry=registry)
    folder = tmp_path_factory.mktemp("exports")
    return {(f, p): run.export(f, p, folder / f"{f}-{p}") for f in FORMATS for p in ("model", "backbone")}


@pytest.mark.parametrize("part", ["model", "backbone"])
@pytest.mark.parametrize("format_", FORMATS)
def test_an_export_says_what_the_model_says(exported, run, registry, format_, part):
    opened = LoadedExport.open(exported[format_, part], registry=registry)
    for rows in (1, 2, 7):  # any batch size
        images = torch.rand(rows, 3, 8, 8)
        found = opened.opened.run({"image": images})
        features = run.model.features(images)
        wanted = {"features": features.only.pooled}
        if part == "model":
            wanted = {"kind.probabilities": run.model.primary["kind"].predict(features)["probabilities"]}
        assert set(found) == set(wanted)
        for name, tensor in wanted.items():
            if format_ == "state_dict":
                assert torch.equal(found[name], tensor)
            torch.testing.assert_close(found[name], tensor, atol=1e-4, rtol=0)


@pytest.mark.parametrize("format_", FORMATS)
def test_an_export_predicts_as_the_run_does(exported, run, registry, format_):
    found = LoadedExport.open(exported[format_, "model"], registry=registry).predict(IMAGES)
    for ours, theirs in zip(found, run.predict(IMAGES), strict=True):
        assert ours["kind"]["class"] == theirs["kind"]["class"]
        assert ours["kind"]["probabilities"] == pytest.approx(theirs["kind"]["probabilities"], abs=1e-4)


@pytest.mark.parametrize("part", ["model", "backbone"])
def test_the_weights_are_those_of_the_part_and_nothing_else(exported, run, part):
    state = {n: t for n, t in run.model.state_dict().items() if part == "model" or n.startswith("backbone.")}
    weights = load_file(exported["state_dict", part] / "model.safetensors")
    assert set(weights) == set(state)
    assert all(torch.equal(weights[name], state[name]) for name in state)
    program = torch.export.load(exported["torch_export", part] / "model.pt2")
    assert set(program.state_dict) == set(state)
    assert sum(p.numel() for _, p in program.named_parameters()) == sum(
        p.numel() for n, p in run.model.named_parameters() if n in state
    )


def test_the_description_says_what_the_weights_do_not(exported, run):
    folder = exported["state_dict", "model"]
    found = json.loads((folder / "preprocess.json").read_text())
    image = found["inputs"]["image"]
    assert (image["shape"], image["stored"], image["size"], image["crop"]) == ([3, 8, 8], [3, 12, 12], 8, 1.0)
    assert (image["colour"], image["normalised_by"]) == ("RGB", "the network")
    assert found["tasks"] == {"kind": {"kind": "class", "classes": ["dark", "bright"]}}
    assert found["outputs"] == {"kind.probabilities": ["batch", 2]}
    assert found["run"]["step"] == run.step
    assert (found["run"]["metric"], found["run"]["weights"]) == ("kind/accuracy", "moving average")
    assert found["run"]["val"]["kind/accuracy"] == run.selection["value"]
    assert found["model"]["parameters"] == sum(p.numel() for p in run.model.parameters())
    assert found["check"] == {"batches": [1, 3], "difference": 0.0, "tolerance": 0.0}
    sums = json.loads((folder / "checksums.json").read_text())
    assert sums == {
        name: hashlib.sha256((folder / name).read_bytes()).hexdigest()
        for name in ("model.safetensors", "preprocess.json")
    }


@pytest.mark.slow
def test_a_program_runs_where_auxlearn_is_not(exported, run):
    code = (
        "import sys; sys.modules['auxlearn'] = None\n"
        "import torch\n"
        f"module = torch.export.load({str(exported['torch_export', 'model'] / 'model.pt2')!r}).module()\n"
        "print(module(torch.full((3, 3, 8, 8), 0.5))['kind.probabilities'].tolist())\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd="/")
    wanted = run.model(torch.full((3, 3, 8, 8), 0.5))["kind"]["probabilities"]
    torch.testing.assert_close(torch.tensor(json.loads(done.stdout)), wanted, atol=1e-4, rtol=0)


def test_a_graph_runs_in_onnxruntime_alone(exported, run):
    session = onnxruntime.InferenceSession(str(exported["onnx", "model"] / "model.onnx"))
    [image] = session.get_inputs()
    assert (image.name, image.shape, image.type) == ("image", ["batch", 3, 8, 8], "tensor(float)")
    images = torch.rand(4, 3, 8, 8)
    [found] = session.run(["kind.probabilities"], {"image": images.numpy()})
    wanted = run.model(images)["kind"]["probabilities"].detach()
    torch.testing.assert_close(torch.from_numpy(found), wanted, atol=1e-4, rtol=0)


def test_the_default_place_is_in_the_run_and_is_replaced(result, run, registry):
    first = run.export("state_dict")
    assert first == result.path / "export" / "state_dict-model"
    last = LoadedRun.open(result.path, which="last", registry=registry)
    assert last.export("state_dict") == first
    assert {file.name for file in first.iterdir()} == {"model.safetensors"} | FILES
    assert [entry.name for entry in first.parent.iterdir()] == [first.name]


def test_a_folder_with_something_else_is_left_alone(run, tmp_path):
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(ExportError, match="not empty, and no export"):
        run.export("state_dict", out=tmp_path)
    with pytest.raises(ExportError, match="this is a file"):
        run.export("state_dict", out=tmp_path / "letter.txt")
    assert [entry.name for entry in tmp_path.iterdir()] == ["letter.txt"]


def test_the_current_folder_is_not_replaced(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for out in (".", tmp_path):
        with pytest.raises(SpecError, match="is the current folder"):
            run.export("state_dict", out=out)
    assert list(tmp_path.iterdir()) == []
    assert run.export("state_dict", out="here") == Path("here")


def test_an_export_is_on_disk_before_it_takes_its_place(run, tmp_path, monkeypatch):
    flushed, missing, fsync, rename = set(), [], os.fsync, os.rename

    def renamed(source, target):
        missing.extend(file.name for file in Path(source).iterdir() if file.stat().st_ino not in flushed)
        rename(source, target)

    monkeypatch.setattr("os.fsync", lambda handle: (flushed.add(os.fstat(handle).st_ino), fsync(handle)))
    monkeypatch.setattr("os.rename", renamed)
    run.export("state_dict", out=tmp_path / "new")
    assert missing == []


def test_mistakes_in_the_request_are_named(run, tmp_path):
    with pytest.raises(SpecError, match=r'no exporter "onx" is installed.*did you mean "onnx"'):
        run.export("onx", out=tmp_path)
    with pytest.raises(SpecError, match='no part "head"; allowed: model, backbone'):
        run.export("state_dict", "head", out=tmp_path)
    with pytest.raises(SpecError, match='no task "kin"; allowed: kind; did you mean "kind"'):
        run.export("state_dict", out=tmp_path, task="kin")
    with pytest.raises(SpecError, match='/opset: unknown key "opset"'):
        run.export("state_dict", out=tmp_path, options={"opset": 3})


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused(run, tmp_path, value):
    with torch.no_grad():
        run.model.backbone.second.weight[0, 0, 0, 0] = value
    with pytest.raises(ExportError, match=r"not finite: backbone\.second\.weight"):
        run.export("state_dict", out=tmp_path / "export")
    assert not (tmp_path / "export").exists()


def test_onnx_says_what_to_install(run, tmp_path, monkeypatch):
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *a: None if name == "onnxscript" else found(name, *a))
    with pytest.raises(ExportError, match=r'needs onnxscript; fix: pip install "auxlearn\[onnx\]"'):
        run.export("onnx", out=tmp_path / "export")


class Faulty(Exporter):
    """Writes a state dict, with a fault of the test's choice."""

    fault = ""

    def write(self, job, folder):
        weights = {name: tensor.clone() for name, tensor in job.program.state_dict().items()}
        if self.fault == "changed":
            weights["backbone.first.bias"][0] += 1e-6
        if self.fault == "superfluous":
            weights["pretext.flip.head.weight"] = torch.rand(3, 3)
        if self.fault == "raises":
            raise ExportError("cannot be")
        save_weights(weights, folder / "weights.safetensors")
        return {}

    def open(self, folder, description):
        weights = load_file(folder / "weights.safetensors")
        if self.fault == "unreadable":
            raise RuntimeError("broken pipe dream")
        name = "kind.logits" if self.fault == "renamed" else "kind.probabilities"

        def run(inputs):
            outputs = self.job.run(inputs)["kind.probabilities"]
            outputs = outputs + {"differs": 1e-7, "nan": float("nan")}.get(self.fault, 0)
            return {name: outputs[:1] if self.fault == "short" else outputs}

        return Opened(run=run, weights=weights)

    def expected(self, job, inputs):
        self.job = job
        return job.run(inputs)


class FaultyPlugin:
    @staticmethod
    @hookimpl
    def auxlearn_exporters():
        yield Provider(name="faulty", summary="Goes wrong.", build=lambda _params, _context: Faulty())


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("changed", r"weights that the trained model has not: backbone\.first\.bias"),
        ("superfluous", r"weights that the trained model has not: pretext\.flip\.head\.weight"),
        ("raises", "cannot be"),
        ("unreadable", "cannot be used: RuntimeError: broken pipe dream"),
        ("renamed", r"gives \{'kind.logits': \[1, 2\]\}"),
        ("short", r"gives \{'kind.probabilities': \[1, 2\]\}; allowed: \{'kind.probabilities': \[3, 2\]\}"),
        ("differs", "outputs differ by 1"),
        ("nan", "outputs differ by inf"),
    ],
)
def test_an_export_with_a_fault_is_never_reported_as_done(result, tmp_path, monkeypatch, fault, message):
    run = LoadedRun.open(result.path, registry=discover([tiny, FaultyPlugin]))
    before = run.export("faulty", out=tmp_path / "export")
    content = {file.name: file.read_bytes() for file in before.iterdir()}
    monkeypatch.setattr(Faulty, "fault", fault)
    with pytest.raises(ExportError, match=message) as caught:
        run.export("faulty", out=tmp_path / "export")
    assert caught.value.exit_code == 9
    # The export of before is still there, and nothing else.
    assert {file.name: file.read_bytes() for file in before.iterdir()} == content
    assert os.listdir(tmp_path) == ["export"]


def test_a_model_that_cannot_be_traced_is_refused_with_the_reason(run, tmp_path):
    forward = run.model.backbone.forward
    run.model.backbone.forward = lambda inputs: forward(inputs) if inputs["image"].sum() > 0 else None
    with pytest.raises(ExportError, match=r"torch\.export cannot write this model: .*fix: another format"):
        run.export("torch_export", out=tmp_path / "export")
    assert os.listdir(tmp_path) == []


@pytest.fixture
def folder(exported, tmp_path):
    return Path(shutil.copytree(exported["state_dict", "model"], tmp_path / "export"))


@pytest.mark.parametrize("name", ["model.safetensors", "preprocess.json", "checksums.json"])
def test_every_changed_byte_is_noticed(folder, registry, name):
    file = folder / name
    content = file.read_bytes()
    for place in range(0, len(content), max(1, len(content) // 40)):
        changed = bytearray(content)
        changed[place] ^= 1
        file.write_bytes(changed)
        with pytest.raises(ExportError):
            LoadedExport.open(folder, registry=registry)


def test_missing_and_additional_files_are_noticed(folder, registry):
    (folder / "model.pt2").write_bytes(b"x")
    with pytest.raises(ExportError, match=r"model\.pt2: has no checksum"):
        LoadedExport.open(folder, registry=registry)
    (folder / "model.pt2").unlink()
    (folder / "model.safetensors").unlink()
    with pytest.raises(ExportError, match=r"model\.safetensors: the file is missing"):
        LoadedExport.open(folder, registry=registry)
    (folder / "checksums.json").unlink()
    with pytest.raises(ExportError, match=r"checksums\.json: cannot be read"):
        LoadedExport.open(folder, registry=registry)
    with pytest.raises(ExportError, match="this is no export"):
        LoadedExport.open(folder.parent, registry=registry)


def reseal(folder):
    """Make the checksums right again, as somebody would who changes an export on purpose."""
    sums = {
        file.name: hashlib.sha256(file.read_bytes()).hexdigest()
        for file in folder.iterdir()
        if file.name != "checksums.json"
    }
    (folder / "checksums.json").write_text(json.dumps(sums))


def test_weights_of_another_model_are_refused_although_sealed(folder, registry):
    weights = load_file(folder / "model.safetensors")
    weights["primary.kind.head.bias"] = torch.zeros(3)
    save_file(weights, folder / "model.safetensors")
    reseal(folder)
    with pytest.raises(AuxlearnError, match=r"primary\.kind\.head\.bias is \[3\], not \[2\]"):
        LoadedExport.open(folder, registry=registry)


def places(value, path=()):
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in items:
        yield from places(part, (*path, key))


def replaced(value, path, new):
    if not path:
        return new
    copied = dict(value) if isinstance(value, dict) else list(value)
    copied[path[0]] = replaced(value[path[0]], path[1:], new)
    return copied


@pytest.mark.parametrize("new", [None, -1, "x", [], {}])
def test_no_description_ends_in_a_traceback(folder, registry, new):
    good = json.loads((folder / "preprocess.json").read_text())
    for path in places(good):
        (folder / "preprocess.json").write_text(json.dumps(replaced(good, path, new)))
        reseal(folder)
        with contextlib.suppress(AuxlearnError, ValueError):
            LoadedExport.open(folder, registry=registry).predict(IMAGES[:1])


def test_a_backbone_predicts_nothing(exported, registry):
    with pytest.raises(ExportError, match="a backbone only"):
        LoadedExport.open(exported["torch_export", "backbone"], registry=registry).predict(IMAGES)
