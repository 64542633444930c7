"""Valence and arousal beside an expression: values, masks, processes."""

from __future__ import annotations

import math

import attrs
import numpy as np
import pytest
import torch
import torch.nn.functional as F

from auxlearn.data import Batch, TargetInfo
from auxlearn.errors import SpecError
from auxlearn.learning import BuildContext, Feature, Features, FeatureShape, StepContext
from auxlearn.registry import CheckContext, DataFacts
from auxlearn_faces import FerParams, auxlearn_primary_tasks
from auxlearn_faces.fer import build_fer

SHAPES = {"image": FeatureShape(pooled=6)}
NUMBER = TargetInfo(kind="continuous")
TARGETS = {
    "expression": TargetInfo(kind="class", names=("neutral", "happy", "sad")),
    "affect": TargetInfo(kind="continuous", names=("arousal", "valence"), shape=(2,)),
}


def build(targets=None, **settings):
    context = BuildContext(inputs={}, features=SHAPES, targets=TARGETS if targets is None else targets)
    return build_fer(FerParams(**{"valence_arousal": True, **settings}), context)


def ccc(found, wanted):
    """Lin's formula, by numpy."""
    covariance = np.mean((found - found.mean()) * (wanted - wanted.mean()))
    return 2 * covariance / (found.var() + wanted.var() + (found.mean() - wanted.mean()) ** 2)


def rows(number=12, expression=None, affect=None, seed=0):
    make = torch.Generator().manual_seed(seed)
    pooled = torch.randn(number, 6, generator=make).requires_grad_()
    targets = {
        "expression": torch.randint(3, (number,), generator=make),
        "affect": torch.rand(number, 2, generator=make) * 2 - 1,
    }
    present = {"targets/expression": expression, "targets/affect": affect}
    batch = Batch(
        inputs={},
        targets=targets,
        present={name: rows for name, rows in present.items() if rows is not None},
        ids=torch.arange(number),
    )
    return Features({"image": Feature(pooled=pooled)}), batch


def half(number=12):
    return torch.arange(number) % 2 == 0


def third(number=12):
    return torch.arange(number) % 3 > 0


@pytest.mark.parametrize("kind", ["ccc", "mse"])
@pytest.mark.parametrize(("expression", "affect"), [(None, None), (half(), third()), (half(), ~half())])
def test_loss_is_the_mean_of_each_over_its_own_rows(kind, expression, affect):
    task = build(affect_loss=kind, affect_weight=0.7)
    features, batch = rows(expression=expression, affect=affect)
    result = task.loss(features, batch, StepContext())
    found = task.affect(features.only.pooled).detach().double().numpy()
    wanted = batch.targets["affect"].double().numpy()[:, ::-1]  # the data has arousal first
    there = slice(None) if affect is None else affect.numpy()
    if kind == "ccc":
        second = 1 - np.mean([ccc(found[there, i], wanted[there, i]) for i in range(2)])
    else:
        second = np.mean((found - wanted)[there] ** 2)
    logits, labels = task.expression.head(features.only.pooled), batch.targets["expression"]
    first = F.cross_entropy(logits, labels) if expression is None else F.cross_entropy(logits[half()], labels[half()])
    mean = result.loss / task.count(batch)
    assert mean.detach().item() == pytest.approx(first.item() + 0.7 * second, rel=1e-5)
    assert result.metrics["affect_loss"].item() == pytest.approx(second, rel=1e-5)
    mean.backward()
    assert features.only.pooled.grad.isfinite().all()


@pytest.mark.parametrize("kind", ["ccc", "mse"])
def test_uncertain_rows_count_as_rows_without(kind):
    task = build(affect_loss=kind)
    features, batch = rows()
    marked = batch.targets["affect"].clone()
    marked[1], marked[4, 0], marked[7] = -2, -2, math.nan
    uncertain = attrs.evolve(batch, targets={**batch.targets, "affect": marked})
    there = torch.ones(12, dtype=torch.bool)
    there[[1, 4, 7]] = False
    masked = attrs.evolve(batch, present={"targets/affect": there})
    losses = [task.loss(features, one, StepContext()).loss for one in (uncertain, masked)]
    torch.testing.assert_close(losses[0], losses[1])


@pytest.mark.parametrize("kind", ["ccc", "mse"])
def test_rows_without_affect_leave_the_expression_alone(kind):
    task = build(affect_loss=kind)
    features, batch = rows(affect=torch.zeros(12, dtype=torch.bool))
    loss = task.loss(features, batch, StepContext()).loss
    torch.testing.assert_close(loss, task.expression.loss(features, batch, StepContext()).loss)
    loss.backward()
    assert torch.equal(task.affect.weight.grad, torch.zeros_like(task.affect.weight))
    assert task.expression.head.weight.grad.any()


@pytest.mark.parametrize("kind", ["ccc", "mse"])
def test_constant_predictions_have_a_gradient(kind):
    task = build(affect_loss=kind)
    features, batch = rows()
    pooled = torch.zeros_like(features.only.pooled).requires_grad_()
    still = task.loss(Features({"image": Feature(pooled=pooled)}), batch, StepContext())
    torch.autograd.backward(still.loss - task.expression.loss(features, batch, StepContext()).loss)
    assert pooled.grad.isfinite().all()
    assert pooled.grad.any(1).all()


def gathers(run, ranks=2):
    """Yield what `run(rank, gather)` returns for each process, where `gather` has the tensors of all of them."""
    seen = [[] for _ in range(ranks)]
    for rank in range(ranks):
        run(rank, lambda tensor, *, grad=False, rank=rank: seen[rank].append(tensor) or tensor)
    for rank in range(ranks):
        calls = iter(zip(*seen, strict=True))

        def gather(_tensor, *, grad=False, calls=calls):
            joint = torch.cat(next(calls))
            return joint if grad else joint.detach()

        yield run(rank, gather)


@pytest.mark.parametrize("kind", ["ccc", "mse"])
def test_processes_together_have_the_loss_and_the_gradient_of_the_whole_batch(kind):
    """Each sees its own rows and, by `gather`, the others'; the engine adds their losses and their counts."""
    task = build(affect_loss=kind)
    features, batch = rows(expression=half(), affect=third())
    whole = task.loss(features, batch, StepContext()).loss / task.count(batch)
    parts = (slice(0, 6), slice(6, 12))

    def run(rank, gather):
        return task.loss(features.take(parts[rank]), batch.take(parts[rank]), StepContext(gather=gather)).loss

    together = sum(gathers(run)) / sum(task.count(batch.take(part)) for part in parts)
    torch.testing.assert_close(together, whole)
    found, wanted = (torch.autograd.grad(one, features.only.pooled)[0] for one in (together, whole))
    torch.testing.assert_close(found, wanted)


def test_precision():
    task = build()
    features, batch = rows()
    exact = task.loss(features, batch, StepContext()).loss
    with torch.autocast("cpu", torch.bfloat16):
        rough = task.loss(features, batch, StepContext()).loss
    assert rough.dtype == torch.float32
    torch.testing.assert_close(rough, exact, rtol=3e-2, atol=3e-2)


def test_scores_over_batches_are_those_of_all_rows():
    task = build()
    features, batch = rows(expression=half(), affect=third())
    metrics = task.metrics()
    assert next(iter(metrics)) == "accuracy"
    for part in (slice(0, 1), slice(1, 5), slice(5, 12)):
        task.update(metrics, features.take(part), batch.take(part))
    scores = metrics.compute()
    found = task.affect(features.only.pooled).detach().double().numpy()[third()]
    wanted = batch.targets["affect"].double().numpy()[third()][:, ::-1]
    for place, name in enumerate(("valence", "arousal")):
        assert float(scores[f"{name}_ccc"]) == pytest.approx(ccc(found[:, place], wanted[:, place]), rel=1e-4)
        error = np.sqrt(np.mean((found - wanted)[:, place] ** 2))
        assert float(scores[f"{name}_rmse"]) == pytest.approx(error, rel=1e-4)
    expression = task.predict(features)["probabilities"].argmax(1)[half()]
    right = (expression == batch.targets["expression"][half()]).float().mean()
    assert float(scores["accuracy"]) == pytest.approx(right.item())


def test_no_row_with_affect_is_no_score():
    task = build()
    metrics = task.metrics()
    task.update(metrics, *rows(affect=torch.zeros(12, dtype=torch.bool)))
    scores = metrics.compute()
    assert not math.isnan(scores["accuracy"])
    for name in ("valence", "arousal"):
        assert math.isnan(scores[f"{name}_ccc"])
        assert math.isnan(scores[f"{name}_rmse"])


def test_two_targets_and_what_is_predicted():
    targets = {"expression": TARGETS["expression"], "v": NUMBER, "a": NUMBER}
    task = build(targets, valence_arousal=("v", "a"), hidden=5)
    assert task.targets == ("expression", "v", "a")
    assert task.linear() is None
    assert task.describe()["valence_arousal"] == ["v", "a"]
    features, _ = rows()
    found = task.predict(features)
    torch.testing.assert_close(torch.stack([found["valence"], found["arousal"]], 1), task.affect(features.only.pooled))
    assert set(found) == {"probabilities", "valence", "arousal"}
    named = build({"expression": TARGETS["expression"], "valence": NUMBER, "arousal": NUMBER})
    assert named.targets == ("expression", "valence", "arousal")


def test_without_it_there_is_one_head():
    assert set(build(valence_arousal=False).state_dict()) == {"head.weight", "head.bias"}


def test_mistakes():
    with pytest.raises(SpecError, match=r"/valence_arousal: no target of the data has valence, arousal; .*: age"):
        build({"expression": TARGETS["expression"], "age": NUMBER})
    provider = next(p for p in auxlearn_primary_tasks() if p.name == "fer")
    facts = DataFacts(targets={"expression": ("happy", "sad"), "affect": ()})
    found = list(provider.check(FerParams(valence_arousal="afect"), CheckContext(data=facts)))
    assert str(found[0]).startswith('/valence_arousal: the data has no continuous target "afect"')
    assert not list(provider.check(FerParams(valence_arousal="affect"), CheckContext(data=facts)))
