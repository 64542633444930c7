"""The contract: randomness, processes, modalities, devices, settings; and that listing the plugin needs no torch."""

import importlib
import subprocess
import sys

import attrs
import pluggy
import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

import auxlearn_kornia
from auxlearn.data import InputShape
from auxlearn.learning import BuildContext, Draws, Preprocess
from auxlearn.registry import CheckContext, Option, hooks
from auxlearn_kornia import Level, LevelParams, NoneParams, SimCLR, SimCLRParams, StrongParams, WeakParams

SIZE = 32
CONTEXT = BuildContext(inputs={"image": InputShape(shape=(3, 40, 40))}, size=SIZE)


def providers():
    manager = pluggy.PluginManager("auxlearn")
    manager.add_hookspecs(hooks)
    manager.register(auxlearn_kornia)
    manager.check_pending()
    (offered,) = manager.hook.auxlearn_augmentations()
    return {provider.name: provider for provider in offered}


def built(name, context=CONTEXT):
    provider = providers()[name]
    return provider.build(provider.params(), context)


def draws(**changes):
    return Draws(**{"seed": 0, "name": "augment", "step": 3, **changes})


def pixels(rows=8, side=40, channels=3):
    return torch.randint(
        256, (rows, channels, side, side), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )


every = pytest.mark.parametrize("name", ["none", "weak", "strong", "simclr"])


@every
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_a_run_in_a_true_precision_has_the_same_images(name, dtype):
    """Such a run converts every module; images are made before the network converts them."""
    result, _ = built(name).to(dtype)({"image": pixels()}, draws())
    exact, _ = built(name)({"image": pixels()}, draws())
    assert result["image"].dtype == torch.float32
    torch.testing.assert_close(result["image"], exact["image"], atol=0.02, rtol=0)


@every
def test_gives_images_between_0_and_1_of_the_size(name):
    given = pixels()
    before = given.clone()
    result, motion = built(name)({"image": given}, draws())
    image = result["image"]
    assert (image.shape, image.dtype) == ((8, 3, SIZE, SIZE), torch.float32)
    assert image.min() >= 0
    assert image.max() <= 1
    assert motion.matrix.shape == (8, 2, 3)
    assert torch.equal(given, before)


@every
def test_floats_pass_as_they_are_and_are_not_written_to(name):
    given = pixels() / 255
    before = given.clone()
    result = built(name)({"image": given}, draws())[0]["image"]
    torch.testing.assert_close(result, built(name)({"image": pixels()}, draws())[0]["image"], atol=1e-6, rtol=0)
    assert torch.equal(given, before)


@every
def test_depends_on_the_draws_alone(name):
    augmentation, given = built(name), {"image": pixels()}
    torch.manual_seed(1)
    first = augmentation(given, draws())[0]["image"]
    state = torch.get_rng_state()
    torch.manual_seed(2)
    again = augmentation(given, draws())[0]["image"]
    torch.manual_seed(1)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(first, again)
    for other in (draws(step=4), draws(seed=1), draws(name="other"), draws(micro=1)):
        assert not torch.equal(augmentation(given, other)[0]["image"], first)


@pytest.mark.parametrize("name", ["weak", "strong", "simclr"])
def test_every_row_has_its_own_draw(name):
    same = pixels(1).expand(8, -1, -1, -1)
    result, motion = built(name)({"image": same}, draws())
    for part in (result["image"], motion.matrix):
        assert len(part.flatten(1).unique(dim=0)) == 8


@every
def test_two_processes_do_what_one_does(name):
    augmentation, given = built(name), pixels(8)
    whole, motion = augmentation({"image": given}, draws())
    for rank in (0, 1):
        own = slice(4 * rank, 4 * rank + 4)
        half, moved = augmentation({"image": given[own]}, draws(rank=rank, world=2))
        torch.testing.assert_close(half["image"], whole["image"][own], atol=1e-6, rtol=0)
        assert torch.equal(moved.matrix, motion.matrix[own])


@every
def test_evaluation_crops_and_resizes(name):
    augmentation = built(name)
    crop = providers()[name].params().eval_crop
    expected = Preprocess(size=SIZE, crop=crop)({"image": pixels()})["image"]
    assert torch.equal(augmentation.evaluate({"image": pixels()})["image"], expected)
    assert crop == (0.875 if name == "simclr" else 0.8)


@every
def test_other_modalities_pass(name):
    inputs = {"image": InputShape(shape=(3, 40, 40)), "sound": InputShape(shape=(7,), dtype="float32", kind="feature")}
    sound = torch.rand(8, 7)
    augmentation = built(name, attrs.evolve(CONTEXT, inputs=inputs))
    result, _ = augmentation({"sound": sound, "image": pixels()}, draws())
    assert result["sound"] is sound
    assert list(result) == ["sound", "image"]
    only, motion = augmentation({"sound": sound}, draws())
    assert only["sound"] is sound
    assert torch.equal(motion.matrix, torch.eye(2, 3).expand(8, 2, 3))


def test_two_images_of_a_row_stay_aligned():
    inputs = {name: InputShape(shape=(3, 40, 40)) for name in ("left", "right")}
    for name in ("weak", "simclr"):
        augmentation = built(name, attrs.evolve(CONTEXT, inputs=inputs))
        result, _ = augmentation({"left": pixels(), "right": pixels()}, draws())
        assert torch.equal(result["left"], result["right"])


@every
@pytest.mark.parametrize("channels", [1, 4])
def test_any_number_of_channels(name, channels):
    result = built(name)({"image": pixels(channels=channels)}, draws())[0]["image"]
    assert result.shape == (8, channels, SIZE, SIZE)


@every
def test_without_a_size_the_image_keeps_its_own(name):
    result = built(name, attrs.evolve(CONTEXT, size=None))({"image": pixels()[:, :, :30]}, draws())[0]["image"]
    assert result.shape == (8, 3, 30, 30)


@pytest.mark.parametrize("off", ["contrast", "brightness", "noise", "rotation", "flip", "cutout"])
def test_a_magnitude_of_zero_leaves_the_other_draws_alone(off):
    strong, given = StrongParams(blur=0.0, flip=0.5), torch.full((4, 3, SIZE, SIZE), 0.5)
    with_it = Level(strong, size=SIZE)({"image": given}, draws())[1].matrix
    without = Level(attrs.evolve(strong, **{off: 0.0}), size=SIZE)({"image": given}, draws())[1].matrix
    if off == "rotation":
        with_it, without = (m[:, :, :2].norm(dim=1) for m in (with_it, without))
    elif off == "flip":
        with_it, without = with_it[:, 1], without[:, 1]
        with_it, without = with_it[:, 1:], without[:, 1:]
    torch.testing.assert_close(with_it, without)


@every
def test_autocast_changes_nothing(name):
    augmentation, given = built(name), {"image": pixels()}
    expected, motion = augmentation(given, draws())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found, moved = augmentation(given, draws())
    assert torch.equal(found["image"], expected["image"])
    assert torch.equal(moved.matrix, motion.matrix)


def parts(name, rows=4):
    """What `transform` of the augmentation takes."""
    augmentation = built(name)
    images = pixels(rows) / 255
    units = dict(zip(augmentation.names, draws().uniform(rows, len(augmentation.names)).unbind(1), strict=True))
    return augmentation, images, units, torch.randn(images.shape) if name == "strong" else None


@every
def test_reads_nothing_back_from_the_device(name):
    """Fake tensors raise on every read of a value by the host."""
    augmentation, images, units, noise = parts(name)
    with FakeTensorMode() as mode:

        def fake(tensor):
            return None if tensor is None else mode.from_tensor(tensor).to("cuda")

        if name == "simclr":
            augmentation.basis = fake(augmentation.basis)
        result, window = augmentation.transform(fake(images), {k: fake(v) for k, v in units.items()}, fake(noise))
        matrix = window.motion().matrix
    assert {result.device.type, matrix.device.type} == {"cuda"}


@every
def test_is_one_graph(name):
    augmentation, images, units, noise = parts(name)
    expected, window = augmentation.transform(images, units, noise)
    torch._dynamo.reset()
    found, same = torch.compile(augmentation.transform, fullgraph=True, backend="eager")(images, units, noise)
    assert torch.equal(found, expected)
    assert torch.equal(same.width, window.width)


def test_defaults_are_those_of_the_paper_s_code():
    shared = {
        "contrast": 0.0,
        "brightness": 0.0,
        "noise": 0.0,
        "blur": 0.0,
        "blur_sigma": 1.5,
        "rotation": 0.0,
        "crop_min": 1.0,
        "crop_max": 1.0,
        "flip": 0.0,
        "cutout": 0.0,
        "padding": "zeros",
        "eval_crop": 0.8,
    }
    weak = {"contrast": 0.4, "rotation": 15.0, "crop_min": 0.69, "crop_max": 0.99}
    strong = {**weak, "brightness": 0.05, "noise": 0.05, "blur": 0.5, "rotation": 20.0, "cutout": 0.268}
    assert attrs.asdict(NoneParams()) == {**shared, "crop_min": 0.69, "crop_max": 0.69, "flip": 0.5}
    assert attrs.asdict(WeakParams()) == {**shared, **weak}
    assert attrs.asdict(StrongParams()) == {**shared, **strong}
    assert {name: provider.params for name, provider in providers().items()} == {
        "none": NoneParams,
        "weak": WeakParams,
        "strong": StrongParams,
        "simclr": SimCLRParams,
    }


@pytest.mark.parametrize("params", [NoneParams, WeakParams, StrongParams, SimCLRParams])
def test_every_setting_is_explained(params):
    assert all(Option.of(field).help.endswith(".") for field in attrs.fields(params))


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [
        ("weak", "crop_min", "crop_max"),
        ("simclr", "scale_min", "scale_max"),
        ("simclr", "blur_sigma_min", "blur_sigma_max"),
    ],
)
def test_an_empty_range_is_found(name, low, high):
    provider = providers()[name]
    assert list(provider.check(provider.params(), CheckContext())) == []
    wrong = attrs.evolve(provider.params(), **{low: 0.9, high: 0.5})
    (problem,) = provider.check(wrong, CheckContext())
    assert str(problem) == f"/{low}: {low} is 0.9, above {high}, which is 0.5; allowed: at most 0.5"
    with pytest.raises(ValueError, match=f"`{low}` should be at most `{high}`"):
        provider.build(wrong, CONTEXT)


def test_registering_loads_no_torch():
    program = (
        "import sys, pluggy, auxlearn_kornia as p; from auxlearn.registry import hooks\n"
        "m = pluggy.PluginManager('auxlearn'); m.add_hookspecs(hooks); m.register(p)\n"
        "[list(x) for x in m.hook.auxlearn_augmentations()]\n"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-W", "error", "-c", program], check=False).returncode == 0


def test_all_public_names_exist():
    for name in auxlearn_kornia.__all__:
        assert getattr(auxlearn_kornia, name) is not None
    for module in ("images", "levels", "provider", "simclr"):
        found = set(importlib.import_module(f"auxlearn_kornia.{module}").__all__) - {"signed"}
        assert found <= set(auxlearn_kornia.__all__)
    with pytest.raises(AttributeError, match="nothing"):
        _ = auxlearn_kornia.nothing


def test_state_is_empty():
    """Nothing of an augmentation belongs into a checkpoint."""
    assert not SimCLR(SimCLRParams(), size=SIZE).state_dict()
    assert not Level(LevelParams(), size=SIZE).state_dict()
