"""gender: which target it is, and scores by group."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from auxlearn.data import Batch, TargetInfo
from auxlearn.errors import SpecError
from auxlearn.learning import BuildContext, Feature, Features, FeatureShape, StepContext
from auxlearn.registry import CheckContext, DataFacts
from auxlearn_faces import GenderParams, auxlearn_primary_tasks
from auxlearn_faces.gender import Gender
from auxlearn_faces.scores import GroupAccuracy

RACES = ("White", "Black", "East Asian")
TARGETS = {
    "gender": TargetInfo(kind="class", names=("Female", "Male")),
    "race": TargetInfo(kind="class", names=RACES),
    "age": TargetInfo(kind="class", names=("0-2", "more than 70")),
    "years": TargetInfo(kind="continuous"),
}


def build(targets=None, **settings):
    context = BuildContext(
        inputs={},
        features={"image": FeatureShape(pooled=2)},
        targets=TARGETS if targets is None else targets,
        class_counts={"gender": (30, 10)},
    )
    return Gender.build(GenderParams(**settings), context)


def saying(task, found):
    """Return features of which the task says the classes `found`."""
    torch.nn.init.eye_(task.classification.head.weight)
    torch.nn.init.zeros_(task.classification.head.bias)
    return Features({"image": Feature(pooled=F.one_hot(torch.tensor(found), 2).float())})


def test_loss_is_that_of_a_classification():
    task = build(class_weights="balanced")
    labels, present = torch.tensor([0, 1, 1, 0]), torch.tensor([True, True, False, True])
    batch = Batch(inputs={}, targets={"gender": labels}, present={"targets/gender": present}, ids=torch.arange(4))
    features = Features({"image": Feature(pooled=torch.randn(4, 2))})
    found = task.loss(features, batch, StepContext()).loss / task.count(batch)
    logits = task.classification.head(features.only.pooled)[present]
    wanted = F.cross_entropy(logits, labels[present], weight=torch.tensor([40 / 60, 40 / 20]))
    torch.testing.assert_close(found, wanted)
    assert task.linear() is task.classification.head
    assert task.describe() == {"target": "gender", "classes": ["Female", "Male"], "groups": []}
    assert "groups" not in task.metrics()


def test_accuracy_of_each_group_by_hand():
    task = build(groups=("race", "age"))
    targets = {
        "gender": torch.tensor([0, 0, 1, 1, 1, 0]),
        "race": torch.tensor([0, 0, 0, 1, 1, 1]),
        "age": torch.tensor([0, 1, 0, 0, 1, 0]),
    }
    present = {
        "targets/gender": torch.tensor([True] * 5 + [False]),
        "targets/race": torch.tensor([True, True, True, True, False, True]),
    }
    batch = Batch(inputs={}, targets=targets, present=present, ids=torch.arange(6))
    features = saying(task, [0, 1, 1, 0, 1, 1])
    metrics = task.metrics()
    assert next(iter(metrics)) == "accuracy"
    for part in (slice(0, 2), slice(2, 5), slice(5, 6)):
        task.update(metrics, features.take(part), batch.take(part))
    scores = {name: value for name, value in metrics.compute().items() if name != "confusion_matrix"}
    assert float(scores["accuracy"]) == pytest.approx(3 / 5)
    assert float(scores["balanced_accuracy"]) == pytest.approx((1 / 2 + 2 / 3) / 2)
    assert float(scores["accuracy/race=White"]) == pytest.approx(2 / 3)
    assert float(scores["accuracy/race=Black"]) == 0  # of its rows one has no label, another no race
    assert math.isnan(scores["accuracy/race=East_Asian"])
    assert float(scores["accuracy/age=0-2"]) == pytest.approx(2 / 3)
    assert float(scores["accuracy/age=more_than_70"]) == pytest.approx(1 / 2)
    assert float(scores["worst_group_accuracy"]) == 0


def test_groups_without_rows_are_not_the_worst():
    score = GroupAccuracy({"race": RACES})
    score.update(torch.tensor([True]), {"race": torch.tensor([1])})
    assert float(score.compute()["worst_group_accuracy"]) == 1
    score.reset()
    score.update(torch.tensor([True]), {"race": torch.tensor([-1])})
    assert math.isnan(score.compute()["worst_group_accuracy"])


def test_a_batch_without_labels():
    task = build(groups=("race",))
    targets = {"gender": torch.zeros(2, dtype=torch.int64), "race": torch.zeros(2, dtype=torch.int64)}
    present = {"targets/gender": torch.zeros(2, dtype=torch.bool)}
    batch = Batch(inputs={}, targets=targets, present=present, ids=torch.arange(2))
    metrics = task.metrics()
    task.update(metrics, saying(task, [0, 1]), batch)
    assert int(metrics["groups"].rows.sum()) == 0


def test_target():
    morphology = TargetInfo(kind="class", names=("female_morph", "male_morph"))
    assert build({"expression": TARGETS["race"], "morphology": morphology}).classification.names == morphology.names
    assert build({"sex": TARGETS["gender"], "gender": TARGETS["gender"]}).targets == ("gender",)
    assert build(target="age").targets == ("age",)


@pytest.mark.parametrize(
    ("settings", "targets", "message"),
    [
        ({"target": "gendr"}, None, '/target: the data has no class target "gendr"; .*mean "gender"'),
        ({"target": "race"}, None, '/target: target "race" has 3 classes: White, .*allowed: 2'),
        ({"groups": ("rase", "agee")}, None, '/groups/0: .*"rase".*\n/groups/1: .*"agee"'),
        ({"groups": ("years",)}, None, '/groups/0: the data has no class target "years"'),
        ({"class_weights": {"male": 2.0}}, None, "/class_weights/male: .*allowed: Female, Male"),
        ({}, {"race": TARGETS["race"]}, r"/target: no target is about gender; allowed: race \(White"),
        ({}, {"a": TARGETS["gender"], "b": TARGETS["gender"]}, "/target: several targets are about gender: a, b"),
    ],
)
def test_mistakes(settings, targets, message):
    with pytest.raises(SpecError, match=message):
        build(targets, **settings)


def test_check_without_torch():
    provider = next(p for p in auxlearn_primary_tasks() if p.name == "gender")
    facts = DataFacts(targets={name: info.names for name, info in TARGETS.items()})
    settings = GenderParams(target="race", groups=("rase",))
    found = [str(problem) for problem in provider.check(settings, CheckContext(data=facts))]
    assert len(found) == 2
    assert not list(provider.check(GenderParams(groups=("race",)), CheckContext(data=facts)))
    assert not list(provider.check(settings, CheckContext()))
