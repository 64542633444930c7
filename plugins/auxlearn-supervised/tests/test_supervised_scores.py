"""Scores of each class and label, against formulas written down once more in numpy, and by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from auxlearn.data import Batch, LabelCounts, TargetInfo
from auxlearn.errors import SpecError
from auxlearn.evaluation import score
from auxlearn.learning import Augmentation, BuildContext, Feature, Features, FeatureShape, Preprocess
from auxlearn.testing.fakes import TinyBackbone
from auxlearn_supervised import MultilabelParams
from auxlearn_supervised.classification import Classification
from auxlearn_supervised.multilabel import Multilabel
from auxlearn_supervised.scores import ClassScores, Concordance, LabelScores
from auxlearn_supervised.targets import positive_weights

SHAPES = {"image": FeatureShape(pooled=4)}
KINDS = ("cat", "dog", "emu", "fox")
WEARS = ("hat", "scarf", "glasses")
CLASSES = st.integers(0, 3)
ROWS = st.lists(st.tuples(st.tuples(*[st.integers(0, 1)] * 3), st.tuples(*[st.integers(0, 1)] * 3)), max_size=20)


def same(found, wanted):
    np.testing.assert_allclose(found.numpy(), np.asarray(wanted, dtype=np.float64), rtol=1e-6, equal_nan=True)


def ratio(a, b):
    return a / b if b else math.nan


@given(st.lists(st.tuples(CLASSES, CLASSES), max_size=30), st.integers(0, 30))
def test_class_scores_are_the_ratios_of_counts(pairs, cut):
    score_ = ClassScores(4)
    for part in (pairs[:cut], pairs[cut:]):
        found, wanted = (torch.tensor([pair[i] for pair in part], dtype=torch.int64) for i in (0, 1))
        score_.update(found, wanted)
    values = score_.compute()
    found, wanted = (np.array([pair[i] for pair in pairs], dtype=int) for i in (0, 1))
    right = [int(((found == k) & (wanted == k)).sum()) for k in range(4)]
    of, said = ([int((given_ == k).sum()) for k in range(4)] for given_ in (wanted, found))
    same(values["class_recall"], [ratio(right[k], of[k]) for k in range(4)])
    same(values["class_precision"], [ratio(right[k], said[k]) for k in range(4)])
    recall, precision = values["class_recall"].numpy(), values["class_precision"].numpy()
    for k in range(4):
        none = 0 if of[k] or said[k] else math.nan
        expected = 2 / (1 / recall[k] + 1 / precision[k]) if right[k] else none  # the harmonic mean of both
        assert values["class_f1"][k].item() == pytest.approx(expected, rel=1e-5, nan_ok=True)


@given(ROWS, st.integers(0, 20))
def test_label_scores_are_those_of_the_literature(rows, cut):
    score_ = LabelScores(3)
    table = torch.tensor(rows, dtype=torch.int64).reshape(len(rows), 2, 3)
    for part in (table[:cut], table[cut:]):
        score_.update(part[:, 0], part[:, 1])
    values = score_.compute()
    found, wanted = table[:, 0].numpy(), table[:, 1].numpy()
    accuracy, weighted, f1, support = [], [], [], []
    for k in range(3):
        tp = int(((found[:, k] == 1) & (wanted[:, k] == 1)).sum())
        tn = int(((found[:, k] == 0) & (wanted[:, k] == 0)).sum())
        p, n = int((wanted[:, k] == 1).sum()), int((wanted[:, k] == 0).sum())
        accuracy.append(ratio(tp + tn, p + n))
        weighted.append((tp * n / p + tn) / (2 * n) if p and n else math.nan)
        f1.append(ratio(2 * tp, p + int(found[:, k].sum())))
        support.append(p)
    same(values["label_accuracy"], accuracy)
    same(values["label_weighted_accuracy"], weighted)
    same(values["label_f1"], f1)
    same(values["accuracy"], np.mean(accuracy))
    known = [one for one in weighted if not math.isnan(one)]
    same(values["weighted_accuracy"], np.mean(known) if known else math.nan)
    terms = sum(share * one for share, one in zip(support, f1, strict=True) if share)
    same(values["weighted_f1"], ratio(terms, sum(support)))


def test_weighted_accuracy_by_hand():
    score_ = LabelScores(2)
    # 2 of 10 rows have the first label, one of them is found, and 6 of the 8 others are told; nobody has the second
    wanted = torch.tensor([[1, 0]] * 2 + [[0, 0]] * 8)
    found = torch.tensor([[1, 0], [0, 0], [1, 1], [1, 0]] + [[0, 0]] * 6)
    score_.update(found, wanted)
    values = score_.compute()
    assert values["label_weighted_accuracy"][0].item() == pytest.approx((1 * 8 / 2 + 6) / 16)
    assert values["label_weighted_accuracy"][1].isnan()
    assert values["weighted_accuracy"].item() == pytest.approx(10 / 16)
    assert values["accuracy"].item() == pytest.approx((0.7 + 0.9) / 2)
    assert values["weighted_f1"].item() == pytest.approx(2 / 5)
    assert values["label_f1"].tolist() == pytest.approx([2 / 5, 0])


class Still(Augmentation):
    """Nothing."""

    preprocess = Preprocess()

    def forward(self, inputs, draws):
        raise NotImplementedError


class Says(TinyBackbone):
    """The first pixels of an image are its feature."""

    def __init__(self):
        super().__init__(4)
        self.shapes = {"image": FeatureShape(pooled=4)}

    def forward(self, inputs):
        return Features({"image": Feature(pooled=inputs["image"].flatten(1)[:, :4] * 8 - 4)})


def scored(task, batches):
    for layer in (task.head,):
        torch.nn.init.eye_(layer.weight)
        torch.nn.init.zeros_(layer.bias)
    return score(Says(), {"task": task}, Still(), batches)


def test_scores_have_the_names_of_the_classes():
    task = Classification(SHAPES, target="kind", names=KINDS)
    found, wanted = [0, 0, 1, 1, 0, 3], [0, 0, 0, 1, 1, 2]
    images = torch.nn.functional.one_hot(torch.tensor(found), 4).float().reshape(6, 1, 2, 2)
    batch = Batch(inputs={"image": images}, targets={"kind": torch.tensor(wanted)}, ids=torch.arange(6))
    values = scored(task, [batch.take(slice(0, 2)), batch.take(slice(2, 6))])
    assert values["task/class_recall/cat"] == pytest.approx(2 / 3)
    assert values["task/class_precision/cat"] == pytest.approx(2 / 3)
    assert values["task/class_f1/dog"] == pytest.approx(1 / 2)
    assert values["task/class_recall/emu"] == 0
    assert math.isnan(values["task/class_recall/fox"])  # nobody is one
    assert values["task/class_precision/fox"] == 0
    assert values["task/weighted_f1"] == pytest.approx((3 * 2 / 3 + 2 * 1 / 2 + 1 * 0) / 6)
    assert values["task/confusion_matrix"][0] == [2, 1, 0, 0]
    assert len([name for name in values if name.startswith("task/class_")]) == 12


def test_scores_have_the_names_of_the_labels():
    task = Multilabel({"image": FeatureShape(pooled=4)}, target="wears", names=(*WEARS, "gloves"))
    found = torch.tensor([[1.0, 0, 0, 1], [1, 1, 0, 0]]).reshape(2, 1, 2, 2)
    wanted = torch.tensor([[1.0, 0, 0, 0], [0, 1, 0, 1]])
    values = scored(task, [Batch(inputs={"image": found}, targets={"wears": wanted}, ids=torch.arange(2))])
    assert [values[f"task/label_accuracy/{name}"] for name in (*WEARS, "gloves")] == [0.5, 1, 1, 0]
    assert [values[f"task/label_weighted_accuracy/{name}"] for name in ("hat", "scarf", "gloves")] == [0.5, 1, 0]
    assert math.isnan(values["task/label_f1/glasses"])
    assert values["task/accuracy"] == pytest.approx(2.5 / 4)


@pytest.mark.parametrize("kind", ["class", "label"])
def test_a_split_without_labels_has_the_same_names(kind):
    task, target = {
        "class": (Classification(SHAPES, target="t", names=KINDS), torch.zeros(3, dtype=torch.int64)),
        "label": (Multilabel(SHAPES, target="t", names=KINDS), torch.zeros(3, 4)),
    }[kind]
    batch = Batch(inputs={"image": torch.rand(3, 1, 2, 2)}, targets={"t": target}, ids=torch.arange(3))
    bare = Batch(
        inputs=batch.inputs,
        targets=batch.targets,
        present={"targets/t": torch.zeros(3, dtype=torch.bool)},
        ids=batch.ids,
    )
    values = scored(task, [bare])
    assert set(values) == set(scored(task, [batch]))
    assert all(math.isnan(value) for value in values.values())


@given(st.integers(1, 50), st.lists(st.floats(0, 1), min_size=1, max_size=6))
def test_balanced_weights_make_both_answers_weigh_the_same(rows, shares):
    positives = [round(share * rows) for share in shares]
    weights = positive_weights("balanced", [str(i) for i in range(len(shares))], rows, positives)
    for weight, count in zip(weights, positives, strict=True):
        assert weight == 1 if count in (0, rows) else weight * count == pytest.approx(rows - count)


def test_positive_weights_come_from_the_training_rows_by_name():
    info = TargetInfo(kind="multilabel", names=WEARS, shape=(3,))
    counts = {"wears": LabelCounts(rows=20, positives=(10, 4, 0))}
    context = BuildContext(inputs={}, features=SHAPES, targets={"wears": info}, label_counts=counts)
    task = Multilabel.build(MultilabelParams(pos_weights="balanced"), context)
    assert task._pos_weights.tolist() == [1, 4, 1]
    bare = BuildContext(inputs={}, features=SHAPES, targets={"wears": info})
    assert Multilabel.build(MultilabelParams(pos_weights="balanced"), bare)._pos_weights.tolist() == [1, 1, 1]
    with pytest.raises(SpecError, match=r'/pos_weights/scraf: .*did you mean "scarf"'):
        Multilabel.build(MultilabelParams(pos_weights={"scraf": 2.0}), context)


def test_concordance_by_hand():
    score = Concordance()
    score.update(torch.tensor([1.0, 2, 3]), torch.tensor([2.0, 4, 6]))
    # covariance 4/3, variances 2/3 and 8/3, means 2 and 4
    assert float(score.compute()) == pytest.approx(2 * (4 / 3) / (2 / 3 + 8 / 3 + 4))
    score.reset()
    score.update(torch.zeros(0), torch.zeros(0))
    assert math.isnan(score.compute())


@given(st.integers(1, 9), st.integers(1, 3), st.floats(-2000, 2000), st.integers(0, 999))
def test_concordance_is_lins_in_whatever_batches(rows, components, offset, seed):
    rng = np.random.default_rng(seed)
    x, y = offset + rng.normal(size=(2, rows, components))
    score = Concordance(components)
    cut = int(rng.integers(0, rows + 1))
    for part in (slice(0, cut), slice(cut, None)):
        score.update(torch.tensor(x[part]), torch.tensor(y[part]))
    covariance = ((x - x.mean(0)) * (y - y.mean(0))).mean(0)
    expected = 2 * covariance / (x.var(0) + y.var(0) + (x.mean(0) - y.mean(0)) ** 2)
    np.testing.assert_allclose(score.compute().view(-1).numpy(), expected, rtol=1e-4, atol=1e-4)


@given(st.floats(-99, 99, width=32), st.integers(1, 9))
def test_concordance_of_a_constant_prediction_is_zero(value, rows):
    score = Concordance()
    score.update(torch.full((rows,), value), torch.arange(rows) + 100.0)
    assert float(score.compute()) == pytest.approx(0, abs=1e-6)
    score.reset()
    score.update(torch.full((rows,), value), torch.full((rows,), value))
    assert math.isnan(score.compute())
