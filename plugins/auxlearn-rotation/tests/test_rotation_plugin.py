"""What auxlearn sees of the plugin: hooks, settings, checks, building, runs; and that listing it needs no torch."""

import importlib
import json
import subprocess
import sys

import attrs
import pluggy
import pytest
import torch

import auxlearn
import auxlearn_rotation
from auxlearn import Arrangement, Learner, Moment
from auxlearn.data import InputShape
from auxlearn.errors import SpecError
from auxlearn.learning import BuildContext, FeatureShape, MapShape
from auxlearn.registry import CheckContext, DataFacts, Option, hooks
from auxlearn.testing import plugin as tiny
from auxlearn.testing.fakes import TinyBackbone, TinyPrimary, tiny_batch
from auxlearn_puzzling import Puzzling, shuffle_tiles
from auxlearn_rotation import Rotation, RotationParams, quarter_turn

SHAPE = FeatureShape(pooled=20, maps=(MapShape(channels=6, reduction=8), MapShape(channels=12, reduction=16)))
CONTEXT = BuildContext(inputs={"image": InputShape(shape=(3, 64, 64))}, size=64, features={"image": SHAPE})


def provider():
    manager = pluggy.PluginManager("auxlearn")
    manager.add_hookspecs(hooks)
    manager.register(auxlearn_rotation)
    manager.check_pending()
    ((offered,),) = manager.hook.auxlearn_pretext_tasks()
    return offered


def spec(**pretext):
    return {
        "auxlearn": 1,
        "name": "rotation",
        "data": {"type": "tiny"},
        "backbone": {"type": "tiny"},
        "primary": {"kind": {"type": "tiny"}},
        "pretext": pretext,
        "train": {"steps": 3, "batch_size": 8},
        "log": {"every_steps": 1},
    }


def test_offers_the_task():
    offered = provider()
    assert (offered.name, offered.view, offered.moves_pixels, offered.spatial_answers) == (
        "rotation",
        "shared",
        True,
        True,
    )
    assert attrs.asdict(offered.params()) == {
        "tiles": None,
        "dropout": 0.2,
        "reduction": "sum",
        "hidden": 0,
        "level": None,
        "modality": "image",
    }
    assert all(Option.of(field).help.endswith(".") for field in attrs.fields(RotationParams))


def test_registering_loads_no_torch():
    program = (
        "import sys, pluggy, auxlearn_rotation as p; from auxlearn.registry import hooks\n"
        "m = pluggy.PluginManager('auxlearn'); m.add_hookspecs(hooks); m.register(p)\n"
        "[list(x) for x in m.hook.auxlearn_pretext_tasks()]\n"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-W", "error", "-c", program], check=False).returncode == 0


def test_all_public_names_exist():
    for name in auxlearn_rotation.__all__:
        assert getattr(auxlearn_rotation, name) is not None
    for module in ("augmentation", "provider", "task", "turns"):
        assert set(importlib.import_module(f"auxlearn_rotation.{module}").__all__) <= set(auxlearn_rotation.__all__)
    with pytest.raises(AttributeError, match="nothing"):
        _ = auxlearn_rotation.nothing


@pytest.mark.parametrize(("tiles", "outputs"), [(None, 4), (3, 36)])
def test_builds_heads_for_the_feature(tiles, outputs):
    task = provider().build(RotationParams(tiles=tiles), CONTEXT)
    assert isinstance(task, Rotation)
    assert (task.heads[-1].in_features, task.heads[-1].out_features, task.heads[0].p) == (20, outputs, 0.2)
    deep = provider().build(RotationParams(tiles=tiles, level=-1, hidden=7), CONTEXT)
    assert (deep.heads[1].in_features, deep.heads[-1].in_features, deep.heads[-1].out_features) == (12, 7, outputs)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        (RotationParams(level=2), "/level: the backbone gives 2 feature maps, found level 2; allowed: -2 to 1"),
        (RotationParams(modality="imag"), '/modality: .*"imag"; allowed: image; did you mean "image"?'),
    ],
)
def test_building_says_what_the_backbone_lacks(params, message):
    with pytest.raises(SpecError, match=message):
        provider().build(params, CONTEXT)


def test_building_refuses_images_that_are_not_square():
    context = attrs.evolve(CONTEXT, inputs={"image": InputShape(shape=(3, 64, 48))}, size=None)
    with pytest.raises(SpecError, match="only square images can be rotated by 90 degrees, found 64 x 48 pixels"):
        provider().build(RotationParams(), context)


def problems(context, **params):
    return [str(problem) for problem in provider().check(RotationParams(**params), context)]


def test_check_wants_tiles_of_two_pixels():
    assert problems(CheckContext(size=6), tiles=3) == []
    assert problems(CheckContext(size=None), tiles=16) == []
    (problem,) = problems(CheckContext(size=6), tiles=4)
    assert problem.startswith("/tiles: images of 6 px give tiles of less than 2 px, found tiles 4; allowed: 2 to 3;")


def test_check_wants_the_modality_and_square_images():
    known = DataFacts(inputs={"image": (3, 64, 48), "sound": (128,)})
    (problem,) = problems(CheckContext(data=known), modality="images")
    assert problem == '/modality: the data has no input "images"; allowed: image, sound; did you mean "image"?'
    (problem,) = problems(CheckContext(data=known))
    assert problem.startswith("/modality: only square images can be rotated by 90 degrees, found 64 x 48 pixels; fix:")
    assert problems(CheckContext(data=known, size=32)) == []
    assert problems(CheckContext(data=DataFacts(inputs={"image": (3, 64, 64)}))) == []
    assert problems(CheckContext(data=DataFacts())) == []


def test_a_chain_first_shuffles_the_tiles_and_then_turns_them():
    learner = Learner(
        TinyBackbone(),
        primary={"kind": TinyPrimary()},
        pretext={"puzzle": Puzzling(8, grid=2), "rotation": Rotation(8, tiles=2)},
        arrange={name: Arrangement(view="shared") for name in ("puzzle", "rotation")},
    )
    batch = tiny_batch()
    plan = learner.plan(batch, Moment(step=0))
    answers = {ask.key.task: ask.views[0].answers for ask in plan.asks if ask.views}
    puzzled = shuffle_tiles(batch.image / 255, answers["puzzle"]["order"], 2)
    assert [part.name for part in plan.passes] == ["shared"]
    torch.testing.assert_close(plan.passes[0].inputs["image"], quarter_turn(puzzled, answers["rotation"]["turns"], 2))


def test_a_chain_with_puzzling_runs(tmp_path):
    pretext = {"puzzle": {"type": "puzzling", "grid": 2}, "rotation": {"type": "rotation", "tiles": 2}}
    result = auxlearn.run(spec(**pretext), out=tmp_path / "run", plugins=[tiny])
    steps = [line for line in result.history if line["kind"] == "train"]
    assert len(steps) == 3
    names = {"loss/puzzle@shared", "loss/rotation@shared", "loss/kind@shared", "rotation/accuracy"}
    assert names <= set(steps[0])


@pytest.mark.parametrize("view", ["own", "shared"])
def test_whole_images_run_and_leave_a_picture(view, tmp_path):
    auxlearn.run(spec(turn={"type": "rotation", "view": view}), out=tmp_path / "run", plugins=[tiny])
    assert (tmp_path / "run" / "figures" / "turn.png").exists()
    resolved = json.loads((tmp_path / "run" / "resolved.json").read_text())
    assert resolved["pretext"]["turn"]["tiles"] is None


@pytest.mark.parametrize(("tiles", "fits"), [(2, True), (4, True), (3, False), (None, False)])
def test_puzzles_are_followed_only_by_turns_within_their_tiles(tiles, fits):
    pretext = {"puzzle": {"type": "puzzling", "grid": 2}, "rotation": {"type": "rotation", "tiles": tiles}}
    if fits:
        auxlearn.validate(spec(**pretext), plugins=[tiny])
        return
    with pytest.raises(SpecError, match=r"/pretext/rotation: .* it may move them within 2 x 2 cells"):
        auxlearn.validate(spec(**pretext), plugins=[tiny])


def test_the_other_order_is_refused(tmp_path):
    pretext = {"rotation": {"type": "rotation", "tiles": 2}, "puzzle": {"type": "puzzling", "grid": 2}}
    with pytest.raises(SpecError, match=r'/pretext/puzzle: "puzzle" moves pixels .* put "puzzle" before "rotation"'):
        auxlearn.validate(spec(**pretext), plugins=[tiny])
