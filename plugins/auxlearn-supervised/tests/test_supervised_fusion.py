"""Heads on several modalities: which they read, how these become one, and what one modality alone is."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode

from auxlearn.data import Batch, TargetInfo
from auxlearn.errors import SpecError
from auxlearn.learning import BuildContext, Feature, Features, FeatureShape, StepContext
from auxlearn_supervised import ClassificationParams, MultilabelParams, RegressionParams
from auxlearn_supervised.classification import Classification
from auxlearn_supervised.heads import Fusion, make_head, read_head
from auxlearn_supervised.multilabel import Multilabel
from auxlearn_supervised.regression import Regression

SHAPES = {"video": FeatureShape(pooled=3), "audio": FeatureShape(pooled=3), "text": FeatureShape(pooled=2)}
TARGETS = {
    "kind": TargetInfo(kind="class", names=("a", "b")),
    "tags": TargetInfo(kind="multilabel", names=("x", "y"), shape=(2,)),
    "mood": TargetInfo(kind="continuous"),
}
BUILDS = [(Classification, ClassificationParams), (Multilabel, MultilabelParams), (Regression, RegressionParams)]


def features(seed=0, rows=5):
    draws = torch.Generator().manual_seed(seed)
    return Features(
        {name: Feature(pooled=torch.randn(rows, shape.pooled, generator=draws)) for name, shape in SHAPES.items()}
    )


def build(which, **settings):
    make, params = BUILDS[which]
    return make.build(params(**settings), BuildContext(inputs={}, features=SHAPES, targets=TARGETS))


def test_all_are_put_side_by_side_by_name():
    given_ = features()
    by_hand = torch.cat([given_["audio"].pooled, given_["text"].pooled, given_["video"].pooled], 1)
    assert torch.equal(Fusion()(given_), by_hand)
    head = make_head(SHAPES, 2)
    assert torch.equal(read_head(head, given_, 0.0), head(by_hand))


@given(st.permutations(["video", "audio"]), st.integers(0, 9))
def test_the_mean_knows_no_order(names, seed):
    given_ = features(seed)
    found = Fusion(tuple(names), "mean")(given_)
    torch.testing.assert_close(found, (given_["video"].pooled + given_["audio"].pooled) / 2)
    assert torch.equal(found, Fusion(("audio", "video"), "mean")(given_))


@given(st.lists(st.sampled_from(sorted(SHAPES)), min_size=1), st.sampled_from(["concat", "mean"]))
def test_the_width_is_that_of_what_comes_out(names, how):
    fusion = Fusion(tuple(names), how)
    if how == "mean" and {"text"} < set(names):
        with pytest.raises(SpecError, match="/fusion: there is no mean"):
            fusion.width(SHAPES)
        return
    assert fusion(features()).shape[1] == fusion.width(SHAPES)


@pytest.mark.parametrize("which", [0, 1, 2])
@pytest.mark.parametrize("hidden", [None, 7])
@pytest.mark.parametrize(
    ("settings", "width"),
    [
        ({}, 8),
        ({"modalities": ("text",)}, 2),
        ({"modalities": ("video", "text")}, 5),
        ({"modalities": ("video", "audio"), "fusion": "mean"}, 3),
    ],
)
def test_every_task_reads_what_it_was_told(which, hidden, settings, width):
    task = build(which, hidden=hidden, dropout=0.5, **settings)
    first = task.head if hidden is None else task.head[0]
    assert first.in_features == width
    assert task.linear() is None  # a plain model has one feature
    given_ = features()
    task.eval()
    names = settings.get("modalities", tuple(SHAPES))
    others = Features({**given_, **{name: Feature(pooled=torch.zeros(5, 1)) for name in SHAPES if name not in names}})
    found, same = (next(iter(task.predict(one).values())) for one in (given_, others))
    assert torch.equal(found, same)
    changed = Features({**given_, names[0]: Feature(pooled=given_[names[0]].pooled + 1)})
    assert not torch.equal(found, next(iter(task.predict(changed).values())))


@pytest.mark.parametrize("which", [0, 1, 2])
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"modalities": ("vidoe",)}, r'/modalities/0: the backbone gives no feature "vidoe"; .*did you mean "video"'),
        ({"modalities": ()}, "/modalities: names none; allowed: null for all, or video, audio, text"),
        ({"fusion": "mean"}, r"/fusion: .*different widths: audio \(3\), text \(2\), video \(3\); fix: .concat."),
    ],
)
def test_what_cannot_be_is_told(which, settings, message):
    with pytest.raises(SpecError, match=message):
        build(which, **settings)


class Count(TorchDispatchMode):
    """Counts what is computed."""

    def __init__(self):
        super().__init__()
        self.counts = Counter()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.counts[func.overloadpacket.__name__] += 1
        return func(*args, **(kwargs or {}))


def test_one_modality_costs_what_a_plain_layer_costs():
    task = Classification({"image": FeatureShape(pooled=4)}, target="kind", names=("a", "b"))
    one = Features({"image": Feature(pooled=torch.randn(3, 4))})
    batch = Batch(inputs={}, targets={"kind": torch.tensor([0, 1, 1])}, ids=torch.arange(3))
    with Count() as ours:
        task.loss(one, batch, StepContext())
    with Count() as plain:
        logits = torch.nn.functional.linear(one.only.pooled, task.head.weight, task.head.bias)
        torch.nn.functional.cross_entropy(logits, batch.targets["kind"], ignore_index=-100, reduction="sum").detach()
    assert ours.counts - plain.counts in (Counter(), Counter(detach=1))
    assert task.linear() is task.head
