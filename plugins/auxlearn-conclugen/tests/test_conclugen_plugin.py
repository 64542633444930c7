"""What auxlearn sees of the plugin: hooks, settings, checks, presets, whole runs, and that listing needs no torch."""

import copy
import os
import signal
import subprocess
import sys

import attrs
import pluggy
import pytest
import torch
from torch import nn

import auxlearn
import auxlearn_conclugen
from auxlearn.errors import Interrupted, SpecError
from auxlearn.learning import BuildContext, FeatureShape
from auxlearn.registry import CheckContext, DataFacts, Option, hooks
from auxlearn.spec import load_spec
from auxlearn.training.folder import RunFolder
from auxlearn.training.progress import Silent
from auxlearn_conclugen import ClusteringParams, ContrastiveParams, ProjectionParams, ReconstructionParams, UnitParams

TASKS = ("multimodal_contrastive", "multimodal_clustering", "multimodal_reconstruction", "feature_simclr")
PRESETS = [provider.name for provider in auxlearn_conclugen.auxlearn_presets()]
SMALL = {
    "backbone": {"width": 16},
    "train": {"epochs": 2, "batch_size": 32, "accelerator": "cpu"},
    "schedule": {"warmup_epochs": 0},
    "log": {"every_steps": 1},
}
DATA = {"type": "synthfeatures", "train": 96, "val": 32, "test": 32, "groups": 8, "classes": 3}
PAPER = {**DATA, "modalities": {"video_2d": 6, "video_3d": 5, "audio": 7, "text": 4}}


def merged(*parts):
    found = {}
    for part in parts:
        for key, value in copy.deepcopy(part).items():
            both = isinstance(value, dict) and isinstance(found.get(key), dict)
            found[key] = merged(found[key], value) if both else value
    return found


def spec(*parts):
    return merged({"auxlearn": 1, "name": "cc", "preset": "conclugen", "data": DATA}, SMALL, *parts)


def providers(hook="auxlearn_pretext_tasks"):
    manager = pluggy.PluginManager("auxlearn")
    manager.add_hookspecs(hooks)
    manager.register(auxlearn_conclugen)
    manager.check_pending()
    (offered,) = getattr(manager.hook, hook)()
    return {provider.name: provider for provider in offered}


def problems(name, context, hook="auxlearn_pretext_tasks", **params):
    provider = providers(hook)[name]
    return [str(problem) for problem in provider.check(provider.params(**params), context)]


def facts(**inputs):
    return CheckContext(data=DataFacts(inputs=inputs), batch_size=64)


def test_offers_everything():
    offered = providers()
    assert tuple(offered) == TASKS
    assert [provider.view for provider in offered.values()] == ["clean", "clean", "clean", "own"]
    assert list(providers("auxlearn_backbones")) == ["gated_multimodal"]
    for provider in (*offered.values(), *providers("auxlearn_backbones").values()):
        assert all(Option.of(field).help.endswith(".") for field in attrs.fields(provider.params))


def test_registering_loads_no_torch():
    program = (
        "import sys, pluggy, auxlearn_conclugen as p; from auxlearn.registry import hooks\n"
        "m = pluggy.PluginManager('auxlearn'); m.add_hookspecs(hooks); m.register(p)\n"
        "hooks = ('pretext_tasks', 'backbones', 'presets')\n"
        "found = [list(x) for h in hooks for x in getattr(m.hook, f'auxlearn_{h}')()]\n"
        "sys.exit('torch' in sys.modules or len(found) != 3)"
    )
    assert subprocess.run([sys.executable, "-W", "error", "-c", program], check=False).returncode == 0


def test_all_public_names_exist():
    for name in auxlearn_conclugen.__all__:
        assert getattr(auxlearn_conclugen, name) is not None
    with pytest.raises(AttributeError, match="nothing"):
        _ = auxlearn_conclugen.nothing


# --- checks without torch


@pytest.mark.parametrize("name", TASKS[:3])
@pytest.mark.parametrize("view", ["own", "shared"])
def test_tasks_on_the_inputs_as_they_are_have_the_clean_view(name, view):
    assert problems(name, CheckContext(view="clean", batch_size=64)) == []
    (problem,) = problems(name, CheckContext(view=view, batch_size=64))
    assert problem.startswith("/view: asks about the inputs as they are")


@pytest.mark.parametrize("view", ["clean", "shared"])
def test_simclr_has_views_of_its_own(view):
    assert problems("feature_simclr", CheckContext(view="own", batch_size=64)) == []
    (problem,) = problems("feature_simclr", CheckContext(view=view, batch_size=64))
    assert problem == f'/view: compares two views of a row, and a {view} view shows one; allowed: "own"'


def test_contrast_wants_two_modalities_and_two_rows():
    name = "multimodal_contrastive"
    assert problems(name, facts(video=(4,), audio=(3,))) == []
    assert problems(name, CheckContext(batch_size=64)) == []
    (problem,) = problems(name, facts(video=(4,)))
    assert problem == "compares modalities, and gets one: video; allowed: at least two modalities"
    (problem,) = problems(name, facts(video=(4,), audio=(3,)), modalities=("audio",))
    assert problem.startswith("/modalities: compares modalities, and gets one: audio")
    (problem,) = problems(name, facts(), modalities=("audio", "video", "audio"))
    assert problem == '/modalities/2: "audio" is there twice'
    (problem,) = problems(name, CheckContext(rows=1, batch_size=64))
    assert problem.startswith("compares rows with one another, but gets 1 of them at a time; fix: raise")
    (problem,) = problems("multimodal_reconstruction", facts(video=(4,)), targets="cross")
    assert problem.startswith("tells a modality from another, and gets one: video")


def test_clusters_want_rows():
    assert problems("multimodal_clustering", CheckContext(batch_size=32)) == []
    (problem,) = problems("multimodal_clustering", CheckContext(batch_size=16))
    assert problem.startswith("/clusters: there are 32 clusters, but 16 rows in a micro-batch")
    assert problem.endswith(
        "allowed: at most 16; fix: lower `clusters` or `train.accumulate`, or raise `train.batch_size` or `portion`"
    )
    # Several devices cluster together what each of them gets.
    assert problems("multimodal_clustering", CheckContext(batch_size=64, rows=16, rows_together=32)) == []
    assert problems("multimodal_clustering", CheckContext(batch_size=64, rows=16, rows_together=16)) == [problem]


def test_the_backbone_knows_the_names_of_the_data():
    def found(**params):
        context = facts(video_2d=(4,), video_3d=(3,), audio=(2, 5), picture=(3, 8, 8))
        return problems("gated_multimodal", context, "auxlearn_backbones", **params)

    both = {"video": ("video_2d", "video_3d")}
    assert found() == found(join=both, modalities=("video", "audio"), units={"video": UnitParams()}) == []
    (problem,) = found(join={"video": ("video_2d", "video_4d")})
    assert problem.startswith('/join/video/1: the data has no feature "video_4d"; allowed: video_2d, video_3d, audio;')
    (problem,) = found(join={"audio": ("video_2d",)})
    assert problem.startswith('/join/audio: "audio" is an input of the data')
    (problem,) = found(join={"video": ("video_2d", "video_2d")})
    assert problem == '/join/video/1: "video_2d" is part of "video" already; fix: join each input once'
    (problem,) = found(join={**both, "more": ("video_3d", "audio")})
    assert problem == '/join/more/0: "video_3d" is part of "video" already; fix: join each input once'
    (problem,) = found(join={"values": ("video_2d", "video_3d")})
    assert problem == '/join/values: a modality cannot be called "values": torch uses this name itself'
    (problem,) = found(join={"a/b.c": ("video_2d", "video_3d")})
    assert problem == '/join/a~1b.c: a modality cannot be called "a/b.c": there is a dot in it'
    (problem,) = found(join=both, modalities=("vide", "audio"))
    assert problem.startswith('/modalities/0: neither the data nor `join` has a modality "vide"; allowed: ')
    (problem,) = found(join=both, units={"video_2d": UnitParams()})
    assert problem.startswith('/units/video_2d: the backbone has no modality "video_2d"; allowed: audio, video')
    nothing_known = problems("gated_multimodal", CheckContext(), "auxlearn_backbones", modalities=("any",))
    assert nothing_known == []


# --- building


def context(**shapes):
    return BuildContext(inputs={}, features={n: FeatureShape(pooled=w, source=s) for n, (w, s) in shapes.items()})


def build(name, params, where):
    return providers()[name].build(params, where)


def test_two_tasks_share_a_projection_of_the_same_name():
    where = context(video=(16, 4), audio=(16, 3))
    first = build("multimodal_contrastive", ContrastiveParams(), where)
    second = build("multimodal_clustering", ClusteringParams(), where)
    other = build("multimodal_clustering", ClusteringParams(projection=ProjectionParams(name="mine")), where)
    assert first.projection is second.projection
    assert first.projection is not other.projection
    assert sorted(where.shared_modules) == ["mine", "projection"]
    widths = [(one.in_features, one.out_features) for one in first.projection.module if isinstance(one, nn.Linear)]
    assert widths == [(16, 16), (16, 128)]


@pytest.mark.parametrize(
    ("projection", "where"), [({"norm": "batch"}, "norm"), ({"width": 64}, "width"), ({"hidden": 3}, "hidden")]
)
def test_a_clash_over_a_shared_projection_is_one_message(projection, where):
    given = spec({"pretext": {"cluster": {"projection": projection}}})
    with pytest.raises(
        SpecError, match=rf"/pretext/cluster/projection/{where}: the projection .* in an earlier task"
    ) as caught:
        auxlearn.validate(given, deep=True)
    assert len(caught.value.problems) == 1


def test_building_says_what_the_backbone_lacks():
    two = context(video=(16, 4), audio=(16, 3))
    for name in TASKS:
        params = providers()[name].params(modalities=("video", "audi"))
        with pytest.raises(SpecError, match=r'/modalities/1: the backbone gives no feature "audi"; .*mean "audio"\?'):
            build(name, params, two)
    with pytest.raises(SpecError, match="compares modalities, and the backbone gives one: video"):
        build("multimodal_contrastive", ContrastiveParams(), context(video=(16, 4)))
    with pytest.raises(SpecError, match="tells a modality from another, and the backbone gives one: video"):
        build("multimodal_reconstruction", ReconstructionParams(targets="both"), context(video=(16, 4)))
    with pytest.raises(SpecError, match=r"/projection: one projection .* found video 16, audio 8"):
        build("multimodal_contrastive", ContrastiveParams(), context(video=(16, 4), audio=(8, 3)))
    with pytest.raises(SpecError, match="/modalities: the backbone gives no input feature to reconstruct for video"):
        build("multimodal_reconstruction", ReconstructionParams(), context(video=(16, None)))


# --- presets


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_only_lacks_the_data(name):
    loaded = load_spec({"auxlearn": 1, "preset": name, "data": PAPER})
    assert loaded.primary == {}
    assert load_spec(loaded.resolved).resolved == loaded.resolved


def test_there_is_a_preset_for_each_combination_of_the_losses():
    losses = {"contrast": TASKS[0], "cluster": TASKS[1], "reconstruct": TASKS[2]}
    found = [tuple(load_spec({"auxlearn": 1, "preset": n, "data": DATA}).pretext) for n in PRESETS[:7]]
    assert len(set(found)) == 7
    assert {name for names in found for name in names} == set(losses)
    assert [n for n in PRESETS if n.count("-") == 2] == [
        "conclugen-cluster-reconstruct", "conclugen-contrast-reconstruct", "conclugen-contrast-cluster"
    ]  # fmt: skip


def test_the_numbers_of_the_authors_code():
    """With inputs as wide as the paper's."""
    widths = {"video_2d": 2048, "video_3d": 2048, "audio": 1024, "text": 768}
    loaded = load_spec({"auxlearn": 1, "preset": "conclugen-code", "data": {**DATA, "modalities": widths}})
    contrast, cluster, reconstruct = loaded.pretext.values()
    for task in (contrast, cluster):
        assert (task.params.temperature, task.params.margin) == (1.0, 1e-3)
        assert task.params.projection == ProjectionParams(width=512, hidden=512, norm="batch", final_relu=True)
    assert (cluster.params.normalize, cluster.params.warm_start, cluster.params.iterations) == (False, False, 100)
    assert reconstruct.params.final_relu
    assert (loaded.optimizer.keys.lr, loaded.optimizer.keys.weight_decay) == (2e-5, 1e-3)
    assert loaded.optimizer.provider.name == "adamw"
    from auxlearn.data import InputShape

    inputs = {n: InputShape(shape=(d,), dtype="float32", kind="feature") for n, d in widths.items()}
    with torch.device("meta"):
        backbone = loaded.backbone.provider.build(loaded.backbone.params, BuildContext(inputs=inputs))
    millions = {name: sum(p.numel() for p in unit.parameters()) / 1e6 for name, unit in backbone.units.items()}
    assert millions == pytest.approx({"video": 50.3, "audio": 7.3, "text": 36.7}, abs=0.1)
    assert not list(backbone.buffers())


# --- runs


class InterruptAt(Silent):
    """Sends a signal to this process after some step."""

    def __init__(self, step):
        self.step = step

    def advance(self, step, epoch, rate, losses):
        if step == self.step:
            os.kill(os.getpid(), signal.SIGTERM)


def weights(folder):
    checkpoints = RunFolder(folder).checkpoints
    return dict(checkpoints.load(checkpoints.steps()[-1]).model)


def check_losses(history, tasks):
    steps = [line for line in history if line["kind"] == "train"]
    view = "simclr" if "simclr" in tasks else "clean"
    assert len(steps) == 6
    assert all(line[f"loss/{task}@{view}"] > 0 for line in steps for task in tasks)


@pytest.mark.slow
@pytest.mark.parametrize("name", PRESETS)
def test_each_combination_of_losses_trains_resumes_probes_and_exports(name, tmp_path):
    narrow = {"width": 8, "hidden": 6}
    changes = {"backbone": {"units": {"audio": {"width": 5}}}} if name == "conclugen-code" else {}
    if "code" in name:
        changes["pretext"] = {n: {"projection": narrow} for n in ("contrast", "cluster")}
    primary = {"primary": {"emotion": {"type": "classification", "target": "label"}}}
    probe = {"name": "probe", "pretext": None, "backbone": {"freeze": True}}
    stages = {"stages": [{"name": "pretrain", "primary": None}, probe]}
    given = spec({"preset": name, "data": {**PAPER, "missing": 0.2}}, changes, primary, stages)
    whole = auxlearn.run(given, out=tmp_path / "whole")
    check_losses(whole.stages["pretrain"].history, load_spec({**given, "stages": [stages["stages"][0]]}).pretext)
    with pytest.raises(Interrupted):
        auxlearn.run(given, out=tmp_path / "broken", reporter=InterruptAt(4))
    auxlearn.resume(tmp_path / "broken")
    for stage in ("pretrain", "probe"):
        once, again = weights(tmp_path / "whole" / stage), weights(tmp_path / "broken" / stage)
        assert once.keys() == again.keys()
        assert all(torch.equal(tensor, again[name]) for name, tensor in once.items())
    run = auxlearn.load_run(tmp_path / "whole")
    rows = {one: torch.randn(5, *form.shape) for one, form in run.model.data.inputs.items()}
    wanted = run.model(rows)["emotion"]["probabilities"]
    program = torch.export.load(run.export("torch_export", part="model") / "model.pt2").module()
    torch.testing.assert_close(program(rows)["emotion.probabilities"], wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("step", [1, 6])
def test_resume_is_bit_exact_across_a_refit(step, tmp_path):
    """Refits at steps 3 (the first of clustering, by its start), 4 and 8; the queue wraps round."""
    cluster = {"refit_every": 4, "queue": 40, "start_epoch": 1, "clusters": 5}
    given = spec({"data": {"missing": 0.3}, "train": {"epochs": 4}, "pretext": {"cluster": cluster}})
    auxlearn.run(given, out=tmp_path / "whole")
    with pytest.raises(Interrupted):
        auxlearn.run(given, out=tmp_path / "broken", reporter=InterruptAt(step))
    auxlearn.resume(tmp_path / "broken")
    whole, again = weights(tmp_path / "whole"), weights(tmp_path / "broken")
    assert whole.keys() == again.keys()
    assert all(torch.equal(tensor, again[name]) for name, tensor in whole.items())
    assert int(whole["pretext.cluster.queue.length"]) == 40
    assert bool(whole["pretext.cluster.fitted"])
    assert (tmp_path / "whole" / "metrics.jsonl").read_bytes() == (tmp_path / "broken" / "metrics.jsonl").read_bytes()


@pytest.mark.slow
def test_pretraining_without_a_primary_task_then_a_probe_and_fine_tuning(tmp_path):
    primary = {"emotion": {"type": "classification", "target": "label"}}
    pretext = {
        "contrast": {"type": TASKS[0]},
        "cluster": {"type": TASKS[1], "clusters": 6, "queue": 64},
        "reconstruct": {"type": TASKS[2], "targets": "both"},
    }
    given = {
        "auxlearn": 1,
        "name": "stages",
        "data": {
            "type": "synthfeatures",
            "train": 320,
            "val": 64,
            "test": 128,
            "classes": 3,
            "missing": 0.2,
            "noise": 0.5,
        },
        "backbone": {"type": "gated_multimodal", "width": 32},
        "primary": primary,
        "optimizer": {"type": "adamw", "lr": 3e-3},
        "train": {"epochs": 4, "batch_size": 64, "accelerator": "cpu"},
        "stages": [
            {"name": "pretrain", "primary": None, "pretext": pretext},
            {"name": "probe", "backbone": {"freeze": True}},
            {"name": "finetune", "init_from": {"stage": "pretrain"}},
            {"name": "joint", "init_from": None, "pretext": pretext},
        ],
    }
    result = auxlearn.run(given, out=tmp_path / "run")
    pretrained = weights(tmp_path / "run" / "pretrain")
    assert {name.split(".")[0] for name in pretrained} == {"backbone", "pretext", "shared"}
    probe = weights(tmp_path / "run" / "probe")
    assert {name.split(".")[0] for name in probe} == {"backbone", "primary"}
    kept = [name for name in probe if name.startswith("backbone.")]
    trained = [name for name in kept if name.endswith("fc1.weight")]
    assert all(torch.equal(probe[name], pretrained[name]) for name in kept)
    tuned = weights(tmp_path / "run" / "finetune")
    assert not any(torch.equal(tuned[name], pretrained[name]) for name in trained)
    for stage in ("probe", "finetune", "joint"):
        loaded = auxlearn.load_run(tmp_path / "run" / stage)
        assert all(name.startswith(("backbone.", "primary.")) for name in loaded.model.state_dict())
    assert result.test["emotion/accuracy"] > 0.5
