"""Several tasks at once on rows of which each lacks some label: a mean over its own rows for each, and a run."""

from __future__ import annotations

import functools
import math
import sys

import pytest
import torch
import torch.nn.functional as F
from torch.utils.data import Dataset

import auxlearn
from auxlearn import Arrangement, Learner, Moment
from auxlearn.data import Batch, DataSource
from auxlearn.learning import BuildContext, FeatureShape, Motion
from auxlearn.registry import Provider, hookimpl
from auxlearn.testing import plugin
from auxlearn.testing.fakes import TinyBackbone, TinyPretext
from auxlearn_faces import FerParams, GenderParams, HeadPoseParams
from auxlearn_faces.fer import build_fer
from auxlearn_faces.gender import Gender
from auxlearn_faces.head_pose import HeadPose
from auxlearn_faces.rotations import euler_to_matrix, geodesic_angle
from auxlearn_synthfaces import SynthFaces

LACKING = ("expression", "pose", "morphology")


class Lacking(Dataset):
    """Rows each of which lacks one target in turn, and every seventh a second one."""

    def __init__(self, rows, count):
        self.rows, self.count = rows, count

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        item = dict(self.rows[index])
        del item[LACKING[index % 3]]
        if index % 7 == 0:
            del item[LACKING[(index + 1) % 3]]
        return item


class Partial(DataSource):
    """The first rendered faces, partially labelled."""

    def __init__(self, size):
        self.faces = SynthFaces(size=size)
        self.inputs, self.targets, self.splits = self.faces.inputs, self.faces.targets, ("train", "val")

    def dataset(self, split):
        return Lacking(self.faces.dataset(split), {"train": 96, "val": 30}[split])


FACES = Partial(16)


@hookimpl
def auxlearn_data_sources():
    return [Provider(name="partial", summary="Partially labelled faces.", build=lambda *_: FACES)]


def learner(pretext=None, arrange=None):
    torch.manual_seed(0)
    context = BuildContext(inputs={}, features={"image": FeatureShape(pooled=8)}, targets=FACES.targets)
    primary = {
        "emotion": build_fer(FerParams(), context),
        "pose": HeadPose.build(HeadPoseParams(), context),
        "gender": Gender.build(GenderParams(groups=("expression",)), context),
    }
    return Learner(TinyBackbone(8, norm=False), primary=primary, pretext=pretext or {}, arrange=arrange or {})


@functools.cache
def batch(size=24):
    items = [FACES.dataset("train")[index] for index in range(size)]
    whole = [FACES.faces.dataset("train")[index] for index in range(size)]
    pairs = list(zip(items, whole, strict=True))
    return Batch(
        inputs={"image": torch.stack([item["image"] for item in items]).float() / 255},
        targets={
            name: torch.stack([item.get(name, torch.zeros_like(row[name])) for item, row in pairs]) for name in LACKING
        },
        present={f"targets/{name}": torch.tensor([name in item for item in items]) for name in LACKING},
        ids=torch.arange(size),
    )


def test_each_loss_is_the_mean_over_its_own_rows():
    model, rows = learner(), batch()
    found = {str(key): loss for key, loss in model.step(rows, Moment(step=0)).losses.items()}
    pooled = model.backbone(rows.inputs).only.pooled
    there = {name: rows.has(name) for name in LACKING}
    assert all(0 < int(mask.sum()) < 24 for mask in there.values())
    tasks = model.primary
    columns = tasks["pose"].head(pooled)
    x = F.normalize(columns[:, :3], dim=1)
    z = F.normalize(torch.linalg.cross(x, columns[:, 3:]), dim=1)
    matrix = torch.stack([x, torch.linalg.cross(z, x), z], dim=2)
    angle = geodesic_angle(matrix, euler_to_matrix(rows.targets["pose"]))
    wanted = {
        "emotion@clean": F.cross_entropy(
            tasks["emotion"].head(pooled)[there["expression"]], rows.targets["expression"][there["expression"]]
        ),
        "pose@clean": angle[there["pose"]].mean(),
        "gender@clean": F.cross_entropy(
            tasks["gender"].classification.head(pooled)[there["morphology"]],
            rows.targets["morphology"][there["morphology"]],
        ),
    }
    torch.testing.assert_close(found, {name: loss.detach() for name, loss in wanted.items()})


@pytest.mark.parametrize("motion", [False, True])
def test_a_view_without_geometry_does_not_supervise_the_pose(motion):
    model = learner({"flip": TinyPretext(motion=motion)}, {"flip": Arrangement(view="own", supervise=True)})
    plan = model.plan(batch(), Moment(step=0))
    asked = {str(ask.key): ask for ask in plan.asks}
    assert ("pose@flip/0" in asked) == motion
    assert {"emotion@flip/0", "gender@flip/0"} <= set(asked)
    if motion:  # turned upside down: a flip and half a turn
        turned = asked["flip@flip"].views[0].answers["turned"].bool()
        before, after = batch().targets["pose"], asked["pose@flip/0"].batch.targets["pose"]
        torch.testing.assert_close(after[~turned], before[~turned], atol=1e-3, rtol=0)
        flip = Motion(torch.tensor([[[1.0, 0, 0], [0, -1, 0]]]).expand(len(before), 2, 3))
        wanted = model.primary["pose"].move_targets({"pose": before}, flip)["pose"]
        torch.testing.assert_close(after[turned], wanted[turned], atol=1e-3, rtol=0)


def test_a_run_scores_all_of_them(tmp_path):
    spec = {
        "auxlearn": 1,
        "name": "together",
        "data": {"type": "partial"},
        "augment": {"type": "weak"},
        "backbone": {"type": "tiny"},
        "primary": {
            "emotion": {"type": "fer"},
            "pose": {"type": "head_pose"},
            "gender": {"type": "gender", "groups": ["expression"]},
        },
        "pretext": {"puzzle": {"type": "puzzling", "grid": 2, "view": "shared", "portion": 0.5, "weight": 0.1}},
        "train": {"epochs": 2, "batch_size": 24},
    }
    result = auxlearn.run(spec, out=tmp_path / "run", plugins=[plugin, sys.modules[__name__]])
    scores = auxlearn.load_run(result.path, plugins=[plugin, sys.modules[__name__]]).score("val")
    for name in ("emotion/accuracy", "pose/mae", "pose/geodesic_error", "gender/worst_group_accuracy", "pose/loss"):
        assert math.isfinite(scores[name]), name
    assert "gender/accuracy/expression=fear" in scores
