"""Every spec of `benchmarks/conclugen` is one, and those of the paper run on made-up clips in the layouts of its sets.

The networks that extract are tiny here, and so are those that learn. The small specs differ in size and data only, and
`python -m benchmarks.conclugen` runs them to the end.
"""

import json
from pathlib import Path

import numpy as np
import pytest

import auxlearn
from auxlearn.registry import discover
from auxlearn.spec import load_spec
from auxlearn.spec.extraction import load_extraction
from auxlearn_media import testing

CONCLUGEN = Path(__file__).parents[1] / "benchmarks" / "conclugen"
EXTRACT = sorted(CONCLUGEN.glob("full/*-extract.json"))
FULL = sorted(set(CONCLUGEN.glob("full/*.json")) - set(EXTRACT))
SMALL = sorted(CONCLUGEN.glob("small/*.json"))
SETS = ("caer", "meld", "mosei")
SYSTEMS = {
    *("all", "contrast-cluster", "contrast-reconstruct", "cluster-reconstruct", "contrast", "cluster", "reconstruct"),
    *("contrast-audio-video", "contrast-text-video", "contrast-text-audio", "simclr"),
}

SHORT = {"train": {"epochs": 1, "batch_size": 6, "accelerator": "cpu"}, "schedule": {"warmup_epochs": 0}}
PROJECTION = {"width": 8, "hidden": 8}


def read(path):
    return json.loads(path.read_text(encoding="utf-8"))


def merged(spec, changes):
    """Return `spec` with `changes` laid over the objects that are there or should be."""
    made = dict(spec)
    for name, value in changes.items():
        made[name] = merged(made.get(name) or {}, value) if isinstance(value, dict) else value
    return made


def shortened(path):
    """Return the training spec in `path` with small widths and one epoch of each stage."""
    spec = merged(read(path), SHORT)
    backbone = {"width": 16}
    if spec.get("backbone", {}).get("units", {}).get("audio", {}) is not None:
        backbone["units"] = {"audio": {"width": 12}}
    sizes = {
        "contrast": {"projection": PROJECTION},
        "cluster": {"clusters": 2, "queue": 16, "projection": PROJECTION},
        "reconstruct": {"hidden": 8},
        "simclr": {"hidden": 8, "width": 8},
    }
    pretext = spec.get("pretext", {})
    for name, own in sizes.items():
        wanted = name in pretext if name == "simclr" else pretext.get(name, {}) is not None
        if wanted:
            spec = merged(spec, {"pretext": {name: own}})
    stages = [merged(stage, {"train": SHORT["train"]}) for stage in spec["stages"]]
    stages = [
        merged(stage, {"primary": {task: {"hidden": 8} for task in stage["primary"]}})
        if stage.get("primary")
        else stage
        for stage in stages
    ]
    return merged(spec, {"backbone": backbone, "stages": stages})


@pytest.fixture(scope="module")
def encoders(tmp_path_factory):
    """Return encoders of text and sound that are tiny and know nothing, as the specs name models."""
    transformers = pytest.importorskip("transformers")
    folder = tmp_path_factory.mktemp("encoders")
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "so", "good", "no", "way", "word", "said"]
    (folder / "vocab.txt").write_text("\n".join(words), encoding="utf-8")
    transformers.BertTokenizer(str(folder / "vocab.txt")).save_pretrained(folder / "text")
    one = {"hidden_size": 12, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    transformers.BertModel(transformers.BertConfig(vocab_size=len(words), **one)).save_pretrained(folder / "text")
    layers = {"conv_dim": (8, 8), "conv_stride": (20, 16), "conv_kernel": (20, 16), "num_feat_extract_layers": 2}
    groups = {"num_conv_pos_embeddings": 4, "num_conv_pos_embedding_groups": 2}
    transformers.Wav2Vec2Model(transformers.Wav2Vec2Config(**one, **layers, **groups)).save_pretrained(folder / "audio")
    transformers.Wav2Vec2FeatureExtractor(sampling_rate=16000).save_pretrained(folder / "audio")
    return folder


@pytest.fixture(scope="module")
def layouts(tmp_path_factory):
    """Return a folder with `data/` as the specs expect it beside them."""
    folder = tmp_path_factory.mktemp("conclugen")
    short = {"seconds": 0.4}
    testing.write_voxceleb2(folder / "data" / "VoxCeleb2", people=4, clips=3, **short)
    testing.write_caer(folder / "data" / "CAER", **short)
    testing.write_meld(folder / "data" / "MELD.Raw", **short)
    testing.write_mosei(folder / "data" / "CMU-MOSEI", videos=6, **short)
    return folder


@pytest.fixture(scope="module")
def features(layouts, encoders):
    """Return the same folder with `features/` as the specs of extraction write it, through tiny networks."""
    tiny = {
        "video_2d": {"model": "test_resnet", "pretrained": False},
        "video_3d": {"weights": None, "size": 16, "window": 8, "stride": 8},
        "audio": {"model": str(encoders / "audio")},
        "text": {"model": str(encoders / "text")},
    }
    made = {}
    for path in EXTRACT:
        spec = merged(read(path), {"data": {"size": 32}, "extract": tiny})
        file = layouts / path.name
        file.write_text(json.dumps(spec), encoding="utf-8")
        name = path.stem.removesuffix("-extract")
        made[name] = auxlearn.extract(file, layouts / "features" / name, device="cpu")
    return layouts, made


@pytest.mark.parametrize("path", [*FULL, *SMALL], ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_it_is_a_spec(path):
    assert load_spec(path).name == path.stem


@pytest.mark.parametrize("path", EXTRACT, ids=lambda path: path.stem)
def test_it_is_a_spec_of_extraction(path):
    spec = load_extraction(path, (), discover())
    assert list(spec.networks) == ["video_2d", "video_3d", "audio", "text"]


def test_there_is_one_for_each_system_on_each_set():
    assert {path.stem for path in FULL} == {f"{name}-{system}" for name in SETS for system in SYSTEMS}


@pytest.mark.slow
def test_the_clips_become_tables_as_the_specs_say(features):
    _, made = features
    assert {name: one.rows for name, one in made.items()} == {
        "voxceleb2": {"train": 12},
        "caer": {"train": 7, "val": 7, "test": 7},
        "meld": {"train": 7, "val": 7, "test": 7},
        "mosei": {"train": 6, "val": 2, "test": 4},
    }
    assert all(set(one.widths) == {"video_2d", "video_3d", "audio", "text"} for one in made.values())
    assert made["voxceleb2"].missing == {"video_2d": 0, "video_3d": 0, "audio": 1, "text": 0}
    assert all(np.isfinite(np.load(made["caer"].path / f"{name}.npy")).all() for name in made["caer"].widths)


@pytest.mark.slow
@pytest.mark.parametrize("path", FULL, ids=lambda path: path.stem)
def test_the_papers_system_runs_on_the_tables(path, features, tmp_path):
    folder, _ = features
    file = folder / path.name
    file.write_text(json.dumps(shortened(path)), encoding="utf-8")
    result = auxlearn.run(file, out=tmp_path / "run")
    assert list(result.stages) == ["pretrain", "linear", "nonlinear", "finetune"]
    assert all("train" in {line["kind"] for line in one.history} for one in result.stages.values())
    probes = [result.stages[name].test for name in ("linear", "nonlinear", "finetune")]
    (task,) = read(path)["primary"]
    assert all(np.isfinite(test[f"{task}/loss"]) and test[f"{task}/weighted_f1"] >= 0 for test in probes)
