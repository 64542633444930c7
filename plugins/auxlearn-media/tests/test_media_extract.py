"""From clips to vectors with real networks, and from the vectors to training."""

from __future__ import annotations

import json

import numpy as np
import pytest
import timm
import torch

from auxlearn import api
from auxlearn.data import DataContext
from auxlearn.learning import BuildContext, Draws
from auxlearn.registry import discover
from auxlearn_media.decoding import Clip
from auxlearn_media.testing import write_clip
from auxlearn_media.video import VideoNetwork

COLORS = ((200, 40, 40), (40, 200, 40), (40, 40, 200), (120, 120, 120))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("clips")
    lines = ["path,split,group,mood,score,words"]
    for number, color in enumerate(COLORS):
        write_clip(made / f"{number}.mp4", seconds=1, color=color, tone=None if number == 1 else 400 + 200 * number)
        split, mood = ("test" if number == 3 else "train"), ("sad", "happy")[number % 2]
        lines.append(f"{number}.mp4,{split},p{number},{mood},{number / 4},{'so good' if number else ''}")
    write_clip(made / "moving.mp4", seconds=1)
    (made / "clips.csv").write_text("\n".join([*lines, "moving.mp4,test,p9,sad,1,so bad"]) + "\n")
    return made


def spec(folder, **extract):
    targets = {"mood": {}, "score": {"kind": "continuous"}}
    data = {"type": "media", "path": str(folder / "clips.csv"), "targets": targets, "group_column": "group", "size": 32}
    return {"auxlearn": 1, "data": {**data, "video": {"fps": 8}, "spectrogram": {"mels": 32}}, "extract": extract}


@pytest.fixture(scope="module")
def made(folder, tmp_path_factory):
    given = spec(
        folder,
        frames={"type": "timm", "model": "resnet10t", "input": "video", "every": 2},
        clips={"type": "torchvision_video", "model": "r3d_18", "input": "video", "window": 4},
        sound={"type": "timm", "model": "resnet10t", "input": "spectrogram", "window": 32},
    )
    return api.extract(given, tmp_path_factory.mktemp("features") / "out")


def vectors(made, name):
    return np.load(made.path / f"{name}.npy")


def frames(folder, name):
    with Clip(str(folder / name)) as clip:
        return torch.from_numpy(clip.frames(fps=8, size=32)).float() / 255


def test_frames_are_what_the_network_says_of_each(folder, made):
    with Draws(seed=0, name="init/extract/frames", step=0).seeded():
        network = timm.create_model("resnet10t", num_classes=0).eval()
    mean, std = (torch.tensor(network.pretrained_cfg[key]).view(3, 1, 1) for key in ("mean", "std"))
    with torch.no_grad():
        expected = network((frames(folder, "moving.mp4")[::2] - mean) / std).mean(0)
    np.testing.assert_allclose(vectors(made, "frames")[4], expected, rtol=1e-4, atol=1e-5)


def test_clips_are_what_the_network_says_of_each_window(folder, made):
    ((provider,),) = ([one for one in backbones() if one.name == "torchvision_video"],)
    form = {"video": {"shape": (4, 3, 32, 32)}}
    from auxlearn.data import InputShape

    context = BuildContext(inputs={n: InputShape(kind="feature", **f) for n, f in form.items()})
    with Draws(seed=0, name="init/extract/clips", step=0).seeded():
        network = VideoNetwork.build(provider.params(model="r3d_18"), context).eval()
    shown = frames(folder, "moving.mp4")
    with torch.no_grad():
        expected = network({"video": torch.stack([shown[:4], shown[4:]])}).only.pooled.mean(0)
    np.testing.assert_allclose(vectors(made, "clips")[4], expected, rtol=1e-4, atol=1e-5)


def backbones():
    return [found.provider for found in discover().of_kind("backbone")]


def test_a_plain_colour_says_the_same_at_any_time(folder, tmp_path):
    """A video of one frame over and over has the features of that frame, whatever is taken of it."""
    one = {"type": "timm", "model": "resnet10t", "input": "video"}
    found = api.extract(spec(folder, few={**one, "every": 8}), tmp_path / "few")
    more = api.extract(spec(folder, few={**one, "every": 1}), tmp_path / "more")
    np.testing.assert_allclose(vectors(found, "few")[:4], vectors(more, "few")[:4], rtol=1e-3, atol=1e-4)
    assert np.abs(vectors(found, "few")[4] - vectors(more, "few")[4]).max() > 1e-3


def test_clips_without_sound_have_no_vector_of_it(made):
    assert np.isnan(vectors(made, "sound")).all(1).tolist() == [False, True, False, False, False]
    assert made.missing == {"frames": 0, "clips": 0, "sound": 1}


def test_the_source_of_features_reads_the_folder(made):
    providers = {found.provider.name: found.provider for found in discover().of_kind("data_source")}
    if "features" not in providers:
        pytest.skip("needs auxlearn-features")
    from auxlearn.data.opening import read_section

    section = read_section(str(made.path / "data.json"), (), discover())
    source = section.choice.provider.build(section.choice.params, DataContext(root=section.root))
    assert source.splits == ("train", "test")
    assert {name: form.shape for name, form in source.inputs.items()} == {
        "frames": (512,),
        "clips": (512,),
        "sound": (512,),
    }
    assert source.labels("train", "mood") == [1, 0, 1]
    assert source.groups("test") == ["p3", "p9"]
    read = source.dataset("train").__getitems__([0, 1])
    assert np.array_equal(np.asarray(read["clips"]), vectors(made, "clips")[:2])
    assert np.asarray(read["present"]["inputs/sound"]).tolist() == [True, False]


def test_the_features_train(made, tmp_path):
    names = {found.provider.name for found in discover().of_kind("backbone")}
    if not {"features", "gated_multimodal"} & names:
        pytest.skip("needs a backbone for features")
    section = json.loads((made.path / "data.json").read_text())["data"]
    given = {
        "auxlearn": 1,
        "data": {**section, "path": str(made.path / section["path"]), "allow_leaks": True},
        "backbone": {"type": "features"},
        "primary": {"mood": {"type": "classification"}},
        "train": {"steps": 2, "batch_size": 3},
    }
    result = api.run(given, out=tmp_path / "run")
    assert 0 <= result.test["mood/accuracy"] <= 1


@pytest.mark.slow
def test_clips_of_fixed_length_train_a_video_network(folder, tmp_path):
    given = spec(folder)
    del given["extract"], given["data"]["spectrogram"]
    given["data"]["video"]["frames"] = 4
    given |= {
        "backbone": {"type": "torchvision_video", "model": "r3d_18"},
        "primary": {"mood": {"type": "classification"}},
        "train": {"steps": 1, "batch_size": 3},
    }
    result = api.run(given, out=tmp_path / "run")
    assert np.isfinite(result.test["mood/loss"])


def test_texts_through_an_encoder(folder, tmp_path):
    transformers = pytest.importorskip("transformers")
    (tmp_path / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "so", "good", "bad"]))
    transformers.BertTokenizer(str(tmp_path / "vocab.txt")).save_pretrained(tmp_path / "model")
    config = transformers.BertConfig(
        vocab_size=8, hidden_size=12, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16
    )
    transformers.BertModel(config).save_pretrained(tmp_path / "model")
    given = spec(
        folder, text={"type": "text_encoder", "model": str(tmp_path / "model"), "input": "text", "window": "all"}
    )
    given["data"] |= {"video": None, "spectrogram": None, "text": {"column": "words"}}
    found = vectors(api.extract(given, tmp_path / "out", skip_bad=1), "text")
    assert found.shape == (4, 12)  # the first row has no text and so nothing at all
    assert (found[0] == found[1]).all()
    assert (found[0] != found[3]).any()
