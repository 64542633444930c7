"""What auxlearn sees of the plugin: hooks, settings, checks, building; and that none of it needs torch."""

import importlib
import json
import subprocess
import sys

import attrs
import pluggy
import pytest

import auxlearn
import auxlearn_puzzling
from auxlearn.data import InputShape
from auxlearn.errors import SpecError
from auxlearn.learning import BuildContext, FeatureShape, MapShape
from auxlearn.registry import CheckContext, DataFacts, Option, hooks
from auxlearn.testing import plugin as tiny
from auxlearn_puzzling import Puzzling, PuzzlingParams

SHAPE = FeatureShape(pooled=20, maps=(MapShape(channels=6, reduction=8), MapShape(channels=12, reduction=16)))
CONTEXT = BuildContext(inputs={"image": InputShape(shape=(3, 64, 64))}, size=64, features={"image": SHAPE})


def provider():
    manager = pluggy.PluginManager("auxlearn")
    manager.add_hookspecs(hooks)
    manager.register(auxlearn_puzzling)
    manager.check_pending()
    ((offered,),) = manager.hook.auxlearn_pretext_tasks()
    return offered


def test_offers_the_task_as_the_paper_has_it():
    offered = provider()
    assert (offered.name, offered.view, offered.moves_pixels, offered.spatial_answers) == (
        "puzzling",
        "shared",
        True,
        False,
    )
    assert attrs.asdict(offered.params()) == {
        "grid": 3,
        "dropout": 0.2,
        "reduction": "sum",
        "hidden": 0,
        "level": None,
        "modality": "image",
        "sizes": None,
    }


def test_every_setting_is_explained():
    assert all(Option.of(field).help.endswith(".") for field in attrs.fields(PuzzlingParams))


def test_registering_loads_no_torch():
    program = (
        "import sys, pluggy, auxlearn_puzzling as p; from auxlearn.registry import hooks\n"
        "m = pluggy.PluginManager('auxlearn'); m.add_hookspecs(hooks); m.register(p)\n"
        "[list(x) for x in m.hook.auxlearn_pretext_tasks()]\n"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-W", "error", "-c", program], check=False).returncode == 0


def test_all_public_names_exist():
    for name in auxlearn_puzzling.__all__:
        assert getattr(auxlearn_puzzling, name) is not None
    for module in ("augmentation", "provider", "task", "tiles"):
        assert set(importlib.import_module(f"auxlearn_puzzling.{module}").__all__) <= set(auxlearn_puzzling.__all__)
    with pytest.raises(AttributeError, match="nothing"):
        _ = auxlearn_puzzling.nothing


def test_builds_heads_for_the_feature():
    task = provider().build(PuzzlingParams(), CONTEXT)
    assert isinstance(task, Puzzling)
    assert task.heads[-1].in_features == 20
    assert task.heads[-1].out_features == 81
    assert task.heads[0].p == 0.2


@pytest.mark.parametrize(("level", "channels"), [(0, 6), (1, 12), (-1, 12), (-2, 6)])
def test_builds_heads_for_a_feature_map(level, channels):
    task = provider().build(PuzzlingParams(grid=2, level=level, hidden=7), CONTEXT)
    assert task.heads[1].in_features == channels
    assert (task.heads[-1].in_features, task.heads[-1].out_features) == (7, 16)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        (PuzzlingParams(level=2), "/level: the backbone gives 2 feature maps, found level 2; allowed: -2 to 1"),
        (PuzzlingParams(modality="imag"), '/modality: .*"imag"; allowed: image; did you mean "image"?'),
    ],
)
def test_building_says_what_the_backbone_lacks(params, message):
    with pytest.raises(SpecError, match=message):
        provider().build(params, CONTEXT)


def problems(context, **params):
    return [str(problem) for problem in provider().check(PuzzlingParams(**params), context)]


def test_check_wants_tiles_of_two_pixels():
    assert problems(CheckContext(size=6), grid=3) == []
    assert problems(CheckContext(size=None), grid=16) == []
    (problem,) = problems(CheckContext(size=6), grid=4)
    assert problem.startswith("/grid: images of 6 px give tiles of less than 2 px, found grid 4; allowed: 2 to 3; fix:")


def test_check_wants_the_modality():
    known = CheckContext(data=DataFacts(inputs={"image": (3, 64, 64), "sound": (128,)}))
    assert problems(known) == []
    assert problems(CheckContext(data=DataFacts())) == []
    (problem,) = problems(known, modality="images")
    assert problem == '/modality: the data has no input "images"; allowed: image, sound; did you mean "image"?'


SIAMESE = ((113, 127), 112, (64, 110))


def test_sizes_need_passes_of_their_own():
    for view in (None, "own"):
        assert problems(CheckContext(view=view), sizes=SIAMESE) == []
    assert problems(CheckContext(view="shared")) == []
    (problem,) = problems(CheckContext(view="shared"), sizes=SIAMESE)
    what, fix = problem.split("; fix: ")
    assert what == "/sizes: each size needs a pass of its own, but the view is shared"
    assert fix == 'set "view": "own", or leave `sizes` out'


def test_check_wants_sizes_in_order_and_large_enough():
    first, second, third = problems(CheckContext(view="own"), sizes=(20, (127, 113), 5, (4, 20)))
    assert first == "/sizes/1: the least size, 127, is above the greatest, 113; fix: write [113, 127]"
    assert second == "/sizes/2: 5 px give tiles of less than 2 px with grid 3; allowed: at least 6"
    assert third.startswith("/sizes/3: 4 px")


def test_builds_with_sizes():
    assert provider().build(PuzzlingParams(sizes=SIAMESE), CONTEXT).sizes == SIAMESE


def siamese(**changes):
    puzzle = {"type": "puzzling", "grid": 2, "sizes": [[9, 12], 8, [4, 7]], "view": "own", "supervise": True}
    return {
        "auxlearn": 1,
        "name": "siamese",
        "data": {"type": "tiny"},
        "backbone": {"type": "tiny"},
        "primary": {"kind": {"type": "tiny"}},
        "pretext": {"puzzle": {**puzzle, "weight": 0.3, **changes}},
        "train": {"steps": 3, "batch_size": 8},
        "log": {"every_steps": 1},
    }


def test_the_siamese_form_runs(tmp_path):
    """One clean pass and one of each size, the primary task learning from all of them."""
    result = auxlearn.run(siamese(), out=tmp_path / "run", plugins=[tiny])
    steps = [line for line in result.history if line["kind"] == "train"]
    primary = [f"loss/kind@{view}" for view in ("clean", "puzzle/0", "puzzle/1", "puzzle/2")]
    assert len(steps) == 3
    assert {*primary, "loss/puzzle@puzzle", "puzzle/tile_accuracy"} <= steps[0].keys()
    assert (tmp_path / "run" / "figures" / "puzzle.png").exists()
    resolved = json.loads((tmp_path / "run" / "resolved.json").read_text())
    assert resolved["pretext"]["puzzle"]["sizes"] == [[9, 12], 8, [4, 7]]


def test_the_siamese_form_on_a_shared_view_is_refused_before_anything_runs():
    with pytest.raises(SpecError, match="/pretext/puzzle/sizes: each size needs a pass of its own"):
        auxlearn.validate(siamese(view="shared"), plugins=[tiny])
