"""The timm backbone: equal to plain timm, with timm's names, and one clear message for each mistake."""

from __future__ import annotations

import subprocess
import sys

import attrs
import pytest
import safetensors.torch
import timm
import torch

from auxlearn.data import InputShape
from auxlearn.errors import EnvironmentProblem, SpecError
from auxlearn.learning import BuildContext
from auxlearn_timm import TimmParams
from auxlearn_timm.backbone import TimmBackbone
from auxlearn_timm.creation import read_weights

FAMILIES = [
    ("efficientnet_b0", 64, (2, 4, 8, 16, 32)),
    ("resnet18", 32, (2, 4, 8, 16, 32)),
    ("mobilenetv3_small_050", 32, (2, 4, 8, 16, 32)),
    ("convnext_atto", 32, (4, 8, 16, 32)),
    ("vit_tiny_patch16_224", 32, (16,)),
    ("test_byobnet", 32, (2, 4, 8, 16, 32)),
    ("test_efficientnet_gn", 32, (2, 4, 8, 16, 32)),
    ("test_mambaout", 32, (4, 8, 16, 32)),
    ("test_maxvit", 64, (2, 4, 8, 16, 32)),
    ("test_nfnet", 32, (2, 4, 8, 16, 32)),
    ("test_vit3", 48, (16,)),
]


def context(size=32, channels=3, height=None):
    shape = InputShape(shape=(channels, height or size, size), dtype="float32")
    return BuildContext(inputs={"image": shape}, size=size)


def build(model="test_resnet", size=32, channels=3, **settings):
    torch.manual_seed(0)
    return TimmBackbone.build(TimmParams(model=model, **settings), context(size, channels))


def normalised(backbone, images):
    mean, std = (torch.tensor(v, dtype=images.dtype).view(1, -1, 1, 1) for v in (backbone.mean, backbone.std))
    return (images - mean) / std


@pytest.mark.parametrize(("model", "size", "reductions"), FAMILIES)
def test_is_plain_timm(model, size, reductions):
    backbone = build(model, size).eval().double()
    check_features(backbone, size, reductions)
    check_names(backbone, model, size)
    check_layers(backbone)


def check_features(backbone, size, reductions):
    images = torch.rand(2, 3, size, size, dtype=torch.float64)
    plain = backbone.network
    with torch.no_grad():
        found = backbone({"image": images}).only
        final = plain.forward_features(torch.addcmul(backbone._shift, images, backbone._scale))
        assert torch.equal(found.pooled, plain.forward_head(final, pre_logits=True))
        torch.testing.assert_close(found.pooled, plain(normalised(backbone, images)), rtol=1e-4, atol=1e-6)
    shape = backbone.shapes["image"]
    assert found.pooled.shape == (2, shape.pooled)
    assert tuple(m.reduction for m in shape.maps) == reductions
    for found_map, form in zip(found.maps, shape.maps, strict=True):
        assert found_map.shape == (2, form.channels, size // form.reduction, size // form.reduction)


def check_names(backbone, model, size):
    options = {"img_size": size} if timm.get_pretrained_cfg(model).fixed_input_size else {}
    with torch.device("meta"):
        plain = timm.create_model(model, num_classes=7, **options)
    classifier = {f"network.{plain.pretrained_cfg['classifier']}.{leaf}" for leaf in ("weight", "bias")}
    assert {f"network.{key}" for key in plain.state_dict()} == set(backbone.state_dict()) | classifier
    assert plain.get_classifier().in_features == backbone.shapes["image"].pooled


def check_layers(backbone):
    layers = backbone.layers()
    names = [name for layer in layers for name in layer]
    assert sorted(names) == sorted(name for name, _ in backbone.named_parameters())
    assert len(layers) > 3
    first = next(iter(dict(backbone.network.named_parameters())))
    assert f"network.{first}" in layers[0]


def test_normalisation_is_what_the_model_was_published_with():
    backbone = build("test_byobnet")
    assert backbone.mean == (0.485, 0.456, 0.406)
    assert backbone.std == (0.229, 0.224, 0.225)
    backbone.network.forward_features = lambda images: images
    backbone.network.forward_head = lambda images, pre_logits: images
    backbone.levels = []
    images = torch.rand(2, 3, 4, 4)
    torch.testing.assert_close(backbone({"image": images}).only.pooled, normalised(backbone, images))


def test_normalisation_for_other_channels():
    assert build("test_byobnet", channels=1).mean == (pytest.approx((0.485 + 0.456 + 0.406) / 3),)
    assert build(channels=4).std == (0.5,) * 4
    assert build(channels=4, mean=(0.1, 0.2, 0.3, 0.4)).mean == (0.1, 0.2, 0.3, 0.4)
    with pytest.raises(SpecError, match=r"/std: there are 2 numbers for 3 channels; allowed: 3 numbers"):
        build(std=(0.1, 0.2))


def test_levels():
    images = {"image": torch.rand(2, 3, 32, 32)}
    assert [m.shape[1] for m in build(levels=(4, 1))(images).only.maps] == [32, 96]
    assert build(levels=())(images).only.maps == ()
    assert len(build("test_vit", levels=(1, 3, 5))(images).only.maps) == 3
    with pytest.raises(SpecError, match=r"/levels: test_resnet has no feature level 5; allowed: 0 to 4"):
        build(levels=(5,))


def test_maps_of_a_transformer_leave_prefix_tokens_out():
    backbone = build("test_vit", 48).eval()
    assert backbone.network.num_prefix_tokens == 1
    with torch.no_grad():
        assert backbone({"image": torch.rand(2, 3, 48, 48)}).only.maps[0].shape == (2, 64, 3, 3)


def test_keeps_channels_last():
    backbone = build("test_efficientnet", 32, levels=(0,)).to(memory_format=torch.channels_last).eval()
    images = torch.rand(2, 3, 32, 32).to(memory_format=torch.channels_last)
    found = backbone({"image": images}).only
    assert found.maps[0].is_contiguous(memory_format=torch.channels_last)


def test_bf16_autocast_and_half_weights():
    images = {"image": torch.rand(2, 3, 32, 32)}
    with torch.autocast("cpu", torch.bfloat16):
        assert build()(images).only.pooled.dtype == torch.bfloat16
    assert build().bfloat16()(images).only.pooled.dtype == torch.bfloat16


def test_gradients_reach_every_parameter():
    backbone = build("test_efficientnet", 32)
    backbone({"image": torch.rand(2, 3, 32, 32)}).only.pooled.square().mean().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in backbone.parameters())


@pytest.mark.slow
def test_compiles_to_a_single_graph():
    graphs = []

    def count(graph, _inputs):
        graphs.append(graph)
        return graph.forward

    backbone = build().eval()
    images = {"image": torch.rand(2, 3, 32, 32)}
    expected = backbone(images).only
    names = set(backbone.state_dict())
    torch.compiler.reset()
    backbone.compile(backend=count, fullgraph=True, dynamic=False)
    found = backbone(images).only
    torch.testing.assert_close(found.pooled, expected.pooled)
    torch.testing.assert_close(found.maps[-1], expected.maps[-1])
    assert len(graphs) == 1
    assert set(backbone.state_dict()) == names


def test_drop_rates_reach_the_model():
    backbone = build("test_efficientnet", drop_rate=0.25, drop_path_rate=0.5)
    assert backbone.network.drop_rate == 0.25
    assert max(getattr(m, "drop_prob", 0) or 0 for m in backbone.network.modules()) >= 0.4
    with pytest.raises(SpecError, match=r"/drop_path_rate: vgg11 does not take `drop_path_rate`"):
        build("vgg11", 32, drop_path_rate=0.1)


def test_misspelt_model():
    with pytest.raises(
        SpecError, match=r'/model: timm \S+ has no model "efficentnet_b0"; did you mean "efficientnet_b0"'
    ):
        build("efficentnet_b0")


def test_unknown_tag():
    with pytest.raises(SpecError, match=r'has no weights "a1_in" for resnet18; allowed: .*did you mean "a1_in1k"'):
        build("resnet18.a1_in")


@pytest.mark.parametrize(("model", "size"), [("test_vit", 8), ("inception_v3", 32), ("crossvit_9_240", 64)])
def test_image_size_that_the_model_refuses(model, size):
    with pytest.raises(SpecError, match=f"{model}.*augment.size") as caught:
        build(model, size)
    assert caught.value.problems[0].where == "/model"


def test_size_that_is_not_square():
    shape = context(32, height=48)
    backbone = TimmBackbone.build(TimmParams(model="test_vit"), shape)
    assert backbone({"image": torch.rand(1, 3, 48, 32)}).only.maps[0].shape == (1, 64, 3, 2)


def test_needs_one_image():
    inputs = {"audio": InputShape(shape=(40,), kind="feature", dtype="float32")}
    with pytest.raises(SpecError, match=r"the data has audio \(feature\)"):
        TimmBackbone.build(TimmParams(model="resnet18"), BuildContext(inputs=inputs))
    inputs |= context().inputs
    with pytest.raises(SpecError, match=r"audio \(feature\), image \(image\)"):
        TimmBackbone.build(TimmParams(model="resnet18"), BuildContext(inputs=inputs))


def test_pretrained_without_network(monkeypatch):
    def refuse(*_args, **_kwargs):
        raise ConnectionError("no route to host")

    monkeypatch.setattr("timm.models._builder.load_state_dict_from_hf", refuse)
    with pytest.raises(EnvironmentProblem, match=r"/pretrained: .*test_resnet could not .* no route .*checkpoint"):
        build(pretrained=True)


def test_pretrained_that_does_not_exist():
    with pytest.raises(SpecError, match=r"/pretrained: there are no published weights for \S+; allowed: false"):
        build("efficientnet_b6", pretrained=True)


def same(left, right):
    assert set(left) == set(right)
    for key, value in left.items():
        assert torch.equal(value, right[key]), key


@pytest.mark.parametrize("form", ["timm.safetensors", "timm.pt", "training.pt", "backbone.safetensors", "model.pt"])
def test_checkpoint_forms(tmp_path, form):
    source = build()
    plain = timm.create_model("test_resnet", num_classes=5)
    plain.load_state_dict(source.network.state_dict(), strict=False)
    backbone = {f"network.{key}": value for key, value in source.network.state_dict().items()}
    states = {
        "timm.safetensors": plain.state_dict(),
        "timm.pt": plain.state_dict(),
        "training.pt": {"state_dict": {f"module.{k}": v for k, v in plain.state_dict().items()}, "epoch": 3},
        "backbone.safetensors": backbone,
        "model.pt": {**{f"backbone.{k}": v for k, v in backbone.items()}, "primary.emotion.head.bias": torch.ones(3)},
    }
    path = tmp_path / form
    (safetensors.torch.save_file if path.suffix == ".safetensors" else torch.save)(states[form], path)
    torch.manual_seed(9)
    found = TimmBackbone.build(TimmParams(model="test_resnet", checkpoint=str(path)), context())
    same(found.state_dict(), source.state_dict())
    assert found.network.pretrained_cfg["num_classes"] == 1000
    assert found.network.pretrained_cfg["state_dict"] is None


def test_checkpoint_of_another_size_is_resampled(tmp_path):
    large = build("test_vit", 64)
    torch.save(large.network.state_dict(), tmp_path / "w.pt")
    small = build("test_vit", 32, checkpoint=str(tmp_path / "w.pt"))
    assert small.network.pos_embed.shape[1] == 1 + 4
    assert torch.equal(small.network.blocks[0].attn.qkv.weight, large.network.blocks[0].attn.qkv.weight)


def test_network_whose_own_names_look_like_the_prefix(tmp_path):
    state = {"network.0.weight": torch.ones(1), "norm.weight": torch.zeros(1)}
    torch.save(state, tmp_path / "plain.pt")
    torch.save({f"network.{key}": value for key, value in state.items()}, tmp_path / "ours.pt")
    for name in ("plain.pt", "ours.pt"):
        same(read_weights(tmp_path / name, set(state)), state)


def test_checkpoint_mistakes(tmp_path):
    with pytest.raises(SpecError, match=r'/checkpoint: there is no file ".*none.pt"'):
        build(checkpoint=str(tmp_path / "none.pt"))
    (tmp_path / "text.safetensors").write_text("hello")
    with pytest.raises(SpecError, match="cannot be read"):
        build(checkpoint=str(tmp_path / "text.safetensors"))
    torch.save(timm.create_model("test_resnet"), tmp_path / "pickle.pt")
    with pytest.raises(SpecError, match=r"cannot be read.*allowed: .*tensors only"):
        build(checkpoint=str(tmp_path / "pickle.pt"))
    torch.save(build("test_efficientnet").network.state_dict(), tmp_path / "other.pt")
    with pytest.raises(SpecError, match=r"do not fit test_resnet: .*Missing key"):
        build(checkpoint=str(tmp_path / "other.pt"))
    with pytest.raises(SpecError, match="asked for twice"):
        build(checkpoint=str(tmp_path / "other.pt"), pretrained=True)


def test_incomplete_checkpoint_is_refused(tmp_path):
    state = build().network.state_dict()
    del state["layer4.0.bn2.weight"]
    torch.save(state, tmp_path / "w.pt")
    with pytest.raises(SpecError, match=r"do not fit test_resnet.*layer4.0.bn2.weight"):
        build(checkpoint=str(tmp_path / "w.pt"))


def test_builds_on_the_meta_device(tmp_path):
    torch.save(build().network.state_dict(), tmp_path / "w.pt")
    with torch.device("meta"):
        for settings in ({}, {"checkpoint": str(tmp_path / "w.pt")}):
            backbone = TimmBackbone.build(TimmParams(model="test_resnet", **settings), context())
            assert all(p.is_meta for p in backbone.parameters())
            assert backbone({"image": torch.empty(2, 3, 32, 32)}).only.pooled.shape == (2, 96)


def test_same_seed_same_weights_whatever_the_settings():
    same(build(levels=(1,)).state_dict(), build(levels=None).state_dict())


def test_module_loads_no_torch():
    code = "import sys, auxlearn_timm; sys.exit('torch' in sys.modules or 'timm' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_readme_names_every_setting():
    import auxlearn_timm

    readme = (__import__("pathlib").Path(__file__).parents[1] / "README.md").read_text()
    for name in auxlearn_timm.__all__:
        for field in attrs.fields(getattr(auxlearn_timm, name)):
            assert f"`{field.name}`" in readme, (name, field.name)
