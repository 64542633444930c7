"""Video networks and encoders as backbones: what they compute, and what they refuse. Nothing is downloaded."""

from __future__ import annotations

import builtins

import attrs
import pytest
import torch
from safetensors.torch import save_file
from torchvision.models import video as models

from auxlearn.data import InputShape
from auxlearn.errors import EnvironmentProblem, PluginError, SpecError
from auxlearn.learning import BuildContext
from auxlearn_media import AudioEncoderParams, EncoderParams, VideoNetworkParams
from auxlearn_media.encoders import AudioEncoder, TextEncoder
from auxlearn_media.video import VideoNetwork

CLIP = BuildContext(inputs={"video": InputShape(shape=(4, 3, 32, 32), kind="feature")})
TEXT = BuildContext(inputs={"text": InputShape(shape=(-1,), kind="feature")})
SOUND = BuildContext(inputs={"audio": InputShape(shape=(-1,), dtype="float32", kind="feature")})


def video(**settings):
    return VideoNetwork.build(VideoNetworkParams(**{"model": "r3d_18", **settings}), CLIP)


def test_the_pooled_feature_is_what_the_classifier_reads(tmp_path):
    torch.manual_seed(0)
    plain = models.r3d_18().eval()
    save_file(plain.state_dict(), tmp_path / "weights.safetensors")
    backbone = video(checkpoint=str(tmp_path / "weights.safetensors")).eval()
    clips = torch.randint(0, 256, (2, 4, 3, 32, 32), dtype=torch.uint8)
    mean = torch.tensor([0.43216, 0.394666, 0.37645]).view(3, 1, 1)
    std = torch.tensor([0.22803, 0.22145, 0.216989]).view(3, 1, 1)
    with torch.no_grad():
        pooled = backbone({"video": clips}).only.pooled
        expected = plain(((clips.float() / 255 - mean) / std).movedim(2, 1))
        torch.testing.assert_close(plain.fc(pooled), expected)
        torch.testing.assert_close(backbone({"video": clips.float() / 255}).only.pooled, pooled)
    assert backbone.shapes["video"].pooled == 512


def test_weights_are_read_from_torch_files_and_from_ours(tmp_path):
    backbone = video()
    torch.save(backbone.network.state_dict(), tmp_path / "plain.pt")
    save_file(backbone.state_dict(), tmp_path / "ours.safetensors")
    for name in ("plain.pt", "ours.safetensors"):
        again = video(checkpoint=str(tmp_path / name))
        assert all(torch.equal(a, b) for a, b in zip(backbone.parameters(), again.parameters(), strict=True))


def test_restoring_reads_no_weights():
    context = attrs.evolve(CLIP, restoring=True)
    params = VideoNetworkParams(model="r3d_18", checkpoint="not/there", mean=(0.0, 0.0, 0.0))
    assert VideoNetwork.build(params, context).mean == (0, 0, 0)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"model": "r3d_81"}, r'/model: torchvision has no video model "r3d_81".*did you mean "r3d_18"'),
        ({"model": "s3d"}, "/model: s3d does not take clips of 4 frames of 32 x 32 pixels"),
        ({"weights": "KINETICS"}, '/weights: r3d_18 has no weights "KINETICS"; allowed: KINETICS400_V1, DEFAULT'),
        ({"weights": "DEFAULT", "checkpoint": "x"}, "/checkpoint: `weights` are given too"),
        ({"checkpoint": "nowhere.pt"}, "/checkpoint: there is no file"),
    ],
)
def test_mistakes_about_video(settings, expected):
    with pytest.raises(SpecError, match=expected):
        video(**settings)


def test_files_that_are_no_weights(tmp_path):
    (tmp_path / "junk.pt").write_bytes(b"junk")
    with pytest.raises(SpecError, match=r"cannot be read.*allowed: a \.safetensors"):
        video(checkpoint=str(tmp_path / "junk.pt"))
    save_file({"conv.weight": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(SpecError, match="do not fit r3d_18"):
        video(checkpoint=str(tmp_path / "other.safetensors"))


def test_a_video_network_reads_a_clip():
    context = BuildContext(inputs={"image": InputShape(shape=(3, 32, 32))})
    with pytest.raises(SpecError, match=r"/type: a video network reads one clip .*image \(3, 32, 32\)"):
        VideoNetwork.build(VideoNetworkParams(model="r3d_18"), context)


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    transformers = pytest.importorskip("transformers")
    folder = tmp_path_factory.mktemp("bert")
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "so", "good", "bad", "day"]
    (folder / "vocab.txt").write_text("\n".join(words))
    transformers.BertTokenizer(str(folder / "vocab.txt"), model_max_length=8).save_pretrained(folder)
    config = transformers.BertConfig(
        vocab_size=9, hidden_size=12, num_hidden_layers=2, num_attention_heads=2, intermediate_size=16
    )
    torch.manual_seed(0)
    transformers.BertModel(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def wav2vec(tmp_path_factory):
    transformers = pytest.importorskip("transformers")
    folder = tmp_path_factory.mktemp("wav2vec")
    config = transformers.Wav2Vec2Config(
        hidden_size=12,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        conv_dim=(8, 8),
        conv_stride=(5, 4),
        conv_kernel=(10, 8),
        num_conv_pos_embeddings=8,
        num_conv_pos_embedding_groups=2,
    )
    torch.manual_seed(0)
    transformers.Wav2Vec2Model(config).save_pretrained(folder)
    transformers.Wav2Vec2FeatureExtractor(sampling_rate=8000, do_normalize=True).save_pretrained(folder)
    return folder


def encoded(*texts, length=40):
    rows = [list(text.encode().ljust(length, b"\0")) for text in texts]
    return {"text": torch.tensor(rows, dtype=torch.uint8)}


def test_texts_are_means_over_their_tokens(bert):
    import transformers

    backbone = TextEncoder.build(EncoderParams(model=str(bert)), TEXT).eval()
    assert backbone.shapes["text"].pooled == 12
    plain = transformers.BertModel.from_pretrained(bert).eval()
    with torch.no_grad():
        pooled = backbone(encoded("so good", "bad")).only.pooled
        for row, tokens in zip(pooled, ([2, 5, 6, 3], [2, 7, 3]), strict=True):
            torch.testing.assert_close(row, plain(torch.tensor([tokens])).last_hidden_state[0].mean(0))
        long = backbone(encoded("so good " * 4)).only.pooled
        cut = plain(torch.tensor([[2, 5, 6, 5, 6, 5, 6, 3]])).last_hidden_state.mean(1)
        torch.testing.assert_close(long, cut)


def test_positions_that_roberta_keeps_for_padding_hold_no_tokens(tmp_path):
    """Its table of positions has two more rows than a text may have tokens, and the tokenizer need not say so."""
    import transformers

    words = ["[UNK]", "[PAD]", "[CLS]", "[SEP]", "[MASK]", "so", "good", "bad", "day"]
    (tmp_path / "vocab.txt").write_text("\n".join(words))
    transformers.BertTokenizer(str(tmp_path / "vocab.txt")).save_pretrained(tmp_path)
    sizes = {"vocab_size": 9, "hidden_size": 12, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = transformers.RobertaConfig(**sizes, intermediate_size=16, max_position_embeddings=10, pad_token_id=1)
    transformers.RobertaModel(config).save_pretrained(tmp_path)
    backbone = TextEncoder.build(EncoderParams(model=str(tmp_path)), TEXT).eval()
    assert backbone.longest == 8
    with torch.no_grad():
        pooled = backbone(encoded("so good " * 5, "bad")).only.pooled
        cut = backbone.network(torch.tensor([[2, 5, 6, 5, 6, 5, 6, 3]])).last_hidden_state.mean(1)
    torch.testing.assert_close(pooled[:1], cut)


def test_sounds_are_means_over_time(wav2vec):
    import transformers

    backbone = AudioEncoder.build(AudioEncoderParams(model=str(wav2vec), rate=8000), SOUND).eval()
    plain = transformers.Wav2Vec2Model.from_pretrained(wav2vec).eval()
    sound = torch.randn(2, 800, generator=torch.Generator().manual_seed(0)) * 3 + 1
    normal = (sound - sound.mean(1, keepdim=True)) / (sound.var(1, keepdim=True, correction=0) + 1e-7).sqrt()
    with torch.no_grad():
        pooled = backbone({"audio": sound}).only.pooled
        torch.testing.assert_close(pooled, plain(normal).last_hidden_state.mean(1), atol=1e-5, rtol=1e-4)
    assert backbone.shapes["audio"].pooled == 12


def test_restoring_makes_the_network_without_its_weights(bert):
    trained = TextEncoder.build(EncoderParams(model=str(bert)), TEXT)
    blank = TextEncoder.build(EncoderParams(model=str(bert)), attrs.evolve(TEXT, restoring=True))
    blank.load_state_dict(trained.state_dict())
    assert torch.equal(blank.eval()(encoded("so")).only.pooled, trained.eval()(encoded("so")).only.pooled)


def test_mistakes_about_encoders(bert, wav2vec, tmp_path):
    with pytest.raises(SpecError, match="/rate: the model was trained at 8000 samples a second, found 16000"):
        AudioEncoder.build(AudioEncoderParams(model=str(wav2vec)), SOUND)
    with pytest.raises(SpecError, match=r"/type: it reads the bytes of a text, but gets audio float32 \(-1,\)"):
        TextEncoder.build(EncoderParams(model=str(bert)), SOUND)
    with pytest.raises(SpecError, match="/type: it reads a waveform, but gets text uint8"):
        AudioEncoder.build(AudioEncoderParams(model=str(wav2vec)), TEXT)
    with pytest.raises(EnvironmentProblem, match=r"/model: .* cannot be loaded"):
        TextEncoder.build(EncoderParams(model=str(tmp_path)), TEXT)


def test_without_transformers_the_message_says_how_to_get_it(monkeypatch):
    load = builtins.__import__

    def without(name, *rest, **more):
        if name == "transformers":
            raise ImportError(name)
        return load(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(PluginError, match=r"pip install 'auxlearn-media\[transformers\]'"):
        TextEncoder.build(EncoderParams(model="x"), TEXT)
