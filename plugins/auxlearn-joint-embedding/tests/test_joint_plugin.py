"""What auxlearn sees of the plugin: hooks, settings, checks, building, runs; and that listing it needs no torch."""

import subprocess
import sys

import attrs
import pluggy
import pytest
from torch import nn

import auxlearn
import auxlearn_joint_embedding
from auxlearn.cli.main import main
from auxlearn.data import InputShape
from auxlearn.errors import SpecError
from auxlearn.learning import BuildContext, FeatureShape
from auxlearn.registry import CheckContext, DataFacts, Option, hooks
from auxlearn.testing import plugin as tiny
from auxlearn_joint_embedding import BarlowTwins, BarlowTwinsParams, SimCLR, SimCLRParams
from auxlearn_kornia import SimCLRParams as AugmentParams

CONTEXT = BuildContext(
    inputs={"image": InputShape(shape=(3, 64, 64))}, size=64, features={"image": FeatureShape(pooled=20)}
)


def providers():
    manager = pluggy.PluginManager("auxlearn")
    manager.add_hookspecs(hooks)
    manager.register(auxlearn_joint_embedding)
    manager.check_pending()
    (offered,) = manager.hook.auxlearn_pretext_tasks()
    return {provider.name: provider for provider in offered}


def spec(type_, **changes):
    return {
        "auxlearn": 1,
        "name": "twins",
        "data": {"type": "tiny"},
        "backbone": {"type": "tiny"},
        "primary": {"kind": {"type": "tiny"}},
        "pretext": {"twins": {"type": type_, "hidden": 16, "out": 8, **changes}},
        "train": {"steps": 3, "batch_size": 8},
        "log": {"every_steps": 1},
    }


def test_offers_both_tasks():
    offered = providers()
    assert list(offered) == ["simclr", "barlow_twins"]
    for provider in offered.values():
        assert (provider.view, provider.moves_pixels, provider.spatial_answers) == ("own", True, False)
        assert all(Option.of(field).help.endswith(".") for field in attrs.fields(provider.params))


def test_registering_loads_no_torch():
    program = (
        "import sys, pluggy, auxlearn_joint_embedding as p; from auxlearn.registry import hooks\n"
        "m = pluggy.PluginManager('auxlearn'); m.add_hookspecs(hooks); m.register(p)\n"
        "[list(x) for x in m.hook.auxlearn_pretext_tasks()]\n"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-W", "error", "-c", program], check=False).returncode == 0


def test_all_public_names_exist():
    for name in auxlearn_joint_embedding.__all__:
        assert getattr(auxlearn_joint_embedding, name) is not None
    with pytest.raises(AttributeError, match="nothing"):
        _ = auxlearn_joint_embedding.nothing


def test_builds_simclr_as_the_paper_has_it():
    task = providers()["simclr"].build(SimCLRParams(), CONTEXT)
    assert isinstance(task, SimCLR)
    assert [type(layer) for layer in task.head] == [nn.Linear, nn.ReLU, nn.Linear]
    assert (task.head[0].in_features, task.head[0].out_features, task.head[-1].out_features) == (20, 2048, 128)
    assert task.temperature == 0.1


def test_builds_barlow_twins_with_norms_and_no_biases():
    task = providers()["barlow_twins"].build(BarlowTwinsParams(hidden=32, redundancy=0.1), CONTEXT)
    assert isinstance(task, BarlowTwins)
    kinds = [nn.Linear, nn.BatchNorm1d, nn.ReLU] * 2 + [nn.Linear]
    assert [type(layer) for layer in task.head] == kinds
    assert all(layer.bias is None for layer in task.head if isinstance(layer, nn.Linear))
    assert (task.head[-1].out_features, task.weight) == (2048, 0.1)


def test_the_settings_of_the_augmentation_arrive():
    task = providers()["simclr"].build(SimCLRParams(augment=AugmentParams(scale_min=0.5, hue=0.0)), CONTEXT)
    assert (task.augmentation.params.scale_min, task.augmentation.params.hue) == (0.5, 0.0)


@pytest.mark.parametrize("name", ["simclr", "barlow_twins"])
def test_building_says_what_the_backbone_lacks(name):
    provider = providers()[name]
    with pytest.raises(SpecError, match=r'/modality: .*"imag"; allowed: image; did you mean "image"\?'):
        provider.build(provider.params(modality="imag"), CONTEXT)


def test_showing_a_task_lists_the_settings_of_its_views(capsys):
    assert main(["plugins", "show", "barlow_twins"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert any(line.split()[:2] == ["augment", "as"] for line in lines)
    assert any(line.split()[:2] == ["augment.scale_min", "0.08"] for line in lines)
    assert max(len(line) for line in lines[4:]) <= 130


def problems(context, **params):
    return [str(problem) for problem in providers()["simclr"].check(SimCLRParams(**params), context)]


def test_check_wants_two_rows_and_two_views():
    assert problems(CheckContext(view="own", rows=2)) == []
    assert problems(CheckContext()) == []
    (problem,) = problems(CheckContext(view="own", rows=1, batch_size=8))
    assert problem.startswith("compares images with one another, but gets 1 of them at a time; fix: raise `train.batch")
    (problem,) = problems(CheckContext(view="shared", rows=2))
    assert problem == '/view: compares two views of an image, and a shared view shows one; allowed: "own"'


def test_check_wants_the_modality_and_bounds_in_order():
    known = CheckContext(data=DataFacts(inputs={"image": (3, 64, 64), "sound": (128,)}))
    (problem,) = problems(known, modality="images")
    assert problem == '/modality: the data has no input "images"; allowed: image, sound; did you mean "image"?'
    (problem,) = problems(known, augment=AugmentParams(scale_min=0.5, scale_max=0.2))
    assert problem.startswith("/augment/scale_min: scale_min is 0.5, above scale_max")


@pytest.mark.parametrize(
    ("name", "metrics"), [("simclr", {"accuracy"}), ("barlow_twins", {"on_diagonal", "off_diagonal"})]
)
def test_runs(name, metrics, tmp_path):
    given = spec(name, portion=0.5, augment={"scale_min": 0.5}, supervise=True)
    result = auxlearn.run(given, out=tmp_path / "run", plugins=[tiny])
    steps = [line for line in result.history if line["kind"] == "train"]
    assert len(steps) == 3
    assert {"loss/twins@twins", "loss/kind@twins/1", *(f"twins/{metric}" for metric in metrics)} <= steps[0].keys()
    assert (tmp_path / "run" / "figures" / "twins.png").exists()
    assert not [name for name in result.model.state_dict() if not name.startswith(("backbone.", "primary."))]


@pytest.mark.parametrize("name", ["simclr", "barlow_twins"])
def test_one_row_at_a_time_is_refused_before_anything_runs(name):
    with pytest.raises(SpecError, match="/pretext/twins: compares images with one another, but gets 1 of them"):
        auxlearn.validate(spec(name, portion=0.1), plugins=[tiny])


def test_a_shared_view_is_refused_before_anything_runs():
    with pytest.raises(SpecError, match="/pretext/twins/view: compares two views of an image"):
        auxlearn.validate(spec("simclr", view="shared"), plugins=[tiny])
