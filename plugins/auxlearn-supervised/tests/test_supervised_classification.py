"""Classification: values against torch, partial labels, weights by name, and what a user gets."""

from __future__ import annotations

import attrs
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from auxlearn.data import Batch, TargetInfo
from auxlearn.errors import SpecError
from auxlearn.learning import BuildContext, Feature, Features, FeatureShape, StepContext
from auxlearn.learning.learner import inverse_counts
from auxlearn.registry import CheckContext, DataFacts
from auxlearn.results.answers import answers, task_facts
from auxlearn_supervised import ClassificationParams, auxlearn_primary_tasks
from auxlearn_supervised.classification import Classification
from auxlearn_supervised.scores import BalancedAccuracy
from auxlearn_supervised.targets import class_weights

NAMES = ("cat", "dog", "emu", "fox")
TARGETS = {
    "kind": TargetInfo(kind="class", names=NAMES),
    "age": TargetInfo(kind="continuous"),
}
SHAPES = {"image": FeatureShape(pooled=6)}


def make(**settings):
    torch.manual_seed(0)
    return Classification(SHAPES, target="kind", names=NAMES, **settings)


def rows(number=10, *, seed=1, present=None, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    pooled = torch.randn(number, 6, generator=generator).to(dtype).requires_grad_()
    labels = torch.randint(0, 4, (number,), generator=generator)
    given = {} if present is None else {"targets/kind": present}
    return Features({"image": Feature(pooled=pooled)}), Batch(
        inputs={}, targets={"kind": labels}, present=given, ids=torch.arange(number)
    )


def mean(task, features, batch):
    """The loss as the engine makes it: the sum over the count."""
    key = "only"
    return task.loss(features, batch, StepContext()).loss * inverse_counts({key: task.count(batch)})[key]


@pytest.mark.parametrize("weights", [None, (0.5, 2.0, 1.0, 3.0)])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("partial", [False, True])
def test_mean_and_gradient_are_those_of_torch(weights, smoothing, partial):
    task = make(weights=weights, label_smoothing=smoothing)
    present = torch.tensor([True, False, True, True, False] * 2) if partial else None
    features, batch = rows(present=present)
    found = mean(task, features, batch)
    (gradient,) = torch.autograd.grad(found, task.head.weight)
    labelled = torch.ones(10, dtype=torch.bool) if present is None else present
    expected = F.cross_entropy(
        task.head(features.only.pooled[labelled]),
        batch.targets["kind"][labelled],
        weight=None if weights is None else torch.tensor(weights),
        label_smoothing=smoothing,
    )
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(gradient, torch.autograd.grad(expected, task.head.weight)[0])


def test_by_hand():
    task = make()
    torch.nn.init.zeros_(task.head.weight)
    with torch.no_grad():
        task.head.bias.copy_(torch.tensor([1.0, 2.0, 4.0, 1.0]).log())  # probabilities 1/8, 1/4, 1/2, 1/8
    features, _ = rows(2)
    batch = Batch(inputs={}, targets={"kind": torch.tensor([2, 1])}, ids=torch.arange(2))
    torch.testing.assert_close(task.loss(features, batch, StepContext()).loss, torch.tensor(8.0).log())
    assert task.count(batch) == 2


@pytest.mark.parametrize("weights", [None, (0.5, 2.0, 1.0, 3.0)])
@pytest.mark.parametrize("index", [None, (3, 2, 1, 0)])
def test_no_label_is_no_loss_but_a_graph(weights, index):
    task = make(weights=weights, index=index, label_smoothing=0.1)
    features, batch = rows(present=torch.zeros(10, dtype=torch.bool))
    garbage = attrs.evolve(batch, targets={"kind": torch.full((10,), 10**6)})
    loss = mean(task, features, garbage)
    assert loss == 0
    loss.backward()
    for gradient in (features.only.pooled.grad, task.head.weight.grad, task.head.bias.grad):
        assert torch.equal(gradient, torch.zeros_like(gradient))


@given(split=st.integers(1, 9), seed=st.integers(0, 99), weighted=st.booleans())
def test_sums_and_counts_add_up_over_micro_batches(split, seed, weighted):
    task = make(weights=(0.5, 2.0, 1.0, 3.0) if weighted else None).double()
    present = torch.rand(10, generator=torch.Generator().manual_seed(seed)) < 0.6
    features, batch = rows(seed=seed, present=present, dtype=torch.float64)
    parts = [slice(0, split), slice(split, 10)]
    loss = sum(task.loss(features.take(p), batch.take(p), StepContext()).loss for p in parts)
    torch.testing.assert_close(loss, task.loss(features, batch, StepContext()).loss)
    counts = [torch.as_tensor(task.count(batch.take(p)), dtype=torch.float64) for p in parts]
    torch.testing.assert_close(sum(counts), torch.as_tensor(task.count(batch), dtype=torch.float64))


def test_index_maps_and_leaves_out():
    task = Classification(SHAPES, target="kind", names=("fox", "cat"), index=(1, None, None, 0))
    features, _ = rows(4)
    batch = Batch(inputs={}, targets={"kind": torch.tensor([0, 1, 3, 2])}, ids=torch.arange(4))
    assert int(task.count(batch)) == 2
    expected = F.cross_entropy(task.head(features.only.pooled[[0, 2]]), torch.tensor([1, 0]), reduction="sum")
    torch.testing.assert_close(task.loss(features, batch, StepContext()).loss, expected)
    metrics = task.metrics()
    task.update(metrics, features, batch)
    assert metrics.compute()["confusion_matrix"].sum() == 2


def test_without_partial_labels_the_count_needs_no_device():
    _, batch = rows()
    assert isinstance(make().count(batch), int)


def test_float64_and_bf16_autocast():
    task, (features, batch) = make(weights=(1.0, 2.0, 3.0, 4.0)), rows()
    exact = task.loss(features, batch, StepContext()).loss
    with torch.autocast("cpu", torch.bfloat16):
        rough = task.loss(features, batch, StepContext()).loss
    assert rough.dtype == torch.float32
    torch.testing.assert_close(rough, exact, rtol=2e-2, atol=1e-2)
    count = task.count(batch)
    task.double()
    features, batch = rows(dtype=torch.float64)
    assert task.loss(features, batch, StepContext()).loss.dtype == torch.float64
    assert task.count(batch).dtype == torch.float64
    assert make(weights=(1.0, 2.0, 3.0, 4.0)).bfloat16().count(batch) == count


def test_dropout_only_in_training():
    task, (features, batch) = make(dropout=0.5), rows()
    assert task.loss(features, batch, StepContext()).loss != task.loss(features, batch, StepContext()).loss
    task.eval()
    assert task.loss(features, batch, StepContext()).loss == task.loss(features, batch, StepContext()).loss


def test_no_random_number_is_drawn_without_dropout():
    task, (features, batch) = make(), rows()
    before = torch.get_rng_state()
    task.loss(features, batch, StepContext())
    assert torch.equal(torch.get_rng_state(), before)


def test_state_is_the_head_alone():
    task = make(weights=(1.0, 2.0, 3.0, 4.0), index=(3, 2, 1, 0))
    assert set(task.state_dict()) == {"head.weight", "head.bias"}
    assert task.linear() is task.head


def test_several_modalities_are_joined_by_name():
    shapes = {"video": FeatureShape(pooled=2), "audio": FeatureShape(pooled=3)}
    task = Classification(shapes, target="kind", names=NAMES)
    audio, video = torch.randn(5, 3), torch.randn(5, 2)
    features = Features({"video": Feature(pooled=video), "audio": Feature(pooled=audio)})
    expected = task.head(torch.cat([audio, video], 1)).softmax(1)
    torch.testing.assert_close(task.predict(features)["probabilities"], expected)
    assert task.linear() is None


def test_predict_one_image():
    task, (features, _) = make().eval(), rows(1)
    found = task.predict(features)
    (answer,) = answers({"pet": task_facts(task, TARGETS)}, {f"pet.{name}": t for name, t in found.items()})
    best = found["probabilities"][0].argmax().item()
    assert answer["pet"]["class"] == NAMES[best]
    assert list(answer["pet"]["probabilities"]) == list(NAMES)
    assert sum(answer["pet"]["probabilities"].values()) == pytest.approx(1, abs=1e-4)


def test_metrics_by_hand():
    task = make().eval()
    torch.nn.init.eye_(task.head.weight)
    torch.nn.init.zeros_(task.head.bias)
    labels = torch.tensor([0, 0, 0, 1, 1, 2, 0])
    found = torch.tensor([0, 0, 1, 1, 0, 3, 3])
    present = torch.tensor([True] * 6 + [False])
    pooled = F.one_hot(found, 6).float()
    batch = Batch(inputs={}, targets={"kind": labels}, present={"targets/kind": present}, ids=torch.arange(7))
    metrics = task.metrics()
    assert next(iter(metrics)) == "accuracy"
    for part in (slice(0, 3), slice(3, 7)):
        task.update(metrics, Features({"image": Feature(pooled=pooled[part])}), batch.take(part))
    scores = metrics.compute()
    assert scores["accuracy"].item() == pytest.approx(3 / 6)
    assert scores["balanced_accuracy"].item() == pytest.approx((2 / 3 + 1 / 2 + 0) / 3)
    assert scores["macro_f1"].item() == pytest.approx((2 / 3 + 1 / 2 + 0 + 0) / 4)
    assert scores["confusion_matrix"].tolist() == [[2, 1, 0, 0], [1, 1, 0, 0], [0, 0, 0, 1], [0, 0, 0, 0]]


def test_metrics_of_a_batch_without_labels():
    task = make()
    features, batch = rows(present=torch.zeros(10, dtype=torch.bool))
    metrics = task.metrics()
    task.update(metrics, features, batch)
    assert not metrics["accuracy"].update_called
    features, batch = rows()
    task.update(metrics, features, batch)
    assert metrics.compute()["confusion_matrix"].sum() == 10


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=30))
def test_balanced_accuracy_is_the_mean_recall_of_the_classes_that_occur(pairs):
    score = BalancedAccuracy(4)
    found, labels = (torch.tensor(column) for column in zip(*pairs, strict=True))
    score.update(found, labels)
    recalls = []
    for label in {label for _, label in pairs}:
        of_class = [f for f, wanted in pairs if wanted == label]
        recalls.append(of_class.count(label) / len(of_class))
    assert score.compute().item() == pytest.approx(sum(recalls) / len(recalls))


@given(st.lists(st.integers(0, 50), min_size=2, max_size=8).filter(any))
def test_balanced_weights_give_each_class_the_same_share(counts):
    weights = class_weights("balanced", [str(i) for i in range(len(counts))], counts)
    shares = {round(w * n, 6) for w, n in zip(weights, counts, strict=True) if n}
    assert len(shares) == 1
    assert sum(w * n for w, n in zip(weights, counts, strict=True)) == pytest.approx(sum(counts))
    assert all(w == 1 for w, n in zip(weights, counts, strict=True) if n == 0)


def context(targets=TARGETS, **settings):
    return BuildContext(inputs={}, features=SHAPES, targets=targets, **settings)


def test_build_finds_the_only_class_target_and_balances():
    task = Classification.build(
        ClassificationParams(class_weights="balanced"), context(class_counts={"kind": (10, 20, 10, 0)})
    )
    assert task.targets == ("kind",)
    assert task._weights.tolist() == pytest.approx([40 / 30, 40 / 60, 40 / 30, 1.0])


def test_build_takes_weights_by_name():
    task = Classification.build(ClassificationParams(class_weights={"fox": 3.0}), context())
    assert task._weights.tolist() == [1, 1, 1, 3]


@pytest.mark.parametrize(
    ("settings", "targets", "message"),
    [
        ({"target": "kid"}, TARGETS, r'/target: the data has no target "kid"; allowed: kind; did you mean "kind"\?'),
        ({"target": "age"}, TARGETS, '/target: "age" is no class target; allowed: kind'),
        ({}, {"age": TARGETS["age"]}, "/target: the data has no class target"),
        ({}, TARGETS | {"sort": TARGETS["kind"]}, "/target: the data has several: kind, sort; fix: name the one"),
        ({"class_weights": {"dgo": 2.0}}, TARGETS, r'/class_weights/dgo: .*no class "dgo".*did you mean "dog"'),
        ({"class_weights": dict.fromkeys(NAMES, 0.0)}, TARGETS, "/class_weights: every class has weight 0"),
        ({}, {"kind": TargetInfo(kind="class", names=("cat",))}, "/target: .kind. has 1 classes; allowed: 2 or more"),
    ],
)
def test_mistakes(settings, targets, message):
    params = ClassificationParams(**settings)
    with pytest.raises(SpecError, match=message):
        Classification.build(params, context(targets))


def test_check_finds_the_same_without_torch():
    provider = next(p for p in auxlearn_primary_tasks() if p.name == "classification")
    facts = DataFacts(targets={"kind": NAMES, "age": ()})

    def check(data=facts, **settings):
        return [str(p) for p in provider.check(ClassificationParams(**settings), CheckContext(data=data))]

    assert check() == []
    assert check(class_weights="balanced") == []
    assert check(None, target="nonsense") == []
    assert 'did you mean "kind"' in check(target="kidn")[0]
    assert check(class_weights={"dgo": 1.0, "emo": 1.0})[1].startswith("/class_weights/emo: ")
